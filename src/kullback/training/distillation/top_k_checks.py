"""Whether a stored teacher is one: its sizes, its tokens, its log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from kullback.errors import InputError, NonFiniteError, SpaceError


def check_sizes(k: int, vocabulary: int, temperature: float) -> None:
    """Raises InputError: k or temperature out of range."""
    if not 1 <= k <= vocabulary:
        raise InputError(
            f"k={k}: between 1 and the {vocabulary} tokens of the vocabulary can be kept"
        )
    if not (temperature > 0 and math.isfinite(temperature)):
        raise InputError(f"temperature={temperature}: it must be positive, such as 2.0")


def refuse_no_distribution(log_normalizers: Tensor, logits: Tensor, start: int) -> None:
    """Raises NonFiniteError: a row of logits without a normaliser; the first row is `start`."""
    bad = ~log_normalizers.isfinite().squeeze(-1)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        wrong = logits[row].isnan() | (logits[row] == torch.inf)
        if not bool(wrong.any()):
            raise NonFiniteError(
                f"logits, position {start + row}: every logit is −inf, so no token is left; leave "
                "the position out"
            )
        token = int(wrong.nonzero()[0])
        raise NonFiniteError(
            f"logits, position {start + row}: token {token} has the logit "
            f"{float(logits[row, token])}. Look for an overflow where it was computed, or leave "
            "the position out"
        )


def check_tokens(tokens: Tensor, vocabulary: int, places: Sequence[int] | Tensor) -> None:
    """Raises InputError: a token out of range or listed twice, at one of `places`."""
    outside = (tokens < 0) | (tokens >= vocabulary)
    if bool(outside.any()):
        row, column = outside.nonzero()[0].tolist()
        raise InputError(
            f"indices, position {int(places[row])}: token {int(tokens[row, column])} is not "
            f"among the vocabulary's {vocabulary}, 0 to {vocabulary - 1}"
        )
    in_order = tokens.sort(-1).values
    twice = in_order[:, 1:] == in_order[:, :-1]
    if bool(twice.any()):
        row, column = twice.nonzero()[0].tolist()
        raise InputError(
            f"indices, position {int(places[row])}: token {int(in_order[row, column])} is "
            "listed twice; add up its probabilities, or mask the position if it is padding"
        )


def check_log_probs(
    cells: Tensor, dtype: torch.dtype, vocabulary: int, places: Sequence[int] | Tensor
) -> None:
    """Raises NonFiniteError for NaN, SpaceError where the cells of a place are no distribution."""
    if bool(cells.isnan().any()):
        row, column = cells.isnan().nonzero()[0].tolist()
        where = "the tail" if column == cells.shape[-1] - 1 else f"entry {column}"
        raise NonFiniteError(
            f"log_probs, position {int(places[row])}: {where} is NaN; look where it was "
            "computed, or mask the position"
        )
    # Rounding log p to a relative eps moves Σ p by at most eps·H, and H ≤ log V.
    eps = torch.finfo(dtype).eps
    slack = max(1e-3, eps * math.log(vocabulary))
    if bool((cells > slack).any()):
        row, column = (cells > slack).nonzero()[0].tolist()
        raise SpaceError(
            f"log_probs, position {int(places[row])}: {float(cells[row, column]):.6g} is "
            "positive, so it is no log-probability; take logits.log_softmax(-1) first"
        )
    total = cells.exp().sum(-1)
    if bool(((total - 1).abs() > slack).any()):
        row = int(((total - 1).abs() > slack).nonzero()[0])
        raise SpaceError(
            f"log_probs, position {int(places[row])}: with the tail they sum to "
            f"{float(total[row]):.6g} instead of 1; normalise over the whole vocabulary, not "
            "over the listed tokens alone"
        )
