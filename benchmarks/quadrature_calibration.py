"""Is the error that quadrature reports larger than the error it makes?

Draws random pairs over every continuous family of torch on the line (heavy tails, near-point
masses, shifted supports, mixtures), integrates KL(P‖Q), and compares with the truth: a dense
composite Gauss rule in extended precision over densities written out again here, or +inf where
tails or supports say so. Prints, for each family of P, the largest true error over reported error
and the share of pairs whose true error is within the reported one.

Run: python benchmarks/quadrature_calibration.py [--pairs 1000] [--seed 0]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp
import numpy as np
import torch
import torch.distributions as td
from torch.distributions.relaxed_bernoulli import LogitRelaxedBernoulli

from kullback.distributions.quadrature.line import integrate
from kullback.divergences import KL

mp.mp.dps = 30
Long = np.longdouble
TAU = 2 * math.pi
INF = math.inf


@dataclass(frozen=True)
class At:
    """Points anchor + offset in extended precision."""

    anchor: Long
    sign: int
    log_offset: np.ndarray

    def gap(self, end: float) -> np.ndarray:
        return (self.anchor - Long(end)) + self.sign * np.exp(self.log_offset)

    def log_gap(self, end: float) -> np.ndarray:
        shift = self.anchor - Long(end)
        if shift == 0:
            return self.log_offset
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            near = np.log(np.abs(shift)) + np.log1p(self.sign * np.exp(self.log_offset) / shift)
            direct = np.log(np.abs(self.gap(end)))
            return np.where(np.exp(self.log_offset) < 0.5 * np.abs(shift), near, direct)

    def above(self, end: float) -> np.ndarray:
        if self.anchor == Long(end):
            return np.full(self.log_offset.shape, self.sign > 0)
        return self.gap(end) > 0


@dataclass(frozen=True)
class Side:
    """A distribution twice: as torch has it, and as a density in extended precision.

    `tails` are (below, above): how fast the density falls off there, see `_finite`.
    """

    name: str
    made: td.Distribution
    log_density: Callable[[At], np.ndarray]
    low: float
    high: float
    marks: tuple[tuple[float, float], ...]
    tails: tuple[tuple[str, float], tuple[str, float]]
    smooth: bool = True


def real(*values: float) -> list[torch.Tensor]:
    return [torch.tensor(value, dtype=torch.float64) for value in values]


def lgamma(x: float) -> Long:
    return Long(str(mp.loggamma(mp.mpf(x))))


def log(x: float) -> Long:
    return np.log(Long(x))


def within(value: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return np.where(inside, value, -np.inf)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(Long(0), x)


NONE = ("none", 0.0)


def normal(loc: float, scale: float) -> Side:
    return Side(
        "Normal",
        td.Normal(*real(loc, scale)),
        lambda at: -((at.gap(loc) / Long(scale)) ** 2) / 2 - log(scale) - log(TAU) / 2,
        -INF,
        INF,
        ((loc, scale),),
        (("power", 2.0), ("power", 2.0)),
    )


def laplace(loc: float, scale: float) -> Side:
    return Side(
        "Laplace",
        td.Laplace(*real(loc, scale)),
        lambda at: -np.abs(at.gap(loc)) / Long(scale) - log(2) - log(scale),
        -INF,
        INF,
        ((loc, scale),),
        (("linear", 1 / scale), ("linear", 1 / scale)),
    )


def cauchy(loc: float, scale: float) -> Side:
    return Side(
        "Cauchy",
        td.Cauchy(*real(loc, scale)),
        lambda at: -softplus(2 * (at.log_gap(loc) - log(scale))) - log(scale) - np.log(Long(mp_pi)),
        -INF,
        INF,
        ((loc, scale),),
        (("algebraic", 1.0), ("algebraic", 1.0)),
    )


mp_pi = Long("3.14159265358979323846264338327950288")


def student(df: float, loc: float, scale: float) -> Side:
    norm = lgamma(df / 2 + 0.5) - lgamma(df / 2) - np.log(Long(df) * mp_pi) / 2 - log(scale)
    return Side(
        "StudentT",
        td.StudentT(*real(df, loc, scale)),
        lambda at: (
            norm - (Long(df) + 1) / 2 * softplus(2 * (at.log_gap(loc) - log(scale)) - log(df))
        ),
        -INF,
        INF,
        ((loc, scale),),
        (("algebraic", df), ("algebraic", df)),
    )


def gumbel(loc: float, scale: float) -> Side:
    def density(at: At) -> np.ndarray:
        y = -at.gap(loc) / Long(scale)
        return y - np.exp(y) - log(scale)

    return Side(
        "Gumbel",
        td.Gumbel(*real(loc, scale)),
        density,
        -INF,
        INF,
        ((loc, scale),),
        (("exponential", 1 / scale), ("linear", 1 / scale)),
    )


def logistic(temperature: float, logit: float) -> Side:
    def density(at: At) -> np.ndarray:
        y = Long(logit) - Long(temperature) * at.gap(0)
        return log(temperature) + y - 2 * softplus(y)

    return Side(
        "LogitRelaxedBernoulli",
        LogitRelaxedBernoulli(*real(temperature), logits=real(logit)[0]),
        density,
        -INF,
        INF,
        ((logit / temperature, 1 / temperature),),
        (("linear", temperature), ("linear", temperature)),
    )


def gamma(a: float, rate: float, name: str = "Gamma") -> Side:
    norm = Long(a) * log(rate) - lgamma(a)
    made = {
        "Gamma": lambda: td.Gamma(*real(a, rate)),
        "Chi2": lambda: td.Chi2(*real(2 * a)),
        "Exponential": lambda: td.Exponential(*real(rate)),
    }[name]()
    return Side(
        name,
        made,
        lambda at: within(
            norm + (Long(a) - 1) * at.log_gap(0) - Long(rate) * at.gap(0), at.above(0)
        ),
        0.0,
        INF,
        (((a + 1) / rate, math.sqrt(a + 1) / rate),),
        (("end", a), ("linear", rate)),
    )


def inverse_gamma(a: float, rate: float) -> Side:
    norm = Long(a) * log(rate) - lgamma(a)
    return Side(
        "InverseGamma",
        td.InverseGamma(*real(a, rate)),
        lambda at: within(
            norm - (Long(a) + 1) * at.log_gap(0) - np.exp(log(rate) - at.log_gap(0)), at.above(0)
        ),
        0.0,
        INF,
        ((rate / (a + 1), rate / (a + 1) ** 1.5),),
        (("inverse", rate), ("algebraic", a)),
    )


def log_normal(loc: float, scale: float) -> Side:
    def density(at: At) -> np.ndarray:
        z = (at.log_gap(0) - Long(loc)) / Long(scale)
        return within(-z * z / 2 - log(scale) - log(TAU) / 2 - at.log_gap(0), at.above(0))

    middle = math.exp(loc)
    return Side(
        "LogNormal",
        td.LogNormal(*real(loc, scale)),
        density,
        0.0,
        INF,
        ((middle, middle * min(1, scale)),),
        (("log", 2.0), ("log", 2.0)),
    )


def weibull(scale: float, k: float) -> Side:
    def density(at: At) -> np.ndarray:
        log_z = at.log_gap(0) - log(scale)
        return within(
            log(k) - log(scale) + (Long(k) - 1) * log_z - np.exp(Long(k) * log_z), at.above(0)
        )

    return Side(
        "Weibull",
        td.Weibull(*real(scale, k)),
        density,
        0.0,
        INF,
        ((scale, scale * min(1, 1 / k)),),
        (("end", k), ("power", k)),
    )


def half(name: str, scale: float) -> Side:
    whole = {"HalfNormal": normal, "HalfCauchy": cauchy}[name](0.0, scale)
    return Side(
        name,
        getattr(td, name)(*real(scale)),
        lambda at: within(whole.log_density(at) + log(2), at.above(0)),
        0.0,
        INF,
        ((scale, scale),),
        (("end", 1.0), whole.tails[1]),
    )


def fisher(df1: float, df2: float) -> Side:
    a, b = df1 / 2, df2 / 2
    norm = lgamma(a + b) - lgamma(a) - lgamma(b) + Long(a) * (log(df1) - log(df2))
    return Side(
        "FisherSnedecor",
        td.FisherSnedecor(*real(df1, df2)),
        lambda at: within(
            norm
            + (Long(a) - 1) * at.log_gap(0)
            - Long(a + b) * softplus(log(df1) - log(df2) + at.log_gap(0)),
            at.above(0),
        ),
        0.0,
        INF,
        ((1.0, min(1.0, math.sqrt(2 / df1 + 2 / df2))),),
        (("end", a), ("algebraic", b)),
    )


def pareto(scale: float, alpha: float) -> Side:
    return Side(
        "Pareto",
        td.Pareto(*real(scale, alpha)),
        lambda at: within(
            log(alpha) + Long(alpha) * log(scale) - (Long(alpha) + 1) * at.log_gap(0),
            at.above(scale),
        ),
        scale,
        INF,
        ((scale * (1 + min(1, 1 / alpha)), scale * min(1, 1 / alpha)),),
        (("end", 1.0), ("algebraic", alpha)),
    )


def generalized_pareto(loc: float, scale: float, xi: float) -> Side:
    # The end is no float, and a rounded one would be another distribution.
    end = Long(loc) - Long(scale) / Long(xi) if xi < 0 else INF

    def density(at: At) -> np.ndarray:
        if xi > 0:
            inner = softplus(log(xi) + at.log_gap(loc) - log(scale))
        else:
            inner = at.log_gap(end) + log(-xi) - log(scale)
        inside = at.above(loc) & (~at.above(end) if xi < 0 else True)
        return within(-log(scale) - (1 / Long(xi) + 1) * inner, inside)

    width = min(scale, 0.5 * float(end - loc))
    upper = ("algebraic", 1 / xi) if xi > 0 else ("end", -1 / xi)
    return Side(
        "GeneralizedPareto",
        td.GeneralizedPareto(*real(loc, scale, xi)),
        density,
        loc,
        end,
        ((loc + width, width),),
        (("end", 1.0), upper),
    )


def beta(a: float, b: float) -> Side:
    norm = lgamma(a + b) - lgamma(a) - lgamma(b)
    return Side(
        "Beta",
        td.Beta(*real(a, b)),
        lambda at: within(
            norm + (Long(a) - 1) * at.log_gap(0) + (Long(b) - 1) * at.log_gap(1), in_unit(at)
        ),
        0.0,
        1.0,
        ((a / (a + b), math.sqrt(a * b / (a + b + 1)) / (a + b)),),
        (("end", a), ("end", b)),
    )


def in_unit(at: At) -> np.ndarray:
    return at.above(0) & ~at.above(1)


def kumaraswamy(a: float, b: float) -> Side:
    def density(at: At) -> np.ndarray:
        inside = in_unit(at)
        log_x = np.where(inside, at.log_gap(0), -1)
        tiny = at.log_gap(1) < -44
        with np.errstate(divide="ignore"):
            rest = np.where(tiny, log(a) + at.log_gap(1), np.log(-np.expm1(Long(a) * log_x)))
        return within(log(a) + log(b) + (Long(a) - 1) * log_x + (Long(b) - 1) * rest, inside)

    middle = (-math.expm1(-math.log(2) / b)) ** (1 / a)
    return Side(
        "Kumaraswamy",
        td.Kumaraswamy(*real(a, b)),
        density,
        0.0,
        1.0,
        ((middle, min(middle / max(a, 1), 1 - middle)),),
        (("end", a), ("end", b)),
    )


def continuous_bernoulli(logit: float) -> Side:
    norm = log(logit) - np.log(np.expm1(Long(logit))) if logit > 0 else None
    if norm is None:
        norm = log(-logit) - np.log(-np.expm1(Long(logit)))
    return Side(
        "ContinuousBernoulli",
        td.ContinuousBernoulli(logits=real(logit)[0]),
        lambda at: within(norm + Long(logit) * at.gap(0), in_unit(at)),
        0.0,
        1.0,
        ((0.5, 0.5), (1 / (abs(logit) + 2), 0.1), (1 - 1 / (abs(logit) + 2), 0.1)),
        (("end", 1.0), ("end", 1.0)),
    )


def relaxed_bernoulli(temperature: float, logit: float) -> Side:
    def density(at: At) -> np.ndarray:
        below, above = at.log_gap(0), at.log_gap(1)
        y = Long(logit) - Long(temperature) * (below - above)
        return within(log(temperature) + y - 2 * softplus(y) - below - above, in_unit(at))

    middle = 1 / (1 + math.exp(-logit / temperature))
    return Side(
        "RelaxedBernoulli",
        td.RelaxedBernoulli(*real(temperature), logits=real(logit)[0]),
        density,
        0.0,
        1.0,
        ((middle, middle * (1 - middle) * min(1, 1 / temperature)),),
        (("end", temperature), ("end", temperature)),
    )


def uniform(low: float, high: float) -> Side:
    return Side(
        "Uniform",
        td.Uniform(*real(low, high)),
        lambda at: within(
            np.full(at.log_offset.shape, -np.log(Long(high) - Long(low))),
            at.above(low) & ~at.above(high),
        ),
        low,
        high,
        (((low + high) / 2, (high - low) / 4),),
        (("end", 1.0), ("end", 1.0)),
    )


def von_mises(loc: float, kappa: float) -> Side:
    norm = Long(str(mp.log(2 * mp.pi * mp.besseli(0, kappa))))
    return Side(
        "VonMises",
        td.VonMises(*real(loc, kappa)),
        lambda at: within(
            Long(kappa) * np.cos(at.gap(loc)) - norm, at.above(-math.pi) & ~at.above(math.pi)
        ),
        -math.pi,
        math.pi,
        ((loc, min(1, kappa**-0.5)),),
        (("end", 1.0), ("end", 1.0)),
    )


def mixture(parts: list[Side], weights: list[float]) -> Side:
    """Of members of one location family."""
    kind = type(parts[0].made)
    names = {td.Normal: ("loc", "scale"), td.StudentT: ("df", "loc", "scale")}.get(
        kind, ("concentration", "rate")
    )
    stacked = [torch.stack([getattr(part.made, name) for part in parts]) for name in names]
    made = td.MixtureSameFamily(
        td.Categorical(torch.tensor(weights, dtype=torch.float64)), kind(*stacked)
    )
    exact = np.array(weights, dtype=Long) / np.sum(np.array(weights, dtype=Long))

    def density(at: At) -> np.ndarray:
        logs = [np.log(w) + part.log_density(at) for w, part in zip(exact, parts, strict=True)]
        total = logs[0]
        for more in logs[1:]:
            total = np.logaddexp(total, more)
        return total

    marks = tuple(mark for part in parts for mark in part.marks)
    heaviest = tuple(min((part.tails[i] for part in parts), key=weight) for i in (0, 1))
    return Side(
        f"Mixture of {parts[0].name}",
        made,
        density,
        parts[0].low,
        parts[0].high,
        marks,
        heaviest,  # type: ignore[arg-type]
    )


def weight(tail: tuple[str, float]) -> tuple[int, float]:
    """Heavier tails first."""
    order = ("algebraic", "end", "log", "linear", "power", "inverse", "exponential", "none")
    return order.index(tail[0]), tail[1]


def moved(part: Side, shift: float) -> Side:
    """part + shift, as an affine transform."""
    made = td.TransformedDistribution(part.made, [td.AffineTransform(*real(shift, 1.0))])

    def density(at: At) -> np.ndarray:
        anchor = part.high if at.anchor == Long(shift + part.high) else at.anchor - Long(shift)
        return part.log_density(At(Long(anchor), at.sign, at.log_offset))

    marks = tuple((place + shift, scale) for place, scale in part.marks)
    return Side(
        f"shifted {part.name}",
        made,
        density,
        part.low + shift,
        part.high + shift,
        marks,
        part.tails,
    )


Random = np.random.Generator


def spread(rng: Random, low: float, high: float) -> float:
    """Log-uniform."""
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def scale_of(rng: Random) -> float:
    """Mostly of order 1, at times nearly a point."""
    return spread(rng, 1e-6, 1e-3) if rng.random() < 0.15 else spread(rng, 0.1, 10)


FAMILIES: dict[str, list[Callable[[Random], Side]]] = {
    "line": [
        lambda r: normal(r.normal() * 3, scale_of(r)),
        lambda r: laplace(r.normal() * 3, scale_of(r)),
        lambda r: cauchy(r.normal() * 3, scale_of(r)),
        lambda r: student(spread(r, 0.5, 5), r.normal() * 3, scale_of(r)),
        lambda r: student(spread(r, 5, 50), r.normal() * 3, scale_of(r)),
        lambda r: gumbel(r.normal() * 3, scale_of(r)),
        lambda r: logistic(spread(r, 0.3, 5), r.normal() * 2),
        lambda r: mixture(
            [normal(r.normal() * 5, scale_of(r)) for _ in range(3)], list(r.dirichlet([1, 1, 1]))
        ),
        lambda r: mixture(
            [student(spread(r, 1, 9), r.normal() * 5, scale_of(r)) for _ in range(2)],
            list(r.dirichlet([1, 1])),
        ),
    ],
    "half-line": [
        lambda r: gamma(spread(r, 0.05, 20), scale_of(r) ** -1),
        lambda r: gamma(1.0, scale_of(r) ** -1, "Exponential"),
        lambda r: gamma(spread(r, 0.25, 20), 0.5, "Chi2"),
        lambda r: inverse_gamma(spread(r, 0.3, 10), scale_of(r)),
        lambda r: log_normal(r.normal(), spread(r, 0.1, 3)),
        lambda r: weibull(scale_of(r), spread(r, 0.3, 5)),
        lambda r: half("HalfNormal", scale_of(r)),
        lambda r: half("HalfCauchy", scale_of(r)),
        lambda r: fisher(spread(r, 0.3, 30), spread(r, 0.5, 30)),
        lambda r: pareto(scale_of(r), spread(r, 0.2, 5)),
        lambda r: generalized_pareto(abs(r.normal()), scale_of(r), spread(r, 0.1, 2)),
        lambda r: mixture(
            [gamma(spread(r, 0.1, 20), scale_of(r) ** -1) for _ in range(2)],
            list(r.dirichlet([1, 1])),
        ),
        lambda r: moved(gamma(spread(r, 0.05, 5), spread(r, 0.1, 10)), abs(r.normal())),
        lambda r: moved(weibull(spread(r, 0.1, 10), spread(r, 0.3, 3)), abs(r.normal())),
    ],
    "interval": [
        lambda r: beta(spread(r, 0.1, 20), spread(r, 0.1, 20)),
        lambda r: kumaraswamy(spread(r, 0.1, 10), spread(r, 0.1, 10)),
        lambda r: continuous_bernoulli(r.normal() * 5),
        lambda r: relaxed_bernoulli(spread(r, 0.2, 3), r.normal() * 2),
        lambda r: uniform(0.0, 1.0),
        lambda r: uniform(*sorted(r.uniform(0, 1, 2))),
        lambda r: von_mises(r.uniform(-3, 3), spread(r, 0.1, 100)),
        lambda r: generalized_pareto(0.0, spread(r, 0.1, 1), -1.0),
        lambda r: generalized_pareto(abs(r.normal()), scale_of(r), -spread(r, 0.2, 3)),
    ],
}
WIDER = {"interval": ("interval", "half-line", "line"), "half-line": ("half-line", "line")}


def random_pair(rng: Random) -> tuple[Side, Side]:
    """Mostly with Q on a set that may hold P's."""
    kind = str(rng.choice(list(FAMILIES)))
    wider = WIDER.get(kind, ("line",))
    other = str(rng.choice(wider)) if rng.random() < 0.95 else str(rng.choice(list(FAMILIES)))
    pick = [FAMILIES[kind], FAMILIES[other]]
    p, q = (families[rng.integers(len(families))](rng) for families in pick)
    return p, q


