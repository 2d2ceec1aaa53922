"""A small reference, a candidate, and a recording of the first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.compare.record import record
from kullback.compare.record.recording import Recording

from ..conftest import TEXT

CUT: dict[str, Any] = {"text": [TEXT, TEXT[40:], TEXT[90:]], "context": 32, "warmup": 8}


@pytest.fixture
def reference(make_model: Callable[..., HuggingFaceModel]) -> HuggingFaceModel:
    return make_model(0)


@pytest.fixture
def candidate(reference: HuggingFaceModel, make_model: Callable[..., Any]) -> HuggingFaceModel:
    """The reference with noise on its weights: a candidate that is close."""
    near = make_model(0)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in near.model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.add_(0.05 * weight.std().nan_to_num() * noise)
    return near


@pytest.fixture
def recorded(reference: HuggingFaceModel, tmp_path: Path) -> Recording:
    return record(reference, tmp_path / "ref", shard_windows=4, **CUT)
