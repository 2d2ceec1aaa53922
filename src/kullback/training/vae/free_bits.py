"""Free bits: below a floor, more information in the latent costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from kullback.errors import InputError, ShapeError
from kullback.numerics import accumulation_dtype, compute_dtype
from kullback.training.plain import finite_number, plain_int
from kullback.training.vae.kls import check_kls

__all__ = ["FreeBits"]


@dataclass(frozen=True)
class FreeBits:
    """Σ_groups max(nats, mean over the batch of the group's KL): a KL term with a floor, in nats.

    A group whose KL is below the floor gets no gradient, so that the optimiser is not paid for
    emptying it. The mean over the batch is taken before the maximum, as in the paper: inputs may
    share the floor unevenly. Where several processes train, each takes the mean of its own batch.

    | per | a group is |
    | --- | --- |
    | "dimension" | each latent dimension |
    | "group" | `groups` dimensions that stand side by side, or as many as a list says, each |
    | "all" | the whole latent |

    Args:
        nats: the floor of each group, λ. In bits it is nats/log 2.
        per: see above.
        groups: with "group", how many groups of equal size there are, or the size of each.
        over: "batch" is the paper's; "sample" takes the maximum of each sample's own KL and then
            the mean, so that every input has to use the latent.

    Raises:
        InputError: an option out of its range.

    Source: Kingma, Salimans, Jozefowicz, Chen, Sutskever & Welling (2016), Improved Variational
    Inference with Inverse Autoregressive Flow, appendix C.8.

    Example:
        >>> kl = torch.tensor([[0.1, 2.0], [0.2, 3.0]])
        >>> FreeBits(0.5)(kl)
        tensor(3.)
        >>> FreeBits(0.5, per="all")(kl)
        tensor(2.6500)
        >>> FreeBits(0.5, per="group", groups=[1, 1])(kl)
        tensor(3.)
    """

    nats: float
    per: Literal["dimension", "group", "all"] = "dimension"
    groups: int | Sequence[int] | None = None
    over: Literal["batch", "sample"] = "batch"

    def __post_init__(self) -> None:
        nats = finite_number(self.nats, "nats", least=0, advice=", such as 0.5")
        object.__setattr__(self, "nats", nats)
        if self.per not in ("dimension", "group", "all"):
            raise InputError(f'per={self.per!r}: "dimension", "group" or "all"')
        if self.over not in ("batch", "sample"):
            raise InputError(f'over={self.over!r}: "batch" or "sample"')
        if (self.per == "group") != (self.groups is not None):
            raise InputError(
                f'per={self.per!r} and groups={self.groups}: groups= goes with per="group", and '
                "says how many there are or the size of each"
            )
        if self.groups is None:
            return
        if not isinstance(self.groups, Sequence):
            object.__setattr__(self, "groups", _size(self.groups))
            return
        if not self.groups:
            raise InputError(
                f"groups={self.groups}: give a size or more, of at least one dimension"
            )
        object.__setattr__(self, "groups", tuple(_size(size) for size in self.groups))

    def __call__(self, kl: Tensor, *, validate: bool = True) -> Tensor:
        """The term to minimise, a number, in nats per sample.

        Args:
            kl: [*samples, latents], the KL of each dimension: `gaussian_kl(…, reduction="none")`.
            validate: raise where a KL is NaN. It costs a look, left out in compiled code.

        Raises:
            DtypeError: KLs that are not floating.
            NonFiniteError: a KL of NaN.
            ShapeError: KLs that are summed already, or that do not divide into the groups.
        """
        check_kls(kl, "the KLs of each dimension", validate)
        if kl.dim() < 2 or not kl.numel():
            raise ShapeError(
                f"kl has shape {tuple(kl.shape)}, and [*samples, latents] is needed: free bits "
                'take the KL of each dimension, gaussian_kl(…, reduction="none")'
            )
        kl = kl.to(compute_dtype(kl)).flatten(0, -2)
        grouped, wide = self._grouped(kl), accumulation_dtype(kl)
        if self.over == "batch":
            grouped = grouped.mean(0, keepdim=True, dtype=wide)
        # Not `maximum`, which would let half of the gradient through at the floor itself; and NaN
        # is not below it.
        raised = torch.where(grouped <= self.nats, self.nats, grouped)
        return raised.sum(-1, dtype=wide).mean().to(kl.dtype)

    def _grouped(self, kl: Tensor) -> Tensor:
        """[samples, groups], sums accumulated wide."""
        latents, wide = kl.shape[-1], accumulation_dtype(kl)
        if self.per == "dimension":
            return kl
        if self.per == "all":
            return kl.sum(-1, keepdim=True, dtype=wide)
        if isinstance(self.groups, int):
            if latents % self.groups:
                raise ShapeError(
                    f"{latents} dimensions do not divide into {self.groups} equal groups: give "
                    "the size of each, such as groups=[2, 3]"
                )
            return kl.unflatten(-1, (self.groups, -1)).sum(-1, dtype=wide)
        sizes = list(self.groups or ())
        if sum(sizes) != latents:
            raise ShapeError(f"groups={sizes} are of {sum(sizes)} dimensions, and kl has {latents}")
        return torch.stack([part.sum(-1, dtype=wide) for part in kl.split(sizes, -1)], -1)


def _size(value: int) -> int:
    return plain_int(value, "groups", least=1, advice="; every group has at least one dimension")
