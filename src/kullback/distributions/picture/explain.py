"""The picture of a divergence on the line: how surprising each x is, times how often it comes.

KL(P‖Q) = ∫ p log(p/q). At each x the log-ratio log(p/q) says how much more P expects x than Q
does, and p how often that counts. The integrand may be negative; adding q − p changes no integral
and leaves p log(p/q) − p + q ≥ 0, so that shares of the divergence are shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from kullback.distributions.exact import kl_divergence
from kullback.distributions.images import check_images, told_of_missing_log_prob
from kullback.distributions.pairs import check_pair
from kullback.distributions.parameters import given
from kullback.distributions.picture.drawing.columns import number
from kullback.distributions.picture.grids import Grid, common_grid
from kullback.distributions.picture.verdicts import verdict_on
from kullback.distributions.supports import support_of
from kullback.divergences import KL
from kullback.errors import InputError, NoClosedForm, ShapeError
from kullback.numerics import make_pair
from kullback.results import Estimate, json_number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from rich.console import Group

__all__ = ["Picture", "explain"]


@dataclass(frozen=True)
class Picture:
    """What `explain` found for two distributions on the line; prints, and draws itself.

    Attributes:
        p_name: what P is.
        q_name: what Q is.
        kl: KL(P‖Q) in nats: a number where it is exact, else an `Estimate`.
        reverse_kl: KL(Q‖P), likewise.
        discrete: whether events are integers; then p and q are probabilities, else densities.
        x: the points of the picture, rising and not evenly spaced.
        p: the density of P at x.
        q: the density of Q at x.
        log_ratio: log(p/q), how surprising x is to who expected Q.
        integrand: p log(p/q), the same weighted by how often x comes.
        contribution: p log(p/q) − p + q, which has the same integral and is never negative.
        cumulative: the share of KL(P‖Q) that lies at or below x; NaN where that is 0 or infinite.
        beyond: the share that lies outside of the picture, in the tails.
        verdict: where the divergence comes from, in words.
    """

    p_name: str
    q_name: str
    kl: float | Estimate[Any]
    reverse_kl: float | Estimate[Any]
    discrete: bool
    x: Tensor
    p: Tensor
    q: Tensor
    log_ratio: Tensor
    integrand: Tensor
    contribution: Tensor
    cumulative: Tensor
    beyond: float
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and text: valid JSON."""
        curves = ("x", "p", "q", "log_ratio", "integrand", "contribution", "cumulative")
        return {
            "p_name": self.p_name,
            "q_name": self.q_name,
            "kl": _plain(self.kl),
            "reverse_kl": _plain(self.reverse_kl),
            "discrete": self.discrete,
            **{name: [json_number(v) for v in getattr(self, name).tolist()] for name in curves},
            "beyond": json_number(self.beyond),
            "verdict": self.verdict,
        }

    def figure(self) -> Figure:
        """P and Q above, the integrand below, as a Plotly figure to zoom into and to read off.

        Raises:
            MissingExtra: without Plotly; `pip install "kullback[plot]"`.
        """
        from kullback.distributions.picture.drawing.interactive import figure

        return figure(self)

    def to_svg(self) -> str:
        """The same as a static drawing, on any background, without Plotly."""
        from kullback.distributions.picture.drawing.svg import svg

        return svg(self)

    def _repr_html_(self) -> str:
        return self.to_svg()

    def __rich__(self) -> Group:
        from kullback.distributions.picture.drawing.terminal import render

        return render(self)

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(width=80, color_system=None)
        with console.capture() as capture:
            console.print(self)
        return capture.get()


