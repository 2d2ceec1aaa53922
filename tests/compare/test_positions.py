"""The pass: each position has the statistics of its own two rows, wherever it was batched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from kullback.compare.conventions import llama_cpp
from kullback.compare.positions import PositionBatch, read_positions
from kullback.compare.readers import Rows
from kullback.compare.readers.hugging_face import HuggingFaceModel, tokenize
from kullback.compare.windows import Windows, cut
from kullback.kernels import RowStatistics, reference

from .conftest import TEXT

MakeModel = Callable[..., HuggingFaceModel]


def windows_of(source: HuggingFaceModel) -> Windows:
    texts = [TEXT, TEXT[40:90], TEXT[::-1]]
    return cut([tokenize(source.tokenizer, t) for t in texts], list("abc"), context=32, warmup=8)


def read(p: HuggingFaceModel, q: HuggingFaceModel, batch: int) -> PositionBatch:
    """All positions in the order of the text."""
    parts = list(read_positions(p, q, windows_of(p), events=102, batch=batch))
    place = np.concatenate([1000 * part.chunk + part.position for part in parts])
    order = np.argsort(place)

    def joined(arrays: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(arrays)[order]

    return PositionBatch(
        {name: joined([b.statistics[name] for b in parts]) for name in parts[0].statistics},
        document=joined([b.document for b in parts]),
        chunk=joined([b.chunk for b in parts]),
        position=joined([b.position for b in parts]),
        token=joined([b.token for b in parts]),
    )


@pytest.mark.parametrize("batch", [1, 3])
def test_statistics_are_those_of_plain_forwards(make_model: MakeModel, batch: int) -> None:
    p, q = make_model(), make_model(seed=1)
    found = read(p, q, batch)
    windows = windows_of(p)
    rows = []
    for source in (p, q):
        with torch.inference_mode():
            full = [source.model(torch.from_numpy(w.tokens)[None]).logits[0] for w in windows.items]
        rows.append(torch.cat([x[8:-1] for x in full]).double())
    target = torch.from_numpy(np.concatenate([w.tokens[9:] for w in windows.items]))
    expected = reference.row_statistics(rows[0], rows[1], target)
    assert set(found.statistics) == set(RowStatistics._fields)
    for name, values in expected._asdict().items():
        # float32 forwards of another batch shape.
        np.testing.assert_allclose(found.statistics[name], values.numpy(), rtol=2e-4, atol=2e-5)
    np.testing.assert_array_equal(found.token, target.numpy())


def test_every_position_knows_where_it_stands(make_model: MakeModel) -> None:
    p = make_model()
    found = read(p, p, batch=2)
    windows = windows_of(p)
    assert len(found) == windows.scored
    for window in windows.items:
        mine = found.chunk == window.chunk
        assert (found.document[mine] == window.document).all()
        tokens = window.tokens[found.position[mine]]
        np.testing.assert_array_equal(found.token[mine], tokens)
    assert found.statistics["top_p"].dtype == np.int64
    assert found.statistics["kl"].dtype == np.float64


def test_llama_cpp_leaves_out_what_lies_below_sixteen_nats() -> None:
    p = torch.tensor([[0.0, -1.0, -15.0, -20.0]])
    q = torch.tensor([[0.0, -2.0, -15.0, 0.0]])
    found = llama_cpp(Rows(p), Rows(q), torch.tensor([1]))
    log_p, log_q = (torch.log_softmax(x.double(), -1)[0] for x in (p, q))
    expected = (log_p.exp() * (log_p - log_q))[:3].sum()
    # The reference goes through 16-bit codes, as it does in llama.cpp.
    assert float(found.statistics["kl"]) == pytest.approx(float(expected), abs=2.5e-4)
    assert float(found.statistics["log_prob_q"]) == pytest.approx(float(log_q[1]), rel=1e-6)
