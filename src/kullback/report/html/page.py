"""The page: what a template is given, and how it becomes one file that needs nothing else.

Everything from outside (names, texts, notes) goes through Jinja's escaping or into JSON whose "<"
and "&" are written as escapes. A content policy lets the page's own script run and nothing else,
and loads nothing from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kullback.errors import MissingExtra
from kullback.report.html import figures
from kullback.report.html.passages import LENGTH
from kullback.report.html.ranked import Ranked
from kullback.report.html.view import HEAT, View
from kullback.report.nouns import Nouns
from kullback.results import Estimate

__all__ = ["embedded_json", "page"]

_HERE = Path(__file__).parent


def page(title: str, views: Sequence[View], ranked: Ranked, nouns: Nouns) -> str:
    """The whole page as text, in which positions are called as `nouns` says.

    Raises `MissingExtra` without Jinja2.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise MissingExtra("jinja2", "report") from error

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined
    )
    script = (_HERE / "heatmap.js").read_text(encoding="utf-8")
    settings = {
        "edges": HEAT,
        "limits": [view.limit for view in views],
        "words": _words(nouns),
    }
    return environment.get_template("page.html.j2").render(
        title=title,
        candidates=[_marked(view, Markup) for view in views],
        nouns=nouns,
        point=_words(nouns)["point"],
        ranked=ranked,
        picture=Markup(ranked.picture),
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=_hash(script),
        settings=Markup(embedded_json(settings)),
        # Only the powers of ten are written; the steps between them are about three times as much.
        edges=[f"{edge:g}" if f"{edge:e}"[0] == "1" else "" for edge in HEAT],
        length=LENGTH,
        number=figures.number,
        value=figures.value,
        ends=figures.ends,
        percent=figures.percent,
        ratio=_ratio,
        accuracy=_accuracy,
        reach=_reach,
    )


def embedded_json(value: Any) -> str:
    """JSON that can stand inside a script element, whatever strings it holds.

    >>> embedded_json("</script>&")
    '"\\\\u003c/script\\\\u003e\\\\u0026"'
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _marked(view: View, markup: type) -> Mapping[str, Any]:
    """The view as the template sees it: only the drawings are markup already."""
    drawn = {name: markup(svg) for name, svg in view.drawings.items()}
    return {**vars(view), **view.words, **drawn}


def _words(nouns: Nouns) -> dict[str, Any]:
    """What the script says of a position."""
    if nouns.is_example:
        return {
            "examples": True,
            "event": "Class",
            "came": "Its label",
            "unknown": "Its label is not known.",
            "point": "Point at an example to see what both sides took it for.",
            "differ": "Underlined: each side’s top class. They differ.",
            "tops": "Top classes differ",
            "both": "Both take it for",
        }
    return {
        "examples": False,
        "event": "Token",
        "came": "It came next",
        "unknown": "Which token came next is not known.",
        "point": "Point at a token to see what both sides expected.",
        "differ": "Underlined: each side’s top token. They differ.",
        "tops": "Top tokens differ",
        "both": "Both expect",
    }


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")


def _ratio(estimate: Estimate | None) -> str:
    return "–" if estimate is None else f"{estimate.value:.4f}"


def _accuracy(estimate: Estimate | None) -> str:
    return "–" if estimate is None else figures.percent(estimate.value, 2)


def _reach(value: float, scale: float) -> float:
    """Per cent of a bar's length; what is infinite fills it."""
    return round(min(max(100 * value / scale, 0.0), 100.0), 2) if scale else 0.0
