"""How many digits of KL(p‖q) survive in float32, as p and q come close, against mpmath?

Logits are 3·N(0, 1) + 2, and q's are p's plus noise of falling size. The truth takes the float32
logits as the exact numbers they are, in 40 digits. Beside ours stand the usual computation in
PyTorch and the formula of the tutorials.

Run: python benchmarks/accuracy.py [--events 4096 151936]
"""

from __future__ import annotations

import argparse

import mpmath as mp
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

import kullback as kl

NOISE = [1.0, 1e-1, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 4.5e-5]


def truth(p: Tensor, q: Tensor) -> mp.mpf:
    mp.mp.dps = 40
    rows = []
    for row in (p.tolist(), q.tolist()):
        weights = [mp.exp(mp.mpf(x)) for x in row]
        log_total = mp.log(mp.fsum(weights))
        rows.append([mp.mpf(x) - log_total for x in row])
    return mp.fsum(mp.exp(a) * (a - b) for a, b in zip(*rows, strict=True))


def usual(p: Tensor, q: Tensor) -> Tensor:
    log_p, log_q = F.log_softmax(p, -1), F.log_softmax(q, -1)
    return F.kl_div(log_q, log_p, log_target=True, reduction="sum")


def tutorial(p: Tensor, q: Tensor) -> Tensor:
    p, q = p.softmax(-1), q.softmax(-1)
    return (p * torch.log(p / q)).sum(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[4096, 151_936])
    arguments = parser.parse_args()
    contenders = {
        "kullback": lambda p, q: kl.kl_divergence(p, q, space="logits"),
        "F.kl_div": usual,
        "tutorial": tutorial,
    }
    for events in arguments.events:
        table = Table(title=f"relative error, float32, {events:,} events")
        table.add_column("KL", justify="right")
        for name in contenders:
            table.add_column(name, justify="right")
        generator = torch.Generator().manual_seed(0)
        for noise in NOISE:
            p = 3 * torch.randn(events, generator=generator) + 2
            q = p + noise * torch.randn(events, generator=generator)
            exact = truth(p, q)
            errors = [
                float(mp.mpf(value(p, q).item()) / exact - 1) for value in contenders.values()
            ]
            table.add_row(f"{float(exact):.2e}", *(f"{error:+.1e}" for error in errors))
        Console().print(table)


if __name__ == "__main__":
    main()