def explain(p: Distribution, q: Distribution) -> Picture:
    """Where KL(P‖Q) of two distributions over numbers comes from, as a picture and in words.

    Args:
        p: the reference, over the reals or the integers, one distribution and no batch.
        q: what stands in for it.

    Raises:
        ShapeError: events that are no numbers, or a batch of distributions.
        InputError: an image whose density torch does not know, or a side over the integers
            beside one with a density.

    Source: the terms are those of the generalised divergence of Csiszár (1991), Why Least Squares
    and Maximum Entropy?, eq. 1.3.

    Example:
        >>> from torch.distributions import Normal
        >>> found = explain(Normal(0.0, 1.0), Normal(1.0, 2.0))
        >>> for sentence in found.verdict.split("; ")[0].split(". "):
        ...     print(sentence)
        KL(P‖Q) = 0.4431 nats, exact
        59 % of it comes from x > 1.18, where P has 12 % of its mass and Q 46 %
    """
    check_pair(p, q)
    for name, side in (("P", p), ("Q", q)):
        if side.event_shape or side.batch_shape:
            raise ShapeError(
                f"explain draws one distribution over numbers against another, and {name} has "
                f"batch shape {tuple(side.batch_shape)} and events of shape "
                f"{tuple(side.event_shape)}: pass one of its elements, or one of its margins"
            )
    check_images(p, q)
    _check_common_events(p, q)
    with torch.no_grad(), told_of_missing_log_prob(p, q):
        grid = common_grid(p, q)
        pair = make_pair(grid.log_p, grid.log_q, "log_probs", "log_probs")
        terms = KL.terms(pair)
        kl, reverse = _divergence(p, q), _divergence(q, p)
        shares = _shares(grid, terms, float(kl))
        inside = grid.inside
        return Picture(
            p_name=_name(p),
            q_name=_name(q),
            kl=kl,
            reverse_kl=reverse,
            discrete=grid.discrete,
            x=grid.x[inside],
            p=pair.p[inside],
            q=pair.q[inside],
            log_ratio=-pair.d[inside],
            integrand=torch.where(pair.p == 0, 0.0, -pair.p * pair.d)[inside],
            contribution=terms[inside],
            cumulative=shares.cumsum(0)[inside],
            beyond=float(shares[~inside].sum()),
            verdict=verdict_on(p, q, grid, shares, (kl, reverse)),
        )


def _check_common_events(p: Distribution, q: Distribution) -> None:
    """Neither a density beside probabilities, which no axis shows together."""
    of_p, of_q = support_of(p), support_of(q)
    if "unknown" in (of_p.kind, of_q.kind) or of_p.discrete == of_q.discrete:
        return
    discrete, other = ("P", "Q") if of_p.discrete else ("Q", "P")
    raise InputError(
        f"P lives on {of_p.words}, Q on {of_q.words}: {discrete} has probabilities and {other} a "
        "density, under which integers have none. They share no event, 100 % of the mass of each "
        "is where the other has none, and KL is infinite both ways: there is no common picture. "
        'kullback.estimate(p, q, "wasserstein") says how far apart they are'
    )


def _divergence(p: Distribution, q: Distribution) -> float | Estimate[Any]:
    try:
        return float(kl_divergence(p, q))
    except NoClosedForm:
        from kullback.distributions.estimation.estimate import estimate

        return estimate(p, q)


def _shares(grid: Grid, terms: Tensor, kl: float) -> Tensor:
    """What each point's cell adds, as a share of all; NaN where there is nothing to share."""
    added = grid.weight * terms
    total = added.sum()
    return added / total if 0 < kl < torch.inf else torch.full_like(added, torch.nan)


def _plain(number: float | Estimate[Any]) -> Any:
    return number.to_dict() if isinstance(number, Estimate) else json_number(number)


def _name(side: Distribution) -> str:
    """The distribution with its parameters, where these are numbers; else its class."""
    kind = type(side).__name__
    if "probs" in side.arg_constraints and "logits" in side.arg_constraints:
        hidden = {"probs", "logits"} - {given(side)}
    else:
        hidden = set()
    parameters = {k: getattr(side, k, None) for k in side.arg_constraints if k not in hidden}
    if not parameters or not all(_is_number(value) for value in parameters.values()):
        return kind
    numbers = ", ".join(f"{k}={number(float(v))}" for k, v in parameters.items())  # type: ignore[arg-type]
    return f"{kind}({numbers})"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.numel() == 1)
