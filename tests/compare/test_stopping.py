"""Stopping when it is known: whole documents, in the order of the seed, and no more of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kullback.compare import compare
from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.compare.sequences import sequence_interval
from kullback.errors import InputError, TextError

from .conftest import TEXT

MakeModel = Callable[..., HuggingFaceModel]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 60, 120)
    return [TEXT[i : i + int(n)] for i, n in zip(starts, rng.integers(30, 100, 120), strict=True)]


def compared(p: object, q: object, texts: list[str], **options):
    return compare(p, q, text=texts, context=64, warmup=8, **options)


def test_it_stops_at_the_first_look_that_is_narrow_enough(
    make_model: MakeModel, texts: list[str]
) -> None:
    p, q = make_model(), make_model(seed=1)
    whole = compared(p, q, texts)
    found = compared(p, q, texts, precision="12%")
    assert 40 <= found.documents < whole.documents == 120
    assert found.kl.high - found.kl.low <= 0.12 * found.kl.value
    assert found.kl.low <= whole.kl.value <= found.kl.high
    # One document before, it was not narrow enough: the order is that of the seed.
    each = [compared(p, q, [text]) for text in texts]
    sizes = np.array([one.positions for one in each])
    sums = sizes * [one.kl.value for one in each]
    order = np.random.default_rng(0).permutation(120)[: found.documents]
    for place, narrow in ((order, True), (order[:-1], False)):
        interval = sequence_interval(sums[place], sizes[place])
        assert (interval.high - interval.low <= 0.12 * interval.value) == narrow
    interval = sequence_interval(sums[order], sizes[order])
    assert found.kl.value == pytest.approx(interval.value, rel=1e-5)
    assert found.kl.high == pytest.approx(interval.high, rel=1e-4)


def test_the_noise_floor_does_not_hold_it_up(make_model: MakeModel, texts: list[str]) -> None:
    p, q = make_model(), make_model(seed=1)
    plain = compared(p, q, texts, precision="12%")
    found = compared(p, q, texts, precision="12%", floor=True)
    assert found.documents == plain.documents < 120
    assert found.floor is not None
    assert any(note.startswith("reading stopped when") for note in found.notes)
    assert found.precision_reached is True
    assert found.to_dict()["precision_reached"] is True
    assert not any("gave no position" in note for note in found.notes)


def test_a_text_that_ends_too_soon_says_so(make_model: MakeModel, texts: list[str]) -> None:
    found = compared(make_model(), make_model(seed=1), texts, precision="1%")
    assert found.documents == 120
    assert found.precision_reached is False
    assert any(note.startswith("the text ended before") for note in found.notes)


def test_an_interrupted_run_stops_at_the_same_place(
    make_model: MakeModel, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kullback.compare import run

    monkeypatch.setattr(run, "_PART_SECONDS", -1.0)
    p, q = make_model(), make_model(seed=1)
    whole = compared(p, q, texts, precision="12%", out=tmp_path / "whole")

    def stop(done: int, total: int) -> None:
        if done > total // 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compared(p, q, texts, precision="12%", out=tmp_path / "stopped", progress=stop)
    found = compared(p, q, texts, precision="12%", out=tmp_path / "stopped")
    assert found.to_dict() == whole.to_dict()


def test_too_few_documents_are_refused_before_the_run(make_model: MakeModel) -> None:
    p = make_model()
    with pytest.raises(TextError, match="needs 40 documents"):
        compared(p, p, [TEXT] * 39, precision="5%")


def test_one_stream_has_no_documents(make_model: MakeModel, texts: list[str]) -> None:
    p = make_model()
    with pytest.raises(InputError, match="document by document"):
        compare(p, p, text=texts, context=32, as_llama_cpp=True, precision=0.1)


@pytest.mark.parametrize("precision", ["narrow", "0", "-1", "nan"])
def test_nonsense_is_refused(make_model: MakeModel, texts: list[str], precision: str) -> None:
    p = make_model()
    with pytest.raises(InputError, match="precision"):
        compared(p, p, texts, precision=precision)
