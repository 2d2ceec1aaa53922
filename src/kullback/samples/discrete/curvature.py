"""First and second derivatives of a record's terms in p and q, from its generator.

A term is q·f(p/q): it changes by f′(u) with p, and by f(u) − u f′(u) with q; its curvatures are
f″(u)/q and u² f″(u)/q.
"""

from __future__ import annotations

import numpy as np
import torch

from kullback.divergences import Divergence, Functional

__all__ = ["curvatures", "influences"]


def influences(record: Functional, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What one more draw of each event does to the sum, on P's side and on Q's, [k] each."""
    if not isinstance(record, Divergence):  # the cross-entropy, −Σ p log q
        return -np.log(q), -p / q
    u = p / q
    value, first, _ = _generator(record, u)
    return first, value - u * first


def curvatures(record: Functional, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """∂²term/∂p² and ∂²term/∂q², [k] each."""
    if not isinstance(record, Divergence):
        return np.zeros_like(p), p / q**2
    u = p / q
    second = _generator(record, u)[2]
    return second / q, u**2 * second / q


def _generator(record: Divergence, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    at = torch.as_tensor(u).requires_grad_()
    with torch.enable_grad():
        value = record.generator(at)
        (first,) = torch.autograd.grad(value.sum(), at, create_graph=True)
        # The slope of a generator in straight pieces, such as |u − 1|, records nothing of u.
        second = torch.zeros_like(at)
        if first.requires_grad:
            (second,) = torch.autograd.grad(first.sum(), at)
    return value.detach().numpy(), first.detach().numpy(), second.numpy(force=True)
