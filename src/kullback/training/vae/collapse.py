"""Is the latent used? What each dimension costs, what it tells, and what all of them miss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from kullback.errors import InputError, NonFiniteError, ShapeError
from kullback.numerics import accumulation_dtype
from kullback.results import Estimate, json_number
from kullback.training.plain import plain_int, plain_number
from kullback.training.vae.aggregate import surgery
from kullback.training.vae.gaussian import check_gaussians, each_gaussian_kl
from kullback.training.vae.verdicts import Findings, verdict_on

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from rich.console import Group

__all__ = ["CollapseReport", "collapse_report"]


@dataclass(frozen=True)
class CollapseReport:
    """What `collapse_report` found; prints, and draws itself.

    Attributes:
        kl: [latents], the mean over inputs of KL(q(z|x)‖N(0, 1)) of each dimension, in nats.
        variance_of_means: [latents], over the inputs.
        active: [latents], whether that variance is above the threshold.
        threshold: see `active`.
        rate: the sum of `kl`, the ELBO's KL term: exact.
        mutual_information: I(x; z), what z tells which of the inputs it was drawn for; at most
            log of their number.
        aggregate_kl: KL(q(z)‖p(z)), how far the draws of all inputs together are from the prior.
        inputs: how many posteriors there were, N.
        verdict: whether the latent is used, in words.
    """

    kl: Tensor
    variance_of_means: Tensor
    active: Tensor
    threshold: float
    rate: float
    mutual_information: Estimate[float]
    aggregate_kl: Estimate[float]
    inputs: int
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and text: valid JSON."""
        return {
            "kl": [json_number(v) for v in self.kl.tolist()],
            "variance_of_means": [json_number(v) for v in self.variance_of_means.tolist()],
            "active": self.active.tolist(),
            "threshold": self.threshold,
            "rate": json_number(self.rate),
            "mutual_information": self.mutual_information.to_dict(),
            "aggregate_kl": self.aggregate_kl.to_dict(),
            "inputs": self.inputs,
            "verdict": self.verdict,
        }

    def plot(self) -> Figure:
        """The dimensions by their KL, and the two parts of their sum, as a Plotly figure.

        Raises:
            MissingExtra: without Plotly; `pip install "kullback[plot]"`.
        """
        from kullback.training.vae.drawing import figure

        return figure(self)

    def __rich__(self) -> Group:
        from kullback.training.vae.text import render

        return render(self)

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=80, color_system=None)
        with console.capture() as capture:
            console.print(self)
        # Rich leaves the space at which it wraps a line.
        return "\n".join(line.rstrip() for line in capture.get().splitlines())


def collapse_report(
    means: Tensor,
    log_variances: Tensor,
    *,
    threshold: float = 0.01,
    draws: int = 2048,
    confidence: float = 0.95,
    generator: torch.Generator | None = None,
) -> CollapseReport:
    """How a VAE uses its latent, from the posteriors N(mean, exp(log_variance)) of N inputs.

    The KL of each dimension from the prior N(0, 1), which of them are active (the variance of their
    means over the inputs is above `threshold`), and the split of the whole KL into I(x; z) and
    KL(q(z)‖p(z)), q(z) being the mixture of all N posteriors. The first two are exact, the parts
    of the split are means over draws, with intervals. Pass held-out inputs, a few thousand; the
    cost grows like N × draws.

    Args:
        means: [N, latents]; several trailing dimensions are flattened into one.
        log_variances: log σ², of the same shape.
        threshold: of the variance of an active dimension's means.
        draws: how many z the split is averaged over.
        confidence: of its intervals.
        generator: makes the draws reproducible.

    Raises:
        ShapeError: shapes that differ, fewer than two inputs, or no latent.
        DtypeError: parameters that are not floating.
        NonFiniteError: NaN or an infinity in a parameter, or a posterior whose KL or scale is
            beyond float64.
        InputError: an option out of its range.

    Source: Burda, Grosse & Salakhutdinov (2016), Importance Weighted Autoencoders, section 5.2
    (active units); Hoffman & Johnson (2016), ELBO Surgery (the split).

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> means = torch.randn(500, 2, generator=generator) * torch.tensor([0.95, 0.0])
        >>> log_variances = torch.tensor([-2.3, 0.0]).expand(500, 2)
        >>> report = collapse_report(means, log_variances, generator=generator)
        >>> report.active.tolist(), round(report.rate, 2)
        ([True, False], 1.15)
        >>> print(report.verdict.split(". ")[0])
        1 of 2 dimensions is active and carries 100 % of the KL, 1.15 nats
    """
    _check_posteriors(means, log_variances)
    threshold = plain_number(threshold, "threshold")
    if not threshold >= 0:
        raise InputError(f"threshold={threshold}: a variance is at least 0; 0.01 is usual")
    draws = plain_int(draws, "draws", least=2, advice=" for an interval; 2048 is usual")
    confidence = plain_number(confidence, "confidence")
    if not 0 < confidence < 1:
        raise InputError(f"confidence={confidence}: it lies strictly between 0 and 1, such as 0.95")
    wide = accumulation_dtype(means)
    mu, v = (x.detach().flatten(1).to(wide) for x in (means, log_variances))
    for name, x in (("means", mu), ("log_variances", v)):
        if not bool(x.isfinite().all()):
            row, column = (~x.isfinite()).nonzero()[0].tolist()
            raise NonFiniteError(
                f"{name} is {float(x[row, column])} for input {row}, dimension {column}: leave "
                "such inputs out, or look why the encoder fails on them"
            )
    every = each_gaussian_kl(mu, v, None, None)
    each, variance = every.mean(0), mu.var(0)
    rate = float(each.sum())
    _check_sizes(mu, v, every, rate)
    parts = surgery(mu, v, rate, draws=draws, confidence=confidence, generator=generator)
    findings = Findings(
        kl=each.tolist(),
        active=(variance > threshold).tolist(),
        mutual_information=parts.mutual_information,
        aggregate_kl=parts.aggregate_kl,
        inputs=len(mu),
    )
    return CollapseReport(
        kl=each,
        variance_of_means=variance,
        active=variance > threshold,
        threshold=threshold,
        rate=rate,
        mutual_information=parts.mutual_information,
        aggregate_kl=parts.aggregate_kl,
        inputs=len(mu),
        verdict=verdict_on(findings),
    )


def _check_sizes(mu: Tensor, v: Tensor, every: Tensor, rate: float) -> None:
    """Refuses a posterior whose KL from the prior, variance or precision float64 cannot hold."""
    sizes = torch.stack([every, v.exp(), (-v).exp()]).amax(0)
    wrong = ~sizes.isfinite()
    if not bool(wrong.any()) and math.isfinite(rate):
        return
    where = wrong.nonzero()[0] if bool(wrong.any()) else (every == every.max()).nonzero()[0]
    row, column = where.tolist()
    raise NonFiniteError(
        f"the mean {float(mu[row, column]):.6g} and log-variance {float(v[row, column]):.6g} of "
        f"input {row}, dimension {column} are too far out: the KL, the variance or its reciprocal "
        "is beyond float64; leave such inputs out, or look why the encoder fails on them"
    )


def _check_posteriors(means: Tensor, log_variances: Tensor) -> None:
    check_gaussians({"means": means, "log_variances": log_variances})
    if means.shape != log_variances.shape or means.dim() < 2 or len(means) < 2 or not means.numel():
        raise ShapeError(
            f"means has shape {tuple(means.shape)} and log_variances {tuple(log_variances.shape)}: "
            "both must be [N, latents], of at least two inputs"
        )
