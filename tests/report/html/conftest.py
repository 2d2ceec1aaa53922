"""Positions made from logits, with their truth in float64, and a browser to look at pages in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kullback.compare.accumulate import Accumulator, comparison_from
from kullback.compare.positions import PositionBatch
from kullback.compare.store.schema import table_of
from kullback.compare.top_events import TopEvents
from kullback.results import Comparison

HOSTILE = (
    "</script><script>window.broken = 1</script>",
    "<img src=x onerror='window.broken = 1'>",
    "\ud800",
    "\u202e",
    "\"'`",
    "{{ 7 * 7 }}",
    "&lt;b&gt;",
    "\x00",
    "\u2028",
    "<!--",
    "�",
    "\n",
    " \t",
    "",
    "x" * 5000,
)
WORDS = (" the", " cat", "ch", "ing", " 42", ",", ".", " Haus", " of", "\n\n", "ß", " e")


@dataclass(frozen=True)
class Made:
    """Positions of one candidate: the table, the comparison, and the exact p and q, [n, events]."""

    table: Any
    comparison: Comparison
    batch: PositionBatch
    p: np.ndarray
    q: np.ndarray
    texts: tuple[str, ...]

    @property
    def parts(self) -> np.ndarray:
        """What each event adds to the KL, as written on paper."""
        return self.p * np.log(self.p / self.q) - self.p + self.q


def make(
    n: int = 600,
    *,
    name: str = "candidate",
    documents: tuple[str, ...] = ("texts/a.txt", "texts/b.txt", "texts/c.txt"),
    words: tuple[str, ...] = WORDS + HOSTILE,
    noise: float = 0.4,
    k: int = 3,
    seed: int = 0,
    chunk: int = 50,
) -> Made:
    """`n` positions with logits of normal variates, in chunks of `chunk` scored positions."""
    rng = np.random.default_rng(seed)
    events = len(words)
    logits = 2.5 * rng.normal(size=(n, events))
    p = _softmax(logits)
    q = _softmax(logits + noise * rng.normal(size=(n, events)))
    token = np.array([rng.choice(events, p=row) for row in p])
    rows, index = np.arange(n), np.arange(n) // chunk
    kl = (p * np.log(p / q) - p + q).sum(1)
    middle = (p + q) / 2
    js = ((p * np.log(p / middle)).sum(1) + (q * np.log(q / middle)).sum(1)) / 2
    tops = [np.argsort(-side, axis=1, kind="stable")[:, :k] for side in (p, q)]
    top = np.concatenate(tops, 1)
    batch = PositionBatch(
        statistics={
            "kl": kl,
            "reverse_kl": (q * np.log(q / p)).sum(1),
            "js": js,
            "total_variation": np.abs(p - q).sum(1) / 2,
            "entropy_p": -(p * np.log(p)).sum(1),
            "entropy_q": -(q * np.log(q)).sum(1),
            "log_prob_p": np.log(p[rows, token]),
            "log_prob_q": np.log(q[rows, token]),
            "top_p": p.argmax(1),
            "top_q": q.argmax(1),
            "top_prob_p": p.max(1),
            "top_prob_q": q.max(1),
        },
        document=np.minimum(index * len(documents) // (n // chunk), len(documents) - 1),
        chunk=index,
        position=32 + rows % chunk,
        token=token,
        top=TopEvents(top, np.take_along_axis(p, top, 1), np.take_along_axis(q, top, 1)),
    )
    # A file cannot hold half a surrogate pair; the tokeniser can hand one over all the same.
    table = table_of(batch, name, documents, lambda i: words[i].replace("\ud800", "�"))
    return Made(table, comparison_of(batch, documents, name), batch, p, q, words)


def comparison_of(batch: PositionBatch, documents: tuple[str, ...], name: str) -> Comparison:
    accumulator = Accumulator()
    accumulator.update(batch)
    sides = {"reference": {"name": "<b>reference</b>"}, "candidate": {"name": name}}
    return comparison_from(accumulator, convention="careful", documents=documents, provenance=sides)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exp = np.exp(logits - logits.max(1, keepdims=True))
    return exp / exp.sum(1, keepdims=True)


@pytest.fixture(scope="session")
def made() -> Callable[..., Made]:
    return make


class Browser:
    """A page in headless Chromium, by its DevTools protocol."""

    def __init__(self, program: str, folder: Path) -> None:
        from websockets.sync.client import connect

        self._closing = ExitStack()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        self._process = subprocess.Popen(
            [program, *flags, f"--user-data-dir={folder}", "about:blank"],
            stderr=subprocess.PIPE,
            text=True,
        )
        self._closing.callback(self._stop)
        try:
            self._connect(connect)
        except BaseException:
            self.close()
            raise

    def _connect(self, connect: Any) -> None:
        assert self._process.stderr is not None
        found = None
        for line in self._process.stderr:
            found = re.search(r"ws://[^/]+:(\d+)/", line)
            if found:
                break
        assert found is not None, "the browser ended before it listened"
        with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/json") as answer:
            pages = [tab for tab in json.load(answer) if tab["type"] == "page"]
        self._socket = self._closing.enter_context(
            connect(pages[0]["webSocketDebuggerUrl"], max_size=None)
        )
        self._last = 0
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setFocusEmulationEnabled", enabled=True)

    def send(self, method: str, **params: Any) -> Any:
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == self._last:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        answer = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, path: Path, width: int = 1200, height: int = 800) -> None:
        self.events.clear()
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.send("Page.navigate", url=path.as_uri())
        self.wait("document.querySelector('.text')?.dataset.ready !== undefined")

    def wait(self, condition: str) -> None:
        for _ in range(600):
            if self.run(condition):
                return
            time.sleep(0.1)
        raise AssertionError(f"never came true: {condition}")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key)

    def point_at(self, script: str) -> None:
        """Move the pointer onto the middle of an element's first line."""
        at = self.run(f"""(() => {{ const e = {script};
            e.scrollIntoView({{ block: "center" }});
            const box = e.getClientRects()[0];
            return [(box.left + box.right) / 2, (box.top + box.bottom) / 2]; }})()""")
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=at[0], y=at[1])

    def complaints(self) -> list[Any]:
        """Errors, messages to the console, and whatever was asked of a network."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        asked = [
            event
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
            and not event["params"]["request"]["url"].startswith(("file:", "data:", "blob:"))
        ]
        return asked + [event for event in self.events if event["method"] in kinds]

    def close(self) -> None:
        self._closing.close()

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        assert self._process.stderr is not None
        self._process.stderr.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    pytest.importorskip("websockets")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine")
    opened = Browser(program, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()
