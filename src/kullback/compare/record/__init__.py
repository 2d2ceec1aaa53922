"""Record once: what a reference model says of a text, to be compared with many candidates.

The last hidden states are a hundredth of the logits (576 numbers in place of 49,152 for
SmolLM2), and with the head they give every logit back. So the reference runs once; a comparison
then needs only the candidate in memory. A folder holds the manifest, the tokens cut into windows,
the vocabulary, the head and the states, all JSON or safetensors.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

    from kullback.compare.documents import Splitting, Text
    from kullback.compare.record.recording import Recording

__all__ = ["record"]

SHARD_WINDOWS = 16
"""Windows to a file: what a killed recording loses is at most so many."""


def record(
    model: Any,
    folder: str | Path,
    *,
    text: Text | None = None,
    documents: Splitting | None = None,
    chat: str | Path | None = None,
    context: int | None = None,
    warmup: int | None = None,
    max_tokens: int | None = None,
    top_k: int | None = None,
    dtype: str | torch.dtype | None = None,
    head: Literal["stored", "pointer"] = "stored",
    batch: int | None = None,
    device: str | None = None,
    tokenizer: Any = None,
    as_llama_cpp: bool = False,
    shard_windows: int = SHARD_WINDOWS,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Write what `model` says at every scored position of `text` into `folder`.

    The folder is then a reference for `compare`, which runs the candidate on the tokens in it.
    Where a recording was stopped, the same call goes on.

    Args:
        model: a model folder, a hub name, a GGUF file, a (model, tokenizer) pair, or a model with
            `tokenizer=`.
        folder: where to; not there yet, empty, or with the same recording begun.
        text, documents, chat, context, warmup, max_tokens: as for `compare`, and fixed from here
            on.
        top_k: keep the so many largest probabilities, the next token's and the mass of the rest,
            in place of hidden states: bounded size, and divergences become lower bounds.
        dtype: store hidden states in this dtype, "bfloat16" for half of float32; by default the
            model's own, which loses nothing. What rounding loses is measured and noted.
        head: "stored" in the folder, or a "pointer" to the model's file with its hash.
        batch: windows to run at once; by default 1 on a CPU and 8 on a GPU.
        device: where to run; by default the best there is.
        tokenizer: for a model that is passed without one.
        as_llama_cpp: cut the text as llama.cpp does, the second half of each chunk scored.
        shard_windows: windows to a file; a killed recording loses at most one file's work.
        progress: called as `progress(done, total)` with numbers of positions.

    Raises:
        InputError: an option is out of range, or the folder holds something else.
        ComparisonError: the model cannot be loaded, or its logits are not what its head makes of
            its hidden states; the text is too short.
        NonFiniteError: the model's logits are not finite, or the rounded states are not.
    """
    from kullback.compare.beforehand import read_for_models
    from kullback.compare.record.plan import Keeping, content_of, draft, open_model, write_parts
    from kullback.compare.record.recording import Recording, check_folder, resumed, write_shards
    from kullback.compare.sides import windows_for

    folder = Path(folder).expanduser()
    keeping = Keeping(top_k, dtype, head, shard_windows)
    check_folder(folder)
    cutting = {"documents": documents, "context": context, "warmup": warmup}
    read = read_for_models(text, chat, cutting, as_llama_cpp)
    source = open_model(model, tokenizer, device, batch)
    windows = windows_for(source, [source], read, cutting, max_tokens, as_llama_cpp)
    content = content_of(source, windows, keeping)
    manifest = resumed(folder, draft(source, windows, content, keeping), windows)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = write_parts(folder, manifest, source, windows, content)
    reused = sum(shard.positions for shard in manifest.shards.values())
    size = batch or (1 if source.model.device.type == "cpu" else 8)
    manifest = write_shards(folder, manifest, windows, content, batch=size, progress=progress)
    tokens = sum(len(window.tokens) for window in windows.items)
    return Recording(folder, manifest, windows.scored, tokens, reused)
