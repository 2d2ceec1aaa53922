"""The door to `estimate`: distributions on both sides, draws on both, or one of each."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch

from kullback.distributions import doors
from kullback.distributions.estimation.estimate import estimate as of_distributions
from kullback.distributions.targets import Target, target_of
from kullback.divergences import Functional
from kullback.errors import InputError
from kullback.results import Estimate
from kullback.samples.draws import DrawsPair, draws_of, is_draws

__all__ = ["METHODS", "estimate", "explain"]


def estimate(
    p: Any,
    q: Any,
    divergence: str | Functional = "kl",
    *,
    method: str = "auto",
    confidence: float = 0.95,
    alpha: float | None = None,
    weight: float | None = None,
    order: float | None = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    rtol: float | None = None,
    budget: int | None = None,
    **options: Any,
) -> Estimate[Any]:
    """D(P‖Q) with an interval, of two distributions, of two samples, or of one of each.

    A side is a distribution (it has `log_prob`; torch's, Pyro's, flows and your own), or draws of
    one: a tensor or an array [n] or [n, d], a list, or a data frame with a row for each draw.

    Of two distributions:

    | method | value | the interval |
    | --- | --- | --- |
    | "exact" | a closed form, or a proof of +inf | the value itself |
    | "sum" | over the integers, as far as the tail matters | ± bound on the error |
    | "quadrature" | over one to three dimensions | ± bound on the error |
    | "monte_carlo" | a mean over draws of P and Q | of the given confidence |
    | "variational", "matched_bound", … | an approximation, of KL between mixtures | bounds |

    "auto" takes the first of these that answers; for KL of Gaussian mixtures in many dimensions
    Monte Carlo, its interval cut by the bounds. The approximations ("moment_matching" and
    "unscented" are the other two) come only by name: their interval consists of bounds that hold,
    and may leave the value outside.

    Of two samples:

    | method | what it does |
    | --- | --- |
    | "classifier" | cross-fitted classifiers, weighed into one calibrated log ratio |
    | "quadratic", "splines", "kernel", "trees" | one of these alone |
    | "nearest_neighbors" | distances to the k-th neighbour (Wang, Kulkarni & Verdú 2009) |
    | "critic" | a neural critic and the variational bound |
    | "bins" | bins at quantiles, in one dimension |
    | "plug_in" | frequencies with their bias taken off, for categories and counts |
    | "kernel_density" | the baseline that people use; its interval is not to be trusted |

    "auto" takes plug-in for categories and classifiers for the rest, and looks whether a method
    that sees other things agrees. Where samples cannot tell, the estimate is not `trusted`, its
    `diagnosis` says why, and `low` is a bound that D(P‖Q) exceeds with the given confidence.

    Args:
        p: the reference.
        q: what stands in for it; batch shapes of distributions broadcast.
        divergence: a name, as in `kullback.distributions.targets.NAMES`, a record of
            `kullback.divergences`, the user's own included, "wasserstein", or, of two samples,
            "sliced_wasserstein", "mmd" (the squared one) or "energy".
        method: see above.
        confidence: of the interval. Bounds have confidence 1.
        alpha: the order, for "renyi" and "alpha".
        weight: of P in the mixture, for "js".
        order: of the Wasserstein distance, by default 2 of distributions and 1 of samples.
        seed: of samples: how draws are split, and all else that is left to chance; 0 if None.
        generator: of distributions: makes the draws reproducible. `sample` takes none, so the
            global generators are seeded from it while drawing and put back afterwards.
        rtol: of distributions: relative error to aim at; if None 1e-9 for sums and integrals on
            the line, 1e-6 for those in two or three dimensions, 1e-2 for Monte Carlo.
        budget: of distributions: the most points for each element of the batch that Monte Carlo
            may take, besides its pilot run.
        options: of samples: what else the method takes, such as k=5 of "nearest_neighbors" or
            correction="chao_shen" of "plug_in".

    Returns:
        An `Estimate`. Of distributions, `value`, `low`, `high` and `stderr` are tensors of the
        broadcast batch shape; closed forms, sums and integrals can be differentiated. Of samples
        they are floats.

    Raises:
        InputError: an unknown name, a method or an option that does not apply, or a distribution
            without a `log_prob` that holds.
        NoClosedForm: method="exact" and there is none.
        ShapeError: shapes that do not fit, or fewer than ten draws.
        NonFiniteError: NaN or an infinity among the draws.

    Example:
        >>> from torch.distributions import Dirichlet, Gamma, LogNormal, Normal
        >>> print(estimate(Normal(0.0, 1.0), Normal(1.0, 2.0)))
        0.4431471806 (closed form)
        >>> generator = torch.Generator().manual_seed(0)
        >>> kl = estimate(Gamma(2.0, 1.0), LogNormal(0.0, 1.0), method="monte_carlo",
        ...               generator=generator)
        >>> bool(kl.low < 0.1767 < kl.high), kl.trusted
        (True, True)
        >>> js = estimate(Dirichlet(torch.ones(5)), Dirichlet(torch.arange(1.0, 6.0)), "js",
        ...               generator=generator)
        >>> js.method
        "Monte Carlo, independent draws, half from P and half from Q, Student's t"
        >>> x = torch.randn(2000, generator=generator)
        >>> y = 1 + 2 * torch.randn(2000, generator=generator)
        >>> kl = estimate(x, y)
        >>> kl.low < 0.4431 < kl.high, kl.trusted
        (True, True)
    """
    if not is_draws(p) and not is_draws(q):
        for name in ("seed", *options) if seed is not None else options:
            raise InputError(f"{name}= goes with samples; distributions take generator=")
        return of_distributions(
            p,
            q,
            divergence,
            method=method,
            rtol=rtol,
            confidence=confidence,
            generator=generator,
            alpha=alpha,
            weight=weight,
            order=order,
            budget=budget,
        )
    refused = {"rtol": rtol, "generator": generator, "budget": budget}
    given = [name for name, value in refused.items() if value is not None]
    if given:
        raise InputError(f"{given[0]}= goes with distributions; samples take seed=")
    if not isinstance(confidence, float) or not 0 < confidence < 1:
        raise InputError(f"confidence={confidence}: it lies strictly between 0 and 1, such as 0.95")
    seed = 0 if seed is None else seed
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise InputError(f"seed={seed}: scikit-learn takes whole numbers from 0 to 2**32 − 1")
    if options.keys() & _NOT_OPTIONS:
        raise InputError(f"{min(options.keys() & _NOT_OPTIONS)}= is not for the door: see method=")
    options |= {"confidence": confidence, "seed": seed}
    if order is not None and divergence not in _DISTANCES:
        raise InputError('order= goes with "wasserstein"; the order of "renyi" is alpha=')
    if not (is_draws(p) and is_draws(q)):
        if divergence in _DISTANCES:
            raise InputError(f"{divergence!r} needs draws of both sides: draw from the other too")
        return _one_of_each(p, q, target_of(divergence, alpha, weight), method, options)
    pair = draws_of(p, q)
    if divergence in _DISTANCES:
        if alpha is not None or weight is not None:
            raise InputError(f"{divergence!r} takes neither alpha= nor weight=")
        return _distance(pair, str(divergence), method, order, options)
    return _answer(pair, target_of(divergence, alpha, weight), method, options)


@functools.wraps(doors.explain)
def explain(p: Any, q: Any, *args: Any, **options: Any) -> Any:
    if options.get("space") != "samples":
        return doors.explain(p, q, *args, **options)
    from kullback.samples.explain import explain as of_samples

    return of_samples(p, q, *args, **{k: v for k, v in options.items() if k != "space"})


_DISTANCES = ("wasserstein", "sliced_wasserstein", "mmd", "energy")
_NOT_OPTIONS = {"pair", "target", "models", "draws_are"}
"""What methods take from the door alone."""

METHODS = (
    "auto",
    "classifier",
    "quadratic",
    "splines",
    "kernel",
    "trees",
    "nearest_neighbors",
    "critic",
    "bins",
    "plug_in",
    "kernel_density",
)
"""The methods for two samples, by name."""


def _answer(pair: DrawsPair, target: Target, method: str, options: dict[str, Any]) -> Estimate:
    if method not in METHODS:
        raise InputError(f"method={method!r} is not one of {list(METHODS)}, for two samples")
    return _called(_method_of(method), f"method={method!r}", options, pair, target)


def _called(
    function: Callable[..., Estimate], name: str, options: dict[str, Any], *args: Any
) -> Estimate:
    """The answer of a method; raises `InputError` for an option that it does not take."""
    taken = inspect.signature(function).parameters
    strange = [option for option in options if option not in taken]
    if strange:
        from_door = {*_NOT_OPTIONS, "draws", "density", "confidence", "seed"}
        own = sorted(set(taken) - from_door)
        raise InputError(f"{name} takes no {strange[0]}=, but {own or 'no options of its own'}")
    return function(*args, **options)


def _method_of(name: str) -> Callable[..., Estimate]:
    if name == "auto":
        from kullback.samples.auto import auto

        return auto
    if name == "nearest_neighbors":
        from kullback.samples.nearest_neighbor import nearest_neighbors

        return nearest_neighbors
    if name == "critic":
        from kullback.samples.critic import critic

        return critic
    if name == "bins":
        from kullback.samples.binning import quantile_bins

        return quantile_bins
    if name == "plug_in":
        from kullback.samples.discrete import plug_in

        return plug_in
    if name == "kernel_density":
        from kullback.samples.kernel_density import kernel_density

        return kernel_density
    from kullback.samples.classifier import classifier
    from kullback.samples.log_ratio.models import MODELS

    return functools.partial(classifier, models=MODELS if name == "classifier" else (name,))


def _distance(
    pair: DrawsPair, name: str, method: str, order: float | None, options: dict[str, Any]
) -> Estimate:
    if name in ("mmd", "energy"):
        if method != "auto" or order is not None:
            raise InputError(f'"{name}" has one method, "auto", and no order=')
        if name == "mmd":
            from kullback.samples.kernel_mean import mmd

            return _called(mmd, name, options, pair)
        from kullback.samples.energy import energy_distance

        return _called(energy_distance, name, options, pair)
    from kullback.samples.transport import wasserstein

    if name == "sliced_wasserstein":
        if method != "auto":
            raise InputError(f'method={method!r}: "sliced_wasserstein" has one method, "auto"')
        method = "sliced"
    options = {"order": 1.0 if order is None else order, "method": method, **options}
    return _called(wasserstein, name, options, pair)


def _one_of_each(p: Any, q: Any, target: Target, method: str, options: dict[str, Any]) -> Estimate:
    from kullback.samples.against_density import against_density

    if method != "auto":
        raise InputError(f'method={method!r}: of draws and a density there is one, "auto"')
    draws, density, side = (p, q, "p") if is_draws(p) else (q, p, "q")
    of_side = functools.partial(against_density, draws_are=side)
    return _called(of_side, "an estimate against a density", options, draws, density, target)
