"""A model and a tokeniser small enough to make on the spot, for every test of the comparison."""

from __future__ import annotations

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


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """One token a character, without any special token around a text."""
    return character_tokenizer(string.printable)


@pytest.fixture(scope="session")
def make_model(tokenizer: Any) -> Callable[..., HuggingFaceModel]:
    """Random Llamas over that tokeniser: `make_model(seed=…, vocab_size=…)`."""

    def make(seed: int = 0, **changes: Any) -> HuggingFaceModel:
        return from_loaded(random_llama(seed, **changes), tokenizer)

    return make


def character_tokenizer(characters: str, *, bos: bool = False) -> Any:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["<unk>", "<s>", *characters]
    vocabulary = {name: i for i, name in enumerate(names)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    if bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>")


def random_llama(seed: int = 0, **changes: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    settings: dict[str, Any] = {
        "vocab_size": 102,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 128,
        # Far from uniform, so that every statistic has something to say.
        "initializer_range": 0.3,
    }
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**(settings | changes))).eval()
