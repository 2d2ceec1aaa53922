"""What is on disk: recordings that were killed go on, and folders that were tampered with stop."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import string
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kullback.compare import compare
from kullback.compare.readers import open_source
from kullback.compare.readers.hugging_face import HuggingFaceModel, from_loaded
from kullback.compare.readers.recorded import RecordedReference, same_tokenizer
from kullback.compare.record import record
from kullback.compare.record.recording import Recording
from kullback.errors import FileFormatError, InputError, KullbackError, TokenizerMismatch

from ..conftest import TEXT, character_tokenizer, random_llama
from .conftest import CUT


class Killed(Exception):
    pass


def stop_after(positions: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done > positions:
            raise Killed

    return progress


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("after", [0, 30, 150, 260])
def test_a_stopped_recording_goes_on_and_ends_the_same(
    reference: HuggingFaceModel, recorded: Recording, tmp_path: Path, after: int
) -> None:
    folder = tmp_path / "again"
    with pytest.raises(Killed):
        record(reference, folder, shard_windows=4, progress=stop_after(after), **CUT)
    with pytest.raises(FileFormatError, match=r"is unfinished: .* run the same kullback record"):
        compare(folder, reference)
    found = record(reference, folder, shard_windows=4, **CUT)
    assert (found.reused > 0) == (after > 100)
    assert files(folder) == files(recorded.folder)


def test_torn_and_changed_files_are_refused_and_redone(
    reference: HuggingFaceModel, recorded: Recording
) -> None:
    folder, whole = recorded.folder, files(recorded.folder)
    shards = sorted(folder.glob("positions-*"))
    assert len(shards) >= 4
    shards[0].write_bytes(whole[shards[0].name][:-10])
    changed = bytearray(whole[shards[1].name])
    changed[-3] ^= 1
    shards[1].write_bytes(changed)
    shards[2].unlink()
    (folder / "positions-00003.safetensors.partial").write_bytes(b"half")
    opened = RecordedReference.open(folder)
    for index, message in enumerate(("bytes and the manifest", "its hash differs", "missing")):
        window = next(w for w in opened.windows.items if w.offset == opened.starts[index])
        with pytest.raises(FileFormatError, match=f"{message}.*run the same"):
            opened.rows([window])
    found = record(reference, folder, shard_windows=4, **CUT)
    lost = sum(found.manifest.shards[i].positions for i in range(3))
    assert found.reused == found.positions - lost
    assert files(folder) == whole


def test_a_finished_recording_is_not_made_again(
    reference: HuggingFaceModel, recorded: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    rows = HuggingFaceModel.rows
    monkeypatch.setattr(
        HuggingFaceModel, "rows", lambda self, w: runs.append(len(w)) or rows(self, w)
    )
    assert record(reference, recorded.folder, shard_windows=4, **CUT).reused == recorded.positions
    # Only the first window, to see that the head is known.
    assert runs == [1]


def test_another_recording_is_not_written_over(
    reference: HuggingFaceModel, candidate: HuggingFaceModel, recorded: Recording, tmp_path: Path
) -> None:
    before = files(recorded.folder)
    changes: list[tuple[Any, dict[str, Any], str]] = [
        (candidate, {}, "model"),
        (reference, {"text": TEXT}, "token_stream"),
        (reference, {"warmup": 9}, "warmup"),
        (reference, {"dtype": "bfloat16"}, "dtype"),
        (reference, {"shard_windows": 5}, "shard_windows"),
        (reference, {"top_k": 5}, "kind"),
    ]
    for model, change, name in changes:
        with pytest.raises(InputError, match=f"holds another recording: its .*{name}"):
            record(model, recorded.folder, **({"shard_windows": 4, **CUT} | change))
    assert files(recorded.folder) == before
    other = tmp_path / "photos"
    other.mkdir()
    (other / "cat.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="holds other files and no record"):
        record(reference, other, **CUT)
    with pytest.raises(InputError, match="it is a file"):
        record(reference, other / "cat.jpg", **CUT)


KILLED_SCRIPT = """
import string, sys, time
sys.path[:0] = [{tests!r}]
from compare.conftest import TEXT, character_tokenizer, random_llama
from kullback.compare.record import record
def slowly(done, total):
    print(done, flush=True)
    time.sleep(0.02)
