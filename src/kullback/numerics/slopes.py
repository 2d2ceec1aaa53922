"""The derivatives of the functions that `cpu` has loops for, each under its loop's name.

They take moderate float64 numbers only, as the loops do, and give one slope for each argument,
which near equality keeps its digits as the value does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kullback.numerics.pairs import exp_remainder, log_ratio

__all__ = ["bernoulli_logits", "bernoulli_probs", "itakura_saito", "laplace", "poisson"]


def itakura_saito(y: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """Of y/x − log(y/x) − 1: u/y and −u/x for u = y/x − 1."""
    u = (y - x) / x
    return u / y, -u / x


def poisson(y: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """Of y log(y/x) − y + x: log(y/x) and 1 − y/x."""
    return log_ratio(x, y), (x - y) / x


def laplace(loc_p: Tensor, b: Tensor, loc_q: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    """Of b/c − log(b/c) − 1 + (b/c)(e⁻ᵈ − 1 + d), d = |μ − ν|/b: see `cpu.laplace`."""
    gap = loc_p - loc_q
    d = gap.abs() / b
    change = torch.expm1(-d)
    apart = exp_remainder(torch.ones_like(d), 1 + change, -d)
    of_loc = -gap.sign() * change / c
    u = (b - c) / c
    return of_loc, u / b + (apart + change * d) / c, -of_loc, -(u + b / c * apart) / c


def bernoulli_probs(p: Tensor, q: Tensor) -> tuple[Tensor, ...]:
    """Of p log(p/q) + (1 − p) log((1 − p)/(1 − q))."""
    rest_p, rest_q, step = 1 - p, 1 - q, p - q
    near = step.abs() < 0.5 * rest_p
    of_rest = torch.where(near, (step / rest_p).log1p(), (rest_q / rest_p).log())
    return log_ratio(q, p) + of_rest, -step / (q * rest_q)


def bernoulli_logits(a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    """Of KL(Bernoulli(σ(a))‖Bernoulli(σ(b))): σ(a)σ(−a)(a − b) and σ(b) − σ(a)."""
    step = a - b
    rest = torch.sigmoid(-a)
    return torch.sigmoid(a) * rest * step, -torch.sigmoid(b) * rest * torch.expm1(step)
