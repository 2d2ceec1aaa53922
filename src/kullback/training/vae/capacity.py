"""A capacity: the KL is held at a number of nats, which training raises."""

from __future__ import annotations

from torch import Tensor

from kullback.errors import ShapeError
from kullback.numerics import compute_dtype
from kullback.training.plain import finite_number
from kullback.training.vae.kls import check_kls

__all__ = ["capacity_loss"]


def capacity_loss(
    kl: Tensor, capacity: float, *, weight: float = 1000.0, validate: bool = True
) -> Tensor:
    """weight·|KL − capacity|, in nats: a KL term that pulls towards `capacity` from both sides.

    Raised from 0 by a schedule, the capacity lets dimensions into the latent one after another,
    the most useful first.

    Args:
        kl: a number, the mean over samples of KL(q(z|x)‖p(z)): what `gaussian_kl` returns.
        capacity: C, in nats, such as a schedule's value.
        weight: γ; 1000 in the paper.
        validate: raise where the KL is NaN. It costs a look, left out in compiled code.

    Returns:
        A number: float32, also for half precision, or float64.

    Raises:
        DtypeError: a KL that is no floating tensor.
        ShapeError: KLs that are not averaged yet; |·| of each would be another objective.
        NonFiniteError: a KL, a capacity or a weight of NaN.
        InputError: a capacity or a weight that is no finite number from 0 on.

    Source: Burgess, Higgins, Pal, Matthey, Watters, Desjardins & Lerchner (2018), Understanding
    Disentangling in β-VAE, eq. 8.

    Example:
        >>> import torch
        >>> capacity_loss(torch.tensor(3.0), 5.0, weight=10.0)
        tensor(20.)
    """
    capacity = finite_number(capacity, "capacity", least=0)
    weight = finite_number(weight, "weight", least=0)
    check_kls(kl, "the mean KL, such as gaussian_kl returns", validate)
    if kl.dim():
        raise ShapeError(
            f"kl has shape {tuple(kl.shape)}, and the capacity is for the mean over samples: pass "
            "a number, such as gaussian_kl returns with its default reduction"
        )
    return weight * (kl.to(compute_dtype(kl)) - capacity).abs()
