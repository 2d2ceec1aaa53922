"""A bounded record: what is kept is exact, and what is reported is a lower bound of the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kullback.compare import compare
from kullback.compare.positions import careful
from kullback.compare.readers import Rows
from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.compare.readers.recorded import RecordedReference
from kullback.compare.record import record
from kullback.compare.record.top_k import expand, keep_top
from kullback.errors import FileFormatError, InputError

from .conftest import CUT


def rows(n: int, events: int, seed: int, spread: float = 3.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(n, events, generator=generator)


@pytest.mark.parametrize("events", [50, 70_000])
def test_what_is_kept_is_exact_and_the_rest_is_bounded(events: int) -> None:
    logits, k = rows(12, events, 0), 5
    targets = torch.arange(12) * 4
    exact = torch.log_softmax(logits.double(), -1)
    found = expand(keep_top(logits, targets, k), events, "here")
    censoring = found.censoring
    assert censoring is not None
    known = ~censoring.events
    assert (known.sum(-1) == k + 1).all()
    assert known.gather(-1, targets.unsqueeze(-1)).all()
    assert known.gather(-1, exact.topk(k).indices).all()
    # float32 of a float64 number of up to 32 nats.
    torch.testing.assert_close(found.values[known].double(), exact[known], rtol=1e-7, atol=1e-7)
    rest = exact.exp().masked_fill(known, 0).sum(-1)
    torch.testing.assert_close(censoring.low, rest, rtol=1e-12, atol=1e-15)
    assert (found.values[~known] >= exact[~known].float()).all()


@pytest.mark.parametrize("k", [1, 5, 40, 200])
@pytest.mark.parametrize("noise", [0.1, 1.0, 5.0])
def test_it_bounds_the_truth_from_below_and_grows_with_k(k: int, noise: float) -> None:
    logits, target = rows(40, 400, 1), torch.zeros(40, dtype=torch.int64)
    other = logits + rows(40, 400, 2, noise)
    log_p, log_q = (torch.log_softmax(x.double(), -1) for x in (logits, other))
    exact = (log_p.exp() * (log_p - log_q)).sum(-1).numpy()
    kept = keep_top(logits, target, k)
    found = careful(expand(kept, 400, "here"), Rows(other), target).statistics["kl"].numpy()
    # Lumping by hand, in float64: the kept events, and the rest as one.
    ids = kept["ids"].long() + 2**15
    cells = []
    for log in (log_p, log_q):
        alone = log.gather(-1, ids).exp()
        rest = log.exp().scatter(-1, ids, 0).sum(-1, keepdim=True)
        cells.append(torch.cat([alone, rest], -1))
    lumped = (cells[0] * (cells[0] / cells[1]).log()).sum(-1).numpy()
    # Stored float32 log-probabilities are off by 2⁻²⁴·20 nats, the kernel's float32 by as much.
    np.testing.assert_allclose(found, lumped, rtol=1e-4, atol=1e-6)
    assert (found <= exact * (1 + 1e-4) + 1e-6).all()
    assert (found >= 0).all()
    more = careful(expand(keep_top(logits, target, k + 100), 400, "here"), Rows(other), target)
    assert more.statistics["kl"].mean() >= found.mean() - 1e-6


def test_a_comparison_reports_a_lower_bound_and_the_exact_perplexity(
    reference: HuggingFaceModel, candidate: HuggingFaceModel, tmp_path: Path
) -> None:
    found = record(reference, tmp_path / "ref", top_k=8, **CUT)
    # Nine log-probabilities and ids of 4 and 2 bytes, a mass of 8, and the header of the file.
    assert found.bytes / found.positions == pytest.approx(9 * 6 + 8, rel=0.1)
    direct, bounded = compare(reference, candidate, **CUT), compare(tmp_path / "ref", candidate)
    assert 0.3 * direct.kl.value < bounded.kl.value <= direct.kl.value
    assert any("lower bounds" in note for note in bounded.notes)
    assert bounded.perplexity_ratio is not None
    assert direct.perplexity_ratio is not None
    # The next token is always kept.
    assert bounded.columns["censored_token"].value == 0.0
    assert bounded.perplexity_ratio.value == pytest.approx(direct.perplexity_ratio.value, rel=1e-5)
    assert bounded.same_top.value == direct.same_top.value
    assert RecordedReference.open(tmp_path / "ref").censored


def test_its_own_model_loses_nothing(reference: HuggingFaceModel, tmp_path: Path) -> None:
    record(reference, tmp_path / "ref", top_k=8, **CUT)
    # log p is stored in float32, off by up to 2⁻²⁴·10 nats: KL goes with the square.
    assert compare(tmp_path / "ref", reference).percentiles["max"] <= 1e-11


def test_k_has_to_leave_a_rest(reference: HuggingFaceModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="top_k=101 of 102 events: give 1 to 100"):
        record(reference, tmp_path / "ref", top_k=101, **CUT)
    with pytest.raises(InputError, match="leave out dtype and head"):
        record(reference, tmp_path / "ref", top_k=8, dtype="bfloat16", **CUT)
    record(reference, tmp_path / "ref", top_k=100, **CUT)


def test_impossible_rows_are_refused() -> None:
    kept = keep_top(rows(4, 50, 0), torch.zeros(4, dtype=torch.int64), 5)
    twice = kept["ids"].clone()
    twice[1, 2] = twice[1, 1]
    outside = kept["ids"].clone()
    outside[0, 0] = 50 - 2**15
    cases = [
        ({"ids": twice}, "twice"),
        ({"ids": outside}, "outside"),
        ({"rest": kept["rest"] + 0.01}, "adds up to 1.01"),
        ({"rest": -kept["rest"]}, "adds up"),
        ({"log_probs": kept["log_probs"] * float("nan")}, "adds up to nan"),
        ({name: kept[name].flip(-1) for name in ("ids", "log_probs")}, "not sorted"),
    ]
    for change, message in cases:
        with pytest.raises(FileFormatError, match=message):
            expand(kept | change, 50, "here")
