"""Finite supports: any two distributions whose events can be listed, summed event by event."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution

__all__ = ["aligned_log_probs"]


def aligned_log_probs(p: Distribution, q: Distribution) -> tuple[Tensor, Tensor] | None:
    """log-probabilities of both sides over one list of events, events last; None if infinite."""
    return None
