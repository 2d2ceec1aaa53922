"""A causal language model through Transformers: a folder, a name on the hub, or a GGUF file.

The head is the widest layer of a small model, so it runs at the scored positions alone, and
windows of one shape go through together without padding. No logits outlive the batch.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from kullback.compare.provenance import file_hash, folder_hash, folder_size, state_hash
from kullback.compare.readers import Rows
from kullback.compare.readers.dense_layers import OneDnnLinear
from kullback.compare.readers.gguf_once import parsed_once
from kullback.compare.readers.placement import pick_device, pick_dtype
from kullback.compare.windows import Window
from kullback.errors import ComparisonError, FileFormatError, InputError, MissingExtra

__all__ = ["HuggingFaceModel", "beginning_of_sequence", "from_loaded", "load", "tokenize"]

IN_MEMORY = "model in memory"


@dataclass(frozen=True, eq=False)
class HuggingFaceModel:
    """A loaded model and its tokeniser, as one side of a comparison."""

    model: Any
    tokenizer: Any
    name: str
    identity: dict[str, Any]
    """The part of the provenance that names the weights: kind, and hash where it is known."""
    notes: list[str] = field(default_factory=list)
    windows: None = None

    @property
    def events(self) -> int:
        """The width of the head, padding included."""
        head = self.model.get_output_embeddings()
        return int(self.config.vocab_size if head is None else head.weight.shape[0])

    @property
    def config(self) -> Any:
        """The configuration of the language model."""
        return self.model.config.get_text_config()

    @property
    def _keeps_logits(self) -> bool:
        return "logits_to_keep" in inspect.signature(self.model.forward).parameters

    def rows(self, windows: Sequence[Window]) -> Rows:
        """Logits of the scored positions in the model's dtype; the windows have one shape."""
        device = self.model.device
        ids = torch.from_numpy(np.stack([window.tokens for window in windows])).to(device)
        first, end = windows[0].first_position - 1, ids.shape[1] - 1
        with torch.inference_mode(), _evaluating(self.model), OneDnnLinear():
            if self._keeps_logits:
                keep = torch.arange(first, end, device=device)
                logits = self.model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits
            else:
                logits = self.model(input_ids=ids, use_cache=False).logits[:, first:end]
        logits = logits.reshape(-1, logits.shape[-1])
        # The kernels keep normalisers in float64, which Apple's GPUs do not have.
        return Rows(logits.cpu() if device.type == "mps" else logits)

    def provenance(self) -> dict[str, Any]:
        """Kind, name, hash of the weights, dtype and device."""
        identity = dict(self.identity)
        if identity["kind"] == IN_MEMORY:
            identity["sha256"] = state_hash(self.model.state_dict())
        return identity | {
            "name": self.name,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": str(self.model.device),
        }


def load(
    name: str | Path, *, tokenizer: Any = None, device: str | None = None, dtype: Any = None
) -> HuggingFaceModel:
    """Load a model and its tokeniser from a folder, a GGUF file or the hub.

    `device` None takes the best there is; `dtype` None the checkpoint's own, and float32 for a
    GGUF file, whose blocks are expanded. Raises `ComparisonError` with the loader's words
    where it fails, also where the checkpoint lacks weights that would then be random.
    """
    transformers = _transformers()
    wanted = pick_device(device)
    place, options, default, identity = _locate(name)
    numbers = pick_dtype(dtype, default)
    snapshot = _snapshot(transformers, place) if isinstance(place, str) else None
    try:
        with _quiet(transformers), parsed_once():
            tokenizer = tokenizer or transformers.AutoTokenizer.from_pretrained(place, **options)
            model, report = transformers.AutoModelForCausalLM.from_pretrained(
                place, dtype=numbers, output_loading_info=True, **options
            )
    except (OSError, ValueError, KeyError) as error:
        raise ComparisonError(f"could not load the model {str(name)!r}: {error}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ComparisonError(
            f"the checkpoint {str(name)!r} lacks {len(missing)} weights, which would be random "
            f"({missing[0]}, …): it is not a causal language model, or it is incomplete"
        )
    model.eval().to(wanted)
    if snapshot is not None:
        identity |= {"revision": snapshot.name, "sha256": folder_hash(snapshot)}
    return HuggingFaceModel(model, tokenizer, str(name), identity)


def from_loaded(
    model: Any, tokenizer: Any, *, device: str | None = None, dtype: Any = None
) -> HuggingFaceModel:
    """A model that is in memory already; it keeps its device and its dtype.

    Raises `InputError` without a tokeniser, or where `device` or `dtype` ask for a change.
    """
    if tokenizer is None:
        raise InputError("a loaded model needs its tokeniser: pass tokenizer= or a pair")
    wanted = pick_dtype(dtype, model.dtype)
    if wanted not in ("auto", model.dtype) or device not in (None, "auto", str(model.device)):
        raise InputError(
            f"the loaded model is {model.dtype} on {model.device}: convert and move it yourself, "
            "then leave out device and dtype"
        )
    name = str(getattr(model, "name_or_path", "") or type(model).__name__)
    return HuggingFaceModel(model, tokenizer, name, {"kind": IN_MEMORY})


def tokenize(tokenizer: Any, text: str) -> np.ndarray:
    """The token ids of `text` alone, int64 [n], no special tokens around them."""
    ids = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return np.array(ids, dtype=np.int64)


def beginning_of_sequence(tokenizer: Any) -> int | None:
    """The token that `tokenizer` puts before every text, or None where it puts none."""
    bos = getattr(tokenizer, "bos_token_id", None)
    ids = tokenizer("a", verbose=False).input_ids
    return bos if bos is not None and ids and ids[0] == bos else None


def _locate(name: str | Path) -> tuple[Any, dict[str, str], Any, dict[str, Any]]:
    """Where to load from, extra arguments, the default dtype, and the provenance."""
    path = Path(name).expanduser()
    if path.is_file():
        try:
            import gguf  # noqa: F401
        except ImportError as error:
            raise MissingExtra("gguf", "models") from error
        size = path.stat().st_size
        identity = {"kind": "GGUF model", "sha256": file_hash(path), "bytes": size}
        return path.parent, {"gguf_file": path.name}, torch.float32, identity
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise FileFormatError(
                f"the folder {str(name)!r} holds no model: it has no config.json; name a folder "
                "that save_pretrained wrote, or the .gguf file in it"
            )
        weights = {"sha256": folder_hash(path), "bytes": folder_size(path)}
        return path, {}, "auto", {"kind": "Hugging Face model", **weights}
    return str(name), {}, "auto", {"kind": "Hugging Face model"}


def _snapshot(transformers: Any, name: str) -> Path:
    """The local folder of a model on the hub; its configuration is fetched to see that it is."""
    try:
        with _quiet(transformers):
            return Path(transformers.utils.cached_file(name, "config.json")).parent
    except (OSError, ValueError) as error:
        raise ComparisonError(
            f"there is no file or folder {name!r} here, and no model of that name could be "
            "fetched from the Hugging Face hub: check the name, and the connection and access "
            "if it is on the hub"
        ) from error


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra("transformers", "models") from error
    return transformers


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    # A model in the middle of its training comes back as it was, module for module.
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No loading bars and no advice while a model loads; errors pass."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with ExitStack() as stack:
        # The GGUF reader has its own bar, which none of the switches reaches.
        reader = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
        if hasattr(reader, "tqdm"):
            silent = functools.partial(reader.tqdm, disable=True)
            stack.enter_context(mock.patch.object(reader, "tqdm", silent))
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
