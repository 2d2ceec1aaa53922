"""A distribution in float64, so that float64 points meet no parameters rounded on the way."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions.transforms import _InverseTransform

from kullback.distributions.parameters import parameter_tensors

__all__ = ["dtype_of", "in_float64"]


def in_float64(p: Any) -> Any:
    """A copy of `p` in float64 that does not check its arguments; `p` stays as it is.

    What is not made of torch's own densities and transforms throughout is returned unchanged: it
    may hold modules, or compute in a dtype of its own. Gradients flow to the parameters of `p`.

    Example:
        >>> in_float64(td.Normal(torch.tensor(0.0), torch.tensor(1.0))).scale
        tensor(1., dtype=torch.float64)
    """
    return _widened(p) if _is_torchs_own(p) else p


def dtype_of(p: Any) -> torch.dtype:
    """The dtype that `p` takes points in: that of its parameters, else float64."""
    if not hasattr(p, "__dict__"):
        return torch.float64
    floating = (x.dtype for x in parameter_tensors(p) if x.is_floating_point())
    return next(floating, torch.float64)


def _is_torchs_own(holder: Any) -> bool:
    if isinstance(holder, (list, tuple)):
        return all(_is_torchs_own(item) for item in holder)
    if isinstance(holder, torch.nn.Module):
        return False
    if isinstance(holder, td.Distribution):
        own = type(holder).log_prob.__module__.startswith("torch.distributions")
        return own and all(_is_torchs_own(value) for value in vars(holder).values())
    if isinstance(holder, _InverseTransform):
        return _is_torchs_own(holder.inv)
    if isinstance(holder, td.Transform):
        own = type(holder).__module__.startswith("torch.distributions")
        parts = (value for name, value in vars(holder).items() if name != "_inv")
        return own and all(_is_torchs_own(part) for part in parts)
    return True


def _widened(holder: Any) -> Any:
    if isinstance(holder, Tensor):
        return holder.double() if holder.is_floating_point() else holder
    if type(holder) in (list, tuple):
        return type(holder)(_widened(item) for item in holder)
    if isinstance(holder, _InverseTransform):
        return _widened(holder.inv).inv
    if not isinstance(holder, (td.Distribution, td.Transform)):
        return holder
    made = copy.copy(holder)
    parts = {name: _widened(part) for name, part in vars(holder).items() if name != "_inv"}
    made.__dict__.update(parts)
    if isinstance(holder, td.Transform):
        # It remembers its inverse, which would still be the one of the original.
        made.__dict__["_inv"] = None
        if "_cached_x_y" in parts:
            made.__dict__["_cached_x_y"] = None, None
    else:
        made.__dict__["_validate_args"] = False
    return made
