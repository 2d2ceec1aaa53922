"""The interval of one position: the truth is always inside, and both ends are attained."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from kullback.compare.incomplete.bounds import kl_bounds
from kullback.compare.incomplete.knowledge import Knowledge, boxes
from kullback.compare.incomplete.lower import _multipliers
from kullback.errors import InputError

# Sums of up to a thousand float64 terms, and of a dual whose constants cancel to 1e-10.
ARITHMETIC = 1e-9


def kl(p: np.ndarray, q: np.ndarray) -> float:
    kept = p > 0
    with np.errstate(divide="ignore"):
        return float((p[kept] * (np.log(p[kept]) - np.log(q[kept]))).sum())


def truncated(
    p: np.ndarray, k: int, shown: np.ndarray, rounding: float = 0.0, digits: int | None = None
) -> Knowledge:
    """The k most probable events of `p` and those of `shown`, as a log would have them."""
    logs = np.log(p)
    if digits is not None:
        logs = np.round(logs, digits)
    order = np.argsort(-p, kind="stable")
    listed = np.zeros(len(p), bool)
    listed[order[:k]] = True
    threshold = float(logs[order[k - 1]])
    listed |= shown
    return Knowledge(np.where(listed, logs, np.nan), threshold, rounding=rounding)


def joint(p: Knowledge, q: Knowledge) -> tuple[Knowledge, Knowledge]:
    """Both without the events that neither lists."""
    kept = ~(np.isnan(p.log_probs) & np.isnan(q.log_probs))
    return (
        Knowledge(p.log_probs[kept], p.threshold, p.floor, p.rounding),
        Knowledge(q.log_probs[kept], q.threshold, q.floor, q.rounding),
    )


def pair(rng: np.random.Generator, events: int, apart: float) -> tuple[np.ndarray, np.ndarray]:
    logits = 2.5 * rng.normal(size=events)
    p, q = np.exp(logits), np.exp(logits + apart * rng.normal(size=events))
    return p / p.sum(), q / q.sum()


@pytest.mark.parametrize("digits", [None, 2, 4])
@pytest.mark.parametrize("knows_vocabulary", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_truth_is_inside(seed: int, knows_vocabulary: bool, digits: int | None) -> None:
    rng = np.random.default_rng(seed)
    rounding = 0.0 if digits is None else 0.5 * 10.0**-digits
    finite = 0
    for _ in range(150):
        events = int(rng.integers(3, 30))
        p, q = pair(rng, events, float(rng.choice([0.01, 0.3, 3.0])))
        k_p, k_q = rng.integers(1, events + 1, size=2)
        shown = np.arange(events) == rng.integers(events)
        P = truncated(p, k_p, shown, rounding, digits)
        Q = truncated(q, k_q, shown, rounding, digits)
        P, Q = joint(P, Q)
        bounds = kl_bounds(P, Q, vocabulary=events if knows_vocabulary else None)
        assert bounds.low - ARITHMETIC <= kl(p, q) <= bounds.high + ARITHMETIC
        assert bounds.listed_low <= bounds.low + ARITHMETIC
        finite += math.isfinite(bounds.high)
    assert finite > 10 or not knows_vocabulary


@pytest.mark.parametrize("seed", range(3))
def test_rows_in_full_have_one_value(seed: int) -> None:
    p, q = pair(np.random.default_rng(seed), 50, 0.5)
    bounds = kl_bounds(Knowledge(np.log(p)), Knowledge(np.log(q)), vocabulary=50)
    for value in bounds[:4]:
        assert value == pytest.approx(kl(p, q), abs=1e-13)
    same = kl_bounds(Knowledge(np.log(p)), Knowledge(np.log(p)), vocabulary=50)
    assert same[:4] == (0, 0, 0, 0)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("apart", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("full", ["neither", "P", "Q"])
def test_lower_end_is_attained(full: str, apart: float, seed: int) -> None:
    # A completion that agrees with both logs and whose KL is the bound: nothing higher holds.
    rng = np.random.default_rng(100 + seed)
    p, q = pair(rng, 40, apart)
    k_p, k_q = rng.integers(2, 10, size=2)
    P, Q = truncated(p, k_p, np.zeros(40, bool)), truncated(q, k_q, np.zeros(40, bool))
    P, Q = (
        (Knowledge(np.log(p)) if full == "P" else P),
        (Knowledge(np.log(q)) if full == "Q" else Q),
    )
    P, Q = joint(P, Q)
    vocabulary = 40 if full != "neither" else 1_000_000
    bounds = kl_bounds(P, Q, vocabulary=vocabulary)
    others = vocabulary - len(P.log_probs)
    sides = boxes(P, vocabulary, "P"), boxes(Q, vocabulary, "Q")
    mu, beta = _multipliers(*sides, others > 0)
    p_listed, q_listed = sides[0].listed, sides[1].listed
    x, y = sides[0].low.copy(), sides[1].low.copy()
    x[~p_listed] = np.clip(mu * y[~p_listed], 0, sides[0].ceiling)
    y[~q_listed] = np.clip(sides[0].low[~q_listed] / beta, 0, sides[1].ceiling)
    rest = [1 - x.sum(), 1 - y.sum()]
    assert min(rest) > -1e-9
    assert max(rest) <= others * min(sides[0].ceiling, sides[1].ceiling) + 1e-9
    x, y = (np.append(values, max(left, 0.0)) for values, left in zip((x, y), rest, strict=True))
    if rest[1] < 1e-12:
        x, y = x[:-1], y[:-1]
    assert bounds.low == pytest.approx(kl(x, y), abs=ARITHMETIC)


@pytest.mark.parametrize("seed", range(12))
def test_upper_end_is_attained(seed: int) -> None:
    # The greatest of a convex function is at a corner: every order of filling is tried.
    rng = np.random.default_rng(200 + seed)
    p, q = pair(rng, 8, 1.0)
    P = truncated(p, int(rng.integers(2, 5)), np.zeros(8, bool))
    hidden = np.flatnonzero(np.isnan(P.log_probs))
    t, rest = math.exp(P.threshold), 1 - np.nansum(np.exp(P.log_probs))
    worst = -math.inf
    for order in itertools.permutations(hidden):
        x, left = np.exp(P.log_probs), rest
        for event in order:
            x[event] = min(t, left)
            left -= x[event]
        worst = max(worst, kl(x, q))
    bounds = kl_bounds(P, Knowledge(np.log(q)), vocabulary=8)
    assert bounds.high == pytest.approx(worst, abs=1e-12)


def test_an_infinite_upper_end_is_approached() -> None:
    P, Q = (Knowledge(np.log([0.6, a, b]), math.log(0.1)) for a, b in ((0.2, 0.1), (0.1, 0.2)))
    assert kl_bounds(P, Q, vocabulary=10).high == math.inf
    values = []
    for tiny in (1e-10, 1e-100, 1e-300):
        p = np.array([0.6, 0.2, 0.1, 0.1, 0, 0])
        q = np.array([0.6, 0.1, 0.2, tiny, 0.05, 0.05])
        values.append(kl(p, q))
    assert values[0] > 2
    assert values[2] > 60


def test_never_below_lumping_and_better_where_thresholds_bind() -> None:
    # Q lists event 2 with 0.3, where P's threshold allows 0.05: lumping cannot see that.
    P = Knowledge(np.array([math.log(0.6), math.log(0.05), math.nan]), math.log(0.05))
    Q = Knowledge(np.array([math.log(0.6), math.nan, math.log(0.3)]), math.log(0.1))
    bounds = kl_bounds(P, Q)
    lumped = 0.6 * math.log(0.6 / 0.6) + 0.4 * math.log(0.4 / 0.4)
    assert bounds.listed_low == pytest.approx(lumped, abs=1e-12)
    assert bounds.low > 0.2


def test_entries_that_neither_lists_change_nothing() -> None:
    p, q = pair(np.random.default_rng(9), 60, 1.0)
    P, Q = (truncated(x, 5, np.zeros(60, bool)) for x in (p, q))
    assert kl_bounds(P, Q, vocabulary=60) == kl_bounds(*joint(P, Q), vocabulary=60)
    assert kl_bounds(P, Q, vocabulary=60).high == math.inf


def test_a_floor_makes_the_upper_end_finite() -> None:
    rng = np.random.default_rng(5)
    for _ in range(100):
        p, q = pair(rng, 20, 1.0)
        P, Q = (truncated(x, int(rng.integers(2, 8)), np.zeros(20, bool)) for x in (p, q))
        held = Knowledge(Q.log_probs, Q.threshold, floor=float(np.log(q.min())))
        bounds = kl_bounds(*joint(P, held), vocabulary=20)
        assert kl(p, q) <= bounds.high < 20


def test_all_but_one_listed_is_all() -> None:
    p, q = pair(np.random.default_rng(6), 9, 1.0)
    P, Q = (truncated(x, 8, np.zeros(9, bool)) for x in (p, q))
    bounds = kl_bounds(*joint(P, Q), vocabulary=9)
    assert bounds.low == pytest.approx(kl(p, q), abs=1e-9)
    assert bounds.high == pytest.approx(kl(p, q), abs=1e-9)


def test_longer_lists_only_narrow() -> None:
    rng = np.random.default_rng(7)
    for _ in range(30):
        p, q = pair(rng, 200, 0.3)
        Q = Knowledge(np.log(q))
        found = [
            kl_bounds(truncated(p, k, np.zeros(200, bool)), Q, vocabulary=200)
            for k in (1, 5, 20, 100, 199)
        ]
        for short, long in itertools.pairwise(found):
            assert long.low >= short.low - ARITHMETIC
            assert long.high <= short.high + ARITHMETIC


def test_rounding_widens_and_contains() -> None:
    p, q = pair(np.random.default_rng(8), 40, 0.2)
    exact = kl_bounds(Knowledge(np.log(p)), Knowledge(np.log(q)), vocabulary=40)
    rough = kl_bounds(
        Knowledge(np.log(p), rounding=1e-3), Knowledge(np.log(q), rounding=1e-3), vocabulary=40
    )
    assert rough.low < exact.low < rough.high
    # To first order each bound moves by rounding·Σp|log(p/q)| a side, and by its square.
    reach = 2e-3 * float((p * np.abs(np.log(p / q))).sum())
    assert rough.high - exact.high < 4 * reach
    assert exact.low - rough.low < 4 * reach


@pytest.mark.parametrize(
    ("p", "vocabulary", "match"),
    [
        (Knowledge(np.log([0.9, 0.3])), None, "add up to at least 1.2"),
        (Knowledge(np.log([0.5, 0.3])), 2, r"add up to 0\.8.* at most, not to 1"),
        (Knowledge(np.log([0.5, 0.3])), 1, "2 events are listed, of a vocabulary of 1"),
        (Knowledge(np.log([0.5, 0.1]), math.log(0.1)), 4, "2 unlisted events .* have the 0.4"),
        (Knowledge(np.log([0.5, 0.1]), math.log(0.1)), 3, "the one unlisted event of at most 0.1 "),
        (Knowledge(np.log([0.5, 0.3]), math.log(0.1), math.log(0.2)), None, "lower the floor"),
        (Knowledge(np.log([0.5, 0.3, 0.1])), None, "same events"),
    ],
)
def test_what_cannot_be_is_refused(p: Knowledge, vocabulary: int | None, match: str) -> None:
    with pytest.raises(InputError, match=match):
        kl_bounds(p, Knowledge(np.log([0.5, 0.3])), vocabulary=vocabulary)