record((random_llama(0), character_tokenizer(string.printable)), sys.argv[1],
       text=[TEXT, TEXT[40:], TEXT[90:]], context=32, warmup=8, shard_windows=2, progress=slowly)
"""


@pytest.mark.slow
def test_killed_at_any_moment(
    reference: HuggingFaceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = record(reference, tmp_path / "whole", shard_windows=2, **CUT)
    folder = tmp_path / "killed"
    script = KILLED_SCRIPT.format(tests=str(Path(__file__).parents[2]))
    random = np.random.default_rng(0)
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(random.uniform(0, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    record(reference, folder, shard_windows=2, **CUT)
    assert files(folder) == files(whole.folder)


def changed(folder: Path, path: list[Any], value: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    place = manifest
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["format"], "else", "is not of a record"),
        (["version"], 2, "is version 2"),
        (["kind"], "pickle", "must be one of 'hidden', 'top-k'"),
        (["events"], 10**12, "'events' is 1000000000000 and must be a whole number"),
        (["events"], True, "must be a whole number"),
        (["events"], 50, "there are 50"),
        (["events"], 103, r"'weight' in .* asks for F32 \[103, 32\]"),
        (["width"], 10**9, "must be a whole number"),
        (["width"], 33, r"asks for F32 \[102, 33\]"),
        (["dtype"], "int8", "must be one of"),
        (["dtype"], ["float32"], "must be one of"),
        (["warmup"], -1, "must be a whole number from 0"),
        (["warmup"], 9, "positions and its windows"),
        (["context"], 31, "windows of"),
        (["documents"], ["one"], "has the document 2, and there are 1"),
        (["documents"], "text", "must be a list of texts"),
        (["bos"], 102, "'bos' is 102"),
        (["token_stream"], "0" * 64, "are not those that the manifest names"),
        (["shard_windows"], 0, "must be a whole number"),
        (["shard_windows"], 3, "is unfinished|positions and its windows"),
        (["windows"], 3, "where an object belongs"),
        (["windows", "file"], "../windows.safetensors", "no plain name inside the folder"),
        (["windows", "file"], "/etc/passwd", "no plain name inside the folder"),
        (["windows", "bytes"], 5, "bytes and the manifest says 5"),
        (["windows", "sha256"], "0" * 64, "its hash differs"),
        (["head", "where"], "elsewhere", "must be one of 'stored', 'pointer'"),
        (["head", "file"], "..", "no plain name"),
        (["head", "after"], {"setting": "eval", "value": 1.0}, "must be one of"),
        (["head", "bias"], True, "where a record has bias, weight"),
        (["shards", 0, "positions"], 7, "has 7 positions and its windows"),
        (["shards", 0, "kl_sum"], "NaN", "finite number"),
        (["shards", 0, "index"], 10**12, "must be a whole number"),
    ],
)
def test_impossible_manifests_are_refused(
    recorded: Recording, path: list[Any], value: Any, message: str
) -> None:
    changed(recorded.folder, path, value)
    with pytest.raises(FileFormatError, match=message):
        RecordedReference.open(recorded.folder)


@pytest.mark.parametrize("name", ["../secret.safetensors", "positions-00000.safetensors/../x", ""])
def test_no_path_of_a_shard_leads_out_of_the_folder(recorded: Recording, name: str) -> None:
    changed(recorded.folder, ["shards", 0, "file"], name)
    opened = RecordedReference.open(recorded.folder)
    with pytest.raises(FileFormatError, match="no plain name"):
        opened.rows(opened.windows.items[:1])


def test_links_are_not_followed(recorded: Recording, tmp_path: Path) -> None:
    shard = recorded.folder / "positions-00000.safetensors"
    shutil.move(shard, tmp_path / "outside")
    shard.symlink_to(tmp_path / "outside")
    opened = RecordedReference.open(recorded.folder)
    with pytest.raises(FileFormatError, match="is a link"):
        opened.rows(opened.windows.items[:1])


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "9" * 5000, '{"format": NaN}'])
def test_what_is_no_manifest_is_refused(recorded: Recording, text: str) -> None:
    (recorded.folder / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(FileFormatError):
        open_source(recorded.folder)


def forged(folder: Path, entry: list[Any], name: str, tensors: dict[str, torch.Tensor]) -> None:
    """Replace a file and name its hash in the manifest, as somebody would who means it."""
    save_file(tensors, folder / name)
    data = (folder / name).read_bytes()
    changed(folder, [*entry, "bytes"], len(data))
    changed(folder, [*entry, "sha256"], hashlib.sha256(data).hexdigest())


def test_forged_files_have_to_fit_the_manifest(recorded: Recording) -> None:
    folder = recorded.folder
    windows = load_file(folder / "windows.safetensors")
    huge = torch.tensor([2**62, 2**62, 2**62, 2**62] + [0] * (len(windows["lengths"]) - 4))
    cases: list[tuple[dict[str, torch.Tensor], str]] = [
        ({"lengths": huge}, "windows of"),
        ({"lengths": windows["lengths"][:-1]}, r"'documents' in"),
        ({"tokens": windows["tokens"][:-1]}, "tokens long, and there are"),
        ({"tokens": windows["tokens"] - 200}, "has the token -"),
        ({"tokens": windows["tokens"].float()}, "is F32"),
        ({"documents": windows["documents"][:, None]}, "lists of windows"),
        ({"extra": windows["tokens"].clone()}, "holds"),
    ]
    for change, message in cases:
        forged(folder, ["windows"], "windows.safetensors", {**windows, **change})
        with pytest.raises(FileFormatError, match=message):
            RecordedReference.open(folder)
    forged(folder, ["windows"], "windows.safetensors", windows)
    shard = load_file(folder / "positions-00000.safetensors")["hidden"]
    for hidden in (shard[:-1], shard.double(), shard[:, :-1]):
        kept = {"hidden": hidden.contiguous()}
        forged(folder, ["shards", 0], "positions-00000.safetensors", kept)
        opened = RecordedReference.open(folder)
        with pytest.raises(FileFormatError, match="'hidden' in"):
            opened.rows(opened.windows.items[:1])


def other_tokenizer(characters: str, *, bos: bool = False) -> HuggingFaceModel:
    tokenizer = character_tokenizer(characters, bos=bos)
    return from_loaded(random_llama(0), tokenizer)


def test_a_candidate_with_another_tokenizer_is_refused(
    reference: HuggingFaceModel, recorded: Recording
) -> None:
    opened = RecordedReference.open(recorded.folder)
    assert same_tokenizer(opened, reference) is True
    assert same_tokenizer(opened, opened) is True
    shuffled = other_tokenizer("ba" + string.printable.replace("a", "").replace("b", ""))
    with pytest.raises(TokenizerMismatch, match=r"differ in .* of 102 tokens: id 2 is '0' in the"):
        same_tokenizer(opened, shuffled)
    with pytest.raises(TokenizerMismatch, match=r"begin a text differently.* None, .* with 1"):
        same_tokenizer(opened, other_tokenizer(string.printable, bos=True))


def test_padding_tokens_do_not_make_another_tokenizer(recorded: Recording) -> None:
    opened = RecordedReference.open(recorded.folder)
    assert same_tokenizer(opened, other_tokenizer(string.printable + "é")) is False


def test_a_tampered_vocabulary_is_refused(recorded: Recording) -> None:
    (recorded.folder / "vocabulary.json").write_text("[]", encoding="utf-8")
    opened = RecordedReference.open(recorded.folder)
    with pytest.raises(KullbackError, match="bytes and the manifest"):
        same_tokenizer(opened, other_tokenizer("ab"))


def test_saved_logits_cannot_be_recorded(recorded: Recording, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds logits already"):
        record(recorded.folder, tmp_path / "again", **CUT)
    np.save(tmp_path / "p.npy", np.zeros((4, 3)))
    with pytest.raises(InputError, match="holds logits already"):
        record(tmp_path / "p.npy", tmp_path / "again", **CUT)
