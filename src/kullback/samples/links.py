"""From the sum that a method estimates to the divergence that is a function of it, as floats."""

from __future__ import annotations

import torch

from kullback.distributions.targets import Target

__all__ = ["linked", "slope"]


def linked(target: Target, total: float) -> float:
    """The divergence where the sum of the record's terms is `total`."""
    return float(target.link(torch.tensor(total, dtype=torch.float64)))


def slope(target: Target, total: float) -> float:
    """How much the divergence moves with the sum, there."""
    with torch.enable_grad():
        at = torch.tensor(total, dtype=torch.float64, requires_grad=True)
        (found,) = torch.autograd.grad(target.link(at), at)
    return float(found)
