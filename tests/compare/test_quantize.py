"""Recipes on the reference: the weights are the library's, and only the linear layers change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gguf import GGMLQuantizationType, quants

from kullback.compare import compare
from kullback.compare.quantize import RECIPES, quantized
from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.errors import ComparisonError, InputError

from .conftest import TEXT

MakeModel = Callable[..., HuggingFaceModel]


@pytest.mark.parametrize("recipe", RECIPES)
def test_linear_layers_hold_what_gguf_would_store(make_model: MakeModel, recipe: str) -> None:
    source = make_model()
    before = {name: p.detach().clone() for name, p in source.model.named_parameters()}
    candidate = quantized(source, recipe)
    kind = GGMLQuantizationType[RECIPES[recipe]]
    for name, p in candidate.model.named_parameters():
        expected = before[name]
        if "_proj" in name:
            stored = quants.quantize(expected.numpy(), kind)
            expected = torch.from_numpy(quants.dequantize(stored, kind))
            assert not torch.equal(expected, before[name])
        torch.testing.assert_close(p.detach(), expected, rtol=0, atol=0)
    for name, p in source.model.named_parameters():
        torch.testing.assert_close(p.detach(), before[name], rtol=0, atol=0)


def test_what_is_not_quantised_is_shared_and_said(make_model: MakeModel) -> None:
    source = make_model()
    candidate = quantized(source, "int8")
    ours, theirs = source.model, candidate.model
    assert theirs.lm_head.weight is ours.lm_head.weight
    assert theirs.model.embed_tokens.weight is ours.model.embed_tokens.weight
    assert "14 linear layers" in candidate.notes[0]
    assert "Q8_0" in candidate.provenance()["recipe"]


def test_half_precision_stays_half_precision(make_model: MakeModel) -> None:
    source = make_model()
    source.model.bfloat16()
    dtypes = {p.dtype for p in quantized(source, "int4").model.parameters()}
    assert dtypes == {torch.bfloat16}


def test_fewer_bits_lose_more(make_model: MakeModel) -> None:
    source = make_model()
    eight, four = (
        compare(source, quantize=recipe, text=TEXT, context=32, warmup=8).kl.value
        for recipe in ("int8", "int4")
    )
    assert 0 < 10 * eight < four


def test_recipes_that_do_not_fit_are_refused(make_model: MakeModel) -> None:
    with pytest.raises(InputError, match="choose one of int8, int4"):
        quantized(make_model(), "int2")
    odd: dict[str, Any] = {"hidden_size": 24, "intermediate_size": 40}
    with pytest.raises(ComparisonError, match="no linear layer with rows of a multiple of 32"):
        quantized(make_model(**odd), "int8")
