"""Two logs, or a log and a model, brought over the same events at the same tokens.

A model knows its row in full, and names events by id. A log that names them by text is
translated through the model's tokeniser, where a text that stands for several ids, or for none,
counts as not listed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from kullback.compare.incomplete.jsonl import Log
from kullback.compare.incomplete.knowledge import Knowledge
from kullback.compare.incomplete.logged import Logged, Row
from kullback.compare.readers.hugging_face import HuggingFaceModel, beginning_of_sequence
from kullback.compare.windows import Window
from kullback.errors import ComparisonError, InputError, TokenizerMismatch, VocabularyMismatch

__all__ = ["Position", "from_logs", "from_model"]


class Position(NamedTuple):
    """One position: what two sides know of it, over the same events, and its place."""

    place: int
    first: Knowledge
    second: Knowledge


def from_logs(ours: Log, theirs: Log) -> Iterator[list[Position]]:
    """The positions of each document of two logs; raises `TokenizerMismatch` where they differ."""
    if len(ours.documents) != len(theirs.documents):
        raise TokenizerMismatch(
            f"{ours.name!r} holds {len(ours.documents)} documents and {theirs.name!r} "
            f"{len(theirs.documents)}: both must come from the same texts in one order"
        )
    for mine, other in zip(ours.documents, theirs.documents, strict=True):
        where = f"{ours.name}:{mine.line} and {theirs.name}:{other.line}"
        by_id = _named_alike(mine, other, where)
        positions = []
        for place, (one, two) in enumerate(zip(mine.rows, other.rows, strict=True)):
            if one is None or two is None:
                continue
            first, first_threshold = _events(one, by_id)
            second, second_threshold = _events(two, by_id)
            names = list(dict.fromkeys([*first, *second]))
            positions.append(
                Position(
                    place,
                    _knowledge(names, first, first_threshold, ours.rounding),
                    _knowledge(names, second, second_threshold, theirs.rounding),
                )
            )
        yield positions


def _named_alike(mine: Logged, other: Logged, where: str) -> bool:
    """Whether ids name the events of both; texts do where this is False."""
    rows = [row for row in (*mine.rows, *other.rows) if row is not None]
    by_id = all(row.by_id is not None for row in rows)
    if not by_id and any(row.by_text is None for row in rows):
        raise TokenizerMismatch(
            f"{where}: one names tokens by ids alone and the other by texts alone, so nothing can "
            "be matched; ask both servers for the same"
        )
    ours, theirs = (mine.ids, other.ids) if by_id else (mine.texts, other.texts)
    for place, (one, two) in enumerate(zip(ours, theirs, strict=False)):
        if one is not None and two is not None and one != two:
            raise TokenizerMismatch(
                f"{where}: token {place} is {one!a} on one side and {two!a} on the other; both "
                "must come from one text and one tokeniser"
            )
    if len(ours) != len(theirs):
        raise TokenizerMismatch(
            f"{where}: one has {len(ours)} tokens and the other {len(theirs)}; both must come from "
            "one text and one tokeniser"
        )
    return by_id


def _events(row: Row, by_id: bool) -> tuple[dict[Any, float], float]:
    events = row.by_id if by_id else row.by_text
    assert events is not None
    return events, row.id_threshold if by_id else row.text_threshold


def _knowledge(
    names: list[Any], events: dict[Any, float], threshold: float, rounding: float
) -> Knowledge:
    logs = np.array([events.get(name, np.nan) for name in names], np.float64)
    return Knowledge(logs, threshold, rounding=rounding)


def from_model(log: Log, model: HuggingFaceModel) -> Iterator[list[Position]]:
    """The positions of each document, the log first and the model's whole row second."""
    names = _Names(model.tokenizer, model.events)
    for document in log.documents:
        where = f"{log.name}:{document.line}"
        if document.rows and document.rows[0] is not None:
            raise ComparisonError(
                f"{where} begins within a text (its first token was predicted from something), "
                "and a model needs what came before: log the prompt too, with echo or "
                "prompt_logprobs"
            )
        ids = _ids(document, names, where)
        rows = _rows(model, ids, where) if len(ids) > 1 else []
        positions = []
        for place, row in enumerate(document.rows):
            if row is not None:
                events, threshold = names.listed(row, where)
                logs = np.full(model.events, np.nan)
                logs[list(events)] = list(events.values())
                known = Knowledge(logs, threshold, rounding=log.rounding)
                positions.append(Position(place, known, Knowledge(rows[place - 1])))
        yield positions


def _ids(document: Logged, names: _Names, where: str) -> list[int]:
    found = []
    for place, (token, text) in enumerate(zip(document.ids, document.texts, strict=True)):
        token = names.ids.get(text) if token is None and text is not None else token
        if token is None or token >= names.events:
            raise VocabularyMismatch(
                f"{where}: token {place}, {text if token is None else token!a}, is no single token "
                f"of the model's {names.events}; log the ids (return_token_ids, or token_ids=True)"
            )
        found.append(token)
    return found


def _rows(model: HuggingFaceModel, ids: list[int], where: str) -> np.ndarray:
    """Normalised log-probabilities of every token but the first, float64 [tokens − 1, events]."""
    bos = beginning_of_sequence(model.tokenizer)
    # Servers run a text with the token that the tokeniser puts before it, and may not print it.
    before = [] if bos is None or ids[0] == bos else [bos]
    tokens = np.array([*before, *ids], np.int64)
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and len(tokens) > longest:
        raise InputError(f"{where} has {len(tokens)} tokens, and {model.name!r} reads {longest}")
    first = len(before) + 1
    window = Window(0, 0, tokens, tokens[first:], first, 0)
    logits = model.rows([window]).values
    return torch.log_softmax(logits.double(), -1).cpu().numpy()


class _Names:
    """Which id each text of a log stands for."""

    def __init__(self, tokenizer: Any, events: int) -> None:
        self.tokenizer, self.events = tokenizer, events

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """The ids of the texts that only one token has."""
        texts = [
            self.tokenizer.decode([i], clean_up_tokenization_spaces=False)
            for i in range(min(self.events, len(self.tokenizer)))
        ]
        once = dict(zip(texts, range(len(texts)), strict=True))
        twice = {text for i, text in enumerate(texts) if once[text] != i}
        return {text: i for text, i in once.items() if text not in twice}

    def listed(self, row: Row, where: str) -> tuple[dict[int, float], float]:
        """The events of a row by id, and the greatest log-probability of any other."""
        if row.by_id is not None:
            beyond = [i for i in row.by_id if i >= self.events]
            if beyond:
                raise VocabularyMismatch(
                    f"{where}: token id {beyond[0]} is not among the model's {self.events} events"
                )
            return row.by_id, row.id_threshold
        assert row.by_text is not None
        events, threshold = {}, row.text_threshold
        for text, log_prob in row.by_text.items():
            if text in self.ids:
                events[self.ids[text]] = log_prob
            else:
                threshold = max(threshold, log_prob)
        return events, threshold
