"""The table of known answers for distributions: one row per closed form, one module per family.

A row makes P and Q from plain numbers and says by mpmath what the divergence is. Whatever is in
the table goes through the whole battery of `distributions/test_battery.py`, and a registered
closed form without a row fails there.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import torch
from torch import Tensor
from torch.distributions import Distribution

Numbers = tuple[Any, ...]


@dataclass(frozen=True)
class DistributionCase:
    """D(P‖Q) for P = make_p(*p) and Q = make_q(*q), whose truth is truth(p, q) by mpmath.

    Attributes:
        divergence: "kl", "renyi", "entropy", "wasserstein", "total_variation" or "js".
        make_p: from one tensor per entry of `p` to a distribution; batch dimensions lead.
        p: the parameters as numbers or nested lists, each exact in float32.
        make_q: likewise; ignored for "entropy".
        q: likewise.
        truth: the exact answer, from the same numbers, by another route than the closed form
            (a definition, a quadrature, an enumeration).
        alpha: the order, for "renyi".
        rtol: relative tolerance in float64; larger than the default only with a reason beside it.
        differentiable: False where the parameters are integers or lie on a manifold that
            finite differences would leave.
    """

    divergence: str
    make_p: Callable[..., Distribution]
    p: Numbers
    make_q: Callable[..., Distribution]
    q: Numbers
    truth: Callable[[Numbers, Numbers], Any]
    alpha: float | None = None
    rtol: float = 1e-11
    differentiable: bool = True

    @property
    def name(self) -> str:
        """For the test report: "kl-Gamma-Exponential"."""
        sides = [type(make(*tensors(numbers))).__name__ for make, numbers in self.sides()]
        return "-".join([self.divergence, *sides, *([f"{self.alpha:g}"] if self.alpha else [])])

    def sides(self) -> list[tuple[Callable[..., Distribution], Numbers]]:
        return [(self.make_p, self.p), (self.make_q, self.q)]


def tensors(numbers: Numbers, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [torch.tensor(number, dtype=dtype) for number in numbers]


def integral(
    log_p: Callable[[Any], Any], log_q: Callable[[Any], Any], points: list[Any], alpha: Any = None
) -> Any:
    """∫ p log(p/q), or the Rényi divergence of order `alpha`, by mpmath between `points`."""
    if alpha is None:
        return mp.quad(lambda x: mp.exp(log_p(x)) * (log_p(x) - log_q(x)), points)
    a = mp.mpf(alpha)
    power = mp.quad(lambda x: mp.exp(a * log_p(x) + (1 - a) * log_q(x)), points)
    return mp.log(power) / (a - 1)


def all_cases() -> list[DistributionCase]:
    """The rows of every family."""
    rows: list[DistributionCase] = []
    for module in pkgutil.iter_modules(__path__):
        rows += importlib.import_module(f"{__name__}.{module.name}").CASES
    return rows
