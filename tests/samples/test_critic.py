"""The critics' bound against divergences that are known, and what is refused or doubted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kullback.distributions.targets import Target, target_of
from kullback.divergences import DIVERGENCES, GAN, Divergence, alpha, jensen_shannon
from kullback.errors import InputError
from kullback.samples.critic import critic
from kullback.samples.critic.bounds import bound_of
from kullback.samples.draws import DrawsPair, draws_of

RECORDS = [*DIVERGENCES.values(), GAN, alpha(0.3), alpha(2.5), jensen_shannon(0.2)]


def shifted(shift: float, n: int = 300, seed: int = 0) -> DrawsPair:
    chance = np.random.default_rng(seed)
    return draws_of(chance.normal(shift, 1.0, n), chance.normal(0.0, 1.0, n))


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.name)
def test_the_best_score_reaches_the_divergence_and_others_stay_below(record: Divergence) -> None:
    # 64 and 36 draws in two cells: the means over draws are those of (.64, .36), (.36, .64).
    log_ratio = math.log(0.64 / 0.36)
    p = torch.tensor([log_ratio] * 64 + [-log_ratio] * 36, dtype=torch.float64)
    q = torch.tensor([log_ratio] * 36 + [-log_ratio] * 64, dtype=torch.float64)
    u = torch.tensor([0.64 / 0.36, 0.36 / 0.64], dtype=torch.float64)
    true = float((torch.tensor([0.36, 0.64], dtype=torch.float64) * record.generator(u)).sum())
    best = bound_of(record, p, q, normalised=False)
    assert best.value == pytest.approx(true, rel=1e-12)
    assert best.unseen == 0
    for scale, shift in ((0.5, 0.0), (1.5, 0.0), (1.0, 0.3), (-1.0, 0.0)):
        other = bound_of(record, scale * p + shift, scale * q + shift, normalised=False)
        assert other.value <= true + 1e-12


@pytest.mark.parametrize("name", ["kl", "reverse_kl"])
def test_donsker_varadhan_does_not_mind_a_constant(name: str) -> None:
    chance = torch.Generator().manual_seed(0)
    p, q = (torch.randn(200, generator=chance, dtype=torch.float64) * 0.3 for _ in range(2))
    found, moved = (
        bound_of(DIVERGENCES[name], p + c, q + c, normalised=True).value for c in (0.0, 5.0)
    )
    assert moved == pytest.approx(found, abs=1e-12)
    sides = (p, q) if name == "kl" else (-q, -p)
    plain = sides[0].mean() - sides[1].logsumexp(0) + math.log(200)
    ratios = (sides[1] - sides[1].logsumexp(0) + math.log(200)).exp()
    assert found == pytest.approx(float(plain - ratios.var() / 400), abs=1e-12)


def test_mass_where_the_other_side_has_no_draws_is_counted() -> None:
    p = torch.tensor([0.0] * 90 + [4.0] * 10, dtype=torch.float64)
    q = torch.zeros(100, dtype=torch.float64)
    found = bound_of(DIVERGENCES["kl"], p, q, normalised=False)
    # A tenth of P, where e^v − 1 weighed by e^−v is 1 − e^−4.
    assert found.unseen == pytest.approx(0.1 * (1 - math.exp(-4)), rel=1e-12)


def test_the_interval_has_the_truth_and_the_seed_is_kept() -> None:
    pair, before = shifted(0.7), torch.get_rng_state()
    found, again = (critic(pair, target_of("kl"), width=8, patience=4, seed=3) for _ in range(2))
    assert found == again
    assert torch.equal(torch.get_rng_state(), before)
    assert found.trusted
    assert found.low < 0.245 < found.high
    # Five standard errors of √((0.7² + e^0.49 − 1)/300).
    assert found.value == pytest.approx(0.245, abs=0.31)
    assert found.evaluations == 600


def test_labels_with_numbers() -> None:
    chance = np.random.default_rng(1)
    kinds = [chance.choice(["a", "b"], 300, p=p) for p in ([0.8, 0.2], [0.4, 0.6])]
    rows = [
        np.stack([chance.normal(size=300).astype(object), k.astype(object)], axis=1) for k in kinds
    ]
    found = critic(draws_of(*rows), target_of("js"), width=8, patience=4)
    m = np.array([0.6, 0.4])
    true = 0.5 * sum(float((r * np.log(r / m)).sum()) for r in np.array([[0.8, 0.2], [0.4, 0.6]]))
    assert found.low < true < found.high


def test_apart_is_doubted_and_bounded_from_below() -> None:
    found = critic(shifted(8.0), target_of("kl"), width=8, patience=2)
    assert not found.trusted
    assert found.high == math.inf
    assert 0 < found.low <= 32  # KL = 8²/2
    assert found.low <= found.value
    assert found.diagnosis


def test_the_same_law_is_not_told_apart() -> None:
    found = critic(shifted(0.0), target_of("hellinger"), width=8, patience=2)
    assert found.low == 0
    assert 0 < found.high < 0.5


def test_too_few_draws_to_see_a_tail() -> None:
    found = critic(shifted(0.0, n=12), target_of("kl"), width=4, patience=1)
    assert not found.trusted
    assert "too few draws" in found.diagnosis


def test_refusals_say_what_to_do() -> None:
    pair = shifted(0.0, n=20)
    with pytest.raises(InputError, match="no f-divergence"):
        critic(pair, target_of("cross_entropy"))
    with pytest.raises(InputError, match='bound="dv"'):
        critic(pair, target_of("js"), bound="dv")
    with pytest.raises(InputError, match="not one of"):
        critic(pair, target_of("kl"), bound="mine")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="patience=0"):
        critic(pair, target_of("kl"), patience=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kl", "js", "total_variation"])
def test_unflagged_intervals_cover(name: str) -> None:
    target: Target = target_of(name)
    grid = np.linspace(-12, 12, 20_001)
    p, q = (np.exp(-0.5 * (grid - a) ** 2) / math.sqrt(2 * math.pi) for a in (0.8, 0.0))
    terms = q * target.record.generator(torch.from_numpy(p / q)).numpy()  # type: ignore[attr-defined]
    true = float(terms.sum() * (grid[1] - grid[0]))
    found = [critic(shifted(0.8, 500, seed), target, width=16, seed=seed) for seed in range(60)]
    covered = [e.low <= true <= e.high for e in found if e.trusted]
    assert len(covered) >= 50
    # Fewer of 50 occur once in a thousand where the coverage is .95.
    assert np.mean(covered) >= 0.85
