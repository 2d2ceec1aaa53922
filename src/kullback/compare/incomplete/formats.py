"""The shapes in which servers return log-probabilities, each turned into `Logged` documents.

| server | where | events are named by |
| --- | --- | --- |
| completions: vLLM, llama-cpp-python | `choices[].logprobs.top_logprobs`: {text: lp} | text |
| chat, llama.cpp's `/v1/…` | `choices[].logprobs.content[].top_logprobs[]` | text, bytes, id |
| vLLM | `prompt_logprobs`: [null, {id: {logprob, rank, decoded_token}}] | id and text |
| llama.cpp `/completion` | `completion_probabilities[].top_logprobs[]` | id, text and bytes |

Sources: OpenAI's API reference (completions, chat); vLLM, `vllm/logprobs.py` and
`entrypoints/openai`; llama.cpp, `tools/server/README.md` and `server-task.cpp`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from kullback.compare.incomplete.logged import Entry, Logged, Row, row_of

__all__ = ["FormatError", "Reading", "documents_of"]

_ID_PREFIX = "token_id:"


class FormatError(Exception):
    """What is wrong with one line; the reader adds where."""


class Reading:
    """Numbers of one file, and the most significant digits that any of them was printed with."""

    def __init__(self, rounding: float) -> None:
        self.rounding, self.digits = rounding, 0

    def log_prob(self, value: Any) -> float:
        """A log-probability; refuses what cannot be one."""
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
            raise FormatError(f"{_short(value)} stands where a log-probability should")
        if isinstance(value, Decimal):
            self.digits = max(self.digits, len(value.as_tuple().digits))
        # An integer may be too long for a float.
        number = float(max(min(value, 1), -(10**300)))
        if math.isnan(number) or number > self.rounding:
            raise FormatError(f"{number:g} is no log-probability: it is above 0")
        return number


def documents_of(record: Any, line: int, reading: Reading) -> list[Logged]:
    """The documents in one response of a server; raises `FormatError` where it has none."""
    record = _an_object(record, "the line")
    wrapped = record.get("response")
    if isinstance(wrapped, dict):
        inside = documents_of(wrapped, line, reading)
        return [_shifted(_cut(one, record), record.get("shift", 0)) for one in inside]
    if record.get("error"):
        raise FormatError(f"the server answered with an error: {_short(record['error'])}")
    choices = record.get("choices")
    parts = _a_list(choices, "choices") if choices is not None else [record]
    found = []
    for part in parts:
        part = _an_object(part, "a choice")
        # vLLM's chat has them beside the choices, its completions in each.
        prompt = part.get("prompt_logprobs") or record.get("prompt_logprobs")
        found.append(_document(part, prompt, line, reading))
    if not found:
        raise FormatError("the response has no choices")
    return found


def _document(part: dict[str, Any], prompt: Any, line: int, reading: Reading) -> Logged:
    if prompt is not None:
        return _vllm_prompt(prompt, part.get("prompt_token_ids"), line, reading)
    given = part.get("logprobs")
    inside: dict[str, Any] = given if isinstance(given, dict) else part
    for name in ("completion_probabilities", "probs", "content"):
        if isinstance(inside.get(name), list):
            return _listed(inside[name], line, reading)
    if "tokens" in inside and "top_logprobs" in inside:
        return _completions(inside, line, reading)
    raise FormatError(
        "there are no log-probabilities of several events: ask the server for logprobs (and "
        "echo=true), top_logprobs, prompt_logprobs or n_probs"
    )


def _completions(record: dict[str, Any], line: int, reading: Reading) -> Logged:
    names = [_a_text(token) for token in _a_list(record["tokens"], "tokens")]
    given = _a_list(record["top_logprobs"], "top_logprobs")
    own = _a_list(record.get("token_logprobs") or [None] * len(given), "token_logprobs")
    if not len(given) <= len(names) or len(own) != len(given):
        raise FormatError(
            f"{len(names)} tokens, {len(own)} token_logprobs and {len(given)} top_logprobs do not "
            "line up"
        )
    wanted = max((len(one) for one in given if isinstance(one, dict)), default=0) - 1
    rows: list[Row | None] = []
    for name, events, log_prob in zip(names, given, own, strict=False):
        if events is None:
            rows.append(None)
            continue
        listed = _an_object(events, "an entry of top_logprobs")
        numbers = {key: reading.log_prob(value) for key, value in listed.items()}
        top = _least_but(numbers, name)
        if log_prob is not None:
            numbers[name] = reading.log_prob(log_prob)
        entries = [Entry(*_id_and_text(key), value) for key, value in numbers.items()]
        rows.append(row_of(entries, top, wanted))
    parts = [_id_and_text(name) for name in names[: len(rows)]]
    return Logged(line, [i for i, _ in parts], [text for _, text in parts], rows)


def _least_but(numbers: dict[str, float], token: str) -> float:
    """The least of the top k: the token that came is added to them, however improbable it is."""
    least = min(numbers.values(), default=0.0)
    if numbers.get(token) == least:
        return min((value for key, value in numbers.items() if key != token), default=0.0)
    return least


def _vllm_prompt(prompt: Any, token_ids: Any, line: int, reading: Reading) -> Logged:
    positions = _a_list(prompt, "prompt_logprobs")
    known = None if token_ids is None else _a_list(token_ids, "prompt_token_ids")
    if known is not None and len(known) != len(positions):
        raise FormatError(
            f"{len(known)} prompt_token_ids and {len(positions)} prompt_logprobs do not line up"
        )
    ids: list[int | None] = []
    texts: list[str | None] = []
    rows: list[Row | None] = []
    for place, events in enumerate(positions):
        token = None if known is None else _an_id(known[place])
        entries = [] if events is None else _vllm_entries(events, reading)
        # vLLM puts the prompt's own token first, before the top k.
        token = entries[0].id if token is None and entries else token
        numbers = {str(entry.id): entry.log_prob for entry in entries}
        ids.append(token)
        texts.append(next((e.text for e in entries if e.id == token), None))
        rows.append(row_of(entries, _least_but(numbers, str(token))) if entries else None)
    return Logged(line, ids, texts, rows)


def _vllm_entries(events: Any, reading: Reading) -> list[Entry]:
    entries = []
    for key, value in _an_object(events, "an entry of prompt_logprobs").items():
        value = _an_object(value, f"event {_short(key)}")
        text = value.get("decoded_token")
        log_prob = reading.log_prob(value.get("logprob"))
        entries.append(Entry(_an_id(key), None if text is None else _a_text(text), log_prob))
    return entries


def _listed(positions: list[Any], line: int, reading: Reading) -> Logged:
    ids: list[int | None] = []
    texts: list[str | None] = []
    rows: list[Row | None] = []
    for one in positions:
        one = _an_object(one, "an entry of the log-probabilities")
        if "top_logprobs" not in one:
            raise FormatError(
                "probabilities after sampling (top_probs, prob) are not the model's: ask for "
                "post_sampling_probs=false and top_logprobs"
            )
        own = _entry(one, reading)
        top = [_entry(event, reading) for event in _a_list(one["top_logprobs"], "top_logprobs")]
        least = min((entry.log_prob for entry in top), default=0.0)
        known = {(entry.id, entry.text) for entry in top}
        entries = top if (own.id, own.text) in known else [*top, own]
        ids.append(own.id)
        texts.append(own.text)
        rows.append(row_of(entries, least))
    return Logged(line, ids, texts, rows)


def _entry(event: Any, reading: Reading) -> Entry:
    event = _an_object(event, "an event")
    number, spelled = event.get("id"), event.get("bytes")
    text = _a_text(event.get("token"))
    if number is None:
        number, _ = _id_and_text(text)
    if spelled is not None:
        # Undecodable bytes stay apart from each other so, and from every readable text.
        text = _bytes(spelled).decode("utf-8", "surrogateescape")
    identity = None if number is None else _an_id(number)
    return Entry(identity, text, reading.log_prob(event.get("logprob")), spelled is not None)


def _cut(document: Logged, record: dict[str, Any]) -> Logged:
    """Without the tokens that the server added to the text it was sent."""
    scored = record.get("tokens", len(document.rows))
    if isinstance(scored, bool) or not isinstance(scored, int) or scored < 0:
        raise FormatError(f"tokens={_short(scored)} is no number of tokens")
    return Logged(
        document.line, document.ids[:scored], document.texts[:scored], document.rows[:scored]
    )


def _shifted(document: Logged, by: Any) -> Logged:
    """With each row one token later, for servers that print it one too early."""
    if by not in (0, 1) or isinstance(by, bool):
        raise FormatError(f"shift={_short(by)} must be 0 or 1")
    if not by:
        return document
    rows = [None, *document.rows][: len(document.rows)]
    return Logged(document.line, document.ids, document.texts, rows)


def _id_and_text(name: str) -> tuple[int | None, str]:
    # vLLM's return_tokens_as_token_ids.
    if name.startswith(_ID_PREFIX) and name[len(_ID_PREFIX) :].isascii():
        return _an_id(name.removeprefix(_ID_PREFIX)), name
    return None, name


def _an_id(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**11:
        raise FormatError(f"{_short(value)} is no token id")
    return value


def _bytes(value: Any) -> bytes:
    numbers = _a_list(value, "bytes")
    if any(isinstance(n, bool) or not isinstance(n, int) or not 0 <= n < 256 for n in numbers):
        raise FormatError(f"{_short(value)} are no bytes")
    return bytes(numbers)


def _must_be(kind: type, words: str) -> Callable[[Any, str], Any]:
    def check(value: Any, name: str) -> Any:
        if not isinstance(value, kind):
            raise FormatError(f"{name} is {_short(value)}, where {words} should stand")
        return value

    return check


_an_object = _must_be(dict, "an object")
_a_list = _must_be(list, "a list")


def _a_text(value: Any) -> str:
    return _must_be(str, "a text")(value, "a token")


def _short(value: Any) -> str:
    words = ascii(str(value) if isinstance(value, Decimal) else value)
    return words if len(words) <= 60 else f"{words[:60]}…"
