"""Conversations as windows: each of the assistant's turns, after all that was said before it.

A turn is read the way it is asked for: the model's own chat template writes the messages before
it, and the positions that count are the tokens the assistant answers with, through the one that
ends its turn. A conversation is a document, so that intervals take conversations as the sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kullback.compare.alignment import check_context, check_vocabularies
from kullback.compare.chat_template import ChatTemplate, Turn
from kullback.compare.conversations import Conversation
from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.compare.windows import Window, Windows
from kullback.errors import InputError, TextError, TokenizerMismatch

__all__ = ["windows_of_chat"]


def windows_of_chat(
    reference: HuggingFaceModel,
    candidates: Sequence[HuggingFaceModel],
    conversations: Sequence[Conversation],
    *,
    context: int | None = None,
) -> Windows:
    """The assistant's turns in `conversations`, a window each, for `reference` and all others.

    A window holds the conversation up to the end of the turn. One longer than `context` tokens
    (None: than the models can read) is left out whole and counted in the notes, as is a turn that
    opens a conversation and so answers nothing.

    Raises `TextError` where no turn can be scored, `ComparisonError` where a model has no chat
    template or it does not tell the turn's tokens, `TokenizerMismatch` where the sides do not read
    the same tokens, and `InputError` where `context` is longer than a model can read.
    """
    longest = _longest([reference, *candidates], context)
    templates = [ChatTemplate.of(side) for side in (reference, *candidates)]
    for candidate in candidates:
        check_vocabularies(reference, candidate)
    items: list[Window] = []
    offset, opening, too_long = 0, 0, 0
    for document, conversation in enumerate(conversations):
        for index in conversation.answers():
            if index == 0:
                opening += 1
                continue
            tokens, start = _agreed(templates, conversation, index)
            if longest is not None and len(tokens) > longest:
                too_long += 1
                continue
            items.append(Window(len(items), document, tokens, tokens[start:], start, offset))
            offset += len(tokens) - start
    notes = _notes(conversations, opening, too_long, longest)
    if not items:
        reasons = "; ".join(notes[1:])
        file = conversations[0].name.rpartition(":")[0]
        raise TextError(f"no turn of {file!r} can be scored: {reasons}")
    return Windows(items, [c.name for c in conversations], notes, context=longest)


def _longest(sides: Sequence[HuggingFaceModel], context: int | None) -> int | None:
    """The most tokens that a window may have, None where nothing bounds them."""
    if context is None:
        bounds = (getattr(side.config, "max_position_embeddings", None) for side in sides)
        return min((int(bound) for bound in bounds if bound is not None), default=None)
    if context < 2:
        raise InputError(f"context={context}: a turn and what comes before it have at least 2")
    for side in sides:
        check_context(side, context)
    return context


def _agreed(templates: Sequence[ChatTemplate], conversation: Conversation, index: int) -> Turn:
    """The turn, which all sides write in the same tokens."""
    ours = templates[0].turn(conversation, index)
    for template in templates[1:]:
        if template.tokenizer is templates[0].tokenizer:
            continue
        theirs = template.turn(conversation, index)
        if ours.start != theirs.start or not np.array_equal(ours.tokens, theirs.tokens):
            raise TokenizerMismatch(_difference(templates[0], template, ours, theirs, conversation))
    return ours


def _difference(
    p: ChatTemplate, q: ChatTemplate, ours: Turn, theirs: Turn, conversation: Conversation
) -> str:
    shared = min(len(ours.tokens), len(theirs.tokens))
    different = np.flatnonzero(ours.tokens[:shared] != theirs.tokens[:shared])
    if len(different):
        first = int(different[0])
        words = [repr(p.tokenizer.decode([int(turn.tokens[first])])) for turn in (ours, theirs)]
        what = f"token {first} is {words[0]} in {p.name!r} and {words[1]} in {q.name!r}"
    else:
        what = (
            f"the turn is tokens {ours.start} to {len(ours.tokens)} in {p.name!r} and "
            f"{theirs.start} to {len(theirs.tokens)} in {q.name!r}"
        )
    return (
        f"the two sides write {conversation.name} differently: {what}; their chat templates or "
        "tokenisers differ, so pass one tokenizer= for both"
    )


def _notes(
    conversations: Sequence[Conversation],
    opening: int,
    too_long: int,
    longest: int | None,
) -> list[str]:
    """What was scored, then what was left out and why."""
    turns = sum(len(conversation.answers()) for conversation in conversations)
    notes = ["scored are the assistant's tokens alone, each turn through the token that ends it"]
    silent = sum(not conversation.answers() for conversation in conversations)
    if silent:
        notes.append(f"{silent} of {len(conversations)} conversations have no assistant's turn")
    if opening:
        notes.append(
            f"{opening} of {turns} turns open their conversation, so they answer nothing, and "
            "were left out"
        )
    if too_long:
        notes.append(
            f"{too_long} of {turns} turns end beyond {longest} tokens of their conversation and "
            "were left out whole: raise --context where the models can read more"
        )
    return notes
