"""Exact divergences of distributions beside their peers: how many pairs, how right, how fast?

| section | what it prints |
| --- | --- |
| coverage | what answers each of 41×41 pairs of classes; what torch answers, right or wrong |
| speed | one call of KL(P‖Q), against torch and torch's formula under `torch.compile` |
| vae | a [128, 64] Normal batch made and compared with N(0, 1), forward and backward |
| calibration | the tables of quadrature_calibration.py and monte_carlo_coverage.py |

Coverage also counts the registries of NumPyro and TensorFlow Probability, where they are
installed. Speed is forward, from distributions that are already made (compiled code makes them,
which costs it nothing), for batches of 1, 8,192 and a million or what fits; a peak of memory
stands beside the largest.

Times are medians of repeats that take turns, so that whatever disturbs the machine disturbs all
alike: of CPU time with one thread, on the wall with more. A ratio above 1 means that kullback is
faster. Parameters are float32. Memory is the growth of the resident peak over one call, which needs
Linux.

Run: python benchmarks/distributions.py [coverage speed vae calibration] [--threads 1]
     [--repeats 15] [--largest 1000000] [--no-compile] [--pairs 1000] [--seeds 500]
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import math
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributions as td
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.distributions import Distribution

import kullback
from kl_from_logits import peak_and_resident
from kullback.distributions import coverage
from kullback.distributions.examples import CLASSES, examples

SECTIONS = ("coverage", "speed", "vae", "calibration")
BATCHES = (1, 8192, 1_000_000)
HERE = Path(__file__).parent

Make = Callable[..., Distribution]


def rand(generator: torch.Generator, *shape: int) -> Tensor:
    return 0.5 + torch.rand(shape, generator=generator)


def covariance(generator: torch.Generator, batch: int, size: int) -> Tensor:
    mixing = torch.randn(batch, size, size, generator=generator)
    return torch.linalg.cholesky(mixing @ mixing.mT + torch.eye(size))


# A maker, and the parameters of one side for a batch; the last number shrinks the largest batch.
FAMILIES: dict[str, tuple[Make, Callable[[torch.Generator, int], list[Tensor]], int]] = {
    "Normal": (td.Normal, lambda g, n: [torch.randn(n, generator=g), rand(g, n)], 1),
    "Laplace": (td.Laplace, lambda g, n: [torch.randn(n, generator=g), rand(g, n)], 1),
    "Exponential": (td.Exponential, lambda g, n: [rand(g, n)], 1),
    "Gamma": (td.Gamma, lambda g, n: [rand(g, n), rand(g, n)], 1),
    "Beta": (td.Beta, lambda g, n: [rand(g, n), rand(g, n)], 1),
    "Poisson": (td.Poisson, lambda g, n: [rand(g, n)], 1),
    "Bernoulli": (
        lambda logits, **k: td.Bernoulli(logits=logits, **k),
        lambda g, n: [torch.randn(n, generator=g)],
        1,
    ),
    "Categorical [10]": (
        lambda logits, **k: td.Categorical(logits=logits, **k),
        lambda g, n: [torch.randn(n, 10, generator=g)],
        10,
    ),
    "Dirichlet [10]": (td.Dirichlet, lambda g, n: [rand(g, n, 10)], 10),
    "MVN [8]": (
        lambda loc, factor, **k: td.MultivariateNormal(loc, scale_tril=factor, **k),
        lambda g, n: [torch.randn(n, 8, generator=g), covariance(g, n, 8)],
        100,
    ),
}


def print_coverage(console: Console) -> None:
    console.print(coverage())
    torch_table = Table(title="torch.distributions.kl_divergence on the same pairs")
    for heading in ("it answers", "pairs", "such as"):
        torch_table.add_column(heading, justify="right" if heading == "pairs" else "left")
    counts: Counter[str] = Counter()
    shown: dict[str, list[str]] = {}
    for kind_p in CLASSES:
        for kind_q in CLASSES:
            verdict = torch_on(kind_p, kind_q)
            counts[verdict] += 1
            shown.setdefault(verdict, []).append(f"{kind_p.__name__}‖{kind_q.__name__}")
    for verdict, count in counts.most_common():
        wrong = ", ".join(shown[verdict][:6]) if "wrong" in verdict else ""
        torch_table.add_row(verdict, f"{count:,}", wrong)
    console.print(torch_table)
    for name, registry in (("numpyro", numpyro_pairs), ("tensorflow_probability", tfp_pairs)):
        if importlib.util.find_spec(name) is None:
            console.print(f"{name} is not installed: its registry is not counted.")
        else:
            console.print(f"{name} registers KL for {registry():,} pairs of classes.")


def torch_on(kind_p: type[Distribution], kind_q: type[Distribution]) -> str:
    """What torch says about all examples whose events have one shape; wrong if it is for one."""
    found: list[tuple[float, float]] = []
    for of_p in examples(kind_p):
        for of_q in examples(kind_q):
            if of_p.p.event_shape != of_q.q.event_shape:
                continue
            try:
                value = float(td.kl_divergence(of_p.p, of_q.q).detach())
            except NotImplementedError:
                if not found:
                    return "nothing (raises)"
                continue
            found.append((value, float(kullback.estimate(of_p.p, of_q.q))))
    if not found:
        return "events of different kinds"
    if not all(v == t or math.isclose(v, t, rel_tol=1e-4) for v, t in found):
        return "wrong for an example"
    return "inf, right" if math.isinf(found[0][0]) else "finite, right"


def numpyro_pairs() -> int:
    from numpyro.distributions import kl_divergence  # type: ignore[import-not-found]

    return len(kl_divergence.registry)


def tfp_pairs() -> int:
    from tensorflow_probability.python.distributions import (  # type: ignore[import-not-found]
        kullback_leibler,
    )

    return len(kullback_leibler._DIVERGENCES)


def interleaved(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds a call, the contenders taking turns; of the CPU where there is one thread."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    rounds = {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        call()
        rounds[name] = max(1, int(0.02 / max(time.perf_counter() - start, 1e-7)))
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = clock()
            for _ in range(rounds[name]):
                call()
            found[name].append((clock() - start) / rounds[name])
    return {name: median(times) for name, times in found.items()}


def peak_growth(call: Callable[[], object]) -> int:
    # Freed memory that the allocator kept would hide what a call takes.
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    _, resident = peak_and_resident()
    result = call()
    peak, _ = peak_and_resident()
    del result
    return peak - resident


def contenders(name: str, batch: int, compiled: bool) -> dict[str, Callable[[], object]]:
    make, parameters, _ = FAMILIES[name]
    generator = torch.Generator().manual_seed(0)
    of_p, of_q = parameters(generator, batch), parameters(generator, batch)
    p, q = make(*of_p), make(*of_q)

    def compiled_with(divergence: Any) -> Callable[[], object] | None:
        def formula(*both: Tensor) -> Tensor:
            half = len(both) // 2
            first, second = both[:half], both[half:]
            return divergence(make(*first, validate_args=False), make(*second, validate_args=False))

        torch._dynamo.reset()
        fast = torch.compile(formula, dynamic=False)
        try:
            fast(*of_p, *of_q)
        except Exception as error:  # whatever a contender raises is its result
            print(f"torch.compile of {divergence.__module__} on {name}: {type(error).__name__}")
            return None
        return lambda: fast(*of_p, *of_q)

    calls: dict[str, Callable[[], object]] = {
        "kullback": lambda: kullback.kl_divergence(p, q),
        "torch": lambda: td.kl_divergence(p, q),
    }
    if compiled:
        for which, divergence in (
            ("kullback compiled", kullback.kl_divergence),
            ("torch compiled", td.kl_divergence),
        ):
            fast = compiled_with(divergence)
            if fast is not None:
                calls[which] = fast
    return calls


def print_speed(console: Console, repeats: int, largest: int, compiled: bool) -> None:
    table = Table(title="KL(P‖Q) of two batches, forward, µs")
    names = ["kullback", "torch", "kullback compiled", "torch compiled"]
    for heading in ["family", "batch", *names, "torch ÷ kullback", "MB", "torch's MB"]:
        left = heading == "family"
        table.add_column(heading, justify="left" if left else "right", no_wrap=left)
    for name, (_, _, shrink) in FAMILIES.items():
        for batch in BATCHES:
            count = batch if batch <= 8192 else largest // shrink
            calls = contenders(name, count, compiled)
            with torch.no_grad():
                times = interleaved(calls, repeats)
                memory = ["", ""]
                if batch > 8192:
                    memory = [
                        f"{peak_growth(calls[who]) / 1e6:.0f}" for who in ("kullback", "torch")
                    ]
            cells = [f"{1e6 * times[who]:,.0f}" if who in times else "–" for who in names]
            ratio = f"{times['torch'] / times['kullback']:.2f}"
            table.add_row(name, f"{count:,}", *cells, ratio, *memory)
    console.print(table)


def print_vae(console: Console, repeats: int) -> None:
    """What every step of a variational autoencoder asks."""
    generator = torch.Generator().manual_seed(0)
    loc, scale = torch.randn(128, 64, generator=generator), rand(generator, 128, 64)
    table = Table(title="A [128, 64] Normal batch, made and compared with N(0, 1); µs")
    for heading in ("", "kullback", "torch", "torch ÷ kullback"):
        table.add_column(heading, justify="right" if heading else "left")

    def forward(divergence: Any) -> Callable[[], object]:
        return lambda: divergence(td.Normal(loc, scale), td.Normal(0.0, 1.0))

    leaves = [x.clone().requires_grad_() for x in (loc, scale)]

    def recorded(divergence: Any) -> Callable[[], object]:
        return lambda: divergence(td.Normal(*leaves), td.Normal(0.0, 1.0))

    def backward(divergence: Any) -> Callable[[], object]:
        call = recorded(divergence)
        return lambda: torch.autograd.grad(call().sum(), leaves)  # type: ignore[attr-defined]

    p, q = td.Normal(loc, scale), td.Normal(0.0, 1.0)
    cases = {
        "made and evaluated": forward,
        "evaluated only": lambda divergence: lambda: divergence(p, q),
        "made and evaluated, recorded for backward": recorded,
        "with backward into both parameters": backward,
    }
    for name, case in cases.items():
        calls = {"kullback": case(kullback.kl_divergence), "torch": case(td.kl_divergence)}
        times = interleaved(calls, 3 * repeats)
        ours, theirs = times["kullback"], times["torch"]
        table.add_row(name, f"{1e6 * ours:.1f}", f"{1e6 * theirs:.1f}", f"{theirs / ours:.2f}")
    console.print(table)


def print_calibration(console: Console, pairs: int, seeds: int) -> None:
    for script, options in (
        ("quadrature_calibration.py", ["--pairs", str(pairs)]),
        ("monte_carlo_coverage.py", ["--seeds", str(seeds)]),
    ):
        if not (HERE / script).exists():
            console.print(f"{script} is not there.")
            continue
        console.rule(f"{script} {' '.join(options)}")
        subprocess.run([sys.executable, str(HERE / script), *options], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], default=[])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--largest", type=int, default=BATCHES[-1], help="the largest batch")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--pairs", type=int, default=1000, help="of the quadrature's calibration")
    parser.add_argument("--seeds", type=int, default=500, help="of the Monte Carlo coverage")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    warnings.filterwarnings("ignore", module="torch")
    console = Console()
    sections = chosen.sections or SECTIONS
    console.print(f"torch {torch.__version__}, threads {chosen.threads}, float32")
    if "coverage" in sections:
        print_coverage(console)
    if "vae" in sections:
        print_vae(console, chosen.repeats)
    if "speed" in sections:
        print_speed(console, chosen.repeats, chosen.largest, not chosen.no_compile)
    if "calibration" in sections:
        print_calibration(console, chosen.pairs, chosen.seeds)


if __name__ == "__main__":
    main()
