"""Which modules two models of one architecture have: by layer and by kind, slot for slot.

The decoder layers are the longest `nn.ModuleList` of the text model that lies in no other one.
Each of their children is attention, MLP, norm, mixer or something else, told by its name, and
whatever stands around the list is embedding, head or norm. A slot is a place where a child or a
tensor hangs, in either model, so that one can stand in for the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from kullback.errors import ComparisonError

__all__ = ["KINDS", "Part", "Slot", "check_alike", "decoder_layers", "parts_of"]

KINDS = ("embedding", "attention", "mixer", "MLP", "norms", "other", "head")
"""What a part can be, in the order in which a token meets them."""

_NORM = re.compile(r"norm|(^|_)ln(_|\d|$)", re.IGNORECASE)
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_MIXER = re.compile(r"mixer|mamba|ssm|conv|recurrent|rwkv|temporal", re.IGNORECASE)
_MLP = re.compile(r"mlp|feed_?forward|ffn|moe|expert|(^|_)ff|^fc|dense", re.IGNORECASE)
# A rotary embedding holds frequencies, not what tokens are looked up in.
_EMBEDDING = re.compile(r"^(?!.*rot).*embed|^wte$|^wpe$", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Slot:
    """One place in both models: a child module, parameter or buffer `name` of `here` and `there`.

    `registry` is where torch keeps it: `_modules`, `_parameters` or `_buffers`.
    """

    path: str
    here: nn.Module
    there: nn.Module
    registry: str
    name: str

    def sides(self) -> tuple[Any, Any]:
        """What hangs there in either model."""
        return getattr(self.here, self.registry)[self.name], getattr(self.there, self.registry)[
            self.name
        ]

    def turned(self) -> Slot:
        """The same place, seen from the other model."""
        return replace(self, here=self.there, there=self.here)


@dataclass(frozen=True, eq=False)
class Part:
    """The slots of one kind in one layer; `layer` is None around the layers.

    `weights` counts the numbers in it, and `differs` is False where all of them are equal.
    """

    layer: int | None
    kind: str
    slots: tuple[Slot, ...]
    weights: int
    differs: bool

    @property
    def name(self) -> str:
        """What reports call it."""
        if self.layer is not None:
            return f"layer {self.layer} {self.kind}"
        if self.kind == "other":
            return ", ".join(slot.path for slot in self.slots)
        return "final norm" if self.kind == "norms" else self.kind


def decoder_layers(model: Any) -> tuple[str, nn.ModuleList]:
    """The path and the list of the decoder layers of a causal language model.

    Raises `ComparisonError` for a model that keeps its layers in no `nn.ModuleList`.
    """
    text = model.get_decoder() if hasattr(model, "get_decoder") else model
    found = _outer_lists(text) or _outer_lists(model)
    if not found:
        raise ComparisonError(
            f"{type(model).__name__} keeps its layers in no nn.ModuleList: there is nothing to "
            "put in or take out layer by layer; compare the whole models with kullback compare"
        )
    longest = max(found, key=len)
    path = next(name for name, module in model.named_modules() if module is longest)
    return path, longest


def _outer_lists(module: nn.Module) -> list[nn.ModuleList]:
    """The lists of modules that lie in no other list, as experts lie in a layer's."""
    if isinstance(module, nn.ModuleList):
        return [module] if len(module) else []
    return [found for child in module.children() for found in _outer_lists(child)]


def check_alike(reference: nn.Module, candidate: nn.Module) -> None:
    """Raise `ComparisonError` unless both hold tensors of the same names, shapes and dtypes.

    The message names the first that differs and counts the others.
    """
    ours, theirs = _tensors(reference), _tensors(candidate)
    alone = sorted(ours.keys() ^ theirs.keys())
    if alone:
        side = "reference" if alone[0] in ours else "candidate"
        raise ComparisonError(
            f"the models are not of one architecture: only the {side} has {alone[0]!r}"
            f"{_and_others(alone)}; modules can be exchanged only between models that have the "
            "same ones (a quantised checkpoint has to be loaded dequantised)"
        )
    for what in ("shape", "dtype", "device"):
        pairs = [(n, getattr(a, what), getattr(theirs[n], what)) for n, a in ours.items()]
        different = [pair for pair in pairs if pair[1] != pair[2]]
        if different:
            name, mine, other = different[0]
            step = (
                "only models of one size can lend each other modules"
                if what == "shape"
                else f"load both with one {what}, by --{what}"
            )
            raise ComparisonError(
                f"the {what} of {name!r} is {_words(mine)} in the reference and {_words(other)} "
                f"in the candidate{_and_others(different)}; {step}"
            )


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    named = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    return dict(named)


