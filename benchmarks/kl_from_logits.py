"""How long does KL(p‖q) of two matrices of logits take, and how much memory, against its peers?

| contender | what it is |
| --- | --- |
| eager | `F.kl_div(log_softmax(q), log_softmax(p), log_target=True)`, summed over each row |
| tutorial | `(p * log(p / q)).sum(1)` on the softmaxes |
| compiled | eager under `torch.compile` |
| kullback | `kullback.kl_divergence(p, q, space="logits")` |
| in place | the same with `overwrite_q=True`: the gradient overwrites the logits |

Every contender lives in a process of its own and is asked for one repeat after the other in
turn, so that whatever disturbs the machine disturbs all alike; medians are compared. The
gradient is taken with respect to q alone, as in distillation. Memory is the growth of the
resident peak over a call (VmHWM, so this needs Linux) in units of one [N, V] tensor of the
dtype: everything but p and q themselves.

The limit beside the times is the bytes that must move over the copy bandwidth measured in the
same run: forward reads p and q; forward and backward read them twice, for a row does not stay in
cache in between, and write one gradient.

What THP_MEM_ALLOC_ENABLE=1 does (it makes torch ask Linux for huge pages; `--thp` measures it).
Fresh memory comes in pages that the kernel clears and maps at first touch, 4 KiB at a time by
default, which costs more than the arithmetic. In float32 at [512, 151936], one thread:
- eager, with five fresh tensors a call, becomes 3.3 times as fast, forward and with backward;
- the tutorial formula 3.3 times forward; with backward 1.1 to 2.1, its arithmetic remaining;
- torch.compile's forward has no fresh memory and stays; with backward it gains 1.4 times;
- kullback's forward and its in-place backward take no fresh memory and stay; the gradient of
  its ordinary backward is on huge pages whether or not the variable is set;
- on a virtual machine whose host takes idle memory back, the first touch of a huge page may wait
  for the host: kullback's ordinary backward has then been seen to take 450 ms in place of 85.
So with the variable set the ratios to eager are about 8 forward, and 3 to 5 with backward.

Run: python benchmarks/kl_from_logits.py [--threads 1] [--repeats 7] [--rows 256] [--thp]
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import os
import time
from collections.abc import Callable
from itertools import product
from multiprocessing.connection import Connection
from statistics import median
from typing import NamedTuple

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

SHAPES = [(2048, 32_000), (512, 151_936)]
DTYPES = ["float32", "bfloat16"]
BASELINE = "eager"


class Repeat(NamedTuple):
    """One call: seconds of the process's CPU, seconds on the wall, growth of the peak in bytes."""

    cpu: float
    wall: float
    memory: float


def eager(p: Tensor, q: Tensor) -> Tensor:
    log_p, log_q = F.log_softmax(p, -1), F.log_softmax(q, -1)
    return F.kl_div(log_q, log_p, log_target=True, reduction="none").sum(-1)


def tutorial(p: Tensor, q: Tensor) -> Tensor:
    p, q = p.softmax(-1), q.softmax(-1)
    return (p * torch.log(p / q)).sum(1)


def kullback_kl(p: Tensor, q: Tensor) -> Tensor:
    import kullback

    return kullback.kl_divergence(p, q, space="logits")


def kullback_in_place(p: Tensor, q: Tensor) -> Tensor:
    import kullback

    return kullback.kl_divergence(p, q, space="logits", overwrite_q=True)


CONTENDERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    BASELINE: eager,
    "tutorial": tutorial,
    "compiled": eager,
    "kullback": kullback_kl,
    "in place": kullback_in_place,
}


def contenders(gradient: bool) -> list[str]:
    return [name for name in CONTENDERS if gradient or "in place" not in name]


def peak_and_resident() -> tuple[int, int]:
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return tuple(1024 * int(fields[key].split()[0]) for key in ("VmHWM", "VmRSS"))  # type: ignore[return-value]


def measure(call: Callable[[], object]) -> Repeat:
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    _, resident = peak_and_resident()
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak, _ = peak_and_resident()
    del result
    return Repeat(cpu, wall, peak - resident)


def serve(
    connection: Connection,
    name: str,
    shape: tuple[int, int],
    dtype: str,
    gradient: bool,
    threads: int,
) -> None:
    """The contender's process: a repeat for every message that arrives."""
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    p, q = (torch.randn(shape, generator=generator).to(getattr(torch, dtype)) for _ in range(2))
    fresh = q.clone() if "in place" in name else None
    q.requires_grad_(gradient)
    function = CONTENDERS[name]
    if "compile" in name:
        function = torch.compile(function)

    def call() -> object:
        with torch.set_grad_enabled(gradient):
            value = function(p, q).sum()
            return torch.autograd.grad(value, q) if gradient else value

    call()  # compiles
    connection.send("ready")
    while (message := connection.recv()) != "stop":
        if fresh is not None:
            q.detach().copy_(fresh)
        if message == "memory":
            # Freed memory that the allocator kept would hide what a call takes.
            ctypes.CDLL(None).malloc_trim(0)
        connection.send(measure(call))


