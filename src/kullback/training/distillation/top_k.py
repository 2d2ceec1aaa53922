"""A teacher that is stored: the k largest log-probabilities of each position, and the rest's.

The tokens that are not listed are one event, the tail. Its log-probability is stored as well:
one minus the sum of the others would be a difference of nearly equal numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from kullback.errors import (
    DtypeError,
    FileFormatError,
    InputError,
    MissingExtra,
    ShapeError,
)
from kullback.training.distillation.chunks import working_dtype
from kullback.training.distillation.top_k_checks import (
    check_log_probs,
    check_sizes,
    check_tokens,
    refuse_no_distribution,
)

__all__ = ["TopK", "log_sum"]

# Entries that are worked on at a time.
_CHUNK = 1 << 22


@dataclass(frozen=True, eq=False, repr=False)
class TopK:
    """What is kept of a teacher's softmax(logits/temperature) at every position, in nats.

    Shapes are checked here, and the numbers where they are used, at the positions that count:
    padding may hold anything.

    Attributes:
        indices: [..., k], the listed tokens, no token twice; `from_logits` makes them int32.
        log_probs: [..., k], their log-probabilities among the whole vocabulary, in any order.
        vocabulary: the number of tokens that the teacher chose from.
        temperature: what its logits were divided by.
        log_tail: [...], the log-probability of all other tokens together. None takes what the
            listed ones leave of 1, which is no better than their rounding: where they sum to 1
            or a rounding more, the tail is empty, and a divergence that asks how likely the
            teacher finds what the student does, such as "reverse_kl", is infinite.

    Raises:
        ShapeError: shapes that do not fit together.
        DtypeError: indices that are no integers, or log-probabilities that are not floating.
        InputError: k larger than the vocabulary, or a temperature that is not positive.

    Example:
        >>> teacher = TopK.from_logits(torch.tensor([[2.0, 0.0, 1.0, 0.0]]), k=2)
        >>> teacher.indices.tolist(), f"{teacher.log_tail.exp().item():.4f}"
        ([[0, 2]], '0.1652')
        >>> teacher
        TopK(positions=(1,), k=2, vocabulary=4, temperature=1.0)
    """

    indices: Tensor
    log_probs: Tensor
    vocabulary: int
    temperature: float = 1.0
    log_tail: Tensor | None = None

    def __repr__(self) -> str:
        *positions, k = self.indices.shape
        return (
            f"TopK(positions={tuple(positions)}, k={k}, vocabulary={self.vocabulary}, "
            f"temperature={self.temperature})"
        )

    def __post_init__(self) -> None:
        if self.indices.is_floating_point() or self.indices.dtype == torch.bool:
            raise DtypeError(f"indices have dtype {self.indices.dtype}: pass token ids")
        for x, name in ((self.log_probs, "log_probs"), (self.log_tail, "log_tail")):
            if x is not None and not x.is_floating_point():
                raise DtypeError(f"{name} has dtype {x.dtype}: pass floating log-probabilities")
        shape = self.indices.shape
        if self.log_probs.shape != shape or not shape or not shape[-1]:
            raise ShapeError(
                f"indices of shape {tuple(shape)} and log_probs {tuple(self.log_probs.shape)}: "
                "both are [..., k], one log-probability for each listed token"
            )
        if self.log_tail is not None and self.log_tail.shape != shape[:-1]:
            raise ShapeError(
                f"log_tail has shape {tuple(self.log_tail.shape)} and the positions "
                f"{tuple(shape[:-1])}: give one for each position"
            )
        check_sizes(self.k, self.vocabulary, self.temperature)

    @property
    def k(self) -> int:
        return self.indices.shape[-1]

    @classmethod
    def from_logits(cls, logits: Tensor, k: int, temperature: float = 1.0) -> TopK:
        """The k most probable tokens of each position, the most probable first.

        Args:
            logits: [..., vocabulary], of any floating dtype; a few million are worked on at a
                time, in float32 (float64 if they are).
            k: how many to keep; the whole vocabulary loses nothing.
            temperature: the logits are divided by it.

        Raises:
            DtypeError: logits that are not floating.
            ShapeError: logits without a vocabulary.
            InputError: k or temperature out of range.
            NonFiniteError: NaN or +inf, or a row of −inf; the message says where.
        """
        if not logits.is_floating_point():
            raise DtypeError(f"logits have dtype {logits.dtype}: pass floating logits")
        if not logits.dim() or not logits.shape[-1]:
            raise ShapeError(f"logits of shape {tuple(logits.shape)} have no token to predict")
        shape, vocabulary = logits.shape[:-1], logits.shape[-1]
        check_sizes(k, vocabulary, temperature)
        rows, dtype = logits.detach().reshape(-1, vocabulary), working_dtype(logits)
        indices = torch.empty(len(rows), k, dtype=torch.int32, device=logits.device)
        log_probs = torch.empty(len(rows), k, dtype=dtype, device=logits.device)
        log_tail = torch.empty(len(rows), dtype=dtype, device=logits.device)
        step = max(1, _CHUNK // vocabulary)
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            scaled = rows[part].to(dtype) / temperature
            top, index = scaled.topk(k)
            rest = log_sum(scaled.scatter_(1, index, -torch.inf))
            whole = torch.logaddexp(log_sum(top), rest)
            refuse_no_distribution(whole, rows[part], start)
            indices[part] = index.int()
            log_probs[part] = (top - whole).to(dtype)
            log_tail[part] = (rest - whole).squeeze(-1).to(dtype)
        listed = (*shape, k)
        return cls(
            indices.view(listed), log_probs.view(listed), vocabulary, temperature,
            log_tail.view(shape),
        )  # fmt: skip

    @classmethod
    def load(cls, path: str | PathLike[str]) -> TopK:
        """The record that `save` wrote.

        Raises:
            FileFormatError: a file that is damaged, or was not written by `save`.
            MissingExtra: safetensors is not installed.
        """
        try:
            from safetensors import SafetensorError, safe_open
        except ImportError as error:
            raise MissingExtra("safetensors", "models") from error
        try:
            with safe_open(path, framework="pt") as file:
                said = file.metadata() or {}
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls(
                vocabulary=int(said["vocabulary"]), temperature=float(said["temperature"]), **found
            )
        except SafetensorError as error:
            raise FileFormatError(
                f"{str(path)!r} is no whole .safetensors file: {error}"
            ) from error
        except (KeyError, TypeError) as error:
            raise FileFormatError(
                f"{str(path)!r} holds no top-k record: it was not written by TopK.save ({error})"
            ) from error

    def save(self, path: str | PathLike[str]) -> None:
        """Write the record as a safetensors file, from which `load` makes the same.

        Raises:
            MissingExtra: safetensors is not installed.
        """
        try:
            from safetensors.torch import save_file
        except ImportError as error:
            raise MissingExtra("safetensors", "models") from error
        tensors = {"indices": self.indices, "log_probs": self.log_probs, "log_tail": self.log_tail}
        save_file(
            {name: x.contiguous() for name, x in tensors.items() if x is not None},
            path,
            {"vocabulary": str(self.vocabulary), "temperature": repr(float(self.temperature))},
        )

    def to(self, device: torch.device | str) -> TopK:
        """The same record on another device."""
        tail = self.log_tail
        return replace(
            self,
            indices=self.indices.to(device),
            log_probs=self.log_probs.to(device),
            log_tail=None if tail is None else tail.to(device),
        )

    def truncated(self, k: int) -> TopK:
        """The record with the k most probable of the listed tokens; the others join the tail.

        Raises:
            InputError: k larger than what is listed, or less than 1.
        """
        if not 1 <= k <= self.k:
            raise InputError(
                f"k={k}: this record lists {self.k} tokens a position, so at most that"
            )
        log_probs, order = self.log_probs.sort(dim=-1, descending=True)
        tail = self._tail(self.log_probs, self.log_tail)
        dropped = log_probs[..., k:]
        joined = torch.cat([dropped.double(), tail], -1).logsumexp(-1)
        return replace(
            self,
            indices=self.indices.gather(-1, order[..., :k]),
            log_probs=log_probs[..., :k],
            log_tail=joined.to(self.log_probs.dtype),
        )

    def cells(
        self, rows: Any, places: Sequence[int] | Tensor, validate: bool
    ) -> tuple[Tensor, Tensor]:
        """(tokens int64 [n, k], log-probabilities float64 [n, k + 1]) of flattened positions.

        `rows` picks them and `places` are their numbers. The tail is last; that of a complete
        vocabulary has no mass.

        Raises:
            InputError: a token out of range or listed twice.
            NonFiniteError: NaN.
            SpaceError: log-probabilities that are none; the message says at which position.
        """
        tokens = self.indices.reshape(-1, self.k)[rows].long()
        log_probs = self.log_probs.detach().reshape(-1, self.k)[rows]
        log_tail = None if self.log_tail is None else self.log_tail.detach().reshape(-1)[rows]
        tail = self._tail(log_probs, log_tail)
        cells = torch.cat([log_probs.double(), tail], -1)
        if validate:
            check_tokens(tokens, self.vocabulary, places)
            check_log_probs(cells, self.log_probs.dtype, self.vocabulary, places)
        return tokens, cells

    def _tail(self, log_probs: Tensor, log_tail: Tensor | None) -> Tensor:
        """The tail's log-probability, [..., 1] in float64: as stored, or log(1 − Σ p)."""
        if log_tail is not None:
            return log_tail.double().unsqueeze(-1)
        log_listed = log_probs.double().logsumexp(-1, keepdim=True)
        if self.k == self.vocabulary:
            return torch.full_like(log_listed, -torch.inf)
        # Maechler (2012), Accurately Computing log(1 − exp(−|a|)); where the listed ones sum to
        # more than 1 by rounding, nothing is left.
        left = torch.where(
            log_listed > -math.log(2), (-torch.expm1(log_listed)).log(), (-log_listed.exp()).log1p()
        )
        return torch.where(log_listed >= 0, -torch.inf, left)


def log_sum(x: Tensor) -> Tensor:
    """log Σ exp(x) over the last dimension, which is kept, in float64; −inf for a row of −inf."""
    top = x.amax(-1, keepdim=True)
    shift = torch.where(top == -torch.inf, 0.0, top)
    summed = (x - shift).exp_().sum(-1, keepdim=True, dtype=torch.float64)
    return summed.log() + shift
