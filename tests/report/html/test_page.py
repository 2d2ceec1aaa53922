"""The file: whole, small, silent towards the network, and deaf to what tokens and names say."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import kullback.report.html as html
from kullback.errors import InputError, MissingExtra
from kullback.report.html import write_report
from kullback.report.html.figures import ends, value
from kullback.report.html.page import embedded_json
from kullback.report.terminal import headline

HOSTILE_NAME = "</script><img src=x onerror=alert(1)>$\\frac$ \u202e{{ 7 * 7 }}"


class Elements(HTMLParser):
    """Which elements a page has, with their attributes, and the text outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._script = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._script = self._script and tag not in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._script:
            self.words += data + " "

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def report(path: Path, made: Any, **options: Any) -> str:
    name = made.table["candidate"][0].as_py()
    write_report(path, {name: made.comparison}, made.table, **options)
    return path.read_text(encoding="utf-8")


def test_hostile_names_and_tokens_make_no_element(made: Callable[..., Any], tmp_path: Path) -> None:
    tame, hostile = (
        Elements(report(tmp_path / "r.html", made(name=name, documents=documents)))
        for name, documents in (
            ("candidate", ("a.txt", "b.txt", "c.txt")),
            (HOSTILE_NAME, (HOSTILE_NAME, "<b>", "\x00&amp;")),
        )
    )
    kinds = [[tag for tag, _ in page.found] for page in (tame, hostile)]
    assert kinds[0] == kinds[1]
    assert "onerror=alert(1)" in hostile.words
    assert "{{ 7 * 7 }}" in hostile.words
    assert "\u202e" not in hostile.words
    attributes = {name for _, found in hostile.found for name in found}
    assert not any(name.startswith("on") for name in attributes)


def test_only_its_own_script_may_run_and_nothing_is_fetched(
    made: Callable[..., Any], tmp_path: Path
) -> None:
    text = report(tmp_path / "r.html", made())
    page = Elements(text)
    (policy,) = [m["content"] for m in page.named("meta") if "http-equiv" in m]
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    addresses = [a.get("src") or a.get("href") for _, a in page.found]
    assert all(address is None or address.startswith("#") for address in addresses)
    assert "url(" not in text.replace("url(#", "")
    assert "@import" not in text


def test_the_numbers_of_the_comparison_are_on_the_page(
    made: Callable[..., Any], tmp_path: Path
) -> None:
    example = made()
    words = " ".join(Elements(report(tmp_path / "r.html", example)).words.split())
    assert headline(example.comparison) in words
    for estimate in (example.comparison.reverse_kl, example.comparison.js):
        assert f"{value(estimate)} {ends(estimate)}" in words
    for part in example.comparison.by_confidence:
        if part.positions:
            assert f"{value(part.kl)} " in words
            assert f"{part.positions:,} positions" in words
    assert "600 positions" in words


def test_several_candidates_stand_by_their_loss(made: Callable[..., Any], tmp_path: Path) -> None:
    import pyarrow as pa

    sides = {name: made(name=name, noise=noise) for name, noise in (("x", 0.9), ("y", 0.1))}
    table = pa.concat_tables([side.table for side in sides.values()]).unify_dictionaries()
    path = tmp_path / "r.html"
    write_report(path, {name: side.comparison for name, side in sides.items()}, table)
    page = Elements(path.read_text(encoding="utf-8"))
    assert [a["aria-label"] for a in page.named("article")] == ["y", "x"]
    assert len([s for s in page.named("script") if s.get("id", "").startswith("positions")]) == 2


def test_a_file_over_the_budget_is_cut_and_says_so(
    made: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "LARGEST", 250_000)
    example = made(4000)
    text = report(tmp_path / "r.html", example)
    assert len(text.encode()) < 250_000
    assert re.search(r"The first [\d,]+ of 4,000 positions, so that this file stays small", text)


def test_a_table_of_tokens_without_texts_or_events_makes_a_page(
    made: Callable[..., Any], tmp_path: Path
) -> None:
    example = made()
    names = [n for n in example.table.schema.names if n != "text" and not n.startswith("top_e")]
    bare = replace(example, table=example.table.select(names))
    words = Elements(report(tmp_path / "r.html", bare)).words
    assert "By kind of token" not in words
    assert "Calibration of both" in words


def test_what_does_not_belong_together_is_refused(made: Callable[..., Any], tmp_path: Path) -> None:
    example, path = made(), tmp_path / "r.html"
    with pytest.raises(InputError, match="none of the candidate 'other'"):
        write_report(path, {"other": example.comparison}, example.table)
    with pytest.raises(InputError, match="no column kl"):
        write_report(path, {"candidate": example.comparison}, example.table.drop_columns(["kl"]))
    with pytest.raises(InputError, match="at least one candidate"):
        write_report(path, {}, example.table)
    with pytest.raises(InputError, match="cannot write the report to"):
        report(tmp_path / "missing" / "r.html", example)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_is_named_with_its_extra(
    made: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"{package}.*kullback\[report\]"):
        report(tmp_path / "r.html", made())


def test_the_same_input_makes_the_same_file(made: Callable[..., Any], tmp_path: Path) -> None:
    first, second = (report(tmp_path / f"{i}.html", made()) for i in range(2))
    assert first == second


def test_json_in_a_page_cannot_end_its_element() -> None:
    text = embedded_json(["</script>", "<!--", "\u2028", "\ud800"])
    assert not set(text) & set("<>&\u2028\ud800")


def colours(style: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z]+\d*): (#[0-9a-f]{6})", style))


def luminance(colour: str) -> float:
    """Relative luminance, by WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_and_the_scale_is_one_of_lightness(dark: bool) -> None:
    style = files("kullback.report.html").joinpath("style.css").read_text(encoding="utf-8")
    light, _, rest = style.partition("@media (prefers-color-scheme: dark)")
    found = colours(rest.partition("* {")[0] if dark else light)
    # 4.5 is what WCAG's level AA asks of text.
    for ground in ("paper", "raised"):
        for name in ("ink", "muted", "reference", "candidate"):
            assert contrast(found[name], found[ground]) >= 4.5, (name, ground)
    levels = [found[f"h{i}"] for i in range(1, 10)]
    for i, level in enumerate(levels, start=1):
        assert contrast(found[f"t{i}"], level) >= 4.5, i
    # Who sees no hue sees the order all the same.
    order = [luminance(level) for level in [found["paper"], *levels]]
    assert order == sorted(order, reverse=not dark)
