"""`explain` of two sets of draws, and what it found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kullback.errors import InputError
from kullback.results import Estimate
from kullback.samples.explain.columns import columns_of
from kullback.samples.explain.curves import Curves, curves_of
from kullback.samples.explain.features import Feature, features_of
from kullback.samples.explain.regions import Region, regions_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SampleExplanation", "explain"]

_FEWEST = 40
_SHOWN = 8


@dataclass(frozen=True)
class SampleExplanation:
    """Where two sets of draws differ; prints as a short table.

    Attributes:
        regions: a partition of all that can be drawn, the largest contribution first. The
            contributions add up to `partition_kl`.
        partition_kl: KL of the shares of the regions, a lower bound of KL(P‖Q) of the draws.
        features: the columns, the largest fall of the classifier's bound first.
        bound: the classifier's bound with all columns, a lower bound of KL(P‖Q) too.
        curves: densities and integrand if there is one column of numbers, else None.
        notes: which columns were left out, and why.
    """

    regions: tuple[Region, ...]
    partition_kl: Estimate[float]
    features: tuple[Feature, ...]
    bound: Estimate[float]
    curves: Curves | None
    notes: tuple[str, ...] = ()

    def plot(self) -> Figure:
        """The densities above and the integrand below; of several columns, their bars.

        Raises:
            MissingExtra: without Matplotlib; `pip install "kullback[report]"`.
        """
        from kullback.samples.explain.drawing import figure

        return figure(self)

    def __str__(self) -> str:
        lines = [
            f"Regions: KL of their shares {self.partition_kl}, a lower bound of the whole",
            f"  {'adds':>8}  {'of P':>7}  {'of Q':>7}  where",
        ]
        lines += [
            f"  {region.contribution.value:8.4f}  {_percent(region.share_p.value)}"
            f"  {_percent(region.share_q.value)}  {region.condition}"
            for region in self.regions
        ]
        lines += [
            f"Columns: bound of all {self.bound}, by {self.bound.method}",
            f"  {'fall without':>18}  {'alone':>8}  column",
        ]
        lines += [
            f"  {feature.drop.value:8.4f} ± {feature.drop.stderr:<7.4f}"
            f"  {feature.alone.value:8.4f}  {feature.name}"
            for feature in self.features[:_SHOWN]
        ]
        if len(self.features) > _SHOWN:
            lines.append(f"  and {len(self.features) - _SHOWN} columns with smaller falls")
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


def explain(x: Any, y: Any, *, confidence: float = 0.95, seed: int = 0) -> SampleExplanation:
    """Where KL(P‖Q) sits, x draws of P and y of Q: in which regions, and by which columns.

    | part | how |
    | --- | --- |
    | regions | a tree of depth 3 at most, grown on one half of the draws, counted on the other |
    | features | the held-out bound of a classifier, without each column and with it alone |
    | curves | of one column of numbers: kernel densities and p log(p/q) |

    The shares' intervals are exact (Clopper & Pearson 1934) and hold for all regions together.
    Contributions are of shares with half a draw added to each region on each side (Krichevsky &
    Trofimov 1981), so that a region which the counted draws of Q miss does not say ∞.
    Both KLs are lower bounds of that of P and Q: differences that neither a shallow tree nor the
    classifier finds are not in them. A column whose loss costs nothing may still differ between
    the sides, if another one tells the same.

    Args:
        x: draws of P: a tensor, an array, a list or a data frame, [n] or [n, d], numbers and
            labels.
        y: draws of Q, with the same columns.
        confidence: of all the intervals.
        seed: of halves and folds; the same seed gives the same answer.

    Raises:
        ShapeError, DtypeError, NonFiniteError: what cannot be draws, such as NaN, by place.
        InputError: other names of the columns on the two sides, fewer than 40 draws on one, or
            no column in which two draws differ.
        MissingExtra: without scikit-learn; `pip install "kullback[samples]"`.

    Source: Nguyen, Wainwright & Jordan (2010), Estimating Divergence Functionals and the
    Likelihood Ratio by Convex Risk Minimization, lemma 1, for the bound.

    Example:
        >>> import numpy as np
        >>> chance = np.random.default_rng(0)
        >>> x, y = chance.normal(size=(400, 2)), chance.normal(size=(400, 2))
        >>> x[:, 1] += 1.0
        >>> found = explain(x, y)
        >>> [feature.name for feature in found.features]
        ['x1', 'x0']
        >>> found.features[0].drop.low > 0, found.features[1].drop.low > 0
        (True, False)
        >>> abs(sum(region.share_p.value for region in found.regions) - 1) < 1e-12
        True
        >>> all("x1" in region.condition for region in found.regions)
        True
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence={confidence!r}: it lies between 0 and 1, such as 0.95")
    columns = columns_of(x, y)
    if not columns.kept:
        raise InputError(
            "every column is the same in every draw of both sides: there is no difference to "
            f"explain ({'; '.join(columns.notes)})"
        )
    fewest = min(len(columns.kept[0].p), len(columns.kept[0].q))
    if fewest < _FEWEST:
        raise InputError(
            f"one side has {fewest} draws, and {_FEWEST} are the fewest to explain from, since "
            "what is looked for in one half is counted in the other: draw more"
        )
    regions, partition_kl = regions_of(columns.kept, confidence, seed)
    features, bound = features_of(columns.kept, confidence, seed)
    only = columns.kept[0]
    curves = (
        curves_of(only.p[:, 0], only.q[:, 0])
        if len(columns.kept) == 1 and only.levels is None
        else None
    )
    return SampleExplanation(regions, partition_kl, features, bound, curves, columns.notes)


def _percent(share: float) -> str:
    return f"{100 * share:5.1f} %"
