"""What do the parts that train cost, beside what people train with today?

| section | what it prints |
| --- | --- |
| trpo | a step of TRPO on one batch, policy only: sb3-contrib's `TRPO.train`, `TrustRegion` twice |
| vae | an autoencoder's KL terms: the usual formula, and `gaussian_kl`, also with `FreeBits` |

All contenders of `trpo` get the same policy (two hidden layers of 64, tanh; a Gaussian for 11
observations and 3 torques, or 2 choices for 4 observations), batch, bound, damping, line search
and number of conjugate gradient iterations. sb3-contrib makes one product of the Fisher
information with a vector, F·v, more: it starts at a small random vector. Its KL of several torques
is their mean, not their sum, and so is ours here. The KL reached is what each measured itself, and
beside it the one in float64 of the same parameters. sb3-contrib takes damping for curvature of the
KL when it chooses the length of the step, and ends short of the bound; "kullback, damped" does so
too, `damped_length=True`, and takes the same step: that row is the one to hold against theirs.

`vae` is value and gradient in all parameters, in eager code and compiled: of the KL from N(0, 1),
from a learned prior, and of half a nat of free bits in each dimension. Then the largest relative
error in float32 against 50 digits where the posterior is all but N(0, 1).

Times are medians of repeats that take turns, so that whatever disturbs the machine disturbs all
alike: of CPU time with one thread, on the wall with more. A ratio above 1 means that kullback is
faster.

Run: python benchmarks/training.py [trpo vae] [--threads 1] [--repeats 25] [--states 2048]
     [--no-compile]
     trpo needs: pip install sb3-contrib
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any

import mpmath as mp
import numpy as np
import torch
import torch.distributions as td
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

import kullback
from kullback.training.trust_region import TrustRegion, policy_surrogate
from kullback.training.vae import FreeBits, gaussian_kl

SECTIONS = ("trpo", "vae")
MAX_KL, DAMPING, ITERATIONS = 0.01, 0.1, 10
BACKTRACKING, TRIALS = 0.8, 10
# Observations and actions; a Hopper has torques, a CartPole a choice.
POLICIES = {"3 torques": (11, 3, True), "2 choices": (4, 2, False)}
BATCHES = ((128, 32), (1024, 128))
# Whether the length of the step is measured with damping, as sb3-contrib's is.
OURS = {"kullback, damped": True, "kullback": False}


def take_turns(
    calls: dict[str, Callable[[], object]], repeats: int, before: Callable[[], object] | None = None
) -> dict[str, float]:
    """Median seconds of each call; of the CPU where there is one thread."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            if before is not None:
                before()
            start = clock()
            call()
            found[name].append(clock() - start)
    return {name: median(times) for name, times in found.items()}


def make_theirs(observations: int, actions: int, continuous: bool, states: int) -> Any:
    """sb3-contrib's TRPO with a full rollout buffer, of which every step sees the same batch."""
    import gymnasium as gym
    from sb3_contrib import TRPO  # type: ignore[import-not-found]
    from sb3_contrib.common.utils import (  # type: ignore[import-not-found]
        conjugate_gradient_solver,
    )
    from sb3_contrib.trpo import trpo  # type: ignore[import-not-found]
    from stable_baselines3.common.logger import Logger  # type: ignore[import-not-found]

    class Nowhere(gym.Env):
        """An environment for its shapes; nobody acts in it."""

        observation_space = gym.spaces.Box(-np.inf, np.inf, (observations,), np.float32)
        action_space = (
            gym.spaces.Box(-1, 1, (actions,), np.float32)
            if continuous
            else gym.spaces.Discrete(actions)
        )

    # All iterations: it would stop at a residual of 1e-5, whatever the gradient's size.
    trpo.conjugate_gradient_solver = partial(conjugate_gradient_solver, residual_tol=0)
    theirs = TRPO(
        "MlpPolicy",
        Nowhere(),
        n_steps=states,
        batch_size=states,
        cg_max_steps=ITERATIONS,
        cg_damping=DAMPING,
        line_search_shrinking_factor=BACKTRACKING,
        line_search_max_iter=TRIALS,
        n_critic_updates=0,
        target_kl=MAX_KL,
        policy_kwargs={"net_arch": [64, 64]},
        device="cpu",
        seed=0,
    )
    theirs.set_logger(Logger(None, []))
    fill(theirs)
    return theirs


def fill(theirs: Any) -> None:
    """One rollout of noise."""
    buffer, generator = theirs.rollout_buffer, np.random.default_rng(0)
    buffer.observations[:] = generator.standard_normal(buffer.observations.shape)
    buffer.advantages[:] = generator.standard_normal(buffer.advantages.shape)
    with torch.no_grad():
        seen = torch.from_numpy(buffer.observations[:, 0])
        chosen, values, log_probs = theirs.policy(seen)
    buffer.actions[:] = chosen.numpy().reshape(buffer.actions.shape)
    buffer.values[:] = values.numpy()
    buffer.log_probs[:] = log_probs.numpy()[:, None]
    buffer.returns = buffer.advantages + buffer.values
    buffer.full = True
    batch = next(buffer.get(None))
    buffer.get = lambda batch_size: iter([batch])


