"""The matrix of what is known: it must say what the code does, for every class torch has."""

from __future__ import annotations

import math

import pytest
import torch.distributions as td
from torch.distributions import Distribution

import kullback
from kullback.distributions import Coverage, coverage
from kullback.distributions.dispatch import CLOSED_FORMS
from kullback.distributions.examples import CLASSES, examples

# A member is made from the table's parameters, or the table is wrong.
SAMPLE = [
    (td.Normal, td.Laplace),
    (td.Beta, td.Uniform),
    (td.Normal, td.Gamma),
    (td.Poisson, td.Geometric),
    (td.StudentT, td.Normal),
    (td.MultivariateNormal, td.Independent),
]


@pytest.fixture(scope="module")
def matrix() -> Coverage:
    return coverage()


def test_every_class_of_torch_has_examples() -> None:
    known = {
        name
        for name in td.__all__
        if isinstance(kind := getattr(td, name), type) and issubclass(kind, Distribution)
    }
    assert {kind.__name__ for kind in CLASSES} == known - {"Distribution", "ExponentialFamily"}
    for kind in CLASSES:
        for example in examples(kind):
            assert type(example.p) is type(example.q) is kind
            assert example.p.event_shape == example.q.event_shape
            assert not example.p.batch_shape


def test_the_counts_cover_every_pair(matrix: Coverage) -> None:
    counts = matrix.counts()
    assert sum(counts.values()) == len(CLASSES) ** 2
    # What torch 2.13 answers is 68 finite pairs and 43 infinite ones.
    assert counts["exact"] > 2 * 68
    assert counts["infinite"] > 2 * 43


@pytest.mark.parametrize(
    ("p", "q", "answers"),
    [
        ("Normal", "Normal", ("exact",)),
        ("Normal", "Gamma", ("infinite",)),
        ("Poisson", "Geometric", ("sum",)),
        ("Normal", "StudentT", ("quadrature",)),
        ("Binomial", "Binomial", ("exact", "infinite")),
        ("Wishart", "LKJCholesky", ("infinite",)),
        ("Dirichlet", "LogisticNormal", ("cubature",)),
    ],
)
def test_entries_that_are_known(matrix: Coverage, p: str, q: str, answers: tuple[str, ...]) -> None:
    entry = matrix.entry(p, q)
    assert entry is not None
    assert entry.answers == answers


def test_different_events_have_no_entry(matrix: Coverage) -> None:
    assert matrix.entry("Normal", "Dirichlet") is None
    assert matrix.entry("Wishart", "MultivariateNormal") is None


def test_every_infinity_has_a_reason(matrix: Coverage) -> None:
    for entry in matrix.entries:
        if entry.answers[0] == "infinite":
            assert entry.reason, (entry.p, entry.q)
    found = matrix.entry("Normal", "Gamma")
    assert found is not None
    assert found.reason == "P lives on the real line, Q on the interval from 0 to inf"


@pytest.mark.parametrize(("kind_p", "kind_q"), SAMPLE)
def test_the_matrix_says_what_estimate_does(
    matrix: Coverage, kind_p: type[Distribution], kind_q: type[Distribution]
) -> None:
    words = {
        "exact": "closed form",
        "infinite": "",
        "sum": "sum",
        "quadrature": "quadrature",
        "monte carlo": "Monte Carlo",
    }
    entry = matrix.entry(kind_p.__name__, kind_q.__name__)
    assert entry is not None
    p, q = examples(kind_p)[0].p, examples(kind_q)[0].q
    found = kullback.estimate(p, q)
    assert (float(found) == math.inf) == (entry.answers[0] == "infinite")
    assert words[entry.answers[0]] in found.method


def test_the_forms_are_those_of_the_registry(matrix: Coverage) -> None:
    assert len(matrix.forms) == len(CLOSED_FORMS)
    assert all(form.source for form in matrix.forms)
    table = matrix.forms_to_markdown()
    assert "| Normal | Normal | Cover & Thomas" in table
    assert all(len(row.split(" | ")) in (2, 3) for row in table.splitlines() if row[:1] == "|")


def test_as_a_table(matrix: Coverage) -> None:
    lines = matrix.to_markdown().splitlines()
    header = next(line for line in lines if line.startswith("| numbers"))
    row = next(line for line in lines if line.startswith("| Normal |"))
    names = [cell.strip() for cell in header.split("|")]
    signs = [cell.strip() for cell in row.split("|")]
    assert signs[names.index("Normal")] == "●"
    assert signs[names.index("Gamma")] == "∞"
    assert "1,681" in str(matrix)
    frame = matrix.to_dataframe()
    assert len(frame) == len(matrix.entries)
