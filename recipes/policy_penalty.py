"""A small language model is paid for the letter e: which KL penalties hold it to its reference?

The reference is a recurrent model of characters that learned English from the Debian Reference.
The policy starts as a copy, continues prompts of another book, and learns by REINFORCE to write
the letter e, one point each, while a penalty β·KL(π‖ref) holds it. All penalties see the same
loop, and each has its own idea of that KL and of its gradient; what the KL really is, is measured
over the whole alphabet at every character of fresh continuations. First β is fixed: there the
best policy is known, π* ∝ ref·exp(reward/β). Then AdaptiveKL moves β, by what the estimator
believes, to reach a target.

Run: python recipes/policy_penalty.py [--seeds 3] [--out build/policy_penalty] [--tiny]
     (--tiny has build/policy_penalty_tiny of its own)
It needs pip install "kullback[recipes]" and takes about 8 minutes on one idle core;
--tiny takes few steps on short texts, to see that everything works. Finished policies are kept:
the same command goes on with the others.
"""

from __future__ import annotations

import argparse
import copy
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from characters import ALPHABET, CharacterModel, decoded, encoded, trained, windows, written
from command_line import count, existing_file, parsed, positive, until_interrupted
from english import chapters
from finished import Finished
from kullback.training.policy import AdaptiveKL, policy_kl, policy_kl_from_logits, sequence_kl
from policy_penalty_optimum import means, optimum
from policy_penalty_report import PENALTIES, report, write

HANDBOOK = sorted((Path(__file__).parents[1] / "data" / "handbook").glob("*.txt"))
PROMPT = 8


def main() -> None:
    options = asked()
    console = Console()

    torch.manual_seed(0)
    texts = [path.read_text("utf-8") for path in options.train] if options.train else chapters()
    book = encoded([path.read_text("utf-8") for path in HANDBOOK])
    reference = trained(encoded(texts), options.reference_steps, width=128)
    prompts = windows(book, 32 if options.tiny else 128, PROMPT)
    given = Texts(book, prompts)
    draws = 256 if options.tiny else 2048
    best = optimum(reference, prompts, options.coefficient, options.length, draws)
    console.print(example("The reference", reference, prompts, options.length))

    runs: list[dict[str, Any]] = []
    finished = Finished(options, apart=("penalties", "seeds"), texts=texts)
    for seed in range(options.seeds):
        for adaptive in (False, True):
            for name in options.penalties:
                if adaptive and name == "none":
                    continue
                make = partial(taught, reference, given, (name, adaptive), seed, options)
                title = f"{name}_{'adaptive' if adaptive else 'fixed'}_{seed}"
                runs.append(finished.result(title, make))
            write(runs, best, options)
    report(console, runs, best, options)
    console.print(f"Curves: {options.out / 'curves.json'}, {options.out / 'curves.svg'}")
    finished.tell(console)


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add, number = parser.add_argument, partial(parser.add_argument, type=count)
    add("--penalties", nargs="+", choices=PENALTIES, default=list(PENALTIES), help="which (all)")
    add("--coefficient", type=positive, default=0.6, help="β, where it is fixed (%(default)s)")
    add("--target", type=positive, default=4.0, help="nats a continuation (%(default)s)")
    number("--steps", default=100, help="of each policy (%(default)s)")
    number("--batch", default=128, help="continuations a step, 2 or more (%(default)s)")
    number("--length", default=24, help="characters of a continuation (%(default)s)")
    add("--learning-rate", type=positive, default=1e-3, help="Adam's (%(default)s)")
    number("--reference-steps", default=1200, help="of the reference (%(default)s)")
    number("--fresh", default=4, help="continuations of each prompt that measures (%(default)s)")
    number("--measurements", default=10, help="of each policy (%(default)s)")
    add("--train", nargs="+", type=existing_file, help="text files (the Debian Reference)")
    number("--seeds", default=3, help="policies of each penalty, seeds 0, 1, … (%(default)s)")
    add("--out", type=Path, default=Path("build/policy_penalty"), help="folder (%(default)s)")
    add(
        "--tiny",
        action="store_true",
        help="few prompts; and unless given: short texts and few steps, one seed, "
        "in build/policy_penalty_tiny",
    )
    tiny = {"steps": 40, "length": 6, "learning_rate": 2e-3, "reference_steps": 60}
    tiny |= {"measurements": 4, "train": HANDBOOK, "seeds": 1}
    # A tiny run must not overwrite what the full one has found.
    options = parsed(parser, tiny | {"out": Path("build/policy_penalty_tiny")})
    if options.batch < 2:
        parser.error(
            f"--batch {options.batch}: the baseline is the mean of the others, so 2 or more"
        )
    return options


@dataclass
class Rollout:
    """Continuations that the policy wrote, [batch, length] each, logits with the alphabet last."""

    tokens: Tensor
    logits: Tensor
    reference_logits: Tensor

    @property
    def rewards(self) -> Tensor:
        """1 for every e, where it stands."""
        return (self.tokens == ALPHABET.index("e")).float()

    def of_tokens(self, logits: Tensor) -> Tensor:
        """The log-probability of each character written."""
        return logits.log_softmax(-1).gather(-1, self.tokens[..., None])[..., 0]


def roll_out(
    policy: CharacterModel, reference: CharacterModel, prompts: Tensor, length: int
) -> Rollout:
    return read(policy, reference, prompts, written(policy, prompts, length))