def make_ours(policy: Any, batch: Any, continuous: bool, damped_length: bool) -> Callable[[], Any]:
    """A step of the same policy; with `damped_length`, the same step."""
    parameters = [x for name, x in policy.named_parameters() if "value" not in name]
    region = TrustRegion(
        parameters,
        MAX_KL,
        damping=DAMPING,
        cg_iterations=ITERATIONS,
        cg_tolerance=0,
        backtracking=BACKTRACKING,
        line_search_steps=TRIALS,
        accept_ratio=0,
        damped_length=damped_length,
    )
    actions = batch.actions if continuous else batch.actions.long().flatten()

    def step() -> Any:
        with torch.no_grad():
            old = policy.get_distribution(batch.observations).distribution
        advantages = batch.advantages
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)

        def surrogate() -> Tensor:
            log_probs = policy.get_distribution(batch.observations).log_prob(actions)
            return policy_surrogate(log_probs, batch.old_log_prob, advantages)

        def kl() -> Tensor:
            new = policy.get_distribution(batch.observations).distribution
            return kullback.kl_divergence(new, old).mean()

        return region.step(surrogate, kl)

    return step


def kl_in_float64(old: Any, new: Any, observations: Tensor) -> float:
    """KL(new‖old), averaged as both do, of two policies whose parameters are float32."""
    sides = []
    for policy in (new, old):
        wide = copy.deepcopy(policy).double()
        with torch.no_grad():
            # Its own get_distribution would make the observations float32.
            hidden = wide.mlp_extractor.forward_actor(observations.double())
            sides.append(wide._get_action_dist_from_latent(hidden).distribution)
    return float(td.kl_divergence(*sides).mean())


@contextmanager
def counted(holder: Any, name: str) -> Iterator[list[int]]:
    """One entry, which rises by one at each call of that method."""
    count, method = [0], getattr(holder, name)

    def counting(*arguments: Any, **options: Any) -> Any:
        count[0] += 1
        return method(*arguments, **options)

    setattr(holder, name, counting)
    yield count
    delattr(holder, name)


