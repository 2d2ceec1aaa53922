"""Whether two sides can be compared at all: the same tokens, over the same events.

A divergence between rows that mean different things is a number without a meaning, so every
way in which two sides can fail to line up is refused here, with what differs and what to do.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kullback.compare.beforehand import Cut
from kullback.compare.documents import Document
from kullback.compare.readers import Source
from kullback.compare.readers.hugging_face import HuggingFaceModel, beginning_of_sequence, tokenize
from kullback.compare.readers.recorded import RecordedReference, same_tokenizer
from kullback.compare.windows import Window, Windows, cut, cut_as_llama_cpp
from kullback.errors import (
    ComparisonError,
    InputError,
    TextError,
    TokenizerMismatch,
    VocabularyMismatch,
)

__all__ = [
    "check_context",
    "check_vocabularies",
    "shared_events",
    "windows_of_saved",
    "windows_of_text",
]


def windows_of_text(
    reference: Source,
    candidate: Source,
    documents: Sequence[Document] | None,
    sizes: Cut,
) -> Windows:
    """The windows of a text under the reference's tokeniser, which must be the candidate's too.

    Raises `TokenizerMismatch` where the tokenisers or what they make of the text differ,
    `InputError` where the context is longer than a model can read, and `TextError` without a text.
    """
    assert isinstance(reference, HuggingFaceModel)
    if not isinstance(candidate, HuggingFaceModel):
        raise ComparisonError(
            f"the reference {reference.name!r} is a model and the candidate {candidate.name!r} a "
            "file: a file fixes the tokens, so it must be the reference; swap the two and read "
            "reverse_kl, or save the other side as well"
        )
    if documents is None:
        raise TextError("two models need a text to be compared on: give one with --text")
    for side in (reference, candidate):
        check_context(side, sizes.context)
    if sizes.as_llama_cpp:
        joined = "".join(document.text for document in documents)
        documents = [Document(" + ".join(document.name for document in documents), joined)]
    ids = [tokenize(reference.tokenizer, document.text) for document in documents]
    bos = beginning_of_sequence(reference.tokenizer)
    if candidate.tokenizer is not reference.tokenizer:
        check_vocabularies(reference, candidate)
        _check_beginnings(reference, candidate)
        for document, mine in zip(documents, ids, strict=True):
            theirs = tokenize(candidate.tokenizer, document.text)
            _check_stream(mine, theirs, f"document {document.name!r}")
    names = [document.name for document in documents]
    if sizes.as_llama_cpp:
        stream = ids[0] if bos is None else np.concatenate([[bos], ids[0]])
        return cut_as_llama_cpp(stream, names[0], context=sizes.context, bos=bos)
    return cut(ids, names, context=sizes.context, warmup=sizes.warmup, bos=bos)


def check_context(side: HuggingFaceModel, context: int) -> None:
    """Raise `InputError` where `context` tokens are more than the model can read."""
    longest = getattr(side.config, "max_position_embeddings", None)
    if longest is not None and context > longest:
        raise InputError(
            f"context={context} is longer than the {longest} positions of {side.name!r}: "
            "lower --context"
        )


def check_vocabularies(reference: HuggingFaceModel, candidate: HuggingFaceModel) -> None:
    """Raise `TokenizerMismatch` where a token's number means another token on the other side."""
    ours = {i: token for token, i in reference.tokenizer.get_vocab().items()}
    theirs = {i: token for token, i in candidate.tokenizer.get_vocab().items()}
    different = [i for i in sorted(ours.keys() & theirs.keys()) if ours[i] != theirs[i]]
    if different:
        first = different[0]
        raise TokenizerMismatch(
            f"the tokenisers differ in {len(different)} of {len(ours)} tokens: id {first} is "
            f"{ours[first]!r} in {reference.name!r} and {theirs[first]!r} in {candidate.name!r}; "
            "only models that share a tokeniser can be compared token by token"
        )


