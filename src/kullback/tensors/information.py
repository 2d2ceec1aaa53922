"""Entropy, cross-entropy and the divergence between them: H(p, q) = H(p) + KL(p‖q)."""

from __future__ import annotations

from kullback.divergences import CROSS_ENTROPY, KL
from kullback.errors import InputError
from kullback.numerics import Space
from kullback.tensors.apply import evaluate
from kullback.tensors.function import row_divergence
from kullback.tensors.inputs import Array, SpacePair, open_one
from kullback.tensors.smoothing import Smoothing

__all__ = ["cross_entropy", "entropy", "kl_divergence"]


def kl_divergence(
    p: Array,
    q: Array,
    *,
    space: SpacePair = "probs",
    dim: int = -1,
    smoothing: Smoothing | None = None,
    overwrite_q: bool = False,
    validate: bool = True,
) -> Array:
    """KL(p‖q) = Σ p log(p/q) over `dim`, in nats: what is lost when q stands in for p.

    Never negative, exactly 0 for equal rows, +inf where p has mass that q lacks. Off the simplex
    (rows that do not sum to 1 exactly) it is Σ p log(p/q) − p + q, whose gradients these are; on
    softmax outputs that is the same number, with rounding in the sums entering only squared.

    Args:
        p: the reference distribution(s), a tensor or NumPy array with the events along `dim`.
        q: what stands in for it; same events, other dimensions broadcast against those of `p`.
        space: what the entries are: "probs", "log_probs" or "logits", or a pair for (p, q).
        dim: the dimension of the events.
        smoothing: ("additive", ε) or ("uniform", λ), applied to both sides; off by default. The
            result is then the divergence of the smoothed sides, at most (1 − λ) times the plain.
        overwrite_q: let the backward write the gradient into `q`'s own memory. The logits are
            gone afterwards; autograd raises if anything else still needed them. Without effect
            under `torch.compile`.
        validate: check the rows, at the price of one synchronisation on a GPU; nothing is checked
            under `torch.compile`.

    Returns:
        One value per row, float32 (float64 for float64 inputs); half precision is widened.

    Raises:
        InputError: shapes, dtypes, spaces or values that no distribution has, naming the row.

    Source: Kullback & Leibler (1951), On Information and Sufficiency, eq. 2.4.

    Example:
        >>> import torch
        >>> p, q = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.25, 0.5, 0.25])
        >>> kl_divergence(p, q)
        tensor(0.3466)
        >>> kl_divergence(q, p)
        tensor(inf)
    """
    if overwrite_q and smoothing is not None:
        raise InputError("overwrite_q=True with smoothing would overwrite a copy: leave one out")
    return evaluate(KL, p, q, space, dim, smoothing, validate, overwrite_q=overwrite_q)


def cross_entropy(
    p: Array,
    q: Array,
    *,
    space: SpacePair = "probs",
    dim: int = -1,
    smoothing: Smoothing | None = None,
    validate: bool = True,
) -> Array:
    """H(p, q) = −Σ p log q over `dim`, in nats; equal to `entropy(p) + kl_divergence(p, q)`.

    Arguments, result and errors are those of `kl_divergence`.

    Source: Cover & Thomas (2006), Elements of Information Theory, eq. 5.26.

    Example:
        >>> import torch
        >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
        >>> bool(torch.isclose(cross_entropy(p, q), entropy(p) + kl_divergence(p, q)))
        True
    """
    return evaluate(CROSS_ENTROPY, p, q, space, dim, smoothing, validate)


def entropy(p: Array, *, space: Space = "probs", dim: int = -1, validate: bool = True) -> Array:
    """H(p) = −Σ p log p over `dim`, in nats; between 0 and the log of the number of events.

    Arguments, result and errors are those of `kl_divergence`.

    Source: Shannon (1948), A Mathematical Theory of Communication, section 6.

    Example:
        >>> import torch
        >>> entropy(torch.tensor([0.5, 0.25, 0.25])) / torch.log(torch.tensor(2.0))
        tensor(1.5000)
    """
    rows, wrap = open_one(p, space, dim)
    return wrap(row_divergence(rows, rows, CROSS_ENTROPY, space, space, validate=validate))
