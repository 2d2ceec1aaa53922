"""Answers of arbitrary precision, from the definitions as the papers write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mpmath as mp

mp.mp.dps = 40

Row = Sequence[float]


def softmax(logits: Row) -> list[mp.mpf]:
    """The probabilities of logits, taken as the exact numbers they are stored as."""
    top = max(logits)
    weights = [mp.mpf(0) if x == -mp.inf else mp.e ** (mp.mpf(x) - mp.mpf(top)) for x in logits]
    summed = mp.fsum(weights)
    return [weight / summed for weight in weights]


def kl(p: Row, q: Row) -> mp.mpf:
    if any(a > 0 and b == 0 for a, b in zip(p, q, strict=True)):
        return mp.inf
    return mp.fsum(a * mp.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def entropy(p: Row) -> mp.mpf:
    return -mp.fsum(a * mp.log(a) for a in p if a > 0)


def js(p: Row, q: Row, weight: float = 0.5) -> mp.mpf:
    w = mp.mpf(weight)
    mixture = [w * a + (1 - w) * b for a, b in zip(p, q, strict=True)]
    return w * kl(p, mixture) + (1 - w) * kl(q, mixture)


def power_sum(p: Row, q: Row, alpha: float) -> mp.mpf:
    """Σ p^α q^(1−α)."""
    a = mp.mpf(alpha)
    total = mp.mpf(0)
    for x, y in zip(p, q, strict=True):
        if (x > 0 and y == 0 and a > 1) or (x == 0 and y > 0 and a < 0):
            return mp.inf
        if x > 0 and y > 0:
            total += mp.mpf(x) ** a * mp.mpf(y) ** (1 - a)
    return total


def alpha(p: Row, q: Row, order: float) -> mp.mpf:
    if order == 1:
        return kl(p, q)
    if order == 0:
        return kl(q, p)
    a = mp.mpf(order)
    return (power_sum(p, q, order) - 1) / (a * (a - 1))


def renyi(p: Row, q: Row, order: float) -> mp.mpf:
    if order == 1:
        return kl(p, q)
    if order == mp.inf:
        return max(mp.log(a / b) if b > 0 else mp.inf for a, b in zip(p, q, strict=True) if a > 0)
    if order == 0:
        return -mp.log(mp.fsum(b for a, b in zip(p, q, strict=True) if a > 0))
    return mp.log(power_sum(p, q, order)) / (mp.mpf(order) - 1)


def total_variation(p: Row, q: Row) -> mp.mpf:
    return mp.fsum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2


def squared_hellinger(p: Row, q: Row) -> mp.mpf:
    return mp.fsum((mp.sqrt(a) - mp.sqrt(b)) ** 2 for a, b in zip(p, q, strict=True)) / 2


def chi_squared(p: Row, q: Row) -> mp.mpf:
    if any(a > 0 and b == 0 for a, b in zip(p, q, strict=True)):
        return mp.inf
    return mp.fsum((a - b) ** 2 / b for a, b in zip(p, q, strict=True) if b > 0)


DIVERGENCES: dict[str, Callable[[Row, Row], mp.mpf]] = {
    "alpha": lambda p, q: alpha(p, q, 0.5),
    "chi_squared": chi_squared,
    "jeffreys": lambda p, q: kl(p, q) + kl(q, p),
    "js": js,
    "kl": kl,
    "reverse_kl": lambda p, q: kl(q, p),
    "squared_hellinger": squared_hellinger,
    "total_variation": total_variation,
}
