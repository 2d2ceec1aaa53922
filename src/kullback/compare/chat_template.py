"""Which tokens the assistant says: a model's chat template, asked in two ways.

What a template writes before the assistant speaks (the messages so far, and its generation
prompt) must begin what it writes once the assistant has spoken, token for token; the rest is the
turn. It goes through the token that ends the turn. What the template writes after that, such as a
newline, no model is asked for, and it is left out. A template that rewrites what came
before can mark the assistant's tokens itself, with `{% generation %}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kullback.compare.conversations import Conversation
from kullback.compare.readers.hugging_face import HuggingFaceModel, tokenize
from kullback.errors import ComparisonError, TextError

__all__ = ["ChatTemplate", "Turn"]

# Stands for a content, to see what the template writes around one.
_PROBE = "Kullback-Leibler"
_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")


class Turn(NamedTuple):
    """A conversation up to the end of a turn, int64 [n], and where in it the turn begins."""

    tokens: np.ndarray
    start: int


@dataclass(frozen=True, eq=False)
class ChatTemplate:
    """The chat template of the model called `name`, and the tokeniser that brings it."""

    tokenizer: Any
    name: str

    @classmethod
    def of(cls, model: HuggingFaceModel) -> ChatTemplate:
        """The template of `model`; raises `ComparisonError` where it has none, or no default."""
        try:
            model.tokenizer.get_chat_template()
        except ValueError as error:
            raise ComparisonError(
                f"the tokeniser of {model.name!r} has no chat template to write a conversation "
                "with: set tokenizer.chat_template, give the model that was tuned for chat, or "
                "compare on plain text"
            ) from error
        return cls(model.tokenizer, model.name)

    def turn(self, conversation: Conversation, index: int) -> Turn:
        """The turn that is message `index`, after all the messages before it.

        Raises `ComparisonError` where the template does not say which tokens are the turn's, and
        `TextError` where it refuses the conversation.
        """
        before, until = conversation.messages[:index], conversation.messages[: index + 1]
        where = f"{conversation.name}, message {index + 1}"
        prompt, tail = self._around(conversation, before, where)
        prompted = tokenize(self.tokenizer, prompt)
        ids = tokenize(self.tokenizer, self._written(conversation, until, where))
        start = len(prompted)
        if not np.array_equal(ids[:start], prompted):
            return self._marked(conversation, index, where)
        turn = Turn(ids[: start + self._end(ids[start:], tail)], start)
        if not 0 < start < len(turn.tokens):
            raise ComparisonError(
                f"{where}: the chat template of {self.name!r} writes {start} tokens before the "
                f"turn and {len(turn.tokens) - start} for it, and both must be some: the template "
                "leaves out messages"
            )
        return turn

    def _around(
        self, conversation: Conversation, before: Sequence[Mapping[str, Any]], where: str
    ) -> tuple[str, str]:
        """What stands before the assistant's words, and what follows them."""
        probe = {"role": "assistant", "content": _PROBE}
        head, found, tail = self._written(conversation, [*before, probe], where).rpartition(_PROBE)
        if not found:
            raise ComparisonError(
                f"{where}: the chat template of {self.name!r} does not write what the assistant "
                "says: give a model whose template does"
            )
        prompt = self._written(conversation, before, where, prompting=True)
        if prompt == self._written(conversation, before, where) and head.startswith(prompt):
            # Without a generation prompt, the name of the speaker is still not what it says; a
            # space after it usually belongs to the first word.
            prompt += head[len(prompt) :].rstrip(" ")
        return prompt, tail

    def _end(self, said: np.ndarray, tail: str) -> int:
        """How many of the tokens `said` there are, through the one that ends the turn."""
        added = self.tokenizer.added_tokens_decoder.items()
        control = [i for i, token in added if token.special] + self.tokenizer.all_special_ids
        # Counted from the end, because the words may hold such tokens too.
        places = np.flatnonzero(np.isin(said, control))
        count = int(np.isin(tokenize(self.tokenizer, tail), control).sum())
        return int(places[-count]) + 1 if 0 < count <= len(places) else len(said)

    def _marked(self, conversation: Conversation, index: int, where: str) -> Turn:
        """The turn as the template's own marks have it."""
        if not _MARKS.search(self.tokenizer.get_chat_template(tools=conversation.tools)):
            raise ComparisonError(
                f"{where}: what the chat template of {self.name!r} writes to ask for the turn is "
                "not how it begins the turn once it is there, so which tokens are the assistant's "
                "is not known: give a template that keeps its generation prompt, or one that "
                "marks the assistant's words with {% generation %}"
            )
        ids, runs = self._runs(conversation, conversation.messages[: index + 1], where)
        _, earlier = self._runs(conversation, conversation.messages[:index], where)
        if len(runs) != len(earlier) + 1 or not runs[-1][0]:
            raise ComparisonError(
                f"{where}: the chat template of {self.name!r} marks {len(runs)} pieces as the "
                f"assistant's, and {len(earlier)} without this turn: the turn must be one piece, "
                "with something before it"
            )
        start, end = runs[-1]
        return Turn(ids[:end], start)

    def _runs(
        self, conversation: Conversation, messages: Sequence[Mapping[str, Any]], where: str
    ) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """The tokens of `messages`, and each run of them that is marked."""
        options = {"tokenize": True, "return_dict": True, "return_assistant_tokens_mask": True}
        found = self._apply(conversation, messages, where, **options)
        mask = np.array([0, *found["assistant_masks"], 0])
        edges = np.flatnonzero(np.diff(mask)).reshape(-1, 2)
        runs = [(int(start), int(end)) for start, end in edges]
        return np.array(found["input_ids"], dtype=np.int64), runs

    def _written(
        self,
        conversation: Conversation,
        messages: Sequence[Mapping[str, Any]],
        where: str,
        *,
        prompting: bool = False,
    ) -> str:
        options = {"tokenize": False, "add_generation_prompt": prompting}
        return self._apply(conversation, messages, where, **options)

    def _apply(
        self,
        conversation: Conversation,
        messages: Sequence[Mapping[str, Any]],
        where: str,
        **options: Any,
    ) -> Any:
        from jinja2 import TemplateError

        try:
            return self.tokenizer.apply_chat_template(
                [dict(message) for message in messages], tools=conversation.tools, **options
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise TextError(
                f"{where}: the chat template of {self.name!r} refuses the conversation: {error}; "
                "correct it or leave it out"
            ) from error
