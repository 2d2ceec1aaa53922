"""Collecting log-probabilities of texts from a running OpenAI-compatible server.

Each text is sent as a prompt to be echoed with the k most probable tokens in the place of each
of its own. A line of JSON is written, whole and flushed, as each answer comes, so that a run
that was cut off goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kullback.compare.incomplete.formats import FormatError, Reading, documents_of
from kullback.compare.incomplete.jsonl import FLOAT32_ROUNDING, parse_line
from kullback.compare.record.asking import Server
from kullback.errors import ComparisonError, FileFormatError, InputError, TextError

__all__ = ["ServerRecord", "record_server"]

# After one word the next depends on what it is, so a server that prints each row one token too
# early gives these two last tokens different rows, and one that does not gives them the same.
_PROBES = (("It is", "It of"), ("the a", "the and"), ("1 2", "1 ("))


class ServerRecord(NamedTuple):
    """What was collected: the file, and how many texts were asked for and found in it already."""

    path: Path
    asked: int
    found: int


def record_server(
    url: str,
    texts: Sequence[str],
    path: str | Path,
    *,
    k: int = 20,
    model: str | None = None,
    token_ids: bool = False,
    timeout: float = 120.0,
    retries: int = 5,
    pause: float = 1.0,
    resume: bool = True,
    headers: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ServerRecord:
    """Write the top-k log-probabilities that a server gives at every token of `texts`, as JSONL.

    Args:
        url: of the server, `http://127.0.0.1:8000`; `/v1/completions` is added.
        texts: each is one document.
        path: the file; `kullback.compare.incomplete.read_log` reads it.
        k: how many tokens to list at each position. Servers have limits of their own.
        model: its name, for servers that have several.
        token_ids: ask for ids in place of texts (vLLM's `return_tokens_as_token_ids`).
        timeout: seconds to wait for one answer.
        retries: how often to ask again where the server is away, busy or broken.
        pause: seconds before the first of them; each later pause is twice as long.
        resume: go on with a file that is there; its last line is asked for again if it is torn.
        headers: sent with each request, for a server that wants a key.
        progress: called as `progress(done, total)` with numbers of texts.

    Raises:
        ComparisonError: the server refuses, stays away, or does not echo the text's own tokens.
        FileFormatError: the file holds something else.
        InputError: an option is out of range, or the file is there and `resume` is False.
        TextError: a text is empty.

    A server that prints each row one token too early (llama-cpp-python up to 0.3.36 where the
    model puts no token before a text) is found out with two short prompts, and the line says so.
    """
    _check(texts, k, retries)
    path = Path(path)
    found = _lines_there(path, texts, k, model, resume)
    server = Server(url, timeout=timeout, retries=retries, pause=pause, headers=headers or {})
    body = {"max_tokens": 1, "temperature": 0, "echo": True, "logprobs": k}
    body |= {"model": model} if model is not None else {}
    body |= {"return_tokens_as_token_ids": True} if token_ids else {}
    shift = None
    with path.open("ab") as file:
        for done, text in enumerate(texts[found:], start=found):
            shift = _shift(server, body) if shift is None else shift
            line = _line(server.ask(body | {"prompt": text}), text, k, model, shift)
            file.write(json.dumps(line).encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())
            if progress is not None:
                progress(done + 1, len(texts))
    return ServerRecord(path, len(texts) - found, found)


def _check(texts: Sequence[str], k: int, retries: int) -> None:
    if isinstance(texts, str) or not texts:
        raise TextError("there is nothing to ask for: give a list of texts")
    for number, text in enumerate(texts):
        if not text.strip():
            raise TextError(f"text {number} is empty")
    if k < 1:
        raise InputError(f"k={k}: ask for at least one token at each position")
    if retries < 0:
        raise InputError(f"retries={retries}: give 0 to ask only once")


def _lines_there(path: Path, texts: Sequence[str], k: int, model: str | None, resume: bool) -> int:
    """How many texts the file has answers for already; what a torn write left is cut off."""
    if not path.exists() or not path.stat().st_size:
        return 0
    if not resume:
        raise InputError(f"{str(path)!r} is there already: choose another file, or resume it")
    found = whole = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            _check_line(line, path, found, texts, k, model)
            found, whole = found + 1, whole + len(line)
    if whole < path.stat().st_size:
        _refuse_foreign_tail(path, whole)
        os.truncate(path, whole)
    return found


def _check_line(
    line: bytes, path: Path, number: int, texts: Sequence[str], k: int, model: str | None
) -> None:
    where = f"{path}:{number + 1}"
    try:
        record = parse_line(line)
    except FormatError as error:
        raise FileFormatError(f"{where}: {error}") from None
    said = record.get("asked") if isinstance(record, dict) else None
    if not isinstance(said, dict):
        raise FileFormatError(f"{where} was not written by record_server: choose another file")
    if number >= len(texts):
        raise FileFormatError(f"{where}: the file has answers for more than {len(texts)} texts")
    wanted = _asked(texts[number], k, model)
    differing = [name for name in wanted if said.get(name) != wanted[name]]
    if differing:
        raise FileFormatError(
            f"{where} answers another question (other {', '.join(differing)}): ask again as "
            "before, or choose another file"
        )


def _refuse_foreign_tail(path: Path, start: int) -> None:
    with path.open("rb") as file:
        file.seek(start)
        begins = file.read(10)
    # What is cut off must be what a line of this file begins with.
    if not b'{"asked": '.startswith(begins):
        raise FileFormatError(
            f"{str(path)!r} was not written by record_server: choose another file"
        )


def _asked(text: str, k: int, model: str | None) -> dict[str, Any]:
    return {"text": hashlib.sha256(text.encode("utf-8")).hexdigest(), "k": k, "model": model}


def _line(response: Any, text: str, k: int, model: str | None, shift: int) -> dict[str, Any]:
    line = {"asked": _asked(text, k, model), "shift": shift, "response": response}
    offsets = _offsets(response)
    line["tokens"] = sum(offset < len(text) for offset in offsets)
    document = _document(line)
    if len(document.rows) < 2 or document.rows[0] is not None:
        raise ComparisonError(
            f"the server gave log-probabilities at {len(document.rows)} tokens of a text of "
            f"{len(text)} characters, not at each after the first: it does not echo a prompt with "
            "logprobs, as vLLM and llama-cpp-python do"
        )
    return line


def _offsets(response: Any) -> list[int]:
    try:
        offsets = response["choices"][0]["logprobs"]["text_offset"]
        return [int(offset) for offset in offsets]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ComparisonError(
            "the server's answer has no choices[0].logprobs.text_offset: it does not echo a "
            "prompt with logprobs, as vLLM and llama-cpp-python do"
        ) from error


def _document(line: dict[str, Any]) -> Any:
    try:
        # Through JSON, so that numbers are read as a file's are.
        record = parse_line(json.dumps(line).encode("ascii"))
        return documents_of(record, 1, Reading(FLOAT32_ROUNDING))[0]
    except FormatError as error:
        raise ComparisonError(f"the server's answer cannot be used: {error}") from None


def _shift(server: Server, body: dict[str, Any]) -> int:
    for pair in _PROBES:
        first, second = (
            _document(_line(server.ask(body | {"prompt": text}), text, 0, None, 0)) for text in pair
        )
        if len(first.rows) == len(second.rows) and first.texts[:-1] == second.texts[:-1]:
            return 0 if _alike(first, second) else 1
    raise ComparisonError(
        "cannot tell whether the server's rows stand beside their tokens: none of its probes has "
        "two prompts that differ in their last token only"
    )


def _alike(first: Any, second: Any) -> bool:
    own = {first.texts[-1], second.texts[-1]}
    rows = [one.rows[-1] for one in (first, second)]
    listed = [{text: x for text, x in row.by_text.items() if text not in own} for row in rows]
    shared = listed[0].keys() & listed[1].keys()
    # One distribution twice, up to what the batch changes in the last bits of a half.
    near = sum(abs(listed[0][text] - listed[1][text]) < 0.2 for text in shared)
    return 2 * near >= max(len(listed[0]), len(listed[1]))
