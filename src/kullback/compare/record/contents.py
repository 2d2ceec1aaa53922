"""What a recording keeps of a batch of positions: hidden states, or the largest probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from kullback import kernels
from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.compare.record.head import Head, hidden_and_logits
from kullback.compare.record.top_k import keep_top
from kullback.compare.windows import Window
from kullback.errors import InputError, NonFiniteError

__all__ = ["Content", "Hidden", "Kept", "TopK"]


class Kept(NamedTuple):
    """Tensors with one row for each position, and KL(exact‖stored) of each in nats, [n]."""

    tensors: dict[str, Tensor]
    kl: Tensor


class Content(Protocol):
    """What is kept of each position."""

    def keep(self, windows: Sequence[Window]) -> Kept:
        """What is kept of the scored positions of `windows`, which have one shape."""
        ...


class Hidden:
    """The states that the head reads, in `dtype`, and what rounding them to it loses."""

    def __init__(self, source: HuggingFaceModel, head: Head, dtype: torch.dtype) -> None:
        self.source, self.head, self.dtype = source, head, dtype

    def keep(self, windows: Sequence[Window]) -> Kept:
        """Hidden states; raises `NonFiniteError` where they, or rounded ones, are not finite."""
        with torch.inference_mode():
            hidden, logits = hidden_and_logits(self.source, windows)
            _check_finite(logits, windows, "logits", "the model overflows, run it in float32")
            stored = hidden.to(self.dtype)
            advice = f"{self.dtype} does not hold them, leave out --dtype or give bfloat16"
            _check_finite(stored, windows, "hidden states", advice)
            kl = torch.zeros(len(stored), dtype=torch.float64)
            if stored.dtype != hidden.dtype:
                kl = _kl(logits, self.head.logits(stored))
        return Kept({"hidden": stored.cpu()}, kl)


class TopK:
    """The k largest probabilities, the next token's, and the mass of the rest."""

    def __init__(self, source: HuggingFaceModel, k: int) -> None:
        if not 1 <= k <= source.events - 2:
            raise InputError(
                f"top_k={k} of {source.events} events: give 1 to {source.events - 2}, or leave it "
                "out to record everything"
            )
        self.source, self.k = source, k

    def keep(self, windows: Sequence[Window]) -> Kept:
        """Log-probabilities, their tokens and the rest; raises `NonFiniteError` at a NaN."""
        logits = self.source.rows(windows).values
        _check_finite(logits, windows, "logits", "the model overflows, run it in float32")
        targets = torch.from_numpy(np.concatenate([window.targets for window in windows]))
        tensors = keep_top(logits, targets.to(logits.device), self.k)
        return Kept(
            {name: tensor.cpu() for name, tensor in tensors.items()},
            torch.zeros(len(logits), dtype=torch.float64),
        )


def _kl(p: Tensor, q: Tensor) -> Tensor:
    target = torch.zeros(len(p), dtype=torch.int64, device=p.device)
    return kernels.for_device(p, q).row_statistics(p, q, target).kl.double().cpu()


def _check_finite(values: Tensor, windows: Sequence[Window], what: str, advice: str) -> None:
    # A logit of −inf rules a token out, and is meant.
    broken = values.isnan() | (values.isposinf() if what == "logits" else values.isinf())
    if broken.any():
        row = int(broken.any(-1).nonzero()[0, 0])
        window = windows[row // windows[0].scored]
        place = window.first_position + row % windows[0].scored
        raise NonFiniteError(
            f"the {what} are not finite in window {window.chunk} at position {place}: {advice}"
        )
