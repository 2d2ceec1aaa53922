"""Forward passes that begin at a layer, with what the layers before it returned last time.

A module in layer l changes nothing before it. The whole model's own forward runs, in which the
layers before l return what they returned in the run without the change; so masks, rotary
embeddings and everything else around the layers is the model's, whatever its architecture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kullback.compare.layers.modules import Slot, decoder_layers
from kullback.compare.layers.swapping import swapped
from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.compare.windows import Window

__all__ = ["Stack", "probe_window", "slots_behind"]

_PROBE_TOKENS = 16


class Stack:
    """A model whose layers can be skipped.

    `evaluations` counts what ran: one for each layer and window.
    """

    def __init__(self, source: HuggingFaceModel) -> None:
        self.source = source
        self.layers = list(decoder_layers(source.model)[1])
        self.evaluations = 0

    def __len__(self) -> int:
        return len(self.layers)

    def run(self, windows: Sequence[Window]) -> tuple[Tensor, list[Any]]:
        """The logits of the scored positions, [n, events], and what each layer returned.

        The list is empty where the layers do not run once each in their order, and then
        nothing can be skipped.
        """
        seen: list[tuple[int, Any]] = []
        with ExitStack() as undo:
            for index, layer in enumerate(self.layers):
                keep = partial(_keep, seen, index)
                undo.callback(layer.register_forward_hook(keep).remove)
            rows = self.source.rows(windows).values
        self.evaluations += len(seen) * len(windows)
        in_order = [index for index, _ in seen] == list(range(len(self)))
        return rows, [output for _, output in seen] if in_order else []

    def resume(
        self, windows: Sequence[Window], outputs: Sequence[Any], slots: Iterable[Slot] = ()
    ) -> Tensor:
        """The logits with `slots` swapped, where the first layers return `outputs`, one each."""
        with ExitStack() as undo:
            for layer, output in zip(self.layers, outputs, strict=False):
                undo.callback(_restore_forward(layer))
                layer.forward = partial(_recorded, output)
            undo.enter_context(swapped(slots))
            rows = self.source.rows(windows).values
        self.evaluations += (len(self) - len(outputs)) * len(windows)
        return rows

    def can_resume(self, window: Window) -> bool:
        """Whether resuming at every layer gives what the whole run gives.

        It does not where layers hand each other more than their outputs, such as keys and values.
        """
        before = self.evaluations
        rows, outputs = self.run([window])
        same = bool(outputs) and all(
            _close(self.resume([window], outputs[:start]), rows)
            for start in range(1, len(self) + 1)
        )
        self.evaluations = before
        return same


def _keep(seen: list[tuple[int, Any]], index: int, module: Any, inputs: Any, output: Any) -> None:
    seen.append((index, _copy(output)))


def _recorded(output: Any, *arguments: Any, **options: Any) -> Any:
    # A layer may write into what it is given.
    return _copy(output)


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    return tuple(_copy(part) for part in value) if type(value) is tuple else value


def _restore_forward(layer: nn.Module) -> Callable[[], None]:
    """What gives `layer` back its forward, be it the class's or one of its own."""
    own = vars(layer).get("forward")
    if own is None:
        return partial(layer.__delattr__, "forward")
    return partial(layer.__setattr__, "forward", own)


def _close(a: Tensor, b: Tensor) -> bool:
    """Equal up to the order in which parallel sums may run."""
    slack = 64 * torch.finfo(b.dtype).eps * float(b.abs().max())
    return bool(((a - b).abs() <= slack).all())


def probe_window(window: Window) -> Window:
    """The first few tokens of a window, all scored: enough to see how a model is wired."""
    tokens = window.tokens[:_PROBE_TOKENS]
    return Window(0, 0, tokens, np.asarray(tokens[1:]), 1, 0)


def slots_behind(stack: Stack, window: Window, slots: Sequence[Slot]) -> set[str]:
    """The paths of those slots whose modules run only after the last layer."""
    calls: list[str | None] = []
    before = stack.evaluations
    with ExitStack() as undo:
        last = stack.layers[-1].register_forward_hook(lambda *_: calls.append(None))
        undo.callback(last.remove)
        for slot in slots:
            module = slot.sides()[0]
            if isinstance(module, nn.Module):
                note = partial(_note, calls, slot.path)
                undo.callback(module.register_forward_pre_hook(note).remove)
        stack.run([window])
    stack.evaluations = before
    if None not in calls:
        return set()
    end = len(calls) - calls[::-1].index(None)
    early = set(calls[:end])
    return {path for path in calls[end:] if path is not None and path not in early}


def _note(calls: list[str | None], path: str, module: Any, inputs: Any) -> None:
    calls.append(path)
