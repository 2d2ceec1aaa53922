"""The effects of modules on the terminal: the largest first, then layer by layer.

As everywhere, each mean stands beside its interval, nothing depends on colour, and it fits 80
columns; where it does not, rows wrap between words.
"""

from __future__ import annotations

import math

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from kullback.compare.layers.record import Effect, LayerEffects
from kullback.report.layout import Fitting, table_of
from kullback.report.printable import printable
from kullback.results import Estimate

__all__ = ["cells", "costs", "headline", "notes", "print_layers", "render"]

_BAR = 24


def print_layers(
    effects: LayerEffects, console: Console, *, bits: bool = False, top: int | None = 15
) -> None:
    """Print the report of `effects`, with the `top` largest modules, in nats or bits."""
    console.print(render(effects, bits=bits, top=top))


def render(effects: LayerEffects, *, bits: bool = False, top: int | None = 15) -> RenderableType:
    """The report as a Rich renderable."""
    unit, scale = ("bits", 1 / math.log(2)) if bits else ("nats", 1.0)
    parts: list[RenderableType] = [
        Text(printable(headline(effects, bits=bits)), style="bold"),
        "",
        Fitting(_ranking(effects, unit, scale, top)),
        "",
    ]
    if effects.by == "modules":
        parts += [Fitting(_by_layer(effects, unit, scale)), ""]
    return Group(*parts, _list(notes(effects)))


def headline(effects: LayerEffects, *, bits: bool = False) -> str:
    """The answer in a sentence: what loses most, and how much of the whole that is."""
    unit, scale = ("bits", 1 / math.log(2)) if bits else ("nats", 1.0)
    whole = effects.whole
    if not any(effect.kl.value for effect in effects.effects) and not whole.value:
        return "The candidate loses nothing, and none of its modules does."
    first = effects.ranked()[0]
    value, interval = cells(first.kl, scale)
    whole_value, whole_interval = cells(whole, scale)
    share = (
        f", {first.kl.value / whole.value:.0%} of the whole candidate's".replace("%", " %")
        if 0 < whole.value < math.inf and math.isfinite(first.kl.value)
        else ", beside the whole candidate's"
    )
    return (
        f"Alone in the reference, {first.name} loses most: {value} {unit} per token "
        f"{interval}{share} {whole_value} {whole_interval}".rstrip()
        + "."
    )


def notes(effects: LayerEffects) -> list[str]:
    """Whether effects add up, what was equal, what it cost, and how the intervals were made."""
    equal = [effect.name for effect in effects.effects if effect.equal]
    found = [effects.adding_up]
    if equal:
        names = ", ".join(equal[:4]) + (", …" if len(equal) > 4 else "")
        found.append(f"{len(equal)} equal in both models and not run, their effect is 0: {names}.")
    if math.isnan(effects.whole.low) and effects.whole.diagnosis:
        found.append(f"{effects.whole.diagnosis}.")
    return [
        *found,
        *effects.notes,
        costs(effects),
        *_few(effects),
        f"{effects.positions:,} {_plural('position', effects.positions)} of "
        f"{effects.documents:,} {_plural('document', effects.documents)}; "
        f"{100 * effects.confidence:.6g} % intervals, clustered by {effects.clustered_by}.",
    ]


def _few(effects: LayerEffects) -> list[str]:
    if effects.clustered_by != "chunk":
        return []
    one = effects.documents == 1
    few = "one document is" if one else f"{effects.documents:,} documents are"
    return [
        f"Intervals are clustered by chunk, since {few} too few to tell how documents differ: "
        "they hold for more text of the same documents, not for others."
    ]


def _plural(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"


def costs(effects: LayerEffects) -> str:
    """How many layers ran, beside what whole forward passes would have run."""
    return (
        f"{effects.evaluations:,} layers of a chunk were run, "
        f"{effects.evaluations / effects.naive:.0%}".replace("%", " %")
        + f" of the {effects.naive:,} of whole forward passes."
    )


def cells(estimate: Estimate, scale: float = 1.0) -> tuple[str, str]:
    """A value and its interval, three digits each; '' where there is no interval."""
    ends = [_short(scale * end) for end in (estimate.low, estimate.high)]
    known = math.isfinite(estimate.value) and not math.isnan(estimate.low)
    return _short(scale * estimate.value), f"[{', '.join(ends)}]" if known else ""


def _short(value: float) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return "0" if value == 0 else f"{value:#.3g}"


def _ranking(effects: LayerEffects, unit: str, scale: float, top: int | None) -> Table:
    ranked = [effect for effect in effects.ranked() if not effect.equal]
    shown = ranked[:top]
    without = any(effect.saved is not None for effect in shown)
    title = f"KL(reference‖reference with it), {unit} per token"
    if len(shown) < len(ranked):
        title += f": the first {len(shown)} of {len(ranked)}"
    table = table_of(title)
    table.add_column("", justify="right", no_wrap=True)
    for name in ("module", "weights", "KL", "interval"):
        table.add_column(name, justify="right" if name in ("KL", "weights") else "left")
    if without:
        table.add_column("repaired, saves", justify="right")
    for place, effect in enumerate(shown, start=1):
        value, interval = cells(effect.kl, scale)
        row = [f"{place}", escape(printable(effect.name)), _size(effect.weights), value]
        row.append(escape(interval) or "none")
        table.add_row(*row, *([_saved(effect, scale)] if without else []))
    return table


def _saved(effect: Effect, scale: float) -> str:
    if effect.saved is None:
        return "–"
    value, interval = cells(effect.saved, scale)
    return f"{value} {escape(interval)}"


def _size(weights: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if weights >= size:
            return f"{weights / size:.3g} {unit}"
    return f"{weights}"


def _by_layer(effects: LayerEffects, unit: str, scale: float) -> Table:
    """A row for each layer: its kinds, and a bar for their sum."""
    rows: dict[str, dict[str, float]] = {}
    for effect in effects.effects:
        place = effect.name if effect.layer is None else f"layer {effect.layer}"
        if not effect.equal:
            kind = effect.kind if effect.layer is not None else "around"
            rows.setdefault(place, {})[kind] = scale * effect.kl.value
    kinds = list(dict.fromkeys(kind for row in rows.values() for kind in row if kind != "around"))
    most = max((sum(row.values()) for row in rows.values()), default=0.0)
    table = table_of(f"Layer by layer, {unit} per token")
    table.add_column("", no_wrap=True)
    for kind in [*kinds, "sum"]:
        table.add_column(kind, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for place, row in rows.items():
        total = sum(row.values())
        length = round(_BAR * total / most) if 0 < most < math.inf else 0
        numbers = [_short(row[kind]) if kind in row else "" for kind in kinds]
        table.add_row(escape(printable(place)), *numbers, _short(total), "▇" * length)
    return table


def _list(sentences: list[str]) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    for sentence in sentences:
        told = sentence[:1].upper() + sentence[1:].rstrip(".") + "."
        grid.add_row("•", Text(printable(told)))
    return grid
