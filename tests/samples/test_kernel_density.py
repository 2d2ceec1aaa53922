"""The kernel density baseline: its formula by another route, and that it is never trusted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from kullback.distributions.targets import target_of
from kullback.errors import InputError
from kullback.samples.draws import draws_of
from kullback.samples.kernel_density import kernel_density


def test_kl_is_the_mean_log_ratio_of_left_out_densities() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, 40), rng.normal(1, 2, 50)
    unit = math.sqrt(0.5 * (np.var(x, ddof=1) + np.var(y, ddof=1)))
    widths = unit * 40 ** (-1 / 5), unit * 50 ** (-1 / 5)
    expected = np.mean(
        [
            math.log(norm.pdf(x[i], np.delete(x, i), widths[0]).mean())
            - math.log(norm.pdf(x[i], y, widths[1]).mean())
            for i in range(40)
        ]
    )
    found = kernel_density(draws_of(x, y), target_of("kl"))
    assert found.value == pytest.approx(expected, rel=1e-10)  # sums of 50 terms
    assert not found.trusted
    assert "baseline" in found.diagnosis
    assert math.isnan(found.low)


@pytest.mark.parametrize("name", ["js", "squared_hellinger", "total_variation", "reverse_kl"])
def test_other_divergences_come_near(name: str) -> None:
    rng = np.random.default_rng(1)
    t = np.linspace(-12, 13, 20001)
    p, q = norm.pdf(t), norm.pdf(t, 1)
    truth = {
        "js": 0.5 * (p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q))),
        "squared_hellinger": 0.5 * (np.sqrt(p) - np.sqrt(q)) ** 2,
        "total_variation": 0.5 * np.abs(p - q),
        "reverse_kl": q * np.log(q / p),
    }[name]
    pair = draws_of(rng.normal(0, 1, 2000), rng.normal(1, 1, 2000))
    # Smoothing takes about a tenth; the noise of 2,000 draws is half of that.
    assert kernel_density(pair, target_of(name)).value == pytest.approx(
        np.trapezoid(truth, t), rel=0.25
    )


def test_bad_options_are_refused() -> None:
    pair = draws_of(np.arange(20.0), np.arange(20.0) + 0.5)
    with pytest.raises(InputError, match="bandwidth=-1"):
        kernel_density(pair, target_of("kl"), bandwidth=-1)
    with pytest.raises(InputError, match="labels"):
        kernel_density(draws_of(["a", "b"] * 10, ["a", "b"] * 10), target_of("kl"))
