"""What all recipes share: options that are checked and explained, and runs that stay finished."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

RECIPES = Path(__file__).parents[2] / "recipes"
NAMES = (
    "vae_digits",
    "policy_penalty",
    "fgan",
    "fgan_gaussian",
    "fgan_bounds",
    pytest.param(
        "distill_lm",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("transformers") is None, reason="pip install transformers"
        ),
    ),
)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(RECIPES))
    return importlib.import_module


@pytest.fixture
def asked(recipe: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The options of a recipe that is called so."""

    def options(name: str, *arguments: str) -> argparse.Namespace:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        return recipe(name).asked()

    return options


@pytest.mark.parametrize("name", NAMES)
class TestEveryRecipe:
    def test_what_is_given_beside_tiny_holds(self, asked: Any, name: str) -> None:
        tiny, given = asked(name, "--tiny"), asked(name, "--tiny", "--out", "elsewhere")
        full = asked(name)
        assert full.out == Path("build", name)
        assert tiny.out == Path("build", f"{name}_tiny")
        assert given.out == Path("elsewhere")
        changed = [x for x in vars(full) if getattr(full, x) != getattr(tiny, x)]
        assert len(changed) > 3
        for option in set(changed) & {"steps", "epochs", "batch", "length", "measurements"}:
            flag = f"--{option.replace('_', '-')}"
            assert getattr(asked(name, "--tiny", flag, "7"), option) == 7

    def test_seeds_are_how_many(self, asked: Any, name: str) -> None:
        if name == "distill_lm":
            pytest.skip("it has one")
        assert asked(name, "--seeds", "2").seeds in (2, [0, 1])

    def test_wrong_options_are_refused(self, asked: Any, name: str, capsys: Any) -> None:
        for option, value in vars(asked(name)).items():
            if type(value) is int and option != "seed":
                wrong = {"0": "whole number from 1 on", "-1": "", "2.5": "whole number from 1 on"}
            elif type(value) is float:
                wrong = {"0": "above 0", "nan": "above 0", "inf": "above 0", "x": "above 0"}
            elif option == "train":
                wrong = {"/nonexistent": "no file '/nonexistent'"}
            else:
                continue
            for text, message in wrong.items():
                flag = f"--{option.replace('_', '-')}"
                with pytest.raises(SystemExit) as refused:
                    asked(name, "--tiny", flag, text)
                assert refused.value.code == 2, (option, text)
                assert message in capsys.readouterr().err

    def test_help_explains_every_option(self, asked: Any, name: str, capsys: Any) -> None:
        defaults = vars(asked(name))
        with pytest.raises(SystemExit):
            asked(name, "--help")
        text = capsys.readouterr().out.split("options:")[1]
        told = dict(re.findall(r"^  --([a-z-]+)(.*(?:\n   +.*)*)", text, re.MULTILINE))
        assert {x.replace("-", "_") for x in told} == set(defaults)
        for option, words in told.items():
            default = defaults[option.replace("-", "_")]
            # A word beyond the option's own name, of which a metavar is made.
            assert re.search(r"[a-z]{2}", words.split("}")[-1]), option
            if isinstance(default, (int, float, Path)) and option != "tiny":
                assert f"({default})" in words, option


class TestFinished:
    @pytest.fixture
    def begun(self, recipe: Any, tmp_path: Path) -> Any:
        def begun(texts: tuple[str, ...] = (), **changed: Any) -> Any:
            options = argparse.Namespace(**{"out": tmp_path, "steps": 3, "seeds": 2} | changed)
            return recipe("finished").Finished(options, apart=("seeds",), texts=texts)

        return begun

    def test_a_result_is_made_once(self, begun: Any) -> None:
        made = []

        def make() -> dict[str, float]:
            made.append(1)
            return {"value": 0.1 + 0.2}

        first = begun()
        assert first.result("a", make) == begun(seeds=5).result("a", make) == {"value": 0.1 + 0.2}
        assert len(made) == 1
        begun(steps=4).result("a", make)
        assert len(made) == 2

    def test_a_result_of_another_text_is_another(self, begun: Any) -> None:
        """The file of the text may have kept its name."""
        assert begun(("a", "b")).result("a", lambda: 1) == 1
        assert begun(("ab",)).result("a", lambda: 2) == 2
        assert begun(("ab",)).result("a", lambda: 3) == 2
        assert begun().result("a", lambda: 4) == 4

    @pytest.mark.parametrize("damaged", ['{"settings": {', "[]", "{}", "\xff"])
    def test_what_is_damaged_is_made_again(
        self, begun: Any, tmp_path: Path, damaged: str, capsys: Any
    ) -> None:
        begun().result("a", lambda: 1)
        path = tmp_path / "finished" / "a.json"
        path.write_bytes(damaged.encode("latin-1"))
        assert begun().result("a", lambda: 2) == 2
        assert f"{path} is damaged" in capsys.readouterr().err
        assert begun().result("a", lambda: 3) == 2

    def test_two_processes_write_apart(self, recipe: Any, tmp_path: Path, monkeypatch: Any) -> None:
        """Another that writes the same run takes nothing away."""
        module, path = recipe("finished"), tmp_path / "a.json"
        replace = Path.replace

        def overtaken(part: Path, target: Path) -> Path:
            monkeypatch.setattr(Path, "replace", replace)
            monkeypatch.setattr("os.getpid", lambda: 1)
            module.write(path, {"settings": {}, "result": "theirs"})
            return replace(part, target)

        monkeypatch.setattr(Path, "replace", overtaken)
        module.write(path, {"settings": {}, "result": "ours"})
        assert module.read(path)["result"] == "ours"
        assert list(tmp_path.iterdir()) == [path]

    def test_what_did_not_finish_is_not_there(self, begun: Any, tmp_path: Path) -> None:
        def make() -> Any:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            begun().result("a", make)
        assert begun().result("a", lambda: 1) == 1

    def test_it_says_what_is_old(self, begun: Any, capsys: Any) -> None:
        for old in (False, True):
            finished = begun()
            finished.result("a", lambda: 1)
            finished.tell(Console(width=200))
            assert ("1 found finished" in capsys.readouterr().out) == old


def test_an_interrupted_recipe_goes_on(tmp_path: Path) -> None:
    """Ctrl-C after the first critics: one line, and they are not trained again."""
    command = [sys.executable, str(RECIPES / "fgan_bounds.py"), "--tiny", "--steps", "20"]
    with subprocess.Popen(
        command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        folder = tmp_path / "build" / "fgan_bounds_tiny" / "finished"
        for _ in range(1200):
            if len(list(folder.glob("*.json"))) > 1:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.startswith("Interrupted; what has finished is kept")
    assert error.count("\n") == 1
    kept = {path: path.read_text() for path in folder.glob("*.json")}
    assert 1 < len(kept) < 11
    stamps = {path: path.stat().st_mtime_ns for path in kept}
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=300)
    assert f"{len(kept)} found finished" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == stamps
    results = json.loads((folder.parent / "bounds.json").read_text())["results"]
    assert len(results) == 11
    # One that was kept is one that would have been made.
    path = next(iter(kept))
    path.unlink()
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    assert path.read_text() == kept[path]
