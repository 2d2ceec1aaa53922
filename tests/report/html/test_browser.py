"""The page in a browser: it loads in silence, shows the right numbers, and moves by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kullback.report.html import write_report

TOKEN = "[...document.querySelectorAll('.stretch span')].find(s => s.index === {})"
ROWS = """[...document.querySelectorAll('.panel tbody tr')].map(
    row => [...row.children].map(cell => cell.textContent))"""


@pytest.fixture(scope="module")
def page(made: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    example = made()
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(
        path,
        {"candidate": example.comparison},
        example.table,
        token_text=lambda i: example.texts[i],
    )
    return path, example


def shown(browser: Any) -> dict[str, Any]:
    return browser.run(f"""({{
        token: Number(document.querySelector('.panel').dataset.token),
        words: document.querySelector('.panel').innerText,
        rows: {ROWS},
        spoken: document.getElementById('spoken').textContent,
        focus: document.activeElement.index }})""")


def as_number(text: str) -> float:
    return float(text.replace("%", "").replace("−", "-").strip())


def half_of_last_digit(text: str) -> float:
    """The most that a number so written may be off, by rounding."""
    digits = re.sub(r"[ %]", "", text)
    mantissa, _, exponent = digits.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 0.5000001 * 10.0 ** (int(exponent or 0) - decimals)


def assert_right(row: int, panel: dict[str, Any], example: Any) -> None:
    """Every number of the panel is the float64 truth, to the digits that are shown."""
    kl = re.search(r"KL (\S+) nats", panel["words"])
    assert kl is not None
    truth = example.batch.statistics["kl"][row]
    assert abs(as_number(kl[1]) - truth) <= half_of_last_digit(kl[1])
    p, q, parts = example.p[row], example.q[row], example.parts[row]
    found = re.search(r"It came next: (\S+ %) in the reference, (\S+ %) in", panel["words"])
    assert found is not None
    token = example.batch.token[row]
    for text, value in zip(found.groups(), (p[token], q[token]), strict=True):
        assert abs(as_number(text) - 100 * value) <= half_of_last_digit(text)
    events = set(example.batch.top.events[row].tolist())
    order = sorted(events, key=lambda event: -p[event])
    assert len(panel["rows"]) == len(order)
    for event, cells in zip(order, panel["rows"], strict=True):
        for text, value in zip(cells[1:3], (100 * p[event], 100 * q[event]), strict=True):
            assert abs(as_number(text) - value) <= half_of_last_digit(text)
        # The table has p and q in float32: that is 1e-7 of them, and their difference counts.
        slack = 2e-7 * (p[event] + q[event]) * (abs(np.log(p[event] / q[event])) + 1e-7)
        assert abs(as_number(cells[3]) - parts[event]) <= half_of_last_digit(cells[3]) + slack


def test_it_loads_in_silence_and_hostile_tokens_are_only_text(browser: Any, page: Any) -> None:
    path, _ = page
    browser.open(path)
    assert browser.complaints() == []
    assert browser.run("window.broken") is None
    assert browser.run("document.querySelectorAll('script').length") == 3
    assert browser.run("document.querySelectorAll('.text img, .text b, main img').length") == 0
    text = browser.run("document.querySelector('.text').textContent")
    assert "</script><script>window.broken = 1</script>" in text
    assert "⟨U+202E⟩" in text
    assert "⟨U+D800⟩" in text or "�" in text
    assert "\u202e" not in text
    assert browser.run("document.querySelectorAll('.stretch').length") == 12
    assert browser.run("document.querySelectorAll('.panel script').length") == 0


def test_pointing_shows_the_numbers_of_the_token(browser: Any, page: Any) -> None:
    path, example = page
    browser.open(path)
    for row in (0, 7, 31, 49, 120, 300, 599):
        browser.run(f"document.querySelectorAll('.stretch')[{row // 50}].scrollIntoView()")
        browser.wait(f"{TOKEN.format(row)} !== undefined")
        browser.point_at(TOKEN.format(row))
        browser.wait(f"document.querySelector('.panel').dataset.token === '{row}'")
        assert_right(row, shown(browser), example)
    assert browser.complaints() == []


def test_the_keyboard_moves_between_tokens(browser: Any, page: Any) -> None:
    path, example = page
    browser.open(path)
    assert browser.run("document.querySelectorAll('.stretch span[tabindex]').length") == 1
    browser.run("document.querySelector('.stretch span[tabindex]').focus()")
    assert shown(browser)["token"] == 0
    for key, goal in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 49)):
        browser.press(key)
        panel = shown(browser)
        assert (panel["token"], panel["focus"]) == (goal, goal)
        assert_right(goal, panel, example)
    for key, goal in (("PageDown", 50), ("ArrowLeft", 49), ("Home", 0), ("ArrowLeft", 0)):
        browser.press(key)
        assert shown(browser)["token"] == goal
    swaps = np.flatnonzero(example.p.argmax(1) != example.q.argmax(1))
    first = swaps[swaps > 0][0]
    browser.press("n")
    panel = shown(browser)
    assert panel["token"] == first
    assert "Top tokens differ" in panel["spoken"]
    assert browser.run("document.activeElement.classList.contains('swap')")
    assert browser.run("document.querySelectorAll('.stretch span[tabindex]').length") == 1
    assert browser.run("document.querySelectorAll('.stretch span[aria-current]').length") == 1


def test_up_and_down_go_by_lines(browser: Any, page: Any) -> None:
    browser.open(page[0], width=1000)
    browser.run("document.querySelector('.stretch span[tabindex]').focus()")
    box = "document.activeElement.getClientRects()[0]"
    top, left = browser.run(f"[{box}.top + scrollY, {box}.left]")
    browser.press("ArrowDown")
    below = browser.run(f"{box}.top + scrollY")
    assert below > top
    browser.press("ArrowUp")
    assert browser.run(f"{box}.top + scrollY") <= below - 5
    assert left >= 0


def test_a_passage_leads_to_its_place(browser: Any, page: Any) -> None:
    browser.open(page[0])
    goal = browser.run("Number(document.querySelector('a[data-token]').dataset.token)")
    browser.run("document.querySelector('a[data-token]').click()")
    assert shown(browser)["token"] == goal
    inside = "document.activeElement.getBoundingClientRect()"
    assert browser.run(f"{inside}.top > 0 && {inside}.bottom < innerHeight")


def test_colours_and_marks_say_what_the_numbers_say(browser: Any, page: Any) -> None:
    path, example = page
    browser.open(path)
    browser.run("document.querySelector('.stretch').scrollIntoView()")
    looks = browser.run(
        "[...document.querySelectorAll('.stretch')[0].querySelectorAll('span')]"
        ".filter(s => s.index !== undefined).map(s => s.className)"
    )
    edges = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10]
    for row, look in enumerate(looks):
        level = int(np.searchsorted(edges, example.batch.statistics["kl"][row], side="right"))
        assert (f"h{level}" in look.split()) == (level > 0)
        swapped = example.p[row].argmax() != example.q[row].argmax()
        assert ("swap" in look.split()) == swapped


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_nothing_sticks_out_sideways(browser: Any, page: Any, width: int) -> None:
    browser.open(page[0], width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_choosing_a_candidate_changes_what_is_shown(
    browser: Any, made: Callable[..., Any], tmp_path: Path
) -> None:
    import pyarrow as pa

    worse, better = made(name="<i>worse</i>", noise=0.9), made(name="better", noise=0.1)
    table = pa.concat_tables([worse.table, better.table], promote_options="default")
    path = tmp_path / "report.html"
    sides = {"<i>worse</i>": worse.comparison, "better": better.comparison}
    write_report(path, sides, table.unify_dictionaries(), token_text=lambda i: worse.texts[i])
    browser.open(path)
    names = browser.run("[...document.querySelectorAll('.candidates label')].map(x => x.innerText)")
    assert [" ".join(name.split()) for name in names] == ["1 better", "2 <i>worse</i>"]
    visible = "[...document.querySelectorAll('article')].map(a => !a.hidden)"
    assert browser.run(visible) == [True, False]
    for number, example in ((1, worse), (0, better)):
        browser.run(f"document.querySelectorAll('input[name=candidate]')[{number}].click()")
        browser.wait(f"document.querySelector('.text').dataset.ready === '{number}'")
        assert browser.run(visible) == [number == 0, number == 1]
        browser.run("document.querySelector('.stretch span[tabindex]').focus()")
        browser.press("ArrowRight")
        assert_right(1, shown(browser), example)
    assert browser.complaints() == []


@pytest.mark.slow
def test_a_hundred_thousand_positions_scroll(
    browser: Any, made: Callable[..., Any], tmp_path: Path
) -> None:
    words = tuple(f" w{i:02d}" for i in range(40))
    example = made(100_000, words=words, chunk=250)
    path = tmp_path / "report.html"
    write_report(path, {"candidate": example.comparison}, example.table)
    assert path.stat().st_size < 5_000_000
    browser.open(path)
    limit = browser.run("document.getElementById('limits').textContent")
    assert limit == "100,000 positions."
    frames = browser.run("""(async () => {
        const times = [];
        let before = await new Promise(requestAnimationFrame);
        for (let i = 0; i < 240; i++) {
            scrollBy(0, 400);
            const now = await new Promise(requestAnimationFrame);
            times.push(now - before);
            before = now;
        }
        return times; })()""")
    print(f"a frame: median {np.median(frames):.1f} ms, 95 % below {np.quantile(frames, 0.95):.1f}")
    # Tokens exist only near what is seen, however far one has come.
    assert browser.run("document.querySelectorAll('.stretch span').length") < 12_000
    for row in (50_000, 99_999):
        browser.run("document.querySelector('.stretch span[tabindex]').focus()")
        browser.run(f"document.querySelectorAll('.stretch')[{row // 250}].scrollIntoView()")
        browser.wait(f"{TOKEN.format(row)} !== undefined")
        browser.point_at(TOKEN.format(row))
        browser.wait(f"document.querySelector('.panel').dataset.token === '{row}'")
        assert_right(row, shown(browser), example)
    assert browser.complaints() == []
