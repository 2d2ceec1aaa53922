"""oneDNN's linear layers say what torch's say, and stand aside where they must."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kullback.compare.readers.dense_layers import OneDnnLinear
from kullback.compare.readers.gguf_once import parsed_once


def sides(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (3, 17, 64), (96, 64), (96,)
    return tuple(torch.randn(s, generator=generator, dtype=dtype) for s in shapes)  # type: ignore[return-value]


@pytest.mark.parametrize("with_bias", [True, False])
def test_the_product_is_right(with_bias: bool) -> None:
    x, weight, bias = sides(torch.float64)
    bias = bias if with_bias else None
    exact = torch.nn.functional.linear(x, weight, bias)
    single = [None if t is None else t.float() for t in (x, weight, bias)]
    with torch.inference_mode(), OneDnnLinear():
        found = torch.nn.functional.linear(*single)  # type: ignore[arg-type]
    # 64 products in float32, each within 6e-8 of terms that reach 10: 1e-5 is generous.
    assert found.dtype == torch.float32
    assert float((found - exact).abs().max()) < 1e-5


def test_it_runs_through_one_dnn() -> None:
    from torch.profiler import ProfilerActivity, profile

    x, weight, bias = sides()
    layer = torch.nn.Linear(64, 96)
    with torch.inference_mode(), OneDnnLinear(), profile(activities=[ProfilerActivity.CPU]) as seen:
        torch.nn.functional.linear(x, weight, bias)
        layer(x)
    counted = {event.key: event.count for event in seen.key_averages()}
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch was built without oneDNN")
    assert counted.get("mkldnn::_linear_pointwise") == 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_are_left_alone(dtype: torch.dtype) -> None:
    x, weight, bias = sides(dtype)
    with torch.inference_mode():
        plain = torch.nn.functional.linear(x, weight, bias)
        with OneDnnLinear():
            assert torch.equal(torch.nn.functional.linear(x, weight, bias), plain)


def test_gradients_are_left_alone() -> None:
    x, weight, bias = sides()
    weight.requires_grad_()
    with OneDnnLinear():
        torch.nn.functional.linear(x, weight, bias).sum().backward()
    assert weight.grad is not None
    assert torch.allclose(weight.grad[0], x.sum((0, 1)), atol=1e-4)


def test_a_gguf_file_is_parsed_once(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    before = gguf.GGUFReader
    with parsed_once():
        assert gguf.GGUFReader(path) is gguf.GGUFReader(path)
    assert gguf.GGUFReader is before
    assert gguf.GGUFReader(path) is not gguf.GGUFReader(path)
