"""A `CollapseReport` in 80 columns of text: a bar for each dimension, the split, the verdict."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

if TYPE_CHECKING:
    from kullback.training.vae.collapse import CollapseReport

__all__ = ["render"]

_MOST, _WIDTH = 16, 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def render(report: CollapseReport) -> Group:
    """The report as a Rich renderable of at most 80 columns, dimensions by falling KL."""
    order = report.kl.argsort(descending=True, stable=True).tolist()
    kl, variance = report.kl.tolist(), report.variance_of_means.tolist()
    active = report.active.tolist()
    top = max(kl[order[0]], 0.0)
    lines: list[Any] = [
        Text(f"{report.inputs:,} posteriors of {len(kl)} dimensions, KL in nats", style="bold"),
        "",
        Text(f"{'dimension':>9} {'KL':>9} {'var mean':>9}"),
    ]
    for place in order[:_MOST]:
        bar = _bar(kl[place] / top if top else 0.0)
        numbers = f"{place:>9} {_number(kl[place]):>9} {_number(variance[place]):>9} "
        idle = "" if active[place] else "inactive"
        lines.append(Text(f"{numbers}{bar} {idle}".rstrip(), style="" if active[place] else "dim"))
    rest = order[_MOST:]
    if rest:
        still = sum(active[place] for place in rest)
        added = _number(math.fsum(kl[place] for place in rest))
        lines.append(Text(f"and {len(rest)} more, {still} of them active: {added} together"))
    lines += [
        "",
        Text(f"{'E KL(q(z|x)‖p)':>16}  {_number(report.rate, 4)}"),
        Text(f"{'I(x; z)':>16}  {report.mutual_information}"),
        Text(f"{'KL(q(z)‖p)':>16}  {report.aggregate_kl}"),
        "",
        Text(report.verdict),
    ]
    return Group(*lines)


def _number(value: float, digits: int = 3) -> str:
    """A short number, its signs those of the verdict and of an `Estimate`."""
    form = ",.0f" if 1000 <= abs(value) < 1e6 else f".{digits}g"
    return f"{value:{form}}"


def _bar(share: float) -> str:
    eighths = round(8 * _WIDTH * share)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
