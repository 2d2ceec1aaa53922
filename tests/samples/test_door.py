"""The door: who answers, what is passed on, and every refusal in words."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Normal

import kullback as kl
from kullback.errors import InputError
from kullback.samples import METHODS

RNG = np.random.default_rng(0)
X, Y = RNG.normal(0, 1, 1000), RNG.normal(0.5, 1.2, 1000)
TRUTH = (1 / 1.44 + 0.25 / 1.44 - 1 + math.log(1.44)) / 2
HEAVY = {"critic", "trees", "classifier", "auto"}


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in HEAVY else [])
        for name in METHODS
        if name not in ("plug_in", "kernel_density")
    ],
)
def test_every_method_holds_the_truth_of_a_clean_pair(method: str) -> None:
    found = kl.estimate(X, Y, method=method)
    assert found.low < TRUTH < found.high
    assert found.confidence == 0.95
    assert found.evaluations == 2000


def test_plug_in_on_what_it_is_for_and_the_baseline_is_not_trusted() -> None:
    x, y = RNG.choice(4, 900, p=[0.4, 0.3, 0.2, 0.1]), RNG.choice(4, 900)
    found = kl.estimate(x, y, method="plug_in")
    p = np.array([0.4, 0.3, 0.2, 0.1])
    assert found.low < p @ np.log(4 * p) < found.high
    assert not kl.estimate(X, Y, method="kernel_density").trusted


class TestWhoAnswers:
    def test_two_distributions(self) -> None:
        found = kl.estimate(Normal(0.0, 1.0), Normal(0.5, 1.2))
        assert found.method == "closed form"
        assert float(found) == pytest.approx(TRUTH, rel=1e-6)

    def test_draws_of_p_against_a_density_of_q(self) -> None:
        found = kl.estimate(X, Normal(0.5, 1.2))
        assert found.low < TRUTH < found.high
        assert "1000 draws" in found.method

    def test_draws_of_q_against_a_density_of_p(self) -> None:
        """Reverse KL asks for E over Q of log q/p: again an entropy of draws, exchanged."""
        found = kl.estimate(Normal(0.5, 1.2), X, "reverse_kl")
        assert found.low < TRUTH < found.high

    @pytest.mark.parametrize("name", ["wasserstein", "sliced_wasserstein", "mmd", "energy"])
    def test_distances(self, name: str) -> None:
        found = kl.estimate(X[:300, None] * [1, 1], Y[:300, None] * [1, 1], name)
        assert found.low <= found.value <= found.high
        assert found.high > 0

    def test_a_tensor_a_list_and_an_array_are_the_same_draws(self) -> None:
        x, y = X[:100], Y[:100]
        found = [
            kl.estimate(a, b, method="quadratic")
            for a, b in ((x, y), (list(x), torch.tensor(y)), (x[:, None], y.tolist()))
        ]
        assert found[0] == found[1] == found[2]


class TestWhatIsPassedOn:
    def test_the_number_of_neighbours(self) -> None:
        few, many = (kl.estimate(X, Y, method="nearest_neighbors", k=k) for k in (1, 20))
        assert few.value != many.value
        # One neighbour costs noise, twenty cost bias.
        assert many.stderr < few.stderr

    def test_the_correction(self) -> None:
        x, y = [*"aab"] * 20, [*"abb"] * 20
        plain = kl.estimate(x, y, method="plug_in", correction=None)
        assert plain.value == pytest.approx(math.log(2) / 3, rel=1e-12)
        smooth = kl.estimate(x, y, method="plug_in", correction="jeffreys")
        a, b = 40.5 / 61, 20.5 / 61
        assert smooth.value == pytest.approx((a - b) * math.log(a / b), rel=1e-12)

    def test_confidence_order_weight_and_seed(self) -> None:
        wide, narrow = (kl.estimate(X, Y, method="quadratic", confidence=c) for c in (0.999, 0.5))
        assert wide.high - wide.low > narrow.high - narrow.low
        assert wide.value == narrow.value
        assert wide.confidence == 0.999
        renyi = kl.estimate(X, Y, "renyi", alpha=0.5, method="quadratic")
        same = kl.estimate(X, Y, "bhattacharyya", method="quadratic")
        assert renyi.value == pytest.approx(2 * same.value, rel=1e-12)
        even, uneven = (kl.estimate(X, Y, "js", weight=w, method="quadratic") for w in (0.5, 0.1))
        assert even.value > uneven.value
        none, zero, one = (
            kl.estimate(X, Y, method="quadratic", seed=s).value for s in (None, 0, 1)
        )
        assert none == zero != one
        first, second = (kl.estimate(X, Y + 1, "wasserstein", order=o).value for o in (1, 2))
        assert first <= second

    def test_categories_by_name_or_by_number_are_the_same(self) -> None:
        x, y = RNG.choice(3, 300), RNG.choice(3, 300, p=[0.5, 0.3, 0.2])
        by_number = kl.estimate(x, y, method="plug_in")
        names = np.array(["low", "middle", "up"])
        assert kl.estimate(names[x], names[y]).value == by_number.value


P, Q = Normal(0.0, 1.0), Normal(1.0, 1.0)
WORDS = [*"ab"] * 30
REFUSED: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "method": (X, Y, {"method": "knn"}, "'knn' is not one of .*nearest_neighbors"),
    "no method": (X, Y, {"method": None}, "method=None is not one of"),
    "divergence": (X, Y, {"divergence": "kll"}, "'kll' is not one of"),
    "option": (X, Y, {"method": "nearest_neighbors", "kk": 3}, r"takes no kk=, but \['k'"),
    "option of none": (X, Y, {"k": 3}, "takes no k=, but no options of its own"),
    "models": (X, Y, {"method": "quadratic", "models": ("trees",)}, "models= is not"),
    "target": (X, Y, {"target": 3}, "target= is not"),
    "generator of samples": (X, Y, {"generator": torch.Generator()}, "samples take seed="),
    "rtol of samples": (X, Y, {"rtol": 0.1}, "rtol= goes with distributions"),
    "budget of samples": (X, Y, {"budget": 10}, "budget= goes with distributions"),
    "seed of distributions": (P, Q, {"seed": 0}, "distributions take generator="),
    "option of distributions": (P, Q, {"k": 3}, "k= goes with samples"),
    "confidence": (X, Y, {"confidence": 95}, "confidence=95: "),
    "confidence NaN": (X, Y, {"confidence": math.nan}, "confidence=nan"),
    "seed": (X, Y, {"seed": -1}, "seed=-1"),
    "large seed": (X, Y, {"seed": 2**40}, "seed=1099511627776"),
    "order of kl": (X, Y, {"order": 2.0}, 'order= goes with "wasserstein"'),
    "order against a density": (X, Q, {"order": 2.0}, 'order= goes with "wasserstein"'),
    "alpha of kl": (X, Y, {"alpha": 2.0}, "alpha= goes with"),
    "alpha of energy": (X, Y, {"divergence": "energy", "alpha": 2.0}, "neither alpha= nor weight="),
    "weight of mmd": (X, Y, {"divergence": "mmd", "weight": 0.5}, "neither alpha= nor weight="),
    "no alpha": (X, Y, {"divergence": "renyi"}, "needs alpha="),
    "method of mmd": (X, Y, {"divergence": "mmd", "method": "bins"}, "has one method"),
    "order of energy": (X, Y, {"divergence": "energy", "order": 2.0}, "no order="),
    "method against a density": (X, Q, {"method": "bins"}, "of draws and a density there is one"),
    "option against a density": (X, Q, {"k": 3}, "against a density takes no k="),
    "distance to a density": (X, Q, {"divergence": "wasserstein"}, "needs draws of both sides"),
    "bins of labels": (WORDS, WORDS, {"method": "bins"}, "one numeric column"),
    "neighbours of labels": (WORDS, WORDS, {"method": "nearest_neighbors"}, "label"),
    "a density": (X, Y, {"divergence": "cross_entropy"}, "needs a density"),
    "no draws": ("P", Y, {}, "draws are"),
}


@pytest.mark.parametrize(("p", "q", "options", "words"), REFUSED.values(), ids=list(REFUSED))
def test_refusals(p: Any, q: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        kl.estimate(p, q, **options)
