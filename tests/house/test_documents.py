"""What the documents say is there: links lead somewhere, commands and options exist, examples run.

Also kept here: no file of the repository names a folder of the machine it was written on.
"""

from __future__ import annotations

import doctest
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("data/*.md")])

# Written in pieces, so that this file does not find itself.
MACHINE_PATH = re.compile(
    r"(?<![\w.~<>*}])/(?:" + "|".join(["home", "Users", "root", "work", "tmp"]) + r")/[A-Za-z]"
)
# The demo's text is a book about Unix and the recordings are binary.
EXEMPT = ("data/handbook/", "tests/data/")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def files_of_the_repository() -> list[str]:
    """Tracked files and those about to be; none outside of a clone."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return listed.stdout.splitlines()


def test_no_paths_of_one_machine() -> None:
    files = files_of_the_repository()
    if not files:
        pytest.skip("not in a clone: git lists no files")
    found = []
    for name in files:
        if name.startswith(EXEMPT) or not (ROOT / name).is_file():
            continue
        text = (ROOT / name).read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            if MACHINE_PATH.search(line):
                found.append(f"{name}:{number}: {line.strip()}")
    assert found == []


def test_a_machine_path_is_recognised() -> None:
    assert MACHINE_PATH.search("open('/" + "home/someone/model')")
    assert MACHINE_PATH.search("cd /" + "tmp/x")
    assert not MACHINE_PATH.search("https://example.org/" + "home/page and ~/job/x and /usr/bin")


def anchor_of(heading: str) -> str:
    """The anchor that GitHub and MkDocs give a heading."""
    words = re.sub(r"[^\w\s-]", "", heading.strip().lower())
    return re.sub(r"\s+", "-", words)


def broken_links(document: Path) -> list[str]:
    broken = []
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        goal = (document.parent / path) if path else document
        if not goal.exists():
            broken.append(target)
        elif anchor and goal.suffix == ".md" and not anchor.startswith("kullback."):
            headings = re.findall(r"^#+ (.+)$", goal.read_text(encoding="utf-8"), re.MULTILINE)
            if anchor not in map(anchor_of, headings):
                broken.append(target)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    assert broken_links(document) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title\n[a](page.md#a-title) [b](gone.md) [c](#no-such) [d](https://x.y)\n")
    assert broken_links(page) == ["gone.md", "#no-such"]


def make_commands(document: Path) -> set[str]:
    """The targets that a document names, in a fence or between backticks."""
    code = re.findall(r"```.*?```|`[^`\n]+`", document.read_text(encoding="utf-8"), re.DOTALL)
    return {target for part in code for target in re.findall(r"(?:^|`)make ([a-z]+)", part, re.M)}


def test_the_commands_of_the_documents_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for document in DOCUMENTS:
        assert make_commands(document) <= targets, name_of(document)
    assert {"demo", "test"} <= make_commands(ROOT / "README.md")


def test_the_options_of_the_documents_are_in_the_command() -> None:
    import typer

    from kullback.cli import app

    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    known = {
        name: {"--help"}.union(*(set(x.opts + x.secondary_opts) for x in one.params))
        for name, one in command.commands.items()
    }
    scripts = [*DOCUMENTS, *(ROOT / "recipes").glob("*.sh")]
    for script in scripts:
        text = script.read_text(encoding="utf-8").replace("\\\n", " ")
        for name, line in re.findall(r"kullback ([a-z]+)( [^\n`]*)", text):
            if name in known:
                options = set(re.findall(r"(?<!\w)--[a-z-]+", line))
                assert options <= known[name], f"{script.name}: kullback {name}{line}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_examples_run(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testfile(
        str(document), module_relative=False, encoding="utf-8", optionflags=flags
    )
    assert result.failed == 0
