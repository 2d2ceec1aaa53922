"""Names of devices and dtypes: refused before a model is loaded, and not after."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kullback.compare.readers import hugging_face
from kullback.compare.readers.placement import pick_device, pick_dtype
from kullback.errors import InputError


@pytest.mark.parametrize("device", ["cuda:99", "meta", "no such device", "cpu:x"])
def test_a_device_that_cannot_be_used_is_refused(device: str) -> None:
    with pytest.raises(InputError, match=r"choose auto|cannot be used here"):
        pick_device(device)


def test_the_device_is_checked_before_the_model_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cuda:99"):
        hugging_face.load(tmp_path / "absent", device="cuda:99")


def test_dtypes_by_name() -> None:
    assert pick_dtype(None, "auto") == "auto"
    assert pick_dtype("float16", None) == pick_dtype(torch.float16, None) == torch.float16
    for wrong in ("int8", "float33", torch.int8):
        with pytest.raises(InputError, match="choose auto, float32"):
            pick_dtype(wrong, None)