def read(
    policy: CharacterModel, reference: CharacterModel, prompts: Tensor, tokens: Tensor
) -> Rollout:
    """What both say of these continuations, differentiable in the policy."""
    text = torch.cat([prompts, tokens], 1)[:, :-1]
    logits, reference_logits = (side(text)[0][:, PROMPT - 1 :] for side in (policy, reference))
    return Rollout(tokens, logits, reference_logits)


# Value and gradient of each penalty that sees only the characters written.
ESTIMATORS = {
    "none": ("k1", "exact"),
    "reward": ("k1", "exact"),
    "exact": ("k1", "exact"),
    "k1": ("k1", "k1"),
    "k2": ("k2", "k2"),
    "k3": ("k3", "k3"),
}


def token_kl(name: str, rollout: Rollout) -> Tensor:
    """[batch, length], the KL at each character as the penalty has it."""
    if name not in ESTIMATORS:
        return policy_kl_from_logits(rollout.logits, rollout.reference_logits, reduction="none")
    value, gradient = ESTIMATORS[name]
    return policy_kl(
        rollout.of_tokens(rollout.logits),
        rollout.of_tokens(rollout.reference_logits),
        value=value,
        gradient=gradient,
        reduction="none",
    )


def loss_of(name: str, rollout: Rollout, coefficient: float) -> tuple[Tensor, float]:
    """REINFORCE with the penalty, and the KL of a continuation as the penalty believes it."""
    log_probs = rollout.of_tokens(rollout.logits)
    kl, rewards = token_kl(name, rollout), rollout.rewards
    if name == "reward":
        rewards = rewards - coefficient * kl.detach()
    # A character has no say in the rewards before it.
    to_come = from_here(rewards)
    loss = -((to_come - of_others(to_come)) * log_probs).sum(-1).mean()
    if name == "sequence":
        later = from_here(kl.detach()) - kl.detach()
        penalty = sequence_kl(kl, log_probs, baseline=of_others(later))
    else:
        penalty = kl.sum(-1).mean()
    if name not in ("none", "reward"):
        loss = loss + coefficient * penalty
    return loss, float(penalty.detach())


def from_here(x: Tensor) -> Tensor:
    """At each character, the sum of it and all that follow."""
    return x.flip(-1).cumsum(-1).flip(-1)


def of_others(x: Tensor) -> Tensor:
    """The mean over all other continuations: a baseline that leaves no bias."""
    return (x.sum(0) - x) / (len(x) - 1)


@dataclass
class Texts:
    """The book whose pieces teach, and the prompts that measure."""

    book: Tensor
    prompts: Tensor


def taught(
    reference: CharacterModel, given: Texts, rule: tuple[str, bool], seed: int, options: Any
) -> dict[str, Any]:
    """One policy from its first step to its last, and a line that it writes."""
    name, adaptive = rule
    torch.manual_seed(seed)
    policy = copy.deepcopy(reference).requires_grad_(True)
    curve = list(learn(policy, reference, given, rule, options))
    line = example(PENALTIES[name].label, policy, given.prompts, options.length)
    return {"penalty": name, "adaptive": adaptive, "seed": seed, "curve": curve, "example": line}


def learn(
    policy: CharacterModel,
    reference: CharacterModel,
    given: Texts,
    rule: tuple[str, bool],
    options: Any,
) -> Any:
    """Yields a measurement whenever one is due, the first before anything is learned.

    The rule is the penalty's name, and whether β adapts.
    """
    name, adaptive = rule
    controller = AdaptiveKL(options.coefficient, options.target, horizon=15 * options.batch)
    optimizer = torch.optim.Adam(policy.parameters(), lr=options.learning_rate)
    every = max(1, options.steps // options.measurements)
    believed: list[float] = []
    yield {"step": 0, "coefficient": controller.coefficient, "believed": 0.0} | measure(
        policy, reference, given.prompts, options
    )
    with Progress() as progress:
        title = f"{PENALTIES[name].label}, {'adaptive' if adaptive else 'fixed'} β"
        bar = progress.add_task(title, total=options.steps)
        for step in range(1, options.steps + 1):
            contexts = windows(given.book, options.batch, PROMPT)
            rollout = roll_out(policy, reference, contexts, options.length)
            loss, kl = loss_of(name, rollout, controller.coefficient)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if adaptive:
                controller = controller.step(kl, samples=options.batch)
            believed.append(kl)
            progress.update(bar, advance=1, description=f"{title}, KL {kl:.2f}")
            if step % every == 0:
                recent = sum(believed[-every:]) / every
                found = {"step": step, "coefficient": controller.coefficient, "believed": recent}
                yield found | measure(policy, reference, given.prompts, options)


@torch.no_grad()
def measure(
    policy: CharacterModel, reference: CharacterModel, prompts: Tensor, options: Any
) -> dict[str, float]:
    """KL(π‖ref) of a continuation and its reward, with standard errors, from fresh ones.

    The KL at each character is a sum over the alphabet: only the contexts are drawn, and with the
    same numbers for all, apart from those that teach.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(10_000)
        repeated = prompts.repeat(options.fresh, 1)
        rollout = roll_out(policy, reference, repeated, options.length)
    kl = policy_kl_from_logits(rollout.logits, rollout.reference_logits, reduction="none")
    return means({"kl": kl.sum(-1), "reward": rollout.rewards.sum(-1)})


def example(title: str, model: CharacterModel, prompts: Tensor, length: int) -> str:
    prompt = prompts[:1]
    return f"{title}: {decoded(prompt[0])}|{decoded(written(model, prompt, length)[0])}"


if __name__ == "__main__":
    until_interrupted(main)
