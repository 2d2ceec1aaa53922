"""The reference against itself: rounding, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from kullback.compare import compare
from kullback.compare.floor import again
from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.errors import InputError
from kullback.results import Comparison, Ranking

from .conftest import TEXT

MakeModel = Callable[..., HuggingFaceModel]
TEXTS = [TEXT[i : i + 120] for i in range(0, 60, 10)]


def compared(p: HuggingFaceModel, q: object, **options: object):
    return compare(p, q, text=TEXTS, context=32, warmup=8, floor=True, **options)


def test_the_floor_of_a_dtype_is_what_that_dtype_does(make_model: MakeModel) -> None:
    p, q = make_model(), make_model(seed=1)
    half = make_model()
    half.model.to(torch.bfloat16)
    q.model.to(torch.bfloat16)
    found = compared(p, q)
    alone = compare(p, half, text=TEXTS, context=32, warmup=8)
    assert found.floor is not None
    assert found.floor.kl.value == alone.kl.value > 0
    difference = found.kl.value - alone.kl.value
    assert found.floor.difference.value == pytest.approx(difference, rel=1e-9)
    assert found.floor.difference.low > 0
    assert p.model.dtype == torch.float32


def test_a_model_is_not_told_from_its_own_rounding(make_model: MakeModel) -> None:
    p, q = make_model(), make_model()
    for side in (p, q):
        side.model.to(torch.bfloat16)
    found = compared(p, q)
    assert isinstance(found, Comparison)
    assert found.floor is not None
    assert found.floor.difference.low <= 0


@pytest.mark.parametrize("together", [1, 3])
def test_other_batches_give_the_same_rows_up_to_rounding(
    make_model: MakeModel, together: int
) -> None:
    from kullback.compare.windows import cut

    p = make_model()
    ids = torch.randint(2, 100, (40,)).numpy()
    windows = cut([ids] * 3, list("abc"), context=40, warmup=8).items[:together]
    rows, others = p.rows(windows).values, again(p, p).rows(windows).values
    # float32 sums of 32 products in another order.
    torch.testing.assert_close(rows, others, rtol=1e-4, atol=1e-5)


def test_candidates_that_run_alike_share_a_floor(make_model: MakeModel) -> None:
    p = make_model()
    found = compared(p, [make_model(seed=seed) for seed in (1, 2)])
    assert isinstance(found, Ranking)
    assert len(found.comparisons) == 2
    floors = [comparison.floor for comparison in found.comparisons.values()]
    assert floors[0].kl == floors[1].kl
    assert all("noise floor" in comparison.notes[-1] for comparison in found.comparisons.values())
    short = compared(p, make_model(seed=1), max_tokens=100)
    assert "noise floor" in short.notes[-1]
    assert sum("was ended after 100" in note for note in short.notes) == 1


def test_what_was_left_on_disk_has_no_floor(tmp_path) -> None:
    import numpy as np

    for name in ("p", "q"):
        np.save(tmp_path / f"{name}.npy", np.zeros((4, 3)))
    with pytest.raises(InputError, match="a reference that can be run twice"):
        compare(tmp_path / "p.npy", tmp_path / "q.npy", floor=True)
