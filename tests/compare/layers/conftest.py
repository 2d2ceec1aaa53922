"""Tiny models of several architectures, and candidates made from them."""

from __future__ import annotations

import copy
import string
from collections.abc import Callable
from typing import Any

import pytest
import torch

from kullback.compare.readers.hugging_face import HuggingFaceModel, from_loaded

TEXT = (
    "The relative entropy of a stand-in is what it costs to believe it. It is zero when nothing "
    "was lost, and it never turns negative, whatever one does to the numbers on their way. "
)
SIZES: dict[str, Any] = {"context": 32, "warmup": 8}

_SMALL: dict[str, Any] = {
    "vocab_size": 102,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}


def tiny(architecture: str, **changes: Any) -> Any:
    """A random model: "llama", "gpt2", "qwen3" or "gemma3"."""
    import transformers as t

    torch.manual_seed(0)
    if architecture == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 4, "n_head": 2, "n_positions": 128, "vocab_size": 102}
        tokens = {"bos_token_id": 1, "eos_token_id": 1, "initializer_range": 0.2}
        return t.GPT2LMHeadModel(t.GPT2Config(**(sizes | tokens | changes))).eval()
    if architecture == "gemma3":
        # Two kinds of layers, with masks and rotary embeddings of their own.
        changes = {"sliding_window": 8, "_sliding_window_pattern": 2} | changes
    classes: dict[str, tuple[Any, Any]] = {
        "llama": (t.LlamaConfig, t.LlamaForCausalLM),
        "qwen3": (t.Qwen3Config, t.Qwen3ForCausalLM),
        "gemma3": (t.Gemma3TextConfig, t.Gemma3ForCausalLM),
    }
    config, model = classes[architecture]
    return model(config(**(_SMALL | changes))).eval()


def perturbed(model: Any, *, size: float = 0.02, only: str = "") -> Any:
    """A copy with noise on every weight whose name contains `only`."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in other.named_parameters():
            if only in name:
                weight += size * torch.randn(weight.shape, generator=generator)
    return other


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """One token a character."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ["<unk>", "<s>", *string.printable]
    vocabulary = {name: i for i, name in enumerate(names)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


@pytest.fixture(scope="session")
def sides(tokenizer: Any) -> Callable[..., tuple[HuggingFaceModel, HuggingFaceModel]]:
    """`sides("gpt2", size=…, only=…)`: a model and a perturbed copy of it."""

    def make(architecture: str, **noise: Any) -> tuple[HuggingFaceModel, HuggingFaceModel]:
        model = tiny(architecture)
        return tuple(from_loaded(m, tokenizer) for m in (model, perturbed(model, **noise)))  # type: ignore[return-value]

    return make
