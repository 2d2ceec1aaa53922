"""Against naive exchange: whole forward passes of a model whose weights were written over."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch

from kullback.compare.layers import layer_effects
from kullback.compare.layers.modules import Part, decoder_layers, parts_of
from kullback.compare.layers.passes import Stack, probe_window
from kullback.compare.layers.swapping import swapped
from kullback.compare.readers.hugging_face import HuggingFaceModel, tokenize
from kullback.compare.windows import Windows, cut

from .conftest import SIZES, TEXT

MakeSides = Callable[..., tuple[HuggingFaceModel, HuggingFaceModel]]
ARCHITECTURES = ("llama", "gpt2", "gemma3")


def windows_of(source: HuggingFaceModel) -> Windows:
    return cut([tokenize(source.tokenizer, TEXT)], ["a"], **SIZES)


def naive_mean_kl(source: HuggingFaceModel, base: Any, donor: Any, part: Part | None) -> float:
    """Mean KL from `source` to `base` with the weights of `part` copied from `donor`, in float64.

    By copies of state dictionaries, plain forward passes of every position, and the definition.
    """
    mixed = copy.deepcopy(base)
    if part is not None:
        # Weights that are tied have to part before one of them is written over.
        mixed.get_output_embeddings().weight = torch.nn.Parameter(
            mixed.get_output_embeddings().weight.detach().clone()
        )
        donors, names = donor.state_dict(keep_vars=True), {s.path for s in part.slots}
        with torch.no_grad():
            for name, value in mixed.state_dict(keep_vars=True).items():
                if any(name == path or name.startswith(path + ".") for path in names):
                    value.copy_(donors[name])
    rows = []
    for model in (source.model, mixed):
        with torch.no_grad():
            logits = [
                model(torch.from_numpy(w.tokens)[None]).logits[0, w.first_position - 1 : -1]
                for w in windows_of(source).items
            ]
        rows.append(torch.log_softmax(torch.cat(logits).double(), -1))
    return float((rows[0].exp() * (rows[0] - rows[1])).sum(-1).mean())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_effects_are_those_of_whole_passes_with_overwritten_weights(
    architecture: str, sides: MakeSides
) -> None:
    p, q = (source for source in sides(architecture))
    # The truth is summed from float64 logits, so that rounding is nothing beside the tolerance.
    for source in (p, q):
        source.model.double()
    found = layer_effects(p, q, text=TEXT, leave_one_out=True, **SIZES)
    parts = parts_of(p.model, q.model)
    assert [effect.name for effect in found.effects] == [part.name for part in parts]
    whole = naive_mean_kl(p, q.model, None, None)
    assert found.whole.value == pytest.approx(whole, rel=1e-6)
    for effect, part in zip(found.effects, parts, strict=True):
        assert effect.without is not None
        assert effect.saved is not None
        if effect.equal:
            assert effect.kl.value == 0
            assert effect.without.value == found.whole.value
            continue
        single = naive_mean_kl(p, p.model, q.model, part)
        without = naive_mean_kl(p, q.model, p.model, part)
        assert effect.kl.value == pytest.approx(single, rel=1e-6)
        assert effect.without.value == pytest.approx(without, rel=1e-6)
        assert effect.saved.value == pytest.approx(whole - without, rel=1e-6, abs=1e-9)
    sums = sum(effect.kl.value for effect in found.effects)
    assert found.total.value == pytest.approx(sums, rel=1e-12)
    assert found.gap is not None
    assert found.gap.value == pytest.approx(sums - found.whole.value, rel=1e-9)
    assert found.notes == ()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_modules_together_are_the_candidate(architecture: str, sides: MakeSides) -> None:
    p, q = sides(architecture)
    group = windows_of(p).items[:2]
    slots = [slot for part in parts_of(p.model, q.model) for slot in part.slots]
    mixed = Stack(p).resume(group, [], slots)
    torch.testing.assert_close(mixed, q.rows(group).values, rtol=0, atol=0)
    assert not torch.equal(mixed, p.rows(group).values)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_run_resumes_at_every_layer(architecture: str, sides: MakeSides) -> None:
    p, _ = sides(architecture)
    stack, group = Stack(p), windows_of(p).items[:2]
    rows, outputs = stack.run(group)
    assert len(outputs) == len(stack) == 4
    for start in range(5):
        again = stack.resume(group, outputs[:start])
        torch.testing.assert_close(again, rows, rtol=0, atol=0)
    # Layers of two windows: one run, and 4 + 3 + 2 + 1 + 0 of them again.
    assert stack.evaluations == 2 * (4 + 10)


class Broken(Exception):
    """Raised in the middle of a pass."""


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_both_models_come_back_as_they_were(architecture: str, sides: MakeSides) -> None:
    p, q = sides(architecture)
    before = [
        ({n: (id(t), t.clone()) for n, t in s.model.state_dict(keep_vars=True).items()})
        for s in (p, q)
    ]
    modules = [[(name, id(m)) for name, m in s.model.named_modules()] for s in (p, q)]

    def check() -> None:
        for source, state, tree in zip((p, q), before, modules, strict=True):
            assert [(name, id(m)) for name, m in source.model.named_modules()] == tree
            for name, tensor in source.model.state_dict(keep_vars=True).items():
                assert id(tensor) == state[name][0]
                assert torch.equal(tensor, state[name][1])
            for module in source.model.modules():
                assert "forward" not in vars(module)
                assert not module._forward_hooks
                assert not module._forward_pre_hooks

    layer_effects(p, q, text=TEXT, leave_one_out=True, **SIZES)
    check()
    calls = 0

    def fail(module: Any, inputs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise Broken

    # The last layer of the candidate runs in mixtures too; some of its passes then fail.
    hook = decoder_layers(q.model)[1][-1].register_forward_pre_hook(fail)
    with pytest.raises(Broken):
        layer_effects(p, q, text=TEXT, leave_one_out=True, **SIZES)
    hook.remove()
    check()


def test_a_forward_of_the_layers_own_comes_back(sides: MakeSides) -> None:
    p, _ = sides("llama")
    stack, group = Stack(p), windows_of(p).items[:1]
    _, outputs = stack.run(group)
    own = stack.layers[0].forward
    stack.layers[0].forward = own
    stack.resume(group, outputs[:2])
    assert vars(stack.layers[0])["forward"] is own
    assert "forward" not in vars(stack.layers[1])
    del stack.layers[0].forward


def test_swapping_comes_back_after_an_exception_in_the_middle(sides: MakeSides) -> None:
    p, q = sides("llama")
    slots = [slot for part in parts_of(p.model, q.model) for slot in part.slots]
    held = [slot.sides() for slot in slots]

    def fail_inside() -> None:
        with swapped(slots):
            for slot, (_, theirs) in zip(slots, held, strict=True):
                assert slot.sides()[0] is theirs
            raise Broken

    with pytest.raises(Broken):
        fail_inside()
    for slot, sides_then in zip(slots, held, strict=True):
        assert all(a is b for a, b in zip(slot.sides(), sides_then, strict=True))


def test_the_layers_counted_are_those_that_ran_and_about_half(sides: MakeSides) -> None:
    p, q = sides("llama")
    runs = 0

    def count(module: Any, inputs: Any) -> None:
        nonlocal runs
        runs += len(inputs[0]) if inputs else 1

    with ExitStack() as undo:
        # The attention of a layer runs once whenever the layer does; mixtures exchange it.
        for source in (p, q):
            for layer in decoder_layers(source.model)[1]:
                hook = layer.self_attn.register_forward_pre_hook(count)
                undo.callback(hook.remove)
        found = layer_effects(p, q, text=TEXT, **SIZES)
    chunks, layers = found.chunks, 4
    # Attention, MLP and norms of layer l run 4 − l layers; the embedding 4, norm and head none.
    expected = chunks * (2 * layers + 3 * (4 + 3 + 2 + 1) + 4)
    assert found.evaluations == expected
    assert found.naive == chunks * (2 + 3 * 4 + 3) * layers
    # What was seen of the wiring on the probe: four plain runs and one resumed at each layer.
    probe = 2 * layers + 2 * layers + (layers + sum(range(layers))) + layers
    assert runs <= expected + probe
    assert runs >= expected


def test_layers_that_share_more_than_outputs_are_not_resumed(sides: MakeSides) -> None:
    p, q = sides("llama")
    for source in (p, q):
        layers = decoder_layers(source.model)[1]
        kept: list[torch.Tensor] = []

        def remember(module: Any, inputs: Any, kept: list = kept) -> None:
            kept[:] = [inputs[0]]

        def add(module: Any, inputs: Any, output: Any, kept: list = kept) -> Any:
            return output + kept.pop() if kept else output

        # The first layer's MLP hands its input to the third's, past the outputs of the layers.
        layers[0].mlp.register_forward_pre_hook(remember)
        layers[2].mlp.register_forward_hook(add)
    probe = probe_window(windows_of(p).items[0])
    assert not Stack(p).can_resume(probe)


def test_the_probe_is_short_and_scores_all_it_has() -> None:
    window = cut([np.arange(40)], ["a"], context=40, warmup=3).items[0]
    probe = probe_window(window)
    assert len(probe.tokens) == 16
    assert probe.targets.tolist() == list(range(1, 16))
