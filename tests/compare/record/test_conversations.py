"""Conversations on record: a comparison with the record is one with the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from kullback.cli import app
from kullback.compare import compare
from kullback.compare.readers.hugging_face import HuggingFaceModel, from_loaded
from kullback.compare.record import record
from kullback.compare.record.manifest import read_manifest
from kullback.compare.record.text import read_windows, write_windows
from kullback.errors import FileFormatError, InputError, TextError

from ..conftest import TEXT, random_llama
from ..test_chat import TALK, chat_tokenizer


def model(seed: int) -> HuggingFaceModel:
    settings = {"vocab_size": 104, "max_position_embeddings": 256}
    return from_loaded(random_llama(seed, **settings), chat_tokenizer())


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    path = tmp_path / "talks.jsonl"
    lines = [TALK, TALK[:2], [{"role": "user", "content": TEXT[:50]}, *TALK[1:]]]
    path.write_text("\n".join(json.dumps({"messages": messages}) for messages in lines))
    return path


def numbers(comparison: Any) -> dict[str, Any]:
    found = comparison.to_dict()
    del found["provenance"]
    return found


def test_a_comparison_with_the_record_is_one_with_the_model(talks: Path, tmp_path: Path) -> None:
    p, q = model(0), model(1)
    direct = compare(p, q, chat=talks)
    found = record(p, tmp_path / "ref", chat=talks, shard_windows=2)
    recorded = compare(tmp_path / "ref", q)
    # What the head reads is on disk in full: the same products, the same numbers.
    assert recorded.kl.value == pytest.approx(direct.kl.value, rel=1e-6)
    ours, theirs = numbers(recorded), numbers(direct)
    assert ours["notes"] == theirs["notes"]
    for name in ("positions", "documents", "chunks", "clustered_by"):
        assert ours[name] == theirs[name]
    assert ours["perplexity"]["candidate"] == pytest.approx(theirs["perplexity"]["candidate"])
    assert found.positions == direct.positions
    turns = [window.first_position for window in read_windows(found.folder, found.manifest).items]
    assert len(set(turns)) > 1
    again = record(p, tmp_path / "ref", chat=talks, shard_windows=2)
    assert again.reused == direct.positions


def test_turns_that_begin_nowhere_are_refused(talks: Path, tmp_path: Path) -> None:
    found = record(model(0), tmp_path / "ref", chat=talks)
    windows = read_windows(found.folder, found.manifest)
    for start, words in ((0, "begins at token 0"), (10**6, "where they need")):
        object.__setattr__(windows.items[0], "first_position", start)
        stored = write_windows(found.folder, windows)
        manifest = read_manifest(found.folder)
        object.__setattr__(manifest, "windows", stored)
        with pytest.raises(FileFormatError, match=words):
            read_windows(found.folder, manifest)


def test_a_cut_of_text_does_not_go_with_conversations(talks: Path, tmp_path: Path) -> None:
    for options in ({"text": TEXT}, {"warmup": 8}, {"documents": "lines"}, {"as_llama_cpp": True}):
        with pytest.raises(InputError, match=f"leave out {next(iter(options))}"):
            record(model(0), tmp_path / "ref", chat=talks, **options)
    with pytest.raises(TextError, match="need a text"):
        record(model(0), tmp_path / "ref")


def test_the_command_records_conversations(talks: Path, tmp_path: Path) -> None:
    side = model(0)
    side.model.save_pretrained(tmp_path / "model")
    side.tokenizer.save_pretrained(tmp_path / "model")
    given = ["record", tmp_path / "model", "--chat", talks, "-o", tmp_path / "ref"]
    result = CliRunner().invoke(app, [str(word) for word in given])
    assert result.exit_code == 0, result.output
    same = compare(tmp_path / "ref", tmp_path / "model")
    assert np.isclose(same.kl.value, 0, atol=1e-9)
    server = CliRunner().invoke(
        app, [str(word) for word in (*given, "--server", "http://127.0.0.1:9", "--context", 64)]
    )
    assert server.exit_code == 2
    assert "leave out --chat, --context" in " ".join(server.stderr.split())
