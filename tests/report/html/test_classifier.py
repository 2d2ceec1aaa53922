"""The page of a classifier: examples by class and by group, and no word of tokens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kullback.compare import compare
from kullback.report.folder import rewrite_report, write_folder
from kullback.report.html.slices import MOST_ROWS
from kullback.results import Comparison, Estimate, Ranking
from report.html.test_page import HOSTILE_NAME, Elements

CLASSES = ("cat", "dog", HOSTILE_NAME, "eel")


def arrays_of(n: int, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Labels, and logits of both sides, which are worse where the label is 2."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    p = rng.normal(size=(n, classes))
    p[np.arange(n), labels] += 2
    q = p + 0.5 * rng.normal(size=p.shape) * (1 + (labels == 2))[:, None]
    return labels, p, q


def folder_of(
    tmp_path: Path, candidates: int = 1, n: int = 400, classes: int = 4, **more: Any
) -> tuple[Path, Comparison | Ranking]:
    labels, p, q = arrays_of(n, classes)
    labels[7] = -1
    groups = np.array(["north", "<b>", "east"])[np.arange(n) % 3]
    np.savez(tmp_path / "p.npz", logits=p, labels=labels, groups=groups, **more)
    names = [tmp_path / f"q{i}.npz" for i in range(candidates)]
    for i, name in enumerate(names):
        np.savez(name, logits=q * (1 - 0.2 * i))
    out = tmp_path / "out"
    result = compare(tmp_path / "p.npz", names if candidates > 1 else names[0], out=out)
    write_folder(result, out)
    return out, result


def elements(out: Path) -> Elements:
    return Elements((out / "report.html").read_text(encoding="utf-8"))


def said(out: Path) -> str:
    return " ".join(elements(out).words.split())


def table(words: str, title: str) -> str:
    """What stands between a heading and the next section of examples, groups or documents."""
    after = words.partition(f" {title} The largest part")[2]
    assert after
    return re.split(r" By group | By document | The worst examples ", after)[0]


@pytest.mark.parametrize("candidates", [1, 3])
@pytest.mark.parametrize("together", [False, True])
def test_positions_are_called_examples_everywhere(
    tmp_path: Path, candidates: int, together: bool
) -> None:
    more: dict[str, Any] = {"documents": np.repeat(np.arange(40), 10)} if together else {}
    out, _ = folder_of(tmp_path, candidates, class_names=np.array(CLASSES), **more)
    words = said(out)
    # What the comparison itself notes is told at the end, in its own words.
    body = words.partition("How this was made")[0]
    assert not re.search(r"\btokens?\b|\bpositions?\b|came next|\bchunks?\b", body)
    assert "nats per example" in body
    assert "KL per example, nats" in body
    assert "400 examples" in body
    assert ("By document" in body) == together
    page = elements(out)
    told = [text for _, found in page.found for text in found.values() if text]
    assert not any("token" in text for text in told if "data-token" not in text and " " in text)


def test_classes_and_groups_have_their_numbers_and_intervals(tmp_path: Path) -> None:
    out, result = folder_of(tmp_path, class_names=np.array((*CLASSES[:2], "wolf", "eel")))
    assert isinstance(result, Comparison)
    labels, p, q = arrays_of(400)
    labels[7] = -1
    log_p, log_q = (x - np.log(np.exp(x).sum(1, keepdims=True)) for x in (p, q))
    kl = (np.exp(log_p) * (log_p - log_q)).sum(1)
    groups = np.array(["north", "<b>", "east"])[np.arange(400) % 3]
    words = said(out)
    classes = np.array([*CLASSES[:2], "wolf", "eel", "?"])[labels]
    for title, slices, truth in (
        ("By class", result.by_class, classes),
        ("By group", result.by_group, groups),
    ):
        shown = table(words, title)
        places = [shown.index(f" {part.name} ") for part in slices]
        assert places == sorted(places)
        for part in slices:
            mine = truth == part.name
            row = shown[shown.index(f" {part.name} ") :].split()
            count, value, low, high, share = (row[i].strip("[],%") for i in (1, 2, 3, 4, 5))
            assert int(count) == mine.sum()
            # Three digits of a mean, one decimal of a share.
            assert float(value) == pytest.approx(kl[mine].mean(), rel=5e-3)
            assert float(low) == pytest.approx(part.kl.low, rel=1e-2)
            assert float(high) == pytest.approx(part.kl.high, rel=1e-2)
            assert float(share) == pytest.approx(100 * kl[mine].sum() / kl.sum(), abs=0.051)
            known = mine & (labels >= 0)
            sides = (
                (7, (p.argmax(1) == q.argmax(1))[mine], part.same_top),
                (11, (p.argmax(1) == labels)[known], part.accuracy_p),
                (15, (q.argmax(1) == labels)[known], part.accuracy_q),
            )
            for at, right, estimate in sides:
                assert isinstance(estimate, Estimate)
                told = [float(cell.strip("[],%")) for cell in (row[at], row[at + 2], row[at + 3])]
                wanted = [right.mean(), estimate.low, estimate.high]
                assert told == pytest.approx([100 * x for x in wanted], abs=0.051)


def test_accuracies_of_the_whole_are_told(tmp_path: Path) -> None:
    out, result = folder_of(tmp_path)
    assert isinstance(result, Comparison)
    words = said(out)
    assert result.accuracy_difference is not None
    points = 100 * result.accuracy_difference.value
    (shown,) = re.findall(r"Accuracy, difference (\S+) points \[", words)
    assert float(shown) == pytest.approx(points, abs=0.01)
    for name in ("reference", "candidate"):
        assert f"Accuracy of the {name}, share 0." in words
    assert "Its accuracy is" in words


def test_hostile_names_make_no_element(tmp_path: Path) -> None:
    kinds = []
    for place, names in (
        ("a", ("w", "x", "y", "z")),
        ("b", (HOSTILE_NAME, "<b>", "\x1b[31m", "&")),
    ):
        (tmp_path / place).mkdir()
        out, _ = folder_of(tmp_path / place, class_names=np.array(names))
        kinds.append([tag for tag, _ in elements(out).found])
    assert kinds[0] == kinds[1]
    assert "onerror=alert(1)" in said(out)
    assert "\x1b" not in (out / "report.html").read_text(encoding="utf-8")


def test_the_page_made_anew_is_the_same(tmp_path: Path) -> None:
    for i, candidates in enumerate((1, 2)):
        folder = tmp_path / str(i)
        folder.mkdir()
        out, _ = folder_of(folder, candidates, class_names=np.array(CLASSES))
        page = (out / "report.html").read_bytes()
        rewrite_report(out)
        assert (out / "report.html").read_bytes() == page


def test_the_worst_examples_are_those_of_largest_kl(tmp_path: Path) -> None:
    out, _ = folder_of(tmp_path)
    _, p, q = arrays_of(400)
    log_p, log_q = (x - np.log(np.exp(x).sum(1, keepdims=True)) for x in (p, q))
    kl = (np.exp(log_p) * (log_p - log_q)).sum(1)
    worst = said(out).partition(" The worst examples ")[2].partition(" All examples")[0]
    rows = re.findall(r"example (\d+) (\S+) #(\d) ([\d.]+) % #(\d) ([\d.]+) % ([\d.]+)", worst)
    assert [int(row[0]) for row in rows] == np.argsort(-kl)[:12].tolist()
    for row, _, top_p, given_p, top_q, given_q, loss in rows:
        i = int(row)
        assert (int(top_p), int(top_q)) == (p[i].argmax(), q[i].argmax())
        assert float(given_p) == pytest.approx(100 * np.exp(log_p[i].max()), abs=0.051)
        assert float(given_q) == pytest.approx(100 * np.exp(log_q[i].max()), abs=0.051)
        assert float(loss) == pytest.approx(kl[i], rel=5e-3)


def test_of_many_classes_the_page_shows_some_and_says_so(tmp_path: Path) -> None:
    out, result = folder_of(tmp_path, n=1000, classes=MOST_ROWS + 30)
    assert isinstance(result, Comparison)
    left = len(result.by_class) - MOST_ROWS
    assert f"{left} more, with less of the KL, are in the JSON file." in said(out)


def test_groups_of_a_text_have_a_table_too(tmp_path: Path) -> None:
    _, p, q = arrays_of(400)
    groups = np.array(["de", "fr"])[np.arange(400) % 2]
    documents = np.repeat(np.arange(40), 10)
    tokens = np.zeros(400, int)
    for name, logits in (("p", p), ("q", q)):
        np.savez(
            tmp_path / f"{name}.npz",
            logits=logits,
            tokens=tokens,
            documents=documents,
            groups=groups,
        )
    result = compare(tmp_path / "p.npz", tmp_path / "q.npz", out=tmp_path / "out")
    write_folder(result, tmp_path / "out")
    words = said(tmp_path / "out")
    assert "de 200 " in table(words, "By group")
    assert "Group Positions KL, nats of all KL same top de" in words or (
        "Group Positions KL, nats of all KL same top fr" in words
    )
    assert "By class" not in words
    assert "nats per token" in words
    page = (tmp_path / "out" / "report.html").read_bytes()
    rewrite_report(tmp_path / "out")
    assert (tmp_path / "out" / "report.html").read_bytes() == page


def test_in_a_browser_an_example_is_pointed_at(browser: Any, tmp_path: Path) -> None:
    out, _ = folder_of(tmp_path)
    labels, p, _ = arrays_of(400)
    browser.open(out / "report.html")
    assert browser.run("document.querySelectorAll('.stretch').length") == 1
    assert browser.run("document.querySelectorAll('.gap').length") == 0
    for row in (0, 7, 399):
        token = f"[...document.querySelectorAll('.stretch span')].find(s => s.index === {row})"
        browser.run("document.querySelector('.stretch').scrollIntoView({block: 'end'})")
        browser.wait(f"{token} !== undefined")
        browser.point_at(token)
        browser.wait(f"document.querySelector('.panel').dataset.token === '{row}'")
        words = browser.run("document.querySelector('.panel').innerText")
        assert f"example {row}" in words
        assert "token" not in words.lower()
        assert "chunk" not in words
        if row == 7:
            assert "Its label is not known." in words
            continue
        assert re.search(r"Its label: \S+ % in the reference, \S+ % in the candidate", words)
        first = browser.run("document.querySelector('.panel .p.first').parentElement.innerText")
        assert first.startswith(f"#{p[row].argmax()}")
        label = browser.run("document.querySelector('.panel th.label').textContent")
        assert label == f"#{labels[row]}"
    browser.run("document.querySelector('a[data-token]').click()")
    goal = browser.run("Number(document.querySelector('a[data-token]').dataset.token)")
    assert browser.run("Number(document.querySelector('.panel').dataset.token)") == goal
    assert browser.run("document.documentElement.scrollWidth") <= 1200
    assert browser.complaints() == []


@pytest.mark.parametrize("width", [360, 1400])
def test_no_table_sticks_out_sideways(browser: Any, tmp_path: Path, width: int) -> None:
    out, _ = folder_of(tmp_path, class_names=np.array(CLASSES))
    browser.open(out / "report.html", width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width
