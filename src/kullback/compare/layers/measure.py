"""The measurement: every mixture of the two models, on every window, without needless layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kullback import kernels
from kullback.compare.alignment import shared_events, windows_of_text
from kullback.compare.beforehand import Cut
from kullback.compare.documents import Document
from kullback.compare.layers.fold import Fold
from kullback.compare.layers.modules import Slot, parts_of
from kullback.compare.layers.passes import Stack, probe_window, slots_behind
from kullback.compare.layers.record import LayerEffects
from kullback.compare.layers.units import Unit, units_of
from kullback.compare.provenance import token_stream_hash, versions
from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.compare.windows import Window, Windows, batches, first_tokens
from kullback.errors import ComparisonError, NonFiniteError

__all__ = ["measure"]

_SAME_MODEL = 0.01
"""The most that the reference with all of the candidate's modules may differ from the candidate,
as a share of what the candidate differs from the reference."""


def measure(
    p: HuggingFaceModel,
    q: HuggingFaceModel,
    documents: Sequence[Document],
    sizes: Cut,
    *,
    max_tokens: int | None,
    by: str,
    leave_one_out: bool,
    batch: int,
    confidence: float,
    progress: Callable[[int, int], None] | None,
) -> LayerEffects:
    """The effects of the modules of `q` in `p`; the models have passed `check_alike`."""
    windows = windows_of_text(
        p,
        q,
        documents,
        sizes,
    )
    windows = first_tokens(windows, max_tokens)
    events = shared_events(p, q, windows)
    stacks = Stack(p), Stack(q)
    units, notes = _plan(stacks, windows, by)
    fold, passes = Fold(), (1 + leave_one_out) * sum(unit.differs for unit in units) + 2
    done, total = 0, passes * windows.scored
    for group in batches(windows.items, batch):
        kl: dict[Any, np.ndarray] = {}
        done += sum(window.scored for window in group)
        for key, values in _mixtures(stacks, units, group, events, leave_one_out):
            kl[key] = values
            done += len(values)
            if progress is not None:
                progress(done, total)
        fold.update(group, kl)
    return fold.record(
        units,
        leave_one_out=leave_one_out,
        confidence=confidence,
        by=by,
        layers=len(stacks[0]),
        evaluations=sum(stack.evaluations for stack in stacks),
        naive=passes * len(stacks[0]) * len(windows.items),
        provenance={
            "reference": p.provenance(),
            "candidate": q.provenance(),
            "token_stream": token_stream_hash(windows),
            "versions": versions(["torch", "transformers"]),
            "context": sizes.context,
            "warmup": sizes.warmup,
            "max_tokens": max_tokens,
            "documents": sizes.splitting,
        },
        notes=tuple(dict.fromkeys([*windows.notes, *p.notes, *q.notes, *notes])),
    )


def _plan(stacks: tuple[Stack, Stack], windows: Windows, by: str) -> tuple[list[Unit], list[str]]:
    """What is exchanged, after seeing on a few tokens how the model is wired; and notes on it."""
    reference, candidate = stacks
    probe = probe_window(windows.items[0])
    parts = parts_of(reference.source.model, candidate.source.model)
    _check_whole(stacks, [s for part in parts if part.differs for s in part.slots], probe)
    resumable = reference.can_resume(probe)
    around = [slot for part in parts if part.layer is None for slot in part.slots]
    behind = slots_behind(reference, probe, around)
    units = units_of(parts, by, layers=len(reference), behind=behind, resumable=resumable)
    notes = []
    if not resumable:
        notes.append(
            "layers of this architecture share more than what they return, so that every pass ran "
            "through all of them"
        )
    return units, notes


def _check_whole(stacks: tuple[Stack, Stack], slots: Sequence[Slot], probe: Window) -> None:
    """Raise `ComparisonError` where all modules together are not the candidate."""
    reference, candidate = stacks
    before = reference.evaluations
    mixed = reference.resume([probe], [], slots)
    reference.evaluations = before
    p, q = (stack.source.rows([probe]).values for stack in stacks)
    whole, rest = (float(_kl(*rows, [probe]).mean()) for rows in ((p, q), (q, mixed)))
    if rest > _SAME_MODEL * whole:
        settings = [
            name
            for name, value in reference.source.config.to_dict().items()
            if candidate.source.config.to_dict().get(name) != value
        ]
        raise ComparisonError(
            "the reference with all modules of the candidate is not the candidate (KL "
            f"{rest:.3g} nats): the models differ in more than their weights; settings that "
            f"differ: {', '.join(settings[:5]) or 'none in the configuration'}"
        )


def _mixtures(
    stacks: tuple[Stack, Stack],
    units: Sequence[Unit],
    group: Sequence[Window],
    events: int,
    leave_one_out: bool,
) -> Iterator[tuple[Any, np.ndarray]]:
    """The KL from the reference at the positions of `group`, by the key of each mixture."""
    reference, candidate = stacks
    rows, outputs = reference.run(group)
    p = rows[:, :events]
    rows, theirs = candidate.run(group)
    yield "whole", _checked(p, rows[:, :events], group, "the candidate")
    for index, unit in enumerate(units):
        if not unit.differs:
            continue
        mixed = reference.resume(group, outputs[: unit.start], unit.slots)
        name = f"the reference with the candidate's {unit.name}"
        yield ("single", index), _checked(p, mixed[:, :events], group, name)
        if leave_one_out:
            slots = [slot.turned() for slot in unit.slots]
            mixed = candidate.resume(group, theirs[: unit.start], slots)
            name = f"the candidate with the reference's {unit.name}"
            yield ("without", index), _checked(p, mixed[:, :events], group, name)


def _checked(p: Tensor, q: Tensor, group: Sequence[Window], name: str) -> np.ndarray:
    kl = _kl(p, q, group)
    if np.isnan(kl).any():
        place = int(np.flatnonzero(np.isnan(kl))[0])
        raise NonFiniteError(
            f"the logits of {name}, or of the reference, are not finite in window "
            f"{group[0].chunk} or one run with it (row {place}): half precision overflows, try "
            "--dtype float32; otherwise a checkpoint is damaged"
        )
    return kl


def _kl(p: Tensor, q: Tensor, group: Sequence[Window]) -> np.ndarray:
    """KL(p‖q) at each position, float64 nats."""
    target = torch.from_numpy(np.concatenate([window.targets for window in group]))
    target = target.to(q.device)
    statistics = kernels.for_device(p, q).row_statistics(p, q, target)
    return statistics.kl.double().cpu().numpy()
