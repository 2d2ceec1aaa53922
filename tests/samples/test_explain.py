"""Where draws differ: planted differences are found, counted right, and told by name."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from kullback.errors import InputError, NonFiniteError
from kullback.samples.explain import explain
from kullback.samples.explain.columns import columns_of
from kullback.samples.explain.curves import curves_of
from kullback.samples.explain.regions import partition_kl, regions_of


def frames(n: int = 300, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    chance = np.random.default_rng(seed)

    def side(reds: float, late: float) -> pd.DataFrame:
        noise = chance.normal(size=n)
        return pd.DataFrame(
            {
                "colour": chance.choice(["red", "blue"], n, p=[reds, 1 - reds]),
                "noise": noise,
                "time": 1.7e9 + late + chance.normal(size=n),
                "always": 1.0,
                "copy": noise,
            }
        )

    return side(0.8, 1.0), side(0.3, 0.0)


def test_a_table_is_told_by_name() -> None:
    x, y = frames()
    found = explain(x, y)
    assert {f.name for f in found.features[:2]} == {"colour", "time"}
    assert found.features[0].drop.low > 0
    assert found.features[-1].drop.low < 0.02
    assert [f.name for f in found.features].count("copy") == 0
    assert any("always is the same" in note for note in found.notes)
    assert any("copy repeats noise" in note for note in found.notes)
    assert found.curves is None
    text = str(found)
    assert "colour = red" in text
    # A threshold among times of 1.7·10⁹ is told to a part of the spread, which is 1.
    assert "time > 1700000000" in text or "time ≤ 1700000000" in text
    assert found == explain(x, y)


def test_regions_are_a_partition_and_their_terms_add_up() -> None:
    x, y = frames()
    regions, whole = regions_of(columns_of(x, y).kept, 0.95, 0)
    assert math.fsum(r.share_p.value for r in regions) == pytest.approx(1, abs=1e-12)
    assert math.fsum(r.share_q.value for r in regions) == pytest.approx(1, abs=1e-12)
    assert math.fsum(r.contribution.value for r in regions) == pytest.approx(whole.value, abs=1e-12)
    values = [r.contribution.value for r in regions]
    assert values == sorted(values, reverse=True)
    for region in regions:
        for part in (region.share_p, region.share_q, region.contribution):
            assert part.low <= part.value <= part.high


@pytest.mark.parametrize(("tilt", "draws"), [(0.0, 300), (0.1, 1000), (0.4, 1000), (0.8, 300)])
def test_the_partition_s_interval_covers(tilt: float, draws: int) -> None:
    chance = np.random.default_rng(5)
    covered = []
    for _ in range(400):
        p = chance.dirichlet(np.full(6, 5.0))
        q = p * np.exp(tilt * chance.normal(size=6))
        q /= q.sum()
        counts = np.stack([chance.multinomial(draws, side) for side in (p, q)])
        found = partition_kl(counts, 0.95)
        covered.append(found.low <= float((p * np.log(p / q)).sum()) + 1e-12 <= found.high + 1e-12)
    # Three standard errors of a share of .95 among 400 below it, .033.
    assert np.mean(covered) > 0.917


def test_curves_integrate_to_one_and_less_than_the_divergence() -> None:
    chance = np.random.default_rng(0)
    curves = curves_of(chance.normal(1, 1, 4000), chance.normal(0, 1, 4000))
    step = curves.x[1] - curves.x[0]
    # The window leaves a thousandth at each end of each side.
    assert curves.p.sum() * step == pytest.approx(1, abs=0.005)
    assert curves.q.sum() * step == pytest.approx(1, abs=0.005)
    # KL is ½; the same kernel on both sides makes the means' distance one of a larger spread,
    # ½/(1 + h²), and the densities of 4000 draws add an error of a few hundredths.
    assert curves.integrand.sum() * step == pytest.approx(0.5 / (1 + curves.bandwidth**2), abs=0.06)
    assert curves.x[np.argmax(curves.p)] == pytest.approx(1, abs=0.35)


def test_whole_numbers_are_counted() -> None:
    p, q = np.array([0.0, 0, 1, 2] * 10), np.array([0.0, 1, 1, 1] * 10)
    curves = curves_of(p, q)
    assert curves.discrete
    assert curves.p.tolist() == [0.5, 0.25, 0.25]
    assert curves.q.tolist() == [0.25, 0.75, 0.0]
    assert curves.integrand.tolist() == pytest.approx(
        [0.5 * math.log(2), 0.25 * math.log(1 / 3), math.inf]
    )


def test_the_line_is_drawn() -> None:
    chance = np.random.default_rng(0)
    found = explain(chance.normal(1, 1, 100), chance.normal(0, 1, 100))
    drawn = found.plot()
    above, below = drawn.axes
    assert [line.get_label() for line in above.get_lines()] == ["P", "Q"]
    assert below.get_xlabel() == "x0"
    drawn.canvas.draw()


def test_what_cannot_be_explained_says_why() -> None:
    chance = np.random.default_rng(0)
    x = chance.normal(size=(50, 2))
    broken = x.copy()
    broken[3, 1] = np.nan
    with pytest.raises(NonFiniteError, match="row 3, column 1"):
        explain(broken, x)
    with pytest.raises(InputError, match="the same in every draw"):
        explain(np.ones(50), np.ones(50))
    with pytest.raises(InputError, match="20 draws"):
        explain(x[:20], x)
    with pytest.raises(InputError, match="'a' in x and 'b' in y"):
        explain(pd.DataFrame({"a": x[:, 0]}), pd.DataFrame({"b": x[:, 0]}))
    with pytest.raises(InputError, match="confidence=95"):
        explain(x, x, confidence=95)


def test_names_move_no_cursor() -> None:
    x, y = (frame.rename(columns={"time": "\x1b[2Jtime"}) for frame in frames(60))
    assert "\x1b" not in str(explain(x, y))
