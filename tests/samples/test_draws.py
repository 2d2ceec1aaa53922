"""What users hold becomes the same two records, or an error that names the place."""

from __future__ import annotations

import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from kullback.errors import DtypeError, InputError, NonFiniteError, ShapeError
from kullback.samples.draws import draws_of

N = 20
LINE = np.arange(N) / 4  # quarters: exact in every floating dtype, bfloat16 too
WORDS = ["a", "b"] * (N // 2)

NUMBERS: dict[str, Any] = {
    "array": LINE,
    "column": LINE[:, None],
    "float32": LINE.astype(np.float32),
    "list": list(LINE),
    "list of rows": [[v] for v in LINE],
    "list of tuples": [(v,) for v in LINE],
    "list of arrays": [np.array([v]) for v in LINE],
    "list of tensors": [torch.tensor([v], requires_grad=True) for v in LINE],
    "decimals": [Decimal(str(v)) for v in LINE],
    "fractions": [Fraction(v) for v in LINE],
    "objects": LINE.astype(object),
    "bfloat16": torch.tensor(LINE, dtype=torch.bfloat16),
    "float16": torch.tensor(LINE, dtype=torch.float16),
    "gradient": torch.tensor(LINE, requires_grad=True),
    "imaginary part": torch.complex(torch.tensor(LINE), -torch.tensor(LINE)).conj().imag,
    "mask without an entry": np.ma.masked_array(LINE, np.zeros(N, bool)),
}


@pytest.mark.parametrize("held", NUMBERS.values(), ids=list(NUMBERS))
def test_numbers_are_the_same_numbers_however_they_are_held(held: Any) -> None:
    pair = draws_of(held, LINE)
    np.testing.assert_array_equal(pair.p.numbers[:, 0], LINE)
    assert pair.p.numbers.dtype == np.float64
    assert (pair.levels, pair.dimensions, pair.categorical) == ((), 1, False)


LABELS: dict[str, Any] = {
    "list": WORDS,
    "tuple": tuple(WORDS),
    "array": np.array(WORDS),
    "objects": np.array(WORDS, dtype=object),
    "bytes": np.array([word.encode() for word in WORDS]),
    "objects of bytes": np.array([word.encode() for word in WORDS], dtype=object),
    "rows": [(word,) for word in WORDS],
}


@pytest.mark.parametrize("held", LABELS.values(), ids=list(LABELS))
def test_labels_are_the_same_labels_however_they_are_held(held: Any) -> None:
    pair = draws_of(held, WORDS)
    np.testing.assert_array_equal(pair.p.labels, pair.q.labels)
    assert pair.levels == (2,)
    assert pair.categorical


def test_a_label_of_one_side_has_a_code_that_the_other_lacks() -> None:
    pair = draws_of(WORDS, ["a", "c"] * N)
    assert pair.levels == (3,)
    assert set(pair.p.labels[:, 0]) & set(pair.q.labels[:, 0]) == {0}
    np.testing.assert_array_equal(pair.atoms.of_p, [10, 10, 0])
    np.testing.assert_array_equal(pair.atoms.of_q, [20, 0, 20])


def test_integers_are_numbers_and_categories_and_booleans_are_labels() -> None:
    whole = draws_of(np.arange(N), torch.arange(N, dtype=torch.int16))
    assert whole.categorical
    assert whole.p.numbers.shape == (N, 1)
    assert not draws_of(np.arange(N), LINE).categorical
    truth = draws_of(torch.arange(N) > 4, LINE > 1)
    assert truth.levels == (2,)
    assert truth.p.labels.sum() == 15


def test_a_list_of_mixed_rows_keeps_its_numbers_numbers() -> None:
    pair = draws_of([(v, "a", 3) for v in LINE], [(v, "b", 4) for v in LINE])
    np.testing.assert_array_equal(pair.p.numbers, np.stack([LINE, np.full(N, 3.0)], 1))
    assert pair.levels == (2,)
    assert not pair.categorical


def test_atoms_count_rows_and_zero_has_no_sign() -> None:
    x = np.array([[0.0, 1], [-0.0, 1], [2, 2]] * 4)
    y = np.array([[2.0, 2], [5, 5]] * 5)
    atoms = draws_of(x, y).atoms
    assert sorted(zip(atoms.of_p, atoms.of_q, strict=True)) == [(0, 5), (4, 5), (8, 0)]
    np.testing.assert_array_equal(np.bincount(atoms.x, minlength=3), atoms.of_p)


def test_tied_is_the_share_of_draws_that_are_not_alone() -> None:
    pair = draws_of(np.r_[LINE, LINE[:4], 100 + np.arange(6)], 200 + LINE)
    assert pair.tied == 8 / 50


class TestFrames:
    def test_columns_go_by_name_and_not_by_place(self) -> None:
        frame = pytest.importorskip("pandas").DataFrame
        x = frame({"size": LINE, "kind": WORDS, "rank": np.arange(N)})
        y = frame({"rank": np.arange(N), "size": 10 + LINE, "kind": WORDS})
        pair = draws_of(x, y)
        np.testing.assert_array_equal(pair.p.numbers[:, 1], pair.q.numbers[:, 1])
        np.testing.assert_array_equal(pair.q.numbers[:, 0] - pair.p.numbers[:, 0], np.full(N, 10))
        assert pair.levels == (2,)

    def test_columns_of_other_names_are_refused(self) -> None:
        frame = pytest.importorskip("pandas").DataFrame
        with pytest.raises(ShapeError, match="'a' in x and 'b' in y"):
            draws_of(frame({"a": LINE}), frame({"b": LINE}))
        with pytest.raises(ShapeError, match="none in x and 'b' in y"):
            draws_of(frame({"a": LINE}), frame({"a": LINE, "b": LINE}))

    def test_what_a_frame_can_hold_that_is_no_draw(self) -> None:
        pandas = pytest.importorskip("pandas")

        def of(column: Any) -> Any:
            return pandas.DataFrame({"a": column})

        dates = pandas.date_range("2020", periods=N)
        for column in (dates, LINE + 1j, [datetime.date(2020, 1, 1)] * N):
            with pytest.raises(DtypeError, match="column a"):
                draws_of(of(column), of(column))
        for column in (pandas.array(["u", None] * 10, dtype="string"), [None, "u"] * 10):
            with pytest.raises(NonFiniteError, match="10 in all"):
                draws_of(of(column), of(WORDS))
        with pytest.raises(NonFiniteError, match="row 1"):
            draws_of(of(pandas.array([1, None] * 10, dtype="Int64")), of(np.arange(N)))
        twice = pandas.DataFrame(np.ones((N, 2)), columns=["a", "a"])
        with pytest.raises(ShapeError, match="'a' of x stands there twice"):
            draws_of(twice, twice)
        with pytest.raises(ShapeError, match="no columns"):
            draws_of(pandas.DataFrame(index=range(N)), pandas.DataFrame(index=range(N)))

    def test_a_category_is_a_label_though_it_is_a_number(self) -> None:
        pandas = pytest.importorskip("pandas")
        x, y = (pandas.DataFrame({"a": pandas.Categorical([1, k] * 10)}) for k in (2, 3))
        pair = draws_of(x, y)
        assert pair.levels == (3,)
        assert pair.categorical
        with pytest.raises(NonFiniteError, match="lacks a value in row 1"):
            draws_of(x, pandas.DataFrame({"a": pandas.Categorical([1, None] * 10)}))

    def test_a_column_of_objects_that_are_numbers(self) -> None:
        frame = pytest.importorskip("pandas").DataFrame
        pair = draws_of(frame({"a": [Decimal(str(v)) for v in LINE]}), frame({"a": LINE}))
        np.testing.assert_array_equal(pair.p.numbers[:, 0], LINE)


REFUSED: dict[str, tuple[Any, type[InputError], str]] = {
    "a number": (1.0, ShapeError, r"shape \(\)"),
    "a cube": (np.zeros((N, 2, 2)), ShapeError, r"\(20, 2, 2\)"),
    "nothing": ([], ShapeError, "0 draws"),
    "one row": (LINE[None], ShapeError, "20 columns and y has 1"),
    "no columns": (np.zeros((N, 0)), ShapeError, r"\(20, 0\)"),
    "nine": (LINE[:9], ShapeError, "x has 9 draws"),
    "NaN": (np.r_[LINE, np.nan], NonFiniteError, "holds nan in row 20, column 0"),
    "infinite": (torch.tensor([*LINE, -torch.inf]), NonFiniteError, "-inf in row 20"),
    "None": ([None, *LINE], NonFiniteError, "lacks a value in row 0"),
    "masked": (np.ma.masked_array(LINE, LINE > 4), NonFiniteError, "3 masked"),
    "complex": (LINE + 1j, DtypeError, "complex128"),
    "complex tensor": (torch.tensor(LINE) + 1j, DtypeError, "complex128"),
    "sparse": (torch.tensor(LINE).to_sparse(), DtypeError, "to_dense"),
    "dates": (np.arange(N).astype("M8[D]"), DtypeError, "datetime64"),
    "hashes": (np.arange(2**60, 2**60 + N), DtypeError, "2\\*\\*53"),
    "long integers": ([10**400] * N, DtypeError, "2\\*\\*53"),
    "ragged": ([[1, 2]] * N + [[1]], ShapeError, r"row 20 of x is \[1\]"),
    "a number, then rows": ([1] + [[1, 2]] * N, ShapeError, r"row 1 of x is \[1, 2\]"),
    "numbers and words": ([1, "a"] * 10, DtypeError, "holds 1 .int. in row 0"),
    "a word in a late row": ([(1.0,)] * N + [("a",)], DtypeError, "holds 1.0 .float. in row 0"),
    "a dictionary": ({"a": LINE}, DtypeError, "type dict"),
    "a generator": ((v for v in LINE), DtypeError, "type generator"),
    "labels against numbers": (WORDS, DtypeError, "column 0"),
    "booleans against numbers": (LINE > 1, DtypeError, "bool in x and float64 in y"),
}


@pytest.mark.parametrize(("held", "error", "words"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_no_draw_is_refused_by_name_and_place(
    held: Any, error: type[InputError], words: str
) -> None:
    with pytest.raises(error, match=words):
        draws_of(held, LINE)


def test_integers_up_to_where_doubles_are_exact_are_taken() -> None:
    pair = draws_of(np.array([2**53 - 1, 2**53] * 10), np.array([2**53 - 1] * N))
    assert len(pair.atoms.of_p) == 2
    with pytest.raises(DtypeError, match="9007199254740993"):
        draws_of(np.array([2**53 + 1] * N), np.arange(N))