def _check_beginnings(reference: HuggingFaceModel, candidate: HuggingFaceModel) -> None:
    ours = beginning_of_sequence(reference.tokenizer)
    theirs = beginning_of_sequence(candidate.tokenizer)
    if ours != theirs:
        raise TokenizerMismatch(
            f"the tokenisers begin a text differently: {reference.name!r} with {ours}, "
            f"{candidate.name!r} with {theirs} (None is no token); pass one tokenizer= for both"
        )


def _check_stream(ours: np.ndarray, theirs: np.ndarray, where: str) -> None:
    shared = min(len(ours), len(theirs))
    different = np.flatnonzero(ours[:shared] != theirs[:shared])
    if len(different):
        first = int(different[0])
        raise TokenizerMismatch(
            f"the two sides read different tokens: in {where}, token {first} is {ours[first]} in "
            f"the reference and {theirs[first]} in the candidate; both must come from one text "
            "and one tokeniser"
        )
    if len(ours) != len(theirs):
        raise TokenizerMismatch(
            f"the two sides read different numbers of tokens: {where} has {len(ours)} in the "
            f"reference and {len(theirs)} in the candidate; both must come from one text and one "
            "tokeniser"
        )


def windows_of_saved(reference: Source, candidate: Source) -> Windows:
    """The windows that the reference's file holds, fitted to what the candidate can do with them.

    A model is run on the file's tokens, with the beginning-of-sequence token written over the
    first of each chunk where the model wants one, as llama.cpp does. A file must hold the same
    positions. A record says which tokeniser cut it, which has to be the model's. Raises
    `TokenizerMismatch` or `ComparisonError` where they differ.
    """
    windows = reference.windows
    assert windows is not None
    same = None
    if isinstance(reference, RecordedReference):
        same = same_tokenizer(reference, candidate)
    if candidate.windows is not None:
        _check_saved(windows, candidate.windows, (reference.events, candidate.events))
        windows = replace(windows, items=_known_targets(windows, candidate.windows))
        return _known_documents(windows, candidate.windows, candidate.name)
    if any(not len(window.tokens) for window in windows.items):
        raise ComparisonError(
            f"{reference.name!r} holds logits but not the tokens before them, so the model "
            f"{candidate.name!r} cannot be run on it: save its logits too and compare the files"
        )
    if isinstance(candidate, HuggingFaceModel):
        check_context(candidate, max(len(window.tokens) for window in windows.items))
    if same:
        return windows
    if same is False:
        note = (
            f"the tokenisers of {reference.name!r} and {candidate.name!r} have different numbers "
            "of tokens; those that both have are the same"
        )
        return replace(windows, notes=[*windows.notes, note])
    note = (
        f"the tokens come from {reference.name!r}; that the candidate's tokeniser made them "
        "cannot be checked beyond the size of its vocabulary"
    )
    bos = beginning_of_sequence(candidate.tokenizer)
    items = windows.items if bos is None else [_begin_with(w, bos) for w in windows.items]
    return replace(windows, items=items, notes=[*windows.notes, note])


def _begin_with(window: Window, bos: int) -> Window:
    tokens = window.tokens.copy()
    tokens[0] = bos
    return replace(window, tokens=tokens)


def _check_saved(ours: Windows, theirs: Windows, events: tuple[int, int]) -> None:
    full = [all(len(w.tokens) for w in side.items) for side in (ours, theirs)]
    if all(full):
        for a, b in zip(ours.items, theirs.items, strict=False):
            _check_stream(a.tokens, b.tokens, f"chunk {a.chunk}")
    if ours.scored != theirs.scored:
        if any(full):
            advice = "save both from one text with one context"
        else:
            advice = "a row must stand for the same example or position in both, in the same order"
        raise ComparisonError(
            f"the reference holds {ours.scored} rows of {events[0]} events and the candidate "
            f"{theirs.scored} of {events[1]}: {advice}"
        )
    mine, others = _targets(ours), _targets(theirs)
    different = np.flatnonzero((mine != others) & (mine >= 0) & (others >= 0))
    if len(different):
        first = int(different[0])
        raise TokenizerMismatch(
            f"the two sides predict different tokens: at position {first} of the file it is "
            f"{mine[first]} in the reference and {others[first]} in the candidate; both must come "
            "from one text and one tokeniser"
        )
    if ours.known_documents and theirs.known_documents:
        _check_documents(_names(ours), _names(theirs))


