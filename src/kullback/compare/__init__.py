"""How much of what a reference model knows does a candidate lose, on this text?

Both sides run over the same tokens, one batch of windows at a time; a kernel reads the two
rows of logits at each scored position once, and everything reported is folded from that. The
sides may be models or what models left on disk, see `kullback.compare.readers`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from kullback.errors import InputError, TextError

if TYPE_CHECKING:
    from kullback.compare.readers import Source
    from kullback.compare.windows import Splitting, Text, Windows
    from kullback.results import Comparison

__all__ = ["compare"]


def compare(
    reference: Any,
    candidate: Any = None,
    *,
    text: Text | None = None,
    documents: Splitting = "files",
    context: int = 512,
    warmup: int = 256,
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

    `reference` and `candidate` are each a model folder, a hub name, a GGUF file, a llama.cpp
    base-logits file, saved logits, a (model, tokenizer) pair, or a model with `tokenizer=`,
    which then serves both sides. Instead of a candidate, `quantize` ("int8", "int4") makes
    one from the reference.

    `text` is a string, a `pathlib.Path`, or a sequence of these; `documents` says how an item
    splits. Saved files bring their own tokens and take no text. Each document is cut into
    windows of `context` tokens and the first `warmup` predictions of a window do not count.
    `as_llama_cpp` cuts the text and sums the divergence as llama.cpp does. `max_tokens` stops
    after whole windows, `batch` is in windows. `dtype` None is the checkpoint's own, float32
    for GGUF. `seed` seeds torch. `progress(done, total)` is called as positions are done.

    Raises a `ComparisonError` where the sides do not line up or the text is too short,
    `NonFiniteError` at the first logits that are NaN, `MissingExtra` without Transformers.

    >>> import numpy as np, tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("p", "q"):
    ...     np.save(folder / f"{name}.npy", np.log([[0.5, 0.5], [0.25, 0.75]]))
    >>> compare(folder / "p.npy", folder / "q.npy").kl.value
    0.0
    """
    from kullback.compare.accumulate import Accumulator, comparison_from
    from kullback.compare.alignment import shared_events
    from kullback.compare.positions import read_positions
    from kullback.compare.windows import first_tokens

    torch.manual_seed(seed)
    options = {"tokenizer": tokenizer, "device": device, "dtype": dtype}
    p, q = _open_sides(reference, candidate, quantize, options)
    windows = _windows(p, q, text, documents, context, warmup, as_llama_cpp)
    windows = first_tokens(windows, max_tokens)
    events = shared_events(p, q, windows)
    accumulator, done = Accumulator(), 0
    for part in read_positions(
        p, q, windows, events=events, batch=_batch(batch, q), as_llama_cpp=as_llama_cpp
    ):
        accumulator.update(part)
        done += len(part)
        if progress is not None:
            progress(done, windows.scored)
    settings = {
        "context": context,
        "warmup": warmup,
        "seed": seed,
        "max_tokens": max_tokens,
        "documents": documents,
    }
    comparison = comparison_from(
        accumulator,
        convention="llama.cpp" if as_llama_cpp else "careful",
        documents=windows.documents,
        provenance=_provenance(p, q, windows, settings),
        notes=[*windows.notes, *p.notes, *q.notes],
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
        return p, open_source(candidate, **options)
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
    documents: Splitting,
    context: int,
    warmup: int,
    as_llama_cpp: bool,
) -> Windows:
    from kullback.compare.alignment import windows_of_saved, windows_of_text

    if p.windows is not None:
        if text is not None:
            raise InputError(f"{p.name!r} brings its own tokens: leave out the text")
        return windows_of_saved(p, q)
    if text is None:
        raise TextError("two models need a text to be compared on: give one with --text")
    return windows_of_text(
        p, q, text, documents, context=context, warmup=warmup, as_llama_cpp=as_llama_cpp
    )


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
