"""By class and by group: against plain NumPy on real classifiers, and what is refused."""

from __future__ import annotations

import json
import zipfile
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from kullback.compare import compare
from kullback.compare.accumulate import Accumulator
from kullback.compare.clusters import ClusterTable
from kullback.compare.groups import SliceTable
from kullback.errors import (
    ComparisonError,
    DtypeError,
    FileFormatError,
    NonFiniteError,
    ShapeError,
    VocabularyMismatch,
)
from kullback.report.json_file import to_json
from kullback.report.terminal import render
from kullback.results import Comparison

# float64 logits, and sums of some hundred float64 in another order.
ROUNDING = 1e-10


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path.with_suffix(".npz"), **arrays)
    return path.with_suffix(".npz")


def made_up(n: int = 300, classes: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "logits": rng.normal(size=(n, classes)),
        "labels": rng.integers(0, classes, n),
        "groups": np.array(["north", "south", "east"])[rng.integers(0, 3, n)],
    }


def shown(result: Comparison, width: int = 100) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(render(result))
    return console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture(scope="module")
def digits() -> dict[str, Any]:
    """Log-probabilities of two classifiers of real digits, on examples neither has seen."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    images, labels = load_digits(return_X_y=True)
    images = images / 16
    # The small one sees 16 averages where the other sees 64 pixels.
    pooled = images.reshape(-1, 4, 2, 4, 2).mean((2, 4)).reshape(-1, 16)
    p, q = (
        LogisticRegression(C=0.1, max_iter=500)
        .fit(x[:900], labels[:900])
        .predict_log_proba(x[900:])
        for x in (images, pooled)
    )
    n = len(p)
    hospital = np.array(["A", "B", "C"])[np.arange(n) * 3 // n]
    return {"p": p, "q": q, "labels": labels[900:], "groups": hospital}


def test_real_classifiers_have_the_numbers_of_plain_numpy(
    digits: dict[str, Any], tmp_path: Path
) -> None:
    p, q, labels, groups = (digits[name] for name in ("p", "q", "labels", "groups"))
    result = compare(
        save(tmp_path / "p", log_probs=p, labels=labels, groups=groups),
        save(tmp_path / "q", log_probs=q),
    )
    kl = (np.exp(p) * (p - q)).sum(1)
    right = {name: x.argmax(1) == labels for name, x in (("p", p), ("q", q))}
    assert isinstance(result, Comparison)
    assert result.unit == "example"
    assert result.kl.value == pytest.approx(kl.mean(), rel=ROUNDING)
    assert result.accuracy_reference is not None
    assert result.accuracy_reference.value == pytest.approx(right["p"].mean(), rel=ROUNDING)
    difference = right["q"].astype(float) - right["p"]
    found = result.accuracy_difference
    assert found is not None
    assert found.value == pytest.approx(difference.mean(), rel=ROUNDING)
    # Every example is a cluster, so that the jackknife is the textbook standard error.
    textbook = difference.std(ddof=1) / np.sqrt(len(difference))
    assert found.stderr == pytest.approx(textbook, rel=ROUNDING)
    for slices, truth in ((result.by_class, labels.astype(str)), (result.by_group, groups)):
        assert {part.name for part in slices} == set(truth)
        assert [part.kl_share for part in slices] == sorted(
            (part.kl_share for part in slices), reverse=True
        )
        for part in slices:
            mine = truth == part.name
            assert part.positions == mine.sum()
            assert part.kl.value == pytest.approx(kl[mine].mean(), rel=ROUNDING)
            error = kl[mine].std(ddof=1) / np.sqrt(mine.sum())
            assert part.kl.stderr == pytest.approx(error, rel=ROUNDING)
            assert part.kl.low < part.kl.value < part.kl.high
            same = (p.argmax(1) == q.argmax(1))[mine].mean()
            assert part.same_top.value == pytest.approx(same, rel=ROUNDING)
            for side, estimate in (("p", part.accuracy_p), ("q", part.accuracy_q)):
                assert estimate is not None
                assert estimate.value == pytest.approx(right[side][mine].mean(), rel=ROUNDING)
            assert part.kl_share == pytest.approx(kl[mine].sum() / kl.sum(), rel=ROUNDING)


def test_positions_kept_on_disk_give_the_same(tmp_path: Path) -> None:
    arrays = made_up()
    paths = [
        save(tmp_path / "p", **arrays),
        save(tmp_path / "q", logits=made_up(seed=1)["logits"]),
    ]
    passed = compare(*paths)
    kept = compare(*paths, out=tmp_path / "out")
    assert isinstance(passed, Comparison)
    assert isinstance(kept, Comparison)
    for ours, theirs in ((passed.by_class, kept.by_class), (passed.by_group, kept.by_group)):
        assert len(ours) in (3, 4)
        for a, b in zip(ours, theirs, strict=True):
            assert (a.name, a.positions) == (b.name, b.positions)
            assert a.kl.low == pytest.approx(b.kl.low, rel=ROUNDING)
            assert a.accuracy_q == b.accuracy_q
    assert "label" not in kept.columns
    assert "group" not in kept.columns


@pytest.mark.parametrize("form", ["lists", "fixed", "columns", "safetensors", "float16"])
def test_every_format_says_the_same(form: str, tmp_path: Path) -> None:
    arrays = made_up()
    arrays["logits"] = arrays["logits"].astype(np.float16 if form == "float16" else np.float32)
    names = ["cat", "dog", "eel", "fox"]
    plain = {**arrays, "groups": np.unique(arrays["groups"], return_inverse=True)[1]}
    used = plain if form == "safetensors" else arrays
    expected = compare(
        save(tmp_path / "p", **used, class_names=np.array(names)),
        save(tmp_path / "q", logits=made_up(seed=1)["logits"]),
    )
    metadata = {"class_names": json.dumps(names)}
    if form == "safetensors":
        path = tmp_path / "p.safetensors"
        tensors = {name: torch.from_numpy(values) for name, values in used.items()}
        save_file(tensors, path, metadata=metadata)
    else:
        path = tmp_path / "p.parquet"
        logits = arrays["logits"]
        columns: dict[str, Any] = {
            "label": pa.array(arrays["labels"], pa.int8()),
            "group": pa.array(arrays["groups"].tolist()).dictionary_encode(),
        }
        if form == "columns":
            columns |= {f"logit_{i}": logits[:, i] for i in (2, 0, 3, 1)}
        elif form == "fixed":
            flat = pa.array(logits.reshape(-1))
            columns["logits"] = pa.FixedSizeListArray.from_arrays(flat, 4)
        else:
            columns["logits"] = pa.array(list(logits))
        table = pa.table(columns).replace_schema_metadata(metadata)
        pq.write_table(table, path, row_group_size=70)
    found = compare(path, tmp_path / "q.npz")
    ours, theirs = (json.loads(to_json(result)) for result in (expected, found))
    for tree in (ours, theirs):
        del tree["provenance"]
    assert ours == theirs
    assert {part["name"] for part in theirs["by_class"]} == set(names)


def test_bfloat16_is_read(tmp_path: Path) -> None:
    arrays = made_up()
    rows = torch.from_numpy(arrays["logits"]).bfloat16()
    path = tmp_path / "p.safetensors"
    save_file({"logits": rows, "labels": torch.from_numpy(arrays["labels"])}, path)
    result = compare(path, save(tmp_path / "q", logits=rows.double().numpy()))
    assert isinstance(result, Comparison)
    # Both hold the same numbers; the widths in which they are summed may differ.
    assert result.kl.value == pytest.approx(0, abs=1e-10)
    hits = (rows.float().argmax(-1).numpy() == arrays["labels"]).mean()
    assert result.accuracy_reference is not None
    assert result.accuracy_reference.value == pytest.approx(hits)


def test_documents_are_the_clusters_of_slices_too(tmp_path: Path) -> None:
    arrays = made_up(n=600)
    patients = np.repeat(np.arange(60), 10)
    q = made_up(n=600, seed=1)["logits"]
    path = save(tmp_path / "p", **arrays, documents=patients)
    result = compare(path, save(tmp_path / "q", logits=q))
    assert isinstance(result, Comparison)
    assert result.clustered_by == "document"
    log_p, log_q = (torch.from_numpy(x).log_softmax(-1).numpy() for x in (arrays["logits"], q))
    kl = (np.exp(log_p) * (log_p - log_q)).sum(1)
    part = result.by_class[0]
    mine = arrays["labels"] == int(part.name)
    sums = np.bincount(patients[mine], kl[mine], minlength=60)
    sizes = np.bincount(patients[mine], minlength=60)
    sums, sizes = sums[sizes > 0], sizes[sizes > 0]
    without = (sums.sum() - sums) / (sizes.sum() - sizes)
    jackknife = (len(sizes) - 1) / len(sizes) * ((without - sums.sum() / sizes.sum()) ** 2).sum()
    assert part.kl.stderr == pytest.approx(np.sqrt(jackknife), rel=1e-9)


def test_tokens_are_no_classes(tmp_path: Path) -> None:
    arrays = made_up()
    arrays["tokens"] = arrays.pop("labels")
    result = compare(
        save(tmp_path / "p", **arrays), save(tmp_path / "q", logits=made_up(seed=1)["logits"])
    )
    assert isinstance(result, Comparison)
    assert result.unit == "token"
    assert not result.by_class
    assert len(result.by_group) == 3
    assert result.by_group[0].accuracy_p is None
    # Positions of a text are not independent of each other.
    assert result.clustered_by == "chunk"


def test_unknown_labels_count_for_the_divergence_alone(tmp_path: Path) -> None:
    arrays = made_up()
    arrays["labels"][:50] = -1
    q = made_up(seed=1)["logits"]
    result = compare(save(tmp_path / "p", **arrays), save(tmp_path / "q", logits=q))
    assert isinstance(result, Comparison)
    assert result.positions == 300
    assert sum(part.positions for part in result.by_class) == 250
    assert result.accuracy_candidate is not None
    hits = (q.argmax(1) == arrays["labels"])[50:].mean()
    assert result.accuracy_candidate.value == pytest.approx(hits)
    assert any("label is unknown at 50 of 300 examples" in note for note in result.notes)


def test_an_infinite_class_stands_first(tmp_path: Path) -> None:
    arrays = made_up()
    q = made_up(seed=1)["logits"]
    row = int(np.flatnonzero(arrays["labels"] == 2)[3])
    q[row, 0] = -np.inf
    result = compare(save(tmp_path / "p", **arrays), save(tmp_path / "q", logits=q))
    assert isinstance(result, Comparison)
    assert result.by_class[0].name == "2"
    assert result.by_class[0].kl.value == np.inf
    assert all(np.isfinite(part.kl.value) for part in result.by_class[1:])
    assert f"example {row} of" in " ".join(result.notes)
    assert any("300 examples (" in note for note in result.notes)
    assert "∞" in shown(result)


def test_slices_do_not_depend_on_order_or_grouping(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    which, document, chunk = rng.integers(-1, 5, n), np.zeros(n, np.int64), np.arange(n)
    columns = {"positions": np.ones(n), "kl": rng.exponential(size=n)}
    whole, left, right = SliceTable(), SliceTable(), SliceTable()
    whole.update(which, document, chunk, columns)
    for table, part in ((right, slice(9000, None)), (left, slice(9000))):
        values = {name: column[part] for name, column in columns.items()}
        table.update(which[part], document[part], chunk[part], values)
    left.merge(right)
    for (index, ours), (other, theirs) in zip(
        whole.clusters("example"), left.clusters("example"), strict=True
    ):
        assert index == other
        np.testing.assert_allclose(ours["kl"], theirs["kl"], rtol=1e-12)
        assert ours["kl"].sum() == pytest.approx(columns["kl"][which == index].sum(), rel=1e-12)


def test_rows_of_a_table_know_their_documents() -> None:
    table = ClusterTable(100)
    table.update(np.array([3, 1, 3]), np.array([5, 2, 4]), {"positions": np.ones(3)})
    np.testing.assert_array_equal(table.row_documents, [1, 3, 3])


def test_merged_accumulators_have_the_slices_of_the_whole(tmp_path: Path) -> None:
    from kullback.compare.accumulate import comparison_from
    from synthetic import part, positions

    batch = positions()
    batch.columns["group"] = (np.arange(len(batch)) % 3).astype(np.float64)
    whole, left, right = Accumulator(), Accumulator(), Accumulator()
    whole.update(batch)
    left.update(part(batch, slice(500)))
    right.update(part(batch, slice(500, None)))
    left.merge(right)
    for a, b in zip(
        *(comparison_from(x, convention="careful").by_group for x in (whole, left)), strict=True
    ):
        assert (a.name, a.positions) == (b.name, b.positions)
        assert a.kl.high == pytest.approx(b.kl.high, rel=1e-9)


def test_the_terminal_says_examples_and_escapes_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n, classes = 400, 30
    arrays = {
        "logits": rng.normal(size=(n, classes)),
        "labels": np.arange(n) % classes,
        "groups": np.array(["[red]x", "\x1b[31mred"])[np.arange(n) % 2],
    }
    path = save(tmp_path / "p", **arrays)
    result = compare(path, save(tmp_path / "q", logits=rng.normal(size=(n, classes))))
    assert isinstance(result, Comparison)
    text = shown(result)
    assert "On 400 examples the candidate loses" in text
    assert "nats per example" in text
    assert "per token" not in text
    assert "Accuracy, difference, paired" in text
    assert "10 more with less of the KL are in the JSON file: by_class" in text
    assert "[red]x" in text
    assert "\x1b" not in text
    assert "\\x1b[31mred" in text
    # On eighty columns nothing is cut off.
    assert "…" not in shown(result, 80).split("By class")[1].split("•")[0]


def test_classes_without_examples_are_named(tmp_path: Path) -> None:
    arrays = made_up()
    arrays["labels"] = arrays["labels"] % 3
    names = np.array(["cat", "dog", "eel", "fox"])
    path = save(tmp_path / "p", **arrays, class_names=names)
    result = compare(path, path)
    assert isinstance(result, Comparison)
    assert any("1 of 4 classes have no example: 'fox'" in note for note in result.notes)


def changed(name: str, row: int, value: Any) -> dict[str, np.ndarray]:
    arrays = made_up()
    arrays[name][row] = value
    return arrays


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (changed("labels", 17, (made_up()["labels"][17] + 1) % 4), "the label of row 17 is"),
        (changed("groups", 40, "west"), "the group of row 40 is .* and 'west' in"),
        (made_up() | {"class_names": np.array(list("abxd"))}, "class 2 is 'c' in .* and 'x'"),
    ],
)
def test_files_that_disagree_are_refused(
    theirs: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    ours = save(tmp_path / "p", **made_up(), class_names=np.array(list("abcd")))
    with pytest.raises(ComparisonError, match=message):
        compare(ours, save(tmp_path / "q", **theirs))
    # Neither does it matter which of several candidates it is.
    good = save(tmp_path / "good", **made_up())
    with pytest.raises(ComparisonError, match=message):
        compare(ours, [good, tmp_path / "q.npz"])


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        (changed("labels", 9, 4), VocabularyMismatch, "row 9 .* label 4, .* for 4 classes"),
        (changed("labels", 9, -100), VocabularyMismatch, "row 9 .* label -100"),
        (made_up() | {"labels": np.zeros(300)}, DtypeError, "labels are the numbers of classes"),
        (made_up() | {"labels": np.zeros(299, int)}, ShapeError, r"'labels'.*\[299\].*\[300\]"),
        (made_up() | {"groups": np.full(300, 0.5)}, DtypeError, "a name or a whole number"),
        (changed("groups", 5, ""), FileFormatError, "row 5 of 'groups' .* is empty"),
        (made_up() | {"tokens": np.zeros(300, int)}, FileFormatError, "'labels' and 'tokens'"),
        (made_up() | {"class_names": np.array(["a"])}, ShapeError, "each of the 4 classes"),
        (made_up() | {"class_names": np.array(list("aabc"))}, FileFormatError, "both called 'a'"),
        (made_up() | {"class_names": np.arange(4)}, DtypeError, "names are strings"),
        (made_up() | {"groups": np.full(300, b"\xff")}, FileFormatError, "no Unicode text"),
        (made_up() | {"groups": np.full(300, "\ud800")}, FileFormatError, "no Unicode text"),
        (made_up() | {"groups": np.full(300, "a" * 2000)}, FileFormatError, "8,000 bytes"),
        (made_up() | {"groups": np.array([None] * 300)}, FileFormatError, "Python objects"),
        ({"logits": np.zeros((5, 0)), "labels": np.zeros(5, int)}, ShapeError, "none of them emp"),
        (changed("logits", 7, np.nan), NonFiniteError, "row 7"),
    ],
)
def test_wrong_files_are_refused_with_the_place(
    arrays: dict[str, np.ndarray], error: type[Exception], message: str, tmp_path: Path
) -> None:
    good = save(tmp_path / "good", logits=np.zeros((len(arrays["logits"]), 4)))
    with pytest.raises(error, match=message) as caught:
        compare(save(tmp_path / "p", **arrays), good)
    assert "pickle" not in str(caught.value)


def test_a_header_that_claims_too_much_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    told = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 4)}
    with zipfile.ZipFile(path, "w") as archive, archive.open("logits.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, told)
        file.write(bytes(16))
    with pytest.raises(FileFormatError, match="claims 16,000,000,000,000 bytes and has 16"):
        compare(path, path)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"logits": [[0.1, 0.2], [0.3]]}, ShapeError, "row 1 of 'logits' .* 1 numbers, .* has 2"),
        ({"logits": [[0.1, 0.2], None]}, FileFormatError, "row 1 of 'logits' .* is null"),
        ({"logits": [[0.1, 0.2], [0.3, None]]}, FileFormatError, "row 1 of 'logits' .* is null"),
        ({"logit_0": [0.1, None], "logit_1": [0.2, 0.3]}, FileFormatError, "row 1 of 'logit_0'"),
        ({"logit_0": [0.1], "logit_2": [0.2]}, FileFormatError, "but no logit_1"),
        ({"logits": [[1, 2]]}, DtypeError, "a floating dtype"),
        ({"logits": [0.1]}, DtypeError, "needs a list"),
        ({"logits": [[0.1, 0.2]], "group": [None]}, FileFormatError, "row 0 of 'group'"),
        ({"logits": [[0.1, 0.2]], "label": ["cat"]}, DtypeError, "'labels' .* is <U3"),
        ({"value": [0.1]}, FileFormatError, "holds value: it needs"),
        ({"logits": pa.array([[]], pa.list_(pa.float32()))}, ShapeError, "none of them empty"),
    ],
)
def test_tables_that_hold_something_else_are_refused(
    columns: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(error, match=message):
        compare(path, path)


def test_a_torn_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"logits": [[0.1, 0.2]]}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileFormatError, match="is not a whole"):
        compare(path, path)


def test_the_table_names_the_classes(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 3)).astype(np.float32)
    names = np.array(["cat", "dog", "owl"])
    for side in ("a", "b"):
        shown = logits + (side == "b") * rng.normal(size=logits.shape).astype(np.float32)
        np.savez(
            tmp_path / f"{side}.npz", logits=shown, labels=np.arange(40) % 3, class_names=names
        )
    compare(tmp_path / "a.npz", tmp_path / "b.npz", out=tmp_path / "out")
    found = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*.parquet"))
    assert all(name.encode() in found for name in names)