def _check_documents(ours: np.ndarray, theirs: np.ndarray) -> None:
    different = np.flatnonzero(ours != theirs)
    if len(different):
        first = int(different[0])
        raise ComparisonError(
            f"the two files disagree on the documents: position {first} belongs to "
            f"{str(ours[first])!r} in the reference and to {str(theirs[first])!r} in the "
            "candidate; save both with the same ids, or one of them without"
        )


def _names(windows: Windows) -> np.ndarray:
    """The name of each position's document."""
    return np.array(windows.documents)[_documents(windows)]


def _documents(windows: Windows) -> np.ndarray:
    sizes = [window.scored for window in windows.items]
    return np.repeat([window.document for window in windows.items], sizes)


def _targets(windows: Windows) -> np.ndarray:
    return np.concatenate([window.targets for window in windows.items])


def _known_targets(ours: Windows, theirs: Windows) -> list[Window]:
    """The reference's windows, with tokens that only the candidate's file knows."""
    merged = np.where(_targets(ours) < 0, _targets(theirs), _targets(ours))
    return [replace(w, targets=merged[w.offset : w.offset + w.scored]) for w in ours.items]


def _known_documents(ours: Windows, theirs: Windows, name: str) -> Windows:
    """The reference's windows, with documents that only the candidate's file knows."""
    if ours.known_documents or not theirs.known_documents:
        return ours
    document = _documents(theirs)
    items = [part for window in ours.items for part in _split(window, document)]
    note = f"the document ids are those of {name!r}: the reference has none"
    return replace(
        theirs,
        items=items,
        notes=[*theirs.notes, note],
        context=ours.context,
        warmup=ours.warmup,
    )


def _split(window: Window, document: np.ndarray) -> list[Window]:
    """`window`, cut wherever the document changes; `document` has an entry for each position."""
    mine = document[window.offset : window.offset + window.scored]
    edges = [0, *(np.flatnonzero(np.diff(mine)) + 1).tolist(), window.scored]
    return [
        replace(
            window,
            document=int(mine[start]),
            # Files are not run again: the tokens only say which stream this is.
            tokens=window.tokens if start == 0 else window.tokens[:0],
            targets=window.targets[start:stop],
            first_position=window.first_position + start,
            offset=window.offset + start,
        )
        for start, stop in itertools.pairwise(edges)
    ]


def shared_events(reference: Source, candidate: Source, windows: Windows) -> int:
    """How many events both sides predict, counted from the first.

    Heads that are padded to different widths are cut to the narrower one, as long as it covers
    the tokeniser. Raises `VocabularyMismatch` where it does not, where the widths of two files
    differ, or where the text has a token that a side cannot predict.
    """
    events = min(reference.events, candidate.events)
    cover = [_size(side) for side in (reference, candidate) if side.tokenizer is not None]
    if reference.events != candidate.events and events < max(cover, default=events + 1):
        needed = f", and the tokeniser has {max(cover)}" if cover else ""
        raise VocabularyMismatch(
            f"the reference predicts {reference.events} events and the candidate "
            f"{candidate.events}{needed}: only padding beyond the tokeniser can be cut off; "
            "compare models with one vocabulary, or cut saved rows to it"
        )
    for window in windows.items:
        largest = max(window.tokens.max(initial=-1), window.targets.max(initial=-1))
        if largest >= events:
            raise VocabularyMismatch(
                f"window {window.chunk} has token {largest}, and there are only {events} events: "
                "the tokens do not belong to this vocabulary"
            )
    return events


def _size(side: Source) -> int:
    assert side.tokenizer is not None
    return max(side.tokenizer.get_vocab().values()) + 1
