"""Asking one server one thing at a time, again where it was away."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from kullback.errors import ComparisonError, InputError

__all__ = ["Server"]

# 4,096 tokens with a thousand events each are 200 MB.
_LONGEST_ANSWER = 1 << 30
_LONGEST_PAUSE = 60.0
_BUSY = {408, 425, 429, 500, 502, 503, 504}


class _Away(Exception):
    """The server may answer if asked again, after `wait` seconds where it says so."""

    def __init__(self, words: str, wait: float | None = None) -> None:
        self.wait = wait
        super().__init__(words)


class Server:
    """An OpenAI-compatible server at `url`, asked at `/v1/completions`."""

    def __init__(
        self, url: str, *, timeout: float, retries: int, pause: float, headers: Mapping[str, str]
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"{url!r} is no address of a server, such as http://127.0.0.1:8000")
        path = parts.path.rstrip("/").removesuffix("/completions").removesuffix("/v1")
        self.address = parts._replace(path=f"{path}/v1/completions", query="", fragment="").geturl()
        self.timeout, self.retries, self.pause = timeout, retries, pause
        self.headers = {"Content-Type": "application/json", **headers}
        # A proxy of the environment does not know this machine.
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        handlers = [urllib.request.ProxyHandler({})] if local else []
        self._opener = urllib.request.build_opener(*handlers)

    def ask(self, body: Mapping[str, Any]) -> Any:
        """The answer to `body`, as parsed JSON; raises `ComparisonError` where there is none."""
        pause = self.pause
        for left in range(self.retries, -1, -1):
            try:
                return self._once(body)
            except _Away as away:
                if not left:
                    raise ComparisonError(
                        f"{self.address} gave no answer in {self.retries + 1} attempts: {away}; "
                        "what was collected is kept: run the same again to go on"
                    ) from away
                time.sleep(min(_LONGEST_PAUSE, pause if away.wait is None else away.wait))
                pause *= 2
        raise AssertionError("unreachable")

    def _once(self, body: Mapping[str, Any]) -> Any:
        data = json.dumps(body).encode("ascii")
        request = urllib.request.Request(self.address, data, self.headers, method="POST")
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                answer = response.read(_LONGEST_ANSWER + 1)
        except urllib.error.HTTPError as error:
            with error:
                said = ascii(error.read(300).decode("utf-8", "replace"))
                wait = _seconds(error.headers.get("Retry-After"))
            if error.code in _BUSY:
                raise _Away(f"status {error.code}, {said}", wait) from error
            raise ComparisonError(f"{self.address} refuses, status {error.code}: {said}") from error
        except (OSError, http.client.HTTPException) as error:
            # A refused connection, a timeout, or a connection that broke off within the answer.
            raise _Away(f"{type(error).__name__}: {error}") from error
        if len(answer) > _LONGEST_ANSWER:
            raise ComparisonError(f"{self.address} answers with more than a gigabyte: lower k")
        try:
            return json.loads(answer.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise _Away(f"an answer that is not JSON, {answer[:60]!a}") from error


def _seconds(value: str | None) -> float | None:
    return float(value) if value is not None and value.isascii() and value.isdigit() else None
