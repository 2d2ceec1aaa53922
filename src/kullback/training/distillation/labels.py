"""The cross-entropy of the labels that count, from logits or from hidden states."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# A label that does not count, as transformers has it.
IGNORED = -100

# Logits that are made at a time.
_CHUNK = 1 << 23


def cross_entropy(student: Any, targets: Tensor) -> Tensor:
    """Summed over the counted positions; from hidden states a few positions at a time."""
    counted = targets != IGNORED
    labels = targets[counted].to(torch.long)
    entries = (student if isinstance(student, Tensor) else student.hidden)[counted]
    if isinstance(student, Tensor):
        return _summed_cross_entropy(entries, labels)
    step = max(1, _CHUNK // student.head.out_features)
    losses = [
        checkpoint(
            lambda h, y: _summed_cross_entropy(student.logits(h), y),
            entries[start : start + step],
            labels[start : start + step],
            use_reentrant=False,
        )
        for start in range(0, len(labels), step)
    ]
    # Where nothing counts, the empty sum that belongs to the graph.
    return torch.stack(losses).sum() if losses else entries.sum()


def _summed_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return torch.nn.functional.cross_entropy(wide, labels, reduction="sum")
