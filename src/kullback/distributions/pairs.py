"""Whether two things can be compared: two distributions, over the same kind of event."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributions import Distribution

from kullback.errors import DtypeError, ShapeError


def check_pair(p: Any, q: Any) -> None:
    """Two distributions over the same kind of event, with batch shapes that broadcast."""
    check_distribution(p, "p")
    check_distribution(q, "q")
    if p.event_shape != q.event_shape:
        raise ShapeError(
            f"P ({type(p).__name__}) has events of shape {tuple(p.event_shape)} and Q "
            f"({type(q).__name__}) of shape {tuple(q.event_shape)}: both must be over the same "
            "events; torch.distributions.Independent makes batch dimensions into event dimensions"
        )
    if p.batch_shape == q.batch_shape or not p.batch_shape or not q.batch_shape:
        return
    try:
        torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    except RuntimeError:
        raise ShapeError(
            f"batch shapes {tuple(p.batch_shape)} of P and {tuple(q.batch_shape)} of Q do not "
            "broadcast: sizes must be equal or 1"
        ) from None


def check_distribution(p: Any, side: str) -> None:
    """Raises DtypeError: no distribution, and what it may be instead."""
    if not isinstance(p, Distribution):
        answers = callable(getattr(p, "log_prob", None))
        also = "; kullback.estimate(p, q) takes any object with log_prob" if answers else ""
        raise DtypeError(
            f"{side} is a {type(p).__name__} and the other side is a distribution: pass two "
            f"torch.distributions objects, or two tensors{also}"
        )