def _words(value: Any) -> str:
    return str(list(value)) if isinstance(value, torch.Size) else str(value)


def _and_others(found: list[Any]) -> str:
    return f" (and {len(found) - 1} others differ)" if len(found) > 1 else ""


def parts_of(reference: nn.Module, candidate: nn.Module) -> list[Part]:
    """All parts of two models that `check_alike` passed, in the order in which tokens meet them."""
    path, layers = decoder_layers(reference)
    slots: dict[tuple[int | None, str], list[Slot]] = {}
    for slot in _around(reference, candidate, "", layers):
        slots.setdefault((None, _kind_around(reference, slot)), []).append(slot)
    for index, layer in enumerate(layers):
        place = f"{path}.{index}"
        for slot in _slots(layer, candidate.get_submodule(place), place):
            slots.setdefault((index, _kind_within(slot)), []).append(slot)
    parts = [_part(layer, kind, found) for (layer, kind), found in slots.items()]
    return sorted(parts, key=lambda part: _order(part, len(layers)))


def _order(part: Part, layers: int) -> tuple[int, int]:
    behind = part.kind in ("norms", "head")
    place = part.layer if part.layer is not None else (layers if behind else -1)
    return place, KINDS.index(part.kind)


def _around(here: nn.Module, there: nn.Module, path: str, layers: nn.ModuleList) -> Iterator[Slot]:
    """The slots beside the way that leads down from `here` to `layers`."""
    for slot in _slots(here, there, path):
        mine, theirs = slot.sides()
        if mine is layers:
            continue
        if isinstance(mine, nn.Module) and any(module is layers for module in mine.modules()):
            yield from _around(mine, theirs, slot.path, layers)
        else:
            yield slot


def _slots(here: nn.Module, there: nn.Module, path: str) -> Iterator[Slot]:
    for registry in ("_modules", "_parameters", "_buffers"):
        for name, value in getattr(here, registry).items():
            if value is not None and (isinstance(value, Tensor) or _tensors(value)):
                yield Slot(f"{path}.{name}".lstrip("."), here, there, registry, name)


def _kind_within(slot: Slot) -> str:
    value = slot.sides()[0]
    plain = not isinstance(value, nn.Module) or not list(value.children())
    if plain and (_NORM.search(slot.name) or "Norm" in type(value).__name__):
        return "norms"
    for kind, pattern in (("attention", _ATTENTION), ("MLP", _MLP), ("mixer", _MIXER)):
        if pattern.search(slot.name):
            return kind
    return "other"


def _kind_around(model: Any, slot: Slot) -> str:
    value = slot.sides()[0]
    inside = list(value.modules()) if isinstance(value, nn.Module) else []
    if any(module is model.get_output_embeddings() for module in inside):
        return "head"
    if any(module is model.get_input_embeddings() for module in inside):
        return "embedding"
    if _EMBEDDING.search(slot.name):
        return "embedding"
    return "norms" if _kind_within(slot) == "norms" else "other"


def _part(layer: int | None, kind: str, slots: list[Slot]) -> Part:
    weights, differs = 0, False
    for slot in slots:
        mine, theirs = (_values(side) for side in slot.sides())
        weights += sum(tensor.numel() for tensor in mine)
        differs |= not all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    return Part(layer, kind, tuple(slots), weights, differs)


def _values(side: Any) -> list[Tensor]:
    return [side] if isinstance(side, Tensor) else [t for _, t in sorted(_tensors(side).items())]