def is_finite(p: Side, q: Side) -> bool:
    """Whether KL(P‖Q) is, from supports and tails."""
    if p.low < q.low or p.high > q.high:
        return False
    return _tail_is_finite(p, q, 0) and _tail_is_finite(p, q, 1)


def _tail_is_finite(p: Side, q: Side, i: int) -> bool:
    """Whether −log q has a mean in P's tail."""
    end_p, end_q = ((side.low, side.high)[i] for side in (p, q))
    (of_p, rate_p), (of_q, rate_q) = p.tails[i], q.tails[i]
    if math.isfinite(end_p):
        if end_p != end_q or of_q in ("end", "log"):
            return True
        # −log q is like 1/x: P's density has to vanish at 0 faster than x⁰.
        return rate_p > 1 if of_p == "end" else of_p in ("log", "inverse")
    if of_q in ("algebraic", "log"):
        return True
    if of_p == "algebraic":
        growth = {"linear": 1.0, "power": rate_q}.get(of_q, INF)
        return rate_p > growth
    if of_q == "exponential":
        if of_p == "linear":
            return rate_p > rate_q
        return of_p in ("exponential", "power") and not (of_p == "power" and rate_p <= 1)
    return True


def gauss_rule(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Legendre on (0, 1), in extended precision by Newton's method."""
    x, _ = np.polynomial.legendre.leggauss(count)
    x = x.astype(Long)
    for _ in range(3):
        before, here = np.ones_like(x), x.copy()
        for n in range(2, count + 1):
            before, here = here, ((2 * n - 1) * x * here - (n - 1) * before) / Long(n)
        slope = count * (x * here - before) / (x * x - 1)
        x = x - here / slope
    return (x + 1) / 2, 1 / ((1 - x * x) * slope * slope)


NODES, WEIGHTS = gauss_rule(32)
# Ends of the dense panels in log |x − landmark|.
FINE = np.concatenate([np.arange(-30.0, 12.0, 0.5), np.arange(12.0, 60.0, 2.0)])
FAR = np.array([-2400.0, -1200, -600, -400, -300, -200, -150, -100, -80, -60, -50, -40, -35])
EDGES = np.concatenate([FAR, FINE, -FAR[::-1][2:]])


def truth(p: Side, q: Side) -> float:
    """KL(P‖Q) = ∫ p log(p/q) where it is finite, by dense panels around every landmark."""
    marks = {Long(place): scale for place, scale in (*p.marks, *q.marks)}
    for end in (p.low, p.high, q.low, q.high):
        if math.isfinite(end):
            marks[Long(end)] = min(s for s in [*marks.values()] if s > 0)
    places = sorted(place for place in marks if p.low <= place <= p.high)
    total = Long(0)
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        for i, place in enumerate(places):
            for sign in (-1, 1):
                j = i + sign
                reach = INF if not 0 <= j < len(places) else float(abs(places[j] - place)) / 2
                if (sign < 0 and place == p.low) or (sign > 0 and place == p.high):
                    continue
                total += _half(p, q, place, sign, reach, marks[place])
    return float(total)


def _half(p: Side, q: Side, place: Long, sign: int, reach: float, scale: float) -> Long:
    """One side of a landmark, in log-distance; panels are halved until nothing changes."""
    edges = np.minimum((EDGES + math.log(scale)).astype(Long), np.log(Long(reach)))
    edges = np.unique(edges)
    low, high = edges[:-1], edges[1:]
    found = _panels(p, q, place, sign, low, high)
    total = Long(0)
    for _ in range(40):
        middle = (low + high) / 2
        left, right = (
            _panels(p, q, place, sign, *ends) for ends in ((low, middle), (middle, high))
        )
        open_ = np.abs(left + right - found) > 1e-19 * (abs(total) + np.sum(np.abs(left + right)))
        total += np.sum((left + right)[~open_])
        low, high = np.append(low[open_], middle[open_]), np.append(middle[open_], high[open_])
        found = np.append(left[open_], right[open_])
        if not len(low):
            break
    return total + np.sum(found)


def _panels(
    p: Side, q: Side, place: Long, sign: int, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    width = (high - low)[:, None]
    u = low[:, None] + width * NODES
    at = At(place, sign, u)
    log_p, log_q = p.log_density(at), q.log_density(at)
    here = np.exp(log_p + u)
    weighed = np.where(here == 0, Long(0), here * (log_p - log_q))
    return np.sum(weighed * WEIGHTS * width, axis=1)


@dataclass(frozen=True)
class Outcome:
    """One pair: what was reported, and what is true."""

    p: Side
    q: Side
    value: float
    error: float
    trusted: bool
    note: str
    evaluations: int
    seconds: float
    truth: float

    @property
    def right(self) -> bool:
        """Whether the truth is within the reported error; saying that one cannot tell is right."""
        if not self.trusted:
            return True
        if math.isinf(self.truth) or math.isinf(self.value):
            return self.truth == self.value
        return abs(self.value - self.truth) <= self.error + 1e-15 * abs(self.truth)

    @property
    def relative_error(self) -> float:
        gap = abs(self.value - self.truth)
        return gap / abs(self.truth) if self.truth else gap


def run_pair(p: Side, q: Side) -> Outcome:
    started = time.perf_counter()
    found = integrate(p.made, q.made, KL)
    seconds = time.perf_counter() - started
    return Outcome(
        p,
        q,
        float(found.value),
        float(found.error),
        bool(found.trusted),
        found.note,
        found.evaluations,
        seconds,
        truth(p, q) if is_finite(p, q) else INF,
    )


def calibrate(pairs: int, seed: int = 0) -> list[Outcome]:
    """Outcomes of random pairs."""
    rng = np.random.default_rng(seed)
    return [run_pair(*random_pair(rng)) for _ in range(pairs)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    outcomes = calibrate(options.pairs, options.seed)
    finite = [x for x in outcomes if math.isfinite(x.truth) and math.isfinite(x.value)]
    print(
        f"{'family of P':26} {'pairs':>5} {'+inf':>5} {'within':>7} "
        f"{'true/reported':>14} worst rel."
    )
    for name in sorted({outcome.p.name for outcome in outcomes}):
        mine = [outcome for outcome in outcomes if outcome.p.name == name]
        known = [outcome for outcome in finite if outcome.p.name == name]
        infinite = sum(math.isinf(outcome.truth) for outcome in mine)
        within = sum(outcome.right for outcome in mine) / len(mine)
        ratio = max((abs(x.value - x.truth) / x.error for x in known if x.error), default=0.0)
        worst = max((x.relative_error for x in known), default=0.0)
        print(f"{name:26} {len(mine):5} {infinite:5} {within:7.1%} {ratio:14.2g} {worst:10.1e}")
    wrong = [x for x in outcomes if not x.right]
    infinite = [x for x in outcomes if math.isinf(x.truth)]
    seconds = sorted(x.seconds for x in outcomes)
    share = 1 - len(wrong) / len(outcomes)
    print(
        f"\nwithin the reported error: {share:.2%} of {len(outcomes)} pairs"
        f"\n+inf found where it is the truth: {sum(math.isinf(x.value) for x in infinite)} of "
        f"{len(infinite)}; not shown finite: {sum(math.isnan(x.value) for x in outcomes)}"
        f"\nworst relative error: {max(x.relative_error for x in finite):.1e}; "
        f"median {np.median([x.relative_error for x in finite]):.1e}"
        f"\nseconds for a pair: median {np.median(seconds):.3f}, largest {seconds[-1]:.2f}; "
        f"densities taken at {np.median([x.evaluations for x in outcomes]):.0f} points"
    )


if __name__ == "__main__":
    main()
