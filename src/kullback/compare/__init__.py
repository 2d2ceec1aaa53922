"""How much of what a reference model knows does a candidate lose, on this text?

Both sides run over the same tokens, one batch of windows at a time; a kernel reads the two
rows of logits at each scored position once, and everything reported is folded from that. The
sides may be models or what models left on disk, see `kullback.compare.readers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from kullback.errors import InputError

if TYPE_CHECKING:
    from kullback.compare.documents import Splitting, Text
    from kullback.compare.readers import Source
    from kullback.compare.windows import Windows
    from kullback.results import Comparison

__all__ = ["compare"]


def compare(
    reference: Any,
    candidate: Any = None,
    *,
    text: Text | None = None,
    documents: Splitting | None = None,
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
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """KL(reference‖candidate) and its kin over the positions of a text, in nats per position.

    Args:
        reference: a model folder, a hub name, a GGUF file, a llama.cpp base-logits file, saved
            logits, a (model, tokenizer) pair, or a model with `tokenizer=`.
        candidate: what stands in for it, of the same kinds; or leave it out and give `quantize`.
        text: a string, a `pathlib.Path`, or a sequence of these. Saved files bring their own
            tokens and take no text.
        documents: how an item of text splits: "files" (the default), "lines", "paragraphs" or
            "jsonl".
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
        progress: called as `progress(done, total)` with numbers of positions.

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
    from kullback.compare.intervals import check_confidence
    from kullback.compare.readers.placement import pick_device, pick_dtype

    check_confidence(confidence)
    pick_dtype(dtype, None)
    with _seeded(seed, pick_device(device)):
        options = {"tokenizer": tokenizer, "device": device, "dtype": dtype}
        p, q = _open_sides(reference, candidate, quantize, options)
        cutting = {"documents": documents, "context": context, "warmup": warmup}
        windows = _windows(p, q, text, cutting, max_tokens, as_llama_cpp)
        settings = {
            "context": windows.context,
            "warmup": windows.warmup,
            "seed": seed,
            "max_tokens": max_tokens,
            "documents": None if p.windows is not None else documents or "files",
        }
        return _fold(p, q, windows, batch, as_llama_cpp, confidence, settings, progress)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """torch's generators begin at `seed` inside, and are as they were afterwards."""
    if not -(2**63) <= seed < 2**64:
        raise InputError(f"seed={seed} does not fit 64 bits: choose one below 2**64")
    gpus = range(torch.cuda.device_count()) if device.type == "cuda" else ()
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield


def _fold(
    p: Source,
    q: Source,
    windows: Windows,
    batch: int | None,
    as_llama_cpp: bool,
    confidence: float,
    settings: dict[str, Any],
    progress: Callable[[int, int], None] | None,
) -> Comparison:
    """One pass over the positions of `windows`, and what it adds up to."""
    from kullback.compare.accumulate import Accumulator, comparison_from
    from kullback.compare.alignment import shared_events
    from kullback.compare.positions import read_positions

    events = shared_events(p, q, windows)
    accumulator, done = Accumulator(), 0
    for part in read_positions(
        p, q, windows, events=events, batch=_batch(batch, q), as_llama_cpp=as_llama_cpp
    ):
        accumulator.update(part)
        done += len(part)
        if progress is not None:
            progress(done, windows.scored)
    comparison = comparison_from(
        accumulator,
        convention="llama.cpp" if as_llama_cpp else "careful",
        documents=windows.documents,
        provenance=_provenance(p, q, windows, settings),
        # A source may stand on both sides.
        notes=list(dict.fromkeys([*windows.notes, *p.notes, *q.notes])),
        confidence=confidence,
    )
    return replace(comparison, notes=(*comparison.notes, *_column_notes(comparison, events)))


