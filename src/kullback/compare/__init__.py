"""How much of what a reference model knows does a candidate lose, on this text?

All sides run over the same tokens, one batch of windows at a time; a kernel reads the two
rows of logits at each scored position once, and everything reported is folded from that. The
sides may be models or what models left on disk, see `kullback.compare.readers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from kullback.errors import InputError

if TYPE_CHECKING:
    from kullback.compare.accumulate import Accumulator
    from kullback.compare.documents import Splitting, Text
    from kullback.compare.processes import Processes
    from kullback.compare.readers import Source
    from kullback.compare.stopping import Stopping
    from kullback.compare.store import PositionStore
    from kullback.results import Comparison, Ranking

__all__ = ["compare"]


def compare(
    reference: Any,
    candidate: Any = None,
    *,
    text: Text | None = None,
    documents: Splitting | None = None,
    chat: str | Path | None = None,
    context: int | None = None,
    warmup: int | None = None,
    max_tokens: int | None = None,
    batch: int | None = None,
    device: str | None = None,
    dtype: str | torch.dtype | None = None,
    seed: int = 0,
    quantize: str | None = None,
    tokenizer: Any = None,
    as_llama_cpp: bool = False,
    confidence: float = 0.95,
    out: str | Path | None = None,
    precision: str | float | None = None,
    floor: bool = False,
    progress: Callable[[int, int], None] | None = None,
    processes: Processes | None = None,
) -> Comparison | Ranking:
    """KL(reference‖candidate) and its kin over the positions of a text, in nats per position.

    Args:
        reference: a model folder, a hub name, a GGUF file, a llama.cpp base-logits file, saved
            logits, a (model, tokenizer) pair, or a model with `tokenizer=`.
        candidate: what stands in for it, of the same kinds, or a list of such; or leave it out
            and give `quantize`.
        text: a string, a `pathlib.Path`, or a sequence of these. Saved files bring their own
            tokens and take no text.
        documents: how an item of text splits: "files" (the default), "lines", "paragraphs" or
            "jsonl".
        chat: in place of `text`, a file with a conversation on each line of JSON; only what the
            assistant says counts, as the chat template writes it.
        context: each document is cut into windows of this many tokens, by default 512.
        warmup: the first so many predictions of a window do not count, by default 256; half
            the context with `as_llama_cpp`.
        max_tokens: stop after so many, in whole windows.
        batch: windows to run at once; by default 1 on a CPU and 8 on a GPU.
        device: where to run the models; by default the best there is.
        dtype: by default the checkpoint's own, float32 for GGUF.
        seed: seeds torch while the models load and run, for those that draw at random; the
            caller's own generators come back as they were.
        quantize: "int8" or "int4": make the candidate from the reference.
        tokenizer: for models that are passed without one; it serves both sides.
        as_llama_cpp: cut the text and sum the divergence as llama.cpp does.
        confidence: of the intervals.
        out: a folder to keep every position in, as `positions.parquet`; the same call goes on
            where an interrupted one stopped. It needs PyArrow: `kullback[report]`.
        precision: stop when the interval of the KL is so narrow from end to end: 0.02 is in nats,
            "5%" a share of the mean. Documents are read in random order, and the interval is one
            that may be looked at after each.
        floor: run the reference against itself too, in the candidate's dtype or in other batches,
            to see what rounding alone makes of a KL.
        progress: called as `progress(done, total)` with numbers of positions.
        processes: those that `kullback.compare.processes.group()` found: they share the text, and
            all of them get the result; by default this one is alone.

    Returns:
        A `Comparison`, or for a list of candidates a `Ranking`.

    Raises:
        ComparisonError: the sides do not line up, the text is too short, a file is damaged.
        InputError: an option is out of range, or does not apply to the sides.
        NonFiniteError: at the first logits that are NaN, naming side and position.
        MissingExtra: a side needs Transformers, which is not installed.

    Example:
        >>> import numpy as np, tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("p", "q"):
        ...     np.save(folder / f"{name}.npy", np.log([[0.5, 0.5], [0.25, 0.75]]))
        >>> compare(folder / "p.npy", folder / "q.npy").kl.value
        0.0
    """
    from kullback.compare.beforehand import read_beforehand
    from kullback.compare.floor import floor_sides, with_floors
    from kullback.compare.intervals import check_confidence
    from kullback.compare.labelled import shared_slices, with_slices
    from kullback.compare.plan import planned, provenances_of
    from kullback.compare.processes import Processes
    from kullback.compare.readers.placement import pick_device, pick_dtype
    from kullback.compare.run import seeded
    from kullback.compare.sides import open_sides, windows_for
    from kullback.compare.stopping import shuffled
    from kullback.compare.store import check_folder
    from kullback.compare.summary import comparisons_of

    check_confidence(confidence)
    pick_dtype(dtype, None)
    processes = processes or Processes()
    device = processes.device(device)
    stopping = _stopping(precision, confidence, processes)
    cutting = {"documents": documents, "context": context, "warmup": warmup}
    # What can be wrong without a model is told before one is loaded.
    read = read_beforehand(reference, text, chat, cutting, as_llama_cpp)
    if out is not None and processes.is_first:
        check_folder(Path(out))
    given = candidate if isinstance(candidate, list) else [candidate] * (candidate is not None)
    with seeded(seed, pick_device(device)):
        options = {"tokenizer": tokenizer, "device": device, "dtype": dtype}
        p, candidates = open_sides(reference, given, quantize, options)
        # Labels that disagree are told as such, before they are as tokens that do.
        slices = shared_slices(p, candidates)
        windows = windows_for(p, candidates, read, cutting, max_tokens, as_llama_cpp)
        windows = with_slices(windows, slices)
        if stopping is not None:
            windows = shuffled(windows, seed)
        settings = {
            "precision": None if stopping is None else str(stopping.precision),
            "context": windows.context,
            "warmup": windows.warmup,
            "seed": seed,
            "max_tokens": max_tokens,
            "documents": _kind_of_documents(p, documents, chat),
        }
        plan = planned(p, candidates, windows, batch, as_llama_cpp, top=5 if out else 0)
        floors, others = floor_sides(p, plan.candidates) if floor else ({}, {})
        if stopping is not None:
            stopping = replace(stopping, candidates=tuple(plan.candidates))
        plan = replace(
            plan,
            stopping=stopping,
            candidates={**plan.candidates, **others},
            processes=processes,
        )
        provenances = provenances_of(plan, {**settings, "batch": plan.batch})
        processes.agree(provenances)
        found, _ = plan.run(_store(out, provenances, processes), progress)
    comparisons = comparisons_of(plan, found, provenances, confidence)
    if floor:
        said = {name: side.source.notes[0] for name, side in others.items()}
        comparisons = with_floors(comparisons, found, floors, said, confidence)
    if isinstance(candidate, list):
        return _ranking(comparisons, found, provenances, confidence)
    return next(iter(comparisons.values()))


def _ranking(
    comparisons: Mapping[str, Comparison],
    found: Mapping[str, Accumulator],
    provenances: Mapping[str, Any],
    confidence: float,
) -> Ranking:
    from kullback.compare.notes import with_names
    from kullback.compare.ranking import ranking_from

    sizes = {name: provenances[name]["candidate"].get("bytes") for name in comparisons}
    return ranking_from(with_names(comparisons), found, sizes, confidence=confidence)


def _kind_of_documents(p: Source, documents: str | None, chat: str | Path | None) -> str | None:
    if p.windows is not None:
        return None
    return "conversations" if chat is not None else documents or "files"


def _stopping(
    precision: str | float | None, confidence: float, processes: Processes
) -> Stopping | None:
    if precision is None:
        return None
    if processes.size > 1:
        raise InputError(
            f"precision={precision!r} is reached document by document, and {processes.size} "
            "processes would finish short documents first: start one process, or leave it out"
        )
    from kullback.compare.precision import Precision
    from kullback.compare.stopping import Stopping

    return Stopping(Precision.parse(str(precision)), confidence)


def _store(
    out: str | Path | None, provenances: Mapping[str, Any], processes: Processes
) -> PositionStore | None:
    if out is None:
        return None
    from kullback.compare.store import PositionStore

    # One looks after the folder, before any other writes into it.
    store = processes.from_first(lambda: PositionStore(Path(out), provenances))
    store.rank = processes.rank
    return store