def compete(
    thp: str, shape: tuple[int, int], dtype: str, gradient: bool, threads: int, repeats: int
) -> dict[tuple[str, str], Repeat]:
    """The medians by (value of THP_MEM_ALLOC_ENABLE, contender)."""
    os.environ["THP_MEM_ALLOC_ENABLE"] = thp
    context = multiprocessing.get_context("spawn")
    running = {}
    for name in contenders(gradient):
        ours, theirs = context.Pipe()
        arguments = (theirs, name, shape, dtype, gradient, threads)
        process = context.Process(target=serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        ours.recv()
        running[thp, name] = (ours, process)
    results: dict[tuple[str, str], list[Repeat]] = {key: [] for key in running}
    for message in ["memory"] + ["time"] * repeats:
        for key, (connection, _) in running.items():
            connection.send(message)
            results[key].append(connection.recv())
    for connection, process in running.values():
        connection.send("stop")
        process.join()
    return {key: summary(*found) for key, found in results.items()}


def summary(trimmed: Repeat, *timed: Repeat) -> Repeat:
    cpu, wall = (median(getattr(repeat, field) for repeat in timed) for field in ("cpu", "wall"))
    return Repeat(cpu, wall, trimmed.memory)


def copy_bandwidth(threads: int) -> float:
    """Bytes read and written a second by the best of nine copies between touched tensors."""
    torch.set_num_threads(threads)
    source, target = torch.ones(1 << 26), torch.ones(1 << 26)
    seconds = []
    for _ in range(9):
        start = time.perf_counter()
        target.copy_(source)
        seconds.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(seconds)


def table_of(title: str, results: dict[tuple[str, str], Repeat], limit: float, unit: int) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.caption = f"limit: {1e3 * limit:.1f} ms for the bytes that must move"
    table.add_column("contender")
    columns = ["CPU ms", "wall ms", "CPU ratio", "wall ratio", "CPU / limit", "peak, tensors"]
    thp = ("1", BASELINE) in results
    columns += ["THP: CPU ms", "THP: CPU ratio", "THP gain"] if thp else []
    for column in columns:
        table.add_column(column, justify="right")
    base = results["0", BASELINE]
    for name in (name for variable, name in results if variable == "0"):
        found = results["0", name]
        cells = [f"{1e3 * found.cpu:.1f}", f"{1e3 * found.wall:.1f}"]
        cells += [f"{base.cpu / found.cpu:.2f}", f"{base.wall / found.wall:.2f}"]
        cells += [f"{found.cpu / limit:.2f}", f"{found.memory / unit:.2f}"]
        if thp:
            huge = results["1", name]
            cells += [f"{1e3 * huge.cpu:.1f}", f"{results['1', BASELINE].cpu / huge.cpu:.2f}"]
            cells += [f"{found.cpu / huge.cpu:.2f}"]
        table.add_row(name, *cells)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--rows", type=int, help="at most so many rows, where memory is short")
    parser.add_argument("--thp", action="store_true", help="again with THP_MEM_ALLOC_ENABLE=1")
    chosen = parser.parse_args()
    console = Console()
    bandwidth = copy_bandwidth(chosen.threads)
    console.print(
        f"torch {torch.__version__}, threads {chosen.threads}, medians of {chosen.repeats}, "
        f"copy bandwidth {bandwidth / 1e9:.1f} GB/s; ratios are {BASELINE} over the contender"
    )
    for (rows, events), dtype, gradient in product(SHAPES, DTYPES, (False, True)):
        shape = (min(rows, chosen.rows or rows), events)
        unit = shape[0] * shape[1] * getattr(torch, dtype).itemsize
        arguments = (shape, dtype, gradient, chosen.threads, chosen.repeats)
        found = compete("0", *arguments)
        if chosen.thp:
            # Not interleaved: small pages freed by one process break up what another asks for.
            found |= compete("1", *arguments)
        limit = (5 if gradient else 2) * unit / bandwidth
        what = "forward and backward" if gradient else "forward"
        console.print(table_of(f"{what}, {list(shape)} {dtype}", found, limit, unit))


if __name__ == "__main__":
    main()
