"""A small language model is paid for the letter e: which KL penalties hold it to its reference?

The reference is a recurrent model of characters that learned English from the Debian Reference.
The policy starts as a copy, continues prompts of another book, and learns by REINFORCE to write
the letter e, one point each, while a penalty β·KL(π‖ref) holds it. All penalties see the same
loop, and each has its own idea of that KL and of its gradient; what the KL really is, is measured
over the whole alphabet at every character of fresh continuations. First β is fixed: there the
best policy is known, π* ∝ ref·exp(reward/β). Then AdaptiveKL moves β, by what the estimator
believes, to reach a target.

Run: python recipes/policy_penalty.py [--seeds 0 1 2] [--out build/policy_penalty] [--tiny]
     (--tiny has build/policy_penalty_tiny of its own)
It needs pip install "kullback[recipes]" and takes about 8 minutes on one idle core;
--tiny takes few steps on short texts, to see that everything works.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from characters import ALPHABET, CharacterModel, decoded, encoded, trained, windows, written
from english import chapters
from kullback.training.policy import AdaptiveKL, policy_kl, policy_kl_from_logits, sequence_kl
from policy_penalty_report import PENALTIES, report, write

HANDBOOK = sorted((Path(__file__).parents[1] / "data" / "handbook").glob("*.txt"))
PROMPT = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--penalties", nargs="+", choices=PENALTIES, default=list(PENALTIES))
    parser.add_argument("--coefficient", type=float, default=0.6, help="β, where it is fixed")
    parser.add_argument("--target", type=float, default=4.0, help="nats a continuation")
    parser.add_argument("--steps", type=int, default=100, help="of each policy")
    parser.add_argument("--batch", type=int, default=128, help="continuations a step")
    parser.add_argument("--length", type=int, default=24, help="characters of a continuation")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--reference-steps", type=int, default=1200)
    parser.add_argument(
        "--fresh", type=int, default=4, help="continuations of each prompt that measures"
    )
    parser.add_argument("--measurements", type=int, default=10, help="of each policy")
    parser.add_argument("--train", nargs="+", type=Path, help="text files; the Debian Reference")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--tiny", action="store_true", help="short texts, few steps, one seed")
    options = parser.parse_args()
    if options.batch < 2:
        parser.error(
            f"--batch {options.batch}: the baseline is the mean of the others, so 2 or more"
        )
    # A tiny run must not overwrite what the full one has found.
    default = Path("build/policy_penalty_tiny" if options.tiny else "build/policy_penalty")
    options.out = options.out or default
    if options.tiny:
        options.steps, options.length, options.learning_rate = 40, 6, 2e-3
        options.reference_steps, options.measurements, options.train = 60, 4, HANDBOOK
        options.seeds = options.seeds[:1]
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
    for seed in options.seeds:
        for adaptive in (False, True):
            for name in options.penalties:
                if adaptive and name == "none":
                    continue
                runs.append({"penalty": name, "adaptive": adaptive, "seed": seed, "curve": []})
                torch.manual_seed(seed)
                policy = copy.deepcopy(reference).requires_grad_(True)
                for point in learn(policy, reference, given, (name, adaptive), options):
                    runs[-1]["curve"].append(point)
                runs[-1]["example"] = example(
                    PENALTIES[name].label, policy, prompts, options.length
                )
            write(runs, best, options)
    report(console, runs, best, options)
    console.print(f"Curves: {options.out / 'curves.json'}, {options.out / 'curves.svg'}")


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


@torch.no_grad()
def optimum(
    reference: CharacterModel, prompts: Tensor, coefficient: float, length: int, draws: int
) -> dict[str, float]:
    """What the best policy has: π* ∝ ref·exp(reward/β) after each prompt, by weighing ref's own.

    No policy has more of "value", reward/β − KL(π‖ref), and what one lacks is its KL(π‖π*).
    The logarithm of a mean is low by about a half over the effective draws, (Σw)²/Σw². "halves" is
    the value from half the draws, low by twice as much: half to all is about what all still lacks.
    """
    kls, rewards, values, halves, effective = [], [], [], [], []
    for prompt in prompts:
        tokens = written(reference, prompt.expand(draws, PROMPT), length)
        reward = (tokens == ALPHABET.index("e")).double().sum(-1)
        weights = (reward / coefficient).softmax(-1)
        values.append(log_mean_exp(reward / coefficient))
        two = (reward / coefficient).chunk(2)
        halves.append(torch.stack([log_mean_exp(half) for half in two]).mean())
        effective.append(1 / weights.square().sum())
        rewards.append((weights * reward).sum())
        kls.append(rewards[-1] / coefficient - values[-1])
    found = {"kl": kls, "reward": rewards, "value": values, "halves": halves}
    found["effective_draws"] = effective
    return means({name: torch.stack(x) for name, x in found.items()})


def log_mean_exp(x: Tensor) -> Tensor:
    return x.logsumexp(-1) - math.log(len(x))


def means(found: dict[str, Tensor]) -> dict[str, float]:
    """And their standard errors."""
    return {key: float(x.mean()) for key, x in found.items()} | {
        f"{key}_error": float(x.std()) / math.sqrt(len(x)) for key, x in found.items()
    }


def example(title: str, model: CharacterModel, prompts: Tensor, length: int) -> str:
    prompt = prompts[:1]
    return f"{title}: {decoded(prompt[0])}|{decoded(written(model, prompt, length)[0])}"


if __name__ == "__main__":
    main()
