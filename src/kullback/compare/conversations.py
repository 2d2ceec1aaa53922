"""Conversations from a file of JSON lines: who said what, one conversation a line.

A line is `{"messages": [{"role": …, "content": …}, …]}`, or that list by itself, or ShareGPT's
`{"conversations": [{"from": …, "value": …}, …]}`. What a chat template may want beyond that
(tool calls in a message, `"tools"` beside the messages) is kept and handed to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kullback.errors import TextError

__all__ = ["Conversation", "read_conversations"]

_SHAREGPT = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
_SHAREGPT |= {"system": "system", "tool": "tool", "observation": "tool"}


class Conversation(NamedTuple):
    """The messages of one conversation, what to call it, and the tools it was offered."""

    name: str
    messages: list[dict[str, Any]]
    tools: list[Any] | None = None

    def answers(self) -> list[int]:
        """Which of the messages the assistant said."""
        return [i for i, message in enumerate(self.messages) if message["role"] == "assistant"]


def read_conversations(path: str | Path) -> list[Conversation]:
    """The conversations in a file of JSON lines, named by file and line.

    Raises `TextError` for a file that cannot be read or holds none, and, naming the line, for one
    that is not such a conversation.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "chat.jsonl"
    >>> _ = path.write_text('[{"role": "user", "content": "Hi"}]')
    >>> read_conversations(path)[0].messages
    [{'role': 'user', 'content': 'Hi'}]
    """
    conversations = [
        _conversation(line, f"{path}:{number}")
        for number, line in enumerate(_lines(Path(path)), start=1)
        if line.strip()
    ]
    if not conversations:
        raise TextError(f"{str(path)!r} is empty: give one conversation a line, as JSON")
    return conversations


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from file
    except OSError as error:
        raise TextError(f"cannot read the chat {str(path)!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TextError(
            f"{str(path)!r} is not UTF-8 text (it holds a byte {error.object[error.start]:#04x}): "
            "convert it, for example with iconv"
        ) from error


def _conversation(line: str, name: str) -> Conversation:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TextError(f"{name} is not JSON ({error}): one conversation a line") from error
    fields = record if isinstance(record, dict) else {"messages": record}
    listed = fields.get("messages", fields.get("conversations"))
    if not isinstance(listed, list) or not listed:
        raise TextError(
            f'{name} has no list of messages under "messages" (or "conversations"): a line is '
            '{"messages": [{"role": "user", "content": "…"}, …]}'
        )
    messages = [_message(said, f"{name}, message {i}") for i, said in enumerate(listed, start=1)]
    tools = fields.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise TextError(f'{name} has "tools" that are no list: leave them out, or give a list')
    _check_text(line, fields, name)
    return Conversation(name, messages, tools or None)


def _message(said: Any, where: str) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise TextError(f"{where} is no object: give its role and content")
    message = _from_sharegpt(said, where) if "from" in said and "role" not in said else said
    if not isinstance(message.get("role"), str):
        raise TextError(f'{where} has no string under "role": say who speaks, user or assistant')
    calls = message.get("content") is None and message.get("tool_calls")
    if not isinstance(message.get("content"), str) and not calls:
        raise TextError(
            f'{where} has no string under "content": only text can be scored; join the parts of a '
            "message into one string, and leave out what is no text"
        )
    return message


def _from_sharegpt(said: dict[str, Any], where: str) -> dict[str, Any]:
    speaker = said["from"]
    role = _SHAREGPT.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        raise TextError(
            f"{where} is from {speaker!r}: in ShareGPT's form it is one of {', '.join(_SHAREGPT)}"
        )
    return {"role": role, "content": said.get("value")}


def _check_text(line: str, fields: dict[str, Any], name: str) -> None:
    # JSON can spell half of a surrogate pair, which is no text and which no tokeniser takes.
    if "\\u" not in line:
        return
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise TextError(
            f"{name} has {half!a}, half of a surrogate pair, which is no character: write it in "
            "full or leave it out"
        ) from error
