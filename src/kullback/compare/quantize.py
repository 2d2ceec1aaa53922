"""A candidate made from the reference: "what would I lose if I stored it in 8 or 4 bits?"

The weights of the linear layers go through gguf's own quantiser and back (`Q8_0`, `Q4_0`:
blocks of 32 along the input, one float16 scale each), so they hold exactly the values that a
llama.cpp file of that type would, in the dtype that the model runs in. Embeddings, norms and
the output head keep their precision, and are shared with the reference rather than copied.

Source: ggml, `quantize_row_q8_0_ref` and `quantize_row_q4_0_ref`, as ported in `gguf.quants`.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.errors import ComparisonError, InputError, MissingExtra

__all__ = ["RECIPES", "quantized"]

RECIPES = {"int8": "Q8_0", "int4": "Q4_0"}
"""The gguf type behind each recipe."""
_BLOCK = 32


def quantized(source: HuggingFaceModel, recipe: str) -> HuggingFaceModel:
    """`source` with its linear layers quantised by `recipe`, "int8" or "int4".

    Raises `ComparisonError` where the model has no linear layer whose rows split into blocks.
    """
    if recipe not in RECIPES:
        raise InputError(f"quantize={recipe!r}: choose one of {', '.join(RECIPES)}")
    shared: dict[int, Any] = {id(p): p for p in source.model.parameters()}
    model = copy.deepcopy(source.model, shared)
    layers = _linear_layers(model)
    for layer in layers:
        layer.weight = nn.Parameter(_round_trip(layer.weight, recipe), requires_grad=False)
    weights = sum(layer.weight.numel() for layer in layers)
    share = weights / sum(p.numel() for p in model.parameters())
    if not layers:
        raise ComparisonError(
            f"{source.name!r} has no linear layer with rows of a multiple of {_BLOCK} weights "
            "besides its head: there is nothing that this recipe quantises"
        )
    note = (
        f"the candidate is the reference with {len(layers)} linear layers ({share:.0%} of its "
        f"weights) in {RECIPES[recipe]}; embeddings, norms and the head are as they were"
    )
    identity = {"kind": "recipe on the reference", "recipe": f"{recipe} ({RECIPES[recipe]})"}
    name = f"{source.name} in {recipe}"
    return replace(source, model=model, name=name, identity=identity, notes=[note])


def _linear_layers(model: Any) -> list[nn.Linear]:
    head = model.get_output_embeddings()
    return [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear) and module is not head and module.in_features % _BLOCK == 0
    ]


def _round_trip(weight: torch.Tensor, recipe: str) -> torch.Tensor:
    try:
        from gguf import GGMLQuantizationType, quants
    except ImportError as error:
        raise MissingExtra("gguf", "models") from error
    kind = GGMLQuantizationType[RECIPES[recipe]]
    values = weight.detach().float().cpu().numpy()
    stored = quants.dequantize(quants.quantize(values, kind), kind)
    return torch.from_numpy(stored).to(weight)