def print_trpo(console: Console, name: str, repeats: int, states: int) -> None:
    observations, actions, continuous = POLICIES[name]
    theirs = make_theirs(observations, actions, continuous, states)
    batch = next(theirs.rollout_buffer.get(None))
    before = copy.deepcopy(theirs.policy)
    policies = {who: copy.deepcopy(before) for who in OURS}
    steps = {
        who: make_ours(policies[who], batch, continuous, damped) for who, damped in OURS.items()
    }

    def restore() -> None:
        for each in (theirs.policy, *policies.values()):
            each.load_state_dict(before.state_dict())

    with (
        counted(theirs, "hessian_vector_product") as products,
        counted(theirs.policy, "get_distribution") as calls,
    ):
        theirs.train()
    reached = float(theirs.logger.name_to_value["train/kl_divergence_loss"])
    rows = {
        # Before the trials it asks for the policy twice.
        "sb3-contrib": (products[0], calls[0] - 2, reached, theirs.policy),
    }
    for who, step in steps.items():
        found = step()
        rows[who] = (found.cg_iterations + 1, found.line_search_steps, found.kl, policies[who])
    truths = {
        who: kl_in_float64(before, after, batch.observations) for who, (*_, after) in rows.items()
    }
    times = take_turns({"sb3-contrib": theirs.train, **steps}, repeats, restore)
    table = Table(title=f"A step of TRPO, {name}, {states} states, max_kl {MAX_KL}")
    for heading in ("", "ms", "÷ damped", "F·v", "trials", "its KL", "in float64"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for who, (of_fisher, trials, kl, _) in rows.items():
        table.add_row(
            who,
            f"{1e3 * times[who]:.1f}",
            f"{times[who] / times['kullback, damped']:.2f}",
            f"{of_fisher}",
            f"{trials}",
            f"{kl:.8f}",
            f"{truths[who]:.8f}",
        )
    console.print(table)


def usual(mean: Tensor, log_variance: Tensor) -> Tensor:
    """−½ Σ (1 + log σ² − μ² − σ²), averaged over the samples."""
    each = 1 + log_variance - mean**2 - log_variance.exp()
    return (-0.5 * each.sum(-1)).mean()


def usual_of_prior(
    mean: Tensor, log_variance: Tensor, prior_mean: Tensor, prior_log_variance: Tensor
) -> Tensor:
    """½ Σ (log τ² − log σ² + (σ² + (μ − ν)²)/τ² − 1), averaged over the samples."""
    squares = log_variance.exp() + (mean - prior_mean) ** 2
    each = prior_log_variance - log_variance + squares / prior_log_variance.exp() - 1
    return (0.5 * each.sum(-1)).mean()


def usual_free_bits(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Σ max(½, the batch's mean KL of the dimension)."""
    each = -0.5 * (1 + log_variance - mean**2 - log_variance.exp())
    return each.mean(0).clamp(min=0.5).sum()


def free_bits(mean: Tensor, log_variance: Tensor) -> Tensor:
    return FreeBits(0.5)(gaussian_kl(mean, log_variance, reduction="none"))


KLS = {"usual formula": usual, "kullback": gaussian_kl}
# Term to how many tensors it takes, its usual formula and ours.
TERMS: dict[str, tuple[int, Callable[..., Tensor], Callable[..., Tensor]]] = {
    "KL from N(0, 1)": (2, usual, gaussian_kl),
    "from a learned prior": (4, usual_of_prior, gaussian_kl),
    "free bits": (2, usual_free_bits, free_bits),
}


def print_vae(console: Console, repeats: int, compiled: bool) -> None:
    table = Table(title="KL terms, value and gradient; µs", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("term", "", "batch", "usual", "kullback", "usual ÷ kullback"):
        right = heading not in ("term", "")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for how in ("eager", "compiled") if compiled else ("eager",):
        for term, (inputs, *contenders) in TERMS.items():
            for shape in BATCHES:
                one, other = (1e6 * x for x in times_of(contenders, inputs, shape, how, repeats))
                batch = f"{shape[0]} × {shape[1]}"
                numbers = f"{one:.0f}", f"{other:.0f}", f"{one / other:.2f}"
                table.add_row(term, how, batch, *numbers)
    console.print(table)


def times_of(
    contenders: Sequence[Callable[..., Tensor]],
    inputs: int,
    shape: tuple[int, int],
    how: str,
    repeats: int,
) -> list[float]:
    """Median seconds of each one's value and gradient, which are to be the same."""
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.randn(*shape, generator=generator).requires_grad_() for _ in range(inputs)]
    calls: dict[str, Callable[[], object]] = {}
    found = []
    for place, kl in enumerate(contenders):
        chosen = torch.compile(kl, dynamic=False) if how == "compiled" else kl
        calls[str(place)] = lambda f=chosen: torch.autograd.grad(f(*leaves), leaves)
        found.append(calls[str(place)]())
    # Sums of some thousand terms in float32, in orders of their own.
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)
    return list(take_turns(calls, 20 * repeats).values())


@mp.workdps(50)
def true_kl(mean: float, log_variance: float) -> Any:
    mean, log_variance = mp.mpf(mean), mp.mpf(log_variance)
    return (mp.expm1(log_variance) - log_variance + mean**2) / 2


def print_vae_accuracy(console: Console) -> None:
    table = Table(title="Largest relative error in float32, one dimension")
    for heading in ("log σ² and μ about", *KLS):
        table.add_column(heading, justify="right")
    generator = torch.Generator().manual_seed(0)
    for size in (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6):
        mean, v = (size * torch.randn(500, 1, generator=generator) for _ in range(2))
        rows = list(zip(mean[:, 0].tolist(), v[:, 0].tolist(), strict=True))
        errors = []
        for kl in KLS.values():
            found = [float(kl(m[None], w[None])) for m, w in zip(mean, v, strict=True)]
            truths = [true_kl(*row) for row in rows]
            errors.append(max(abs(x / t - 1) for x, t in zip(found, truths, strict=True)))
        table.add_row(f"{size:g}", *(f"{float(error):.0e}" for error in errors))
    console.print(table)


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    number = partial(parser.add_argument, type=count)
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"{' and '.join(SECTIONS)} (both)"
    )
    number("--threads", default=1, help="of torch (%(default)s)")
    number("--repeats", default=25, help="of each step; of a KL term 20 times that (%(default)s)")
    number("--states", default=2048, help="in a batch of trpo (%(default)s)")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    chosen = parser.parse_args()
    for section in chosen.sections:
        if section not in SECTIONS:
            parser.error(f"there is no section {section!r}: choose from {', '.join(SECTIONS)}")
    torch.set_num_threads(chosen.threads)
    # sb3-contrib averages no value losses, and says so at each step.
    warnings.filterwarnings("ignore", category=RuntimeWarning, message="Mean of empty slice")
    warnings.filterwarnings("ignore", category=RuntimeWarning, message="invalid value")
    warnings.filterwarnings("ignore", module="torch")
    console = Console()
    sections = chosen.sections or SECTIONS
    console.print(f"torch {torch.__version__}, threads {chosen.threads}, float32")
    if "trpo" in sections:
        try:
            import sb3_contrib  # type: ignore[import-not-found]
        except ImportError:
            raise SystemExit("trpo needs sb3-contrib: pip install sb3-contrib") from None
        console.print(f"sb3-contrib {sb3_contrib.__version__}")
        for name in POLICIES:
            print_trpo(console, name, chosen.repeats, chosen.states)
    if "vae" in sections:
        print_vae(console, chosen.repeats, not chosen.no_compile)
        print_vae_accuracy(console)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("Interrupted; the tables above are whole.") from None
