"""The k largest probabilities of each position, the next token's, and the mass of all others.

That bounds the size of a record whatever the vocabulary. The others are known to be at most the
k-th largest each, and to have one mass together, which is exact: the divergences over the kept
tokens and the rest as one event are, by data processing, at most those over the vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kullback.compare.readers import Censoring, Rows
from kullback.compare.record.files import Layout
from kullback.errors import FileFormatError

__all__ = ["expand", "keep_top", "layout"]

_SMALL = 1 << 16


def layout(positions: int, k: int, events: int) -> Layout:
    """Names, dtypes and shapes of what is stored of so many positions."""
    shape = (positions, k + 1)
    return {
        "log_probs": (("F32",), shape),
        "ids": (("I16" if events <= _SMALL else "I32",), shape),
        "rest": (("F64",), shape[:1]),
    }


def keep_top(logits: Tensor, targets: Tensor, k: int) -> dict[str, Tensor]:
    """What is kept of rows of logits [n, events]: k + 1 of each, and the mass of the rest.

    The first k are the largest, in descending order; the last is the next token where it is not
    among these, and the next largest where it is. Sums are in float64.

    >>> kept = keep_top(torch.tensor([[0.5, 0.2, 0.2, 0.1]]).log(), torch.tensor([3]), 1)
    >>> (kept["ids"] + 2**15).tolist(), [round(x, 6) for x in kept["rest"].tolist()]
    ([[0, 3]], [0.4])
    """
    logits = logits.double()
    log_probs = logits - logits.logsumexp(-1, keepdim=True)
    ids = log_probs.topk(k + 1, dim=-1).indices
    missing = (ids != targets.unsqueeze(-1)).all(-1)
    ids[:, k] = torch.where(missing, targets, ids[:, k])
    kept = log_probs.gather(-1, ids)
    rest = log_probs.scatter(-1, ids, -torch.inf).logsumexp(-1).exp()
    # safetensors and torch know few operations on unsigned 16 bits, so ids are moved to signed.
    small = logits.shape[1] <= _SMALL
    stored = (ids - _SMALL // 2).to(torch.int16) if small else ids.to(torch.int32)
    return {"log_probs": kept.float(), "ids": stored, "rest": rest}


def expand(kept: dict[str, Tensor], events: int, where: str) -> Rows:
    """Rows of log-probabilities in which all but the kept tokens are censored.

    Raises `FileFormatError` where the rows cannot be what `keep_top` makes.
    """
    log_probs, rest = kept["log_probs"], kept["rest"]
    k = log_probs.shape[1] - 1
    ids = kept["ids"].long() + (_SMALL // 2 if events <= _SMALL else 0)
    _check(log_probs, ids, rest, events, where)
    bound = torch.minimum(log_probs[:, k - 1], rest.log().float())
    values = bound.unsqueeze(-1).repeat(1, events).scatter_(-1, ids, log_probs)
    others = torch.ones(values.shape, dtype=torch.bool).scatter_(-1, ids, False)
    return Rows(values, Censoring(others, rest, rest))


def _check(log_probs: Tensor, ids: Tensor, rest: Tensor, events: int, where: str) -> None:
    if ids.min() < 0 or ids.max() >= events:
        raise FileFormatError(f"{where} has a token outside of its {events} events: record again")
    if (ids.sort(-1).values.diff(dim=-1) == 0).any():
        raise FileFormatError(f"{where} has a token twice at one position: record again")
    total = log_probs.double().exp().sum(-1) + rest
    # A log-probability of up to 100 nats is off by 2⁻²⁵·100 in float32, relative to its own share.
    bad = ~((total - 1).abs() <= 1e-5) | ~(rest >= 0)
    if bad.any():
        row = int(bad.nonzero()[0, 0])
        raise FileFormatError(
            f"position {row} of {where} adds up to {float(total[row]):.6g} instead of 1: the "
            "record is damaged; record again"
        )
    if not (log_probs[:, 1:-1] <= log_probs[:, :-2]).all():
        raise FileFormatError(f"{where} is not sorted by probability: record again")
