"""What counts as a part, and pairs that have no parts in common."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from kullback.compare.layers import layer_effects
from kullback.compare.layers.modules import check_alike, decoder_layers, parts_of
from kullback.compare.readers.hugging_face import HuggingFaceModel, from_loaded
from kullback.errors import ComparisonError, InputError, NonFiniteError, TextError

from .conftest import SIZES, TEXT, perturbed, tiny

MakeSides = Callable[..., tuple[HuggingFaceModel, HuggingFaceModel]]


@pytest.mark.parametrize(
    ("architecture", "path"), [("llama", "model.layers"), ("gpt2", "transformer.h")]
)
def test_the_layers_are_found(architecture: str, path: str) -> None:
    found, layers = decoder_layers(tiny(architecture))
    assert (found, len(layers)) == (path, 4)


def test_a_longer_list_within_a_layer_is_not_taken_for_the_layers() -> None:
    from torch import nn

    layers = [nn.ModuleDict({"experts": nn.ModuleList([nn.Identity()] * 8)}) for _ in range(2)]
    model = nn.ModuleDict({"few": nn.ModuleList([nn.Identity()]), "h": nn.ModuleList(layers)})
    path, found = decoder_layers(model)
    assert (path, len(found)) == ("h", 2)


def test_the_parts_of_a_gpt2_in_their_order() -> None:
    model = tiny("gpt2")
    parts = parts_of(model, model)
    names = [part.name for part in parts]
    assert names[:4] == ["embedding", "layer 0 attention", "layer 0 MLP", "layer 0 norms"]
    assert names[-2:] == ["final norm", "head"]
    assert [slot.path for slot in parts[0].slots] == ["transformer.wte", "transformer.wpe"]
    assert not any(part.differs for part in parts)
    # Tied weights are in two parts: what is read and what is written are exchanged apart.
    alone = sum(p.numel() for p in model.parameters())
    assert sum(part.weights for part in parts) == alone + model.lm_head.weight.numel()


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3", "gemma3"])
def test_every_tensor_is_in_one_part(architecture: str) -> None:
    model = tiny(architecture)
    paths = [slot.path for part in parts_of(model, model) for slot in part.slots]
    assert len(paths) == len(set(paths))
    for name in model.state_dict():
        assert sum(name == path or name.startswith(path + ".") for path in paths) == 1, name


def test_only_what_differs_is_run_and_found(sides: MakeSides) -> None:
    p, q = sides("llama", only="layers.2.mlp.down")
    found = layer_effects(p, q, text=TEXT, **SIZES)
    assert [e.name for e in found.effects if not e.equal] == ["layer 2 MLP"]
    (changed,) = (e for e in found.effects if not e.equal)
    assert changed.kl.value == found.whole.value > 0
    assert all(e.kl.value == e.kl.low == e.kl.high == 0 for e in found.effects if e.equal)
    # Reference and candidate once, and two layers again.
    assert found.evaluations == found.chunks * (4 + 4 + 2)
    assert "add up: their sum is 1 of" in found.adding_up


def test_equal_models_lose_nothing(sides: MakeSides) -> None:
    p, _ = sides("gpt2")
    found = layer_effects(p, p, text=TEXT, **SIZES)
    assert found.whole.value == found.total.value == 0
    assert found.adding_up == "The candidate loses nothing, and no module does."


def test_whole_layers_and_kinds(sides: MakeSides) -> None:
    p, q = sides("llama")
    layers = layer_effects(p, q, text=TEXT, by="layers", **SIZES)
    names = ["embedding", *(f"layer {i}" for i in range(4)), "final norm", "head"]
    assert [e.name for e in layers.effects if not e.equal] == names
    assert layers.effects[2].kind == "layer"
    kinds = layer_effects(p, q, text=TEXT, by="kinds", **SIZES)
    measured = [e.kind for e in kinds.effects if not e.equal]
    assert measured == ["embedding", "attention", "MLP", "norms", "head"]
    assert kinds.whole == layers.whole


def test_models_of_another_architecture_are_refused_with_what_differs() -> None:
    with pytest.raises(ComparisonError, match=r"only the \w+ has '.*' \(and \d+ others differ\)"):
        check_alike(tiny("llama"), tiny("gpt2"))
    with pytest.raises(ComparisonError, match=r"only the reference has 'model\.layers\.3\."):
        check_alike(tiny("llama"), tiny("llama", num_hidden_layers=3))
    message = r"the shape of 'model.layers.0.mlp.gate_proj.weight' is \[64, 32\] .* \[48, 32\]"
    with pytest.raises(ComparisonError, match=message):
        check_alike(tiny("llama"), tiny("llama", intermediate_size=48))
    with pytest.raises(ComparisonError, match=r"dtype of .* torch.float32 .* load both with one"):
        check_alike(tiny("llama"), tiny("llama").bfloat16())


def test_models_that_differ_in_their_settings_are_refused(tokenizer: Any) -> None:
    model = tiny("llama")
    other = perturbed(model)
    other.config.hidden_act = "gelu"
    for layer in other.model.layers:
        layer.self_attn.scaling *= 1.5
    other = copy.deepcopy(other)
    sides = [from_loaded(m, tokenizer) for m in (model, other)]
    # The attention brings its scale along, so nothing is amiss yet.
    layer_effects(*sides, text=TEXT, **SIZES)
    forward = type(other.model.layers[0]).forward
    other.model.layers[1].forward = lambda h, **rest: 2 * forward(other.model.layers[1], h, **rest)
    with pytest.raises(ComparisonError, match=r"more than their weights; settings.*: hidden_act"):
        layer_effects(*sides, text=TEXT, **SIZES)


def test_what_cannot_be_measured_is_refused(
    sides: MakeSides, tokenizer: Any, tmp_path: Any
) -> None:
    import numpy as np

    p, q = sides("llama")
    with pytest.raises(InputError, match="choose one of modules, layers, kinds"):
        layer_effects(p, q, text=TEXT, by="heads", **SIZES)
    with pytest.raises(InputError, match="either a candidate or quantize"):
        layer_effects(p, text=TEXT)
    with pytest.raises(InputError, match="batch=0"):
        layer_effects(p, q, text=TEXT, batch=0, **SIZES)
    with pytest.raises(InputError, match="confidence must lie"):
        layer_effects(p, q, text=TEXT, confidence=1.0, **SIZES)
    with pytest.raises(TextError, match="need a text"):
        layer_effects(p, q)
    np.save(tmp_path / "q.npy", np.zeros((2, 102), np.float32))
    with pytest.raises(InputError, match="file of logits, which has no modules"):
        layer_effects(p, tmp_path / "q.npy", text=TEXT, **SIZES)
    with pytest.raises(ComparisonError, match=r"in no nn\.ModuleList"):
        decoder_layers(torch.nn.Sequential(torch.nn.Linear(2, 2)))


def test_a_nan_names_the_mixture(sides: MakeSides) -> None:
    p, q = sides("llama")
    with torch.no_grad():
        q.model.model.layers[1].mlp.down_proj.weight[0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="logits of the candidate, or of the reference, are"):
        layer_effects(p, q, text=TEXT, **SIZES)


def test_recipes_leave_embedding_norms_and_head_equal(sides: MakeSides) -> None:
    p, _ = sides("llama")
    calls: list[tuple[int, int]] = []
    found = layer_effects(
        p, quantize="int4", text=TEXT, progress=lambda *at: calls.append(at), **SIZES
    )
    kinds = {e.kind for e in found.effects if not e.equal}
    assert kinds == {"attention", "MLP"}
    assert calls[-1][0] == calls[-1][1] == found.positions * (2 + 8)
    assert [a for a, _ in calls] == sorted(a for a, _ in calls)


def test_batches_change_nothing(sides: MakeSides) -> None:
    p, q = sides("qwen3")
    one = layer_effects(p, q, text=TEXT, batch=1, **SIZES)
    three = layer_effects(p, q, text=TEXT, batch=3, **SIZES)
    assert one.evaluations == three.evaluations
    for a, b in zip(one.effects, three.effects, strict=True):
        # float32 logits of a batch may be summed in another order.
        assert a.kl.value == pytest.approx(b.kl.value, rel=1e-4)