def _open_sides(
    reference: Any, candidate: Any, quantize: str | None, options: dict[str, Any]
) -> tuple[Source, Source]:
    from kullback.compare.readers import open_source

    if (candidate is None) == (quantize is None):
        raise InputError("give either a candidate or quantize=, and not both")
    p = open_source(reference, **options)
    if quantize is None:
        q = open_source(candidate, **options)
        unused = [name for name in ("device", "dtype") if options[name] is not None]
        if p.windows is not None and q.windows is not None and unused:
            raise InputError(f"two files need no model: leave out {' and '.join(unused)}")
        return p, q
    if p.windows is not None:
        raise InputError(
            f"quantize={quantize!r} needs a model to quantise, and {p.name!r} is a file of logits"
        )
    from kullback.compare.quantize import quantized
    from kullback.compare.readers.hugging_face import HuggingFaceModel

    assert isinstance(p, HuggingFaceModel)
    return p, quantized(p, quantize)


def _windows(
    p: Source,
    q: Source,
    text: Text | None,
    cutting: dict[str, Any],
    max_tokens: int | None,
    as_llama_cpp: bool,
) -> Windows:
    from kullback.compare.alignment import windows_of_saved, windows_of_text
    from kullback.compare.windows import first_tokens

    if p.windows is not None:
        given = {"text": text, **cutting}
        unused = [name for name, value in given.items() if value is not None]
        if unused:
            raise InputError(
                f"{p.name!r} brings its own tokens, already cut: leave out {', '.join(unused)}"
            )
        return first_tokens(windows_of_saved(p, q), max_tokens)
    context = 512 if cutting["context"] is None else cutting["context"]
    warmup = cutting["warmup"]
    if as_llama_cpp and warmup not in (None, context // 2):
        raise InputError(
            f"warmup={warmup} does not go with as_llama_cpp, which scores the second half of each "
            "chunk: leave it out"
        )
    windows = windows_of_text(
        p,
        q,
        text,
        cutting["documents"] or "files",
        context=context,
        warmup=256 if warmup is None else warmup,
        as_llama_cpp=as_llama_cpp,
    )
    return first_tokens(windows, max_tokens)


def _batch(batch: int | None, candidate: Source) -> int:
    if batch is None:
        # One window of a few hundred tokens fills a processor, but not a GPU.
        model = getattr(candidate, "model", None)
        return 1 if model is None or model.device.type == "cpu" else 8
    if batch < 1:
        raise InputError(f"batch={batch}: at least one window goes through at a time")
    return batch


def _provenance(p: Source, q: Source, windows: Windows, settings: dict[str, Any]) -> dict[str, Any]:
    from kullback.compare.provenance import token_stream_hash, versions, vocabulary_hash

    tokenizer = p.tokenizer or q.tokenizer
    return {
        "reference": p.provenance(),
        "candidate": q.provenance(),
        "tokenizer": None if tokenizer is None else vocabulary_hash(tokenizer.get_vocab()),
        "token_stream": token_stream_hash(windows),
        "versions": versions(["torch", "transformers", "numba", "gguf"]),
        **settings,
    }


def _column_notes(comparison: Comparison, events: int) -> list[str]:
    """What a reader has to know of mass that was lumped together or cut off."""
    means = {name: estimate.value for name, estimate in comparison.columns.items()}
    notes = []
    if "censored_mass_p" in means:
        notes.append(
            "events that a file knows only to be small were joined into one: the divergences are "
            f"lower bounds; its mean mass is {means['censored_mass_p']:.2g} in the reference and "
            f"{means['censored_mass_q']:.2g} in the candidate, and the next token was among them "
            f"at {means['censored_token']:.2%} of the positions"
        )
    for side, name in (("p", "reference"), ("q", "candidate")):
        if f"padding_mass_{side}" in means:
            notes.append(
                f"the {name}'s head is wider than the {events} events compared; the mean mass on "
                f"its padding was {means[f'padding_mass_{side}']:.2g}, and was cut off"
            )
    return notes
