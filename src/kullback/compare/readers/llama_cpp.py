"""llama.cpp base-logits files (`llama-perplexity --kl-divergence-base`), and its convention.

A file holds the tokens and, for every scored position, the log-probabilities of the whole
vocabulary as 16-bit codes: log p = scale·code + minimum. Whatever lay more than 16 nats below
the top was clipped to code 0, so those events are censored: known to be small, not how small.

Layout, little-endian: 8 bytes `_logits_`, u32 n_ctx, i32 n_vocab, i32 n_chunk, the tokens as
i32 [n_chunk, n_ctx]; then for the positions n_ctx/2 … n_ctx − 2 of each chunk one row of
f32 scale, f32 minimum, u16 codes [n_vocab rounded up to even].

Source: llama.cpp, tools/perplexity/perplexity.cpp (`log_softmax`, `kl_divergence`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kullback.compare.provenance import file_hash
from kullback.compare.readers import Censoring, Rows
from kullback.compare.windows import Window, Windows, cut_as_llama_cpp
from kullback.errors import FileFormatError

__all__ = ["MAGIC", "Codes", "LlamaCppFile", "decode", "encode", "truncated_kl", "write"]

MAGIC = b"_logits_"
_HEADER_BYTES = 20
_ROW_HEADER = 4  # scale and minimum, in units of one u16 code
# float32 log p of up to 32 nats is off by 2e-6, and so is then the sum of exp(log p).
_FLOAT_SLACK = 4e-6
_DEPTH = 16.0  # nats below the top at which llama.cpp clips, and below 0 at which it skips


class Codes(NamedTuple):
    """Rows of log-probabilities as llama.cpp stores them: log p = scale·code + minimum."""

    scale: np.ndarray
    minimum: np.ndarray
    codes: np.ndarray


@dataclass(frozen=True, eq=False)
class LlamaCppFile:
    """An opened file: tokens in memory, rows left on disk and mapped as they are read."""

    path: Path
    context: int
    events: int
    windows: Windows
    stored: np.memmap
    """uint16 [positions, 4 + n_vocab rounded up to even]."""
    notes: Sequence[str] = ()
    tokenizer: None = None

    @classmethod
    def open(cls, path: Path) -> LlamaCppFile:
        """Read the header and the tokens; raises `FileFormatError` unless every byte fits."""
        context, events, chunks = _header(path)
        width = _ROW_HEADER + events + events % 2
        scored = chunks * (context - 1 - context // 2)
        tokens_bytes = 4 * chunks * context
        _check_size(path, _HEADER_BYTES + tokens_bytes + 2 * scored * width, chunks)
        tokens = np.fromfile(path, dtype="<i4", count=chunks * context, offset=_HEADER_BYTES)
        _check_tokens(path, tokens, events)
        stored = np.memmap(
            path,
            dtype="<u2",
            mode="r",
            offset=_HEADER_BYTES + tokens_bytes,
            shape=(scored, width),
        )
        windows = cut_as_llama_cpp(tokens, path.name, context=context)
        return cls(path, context, events, windows, stored)

    @property
    def name(self) -> str:
        """What messages call this source."""
        return str(self.path)

    def codes(self, windows: Sequence[Window]) -> Codes:
        """The stored rows of `windows`, one after another, as they lie on disk."""
        stored = np.concatenate([self.stored[w.offset : w.offset + w.scored] for w in windows])
        header = np.ascontiguousarray(stored[:, :_ROW_HEADER]).view("<f4")
        codes = stored[:, _ROW_HEADER : _ROW_HEADER + self.events]
        return Codes(header[:, :1], header[:, 1:], codes)

    def rows(self, windows: Sequence[Window]) -> Rows:
        """Log-probabilities [positions, events] in float32, and what is known of the censored.

        Raises `FileFormatError` at a row that cannot be one of probabilities.
        """
        stored = self.codes(windows)
        log_probs = decode(stored)
        censoring = _censoring(stored, log_probs)
        # The interval of a whole row is [low, high] around what is missing to one.
        bad = (censoring.low > censoring.high).nonzero()
        if len(bad):
            raise FileFormatError(
                f"row {windows[0].offset + int(bad[0, 0])} of {self.name!r} does not add up to 1 "
                "within its 16 bits: the file is damaged; write it again"
            )
        return Rows(log_probs, censoring)

    def provenance(self) -> dict[str, Any]:
        """Where the numbers came from: the file and its hash."""
        return {"kind": "llama.cpp base logits", "name": self.name, "sha256": file_hash(self.path)}


def _header(path: Path) -> tuple[int, int, int]:
    head = np.fromfile(path, dtype=np.uint8, count=_HEADER_BYTES).tobytes()
    if len(head) < _HEADER_BYTES or not head.startswith(MAGIC):
        raise FileFormatError(
            f"{str(path)!r} does not begin with {MAGIC.decode()!r} and three sizes: it is not a "
            "file that llama-perplexity --kl-divergence-base writes"
        )
    context, events, chunks = (int(n) for n in np.frombuffer(head, "<i4", offset=len(MAGIC)))
    if context < 3 or events < 1 or chunks < 1:
        raise FileFormatError(
            f"{str(path)!r} says n_ctx={context}, n_vocab={events}, n_chunk={chunks}, which "
            "cannot be: the file is damaged; write it again"
        )
    return context, events, chunks


def _check_size(path: Path, expected: int, chunks: int) -> None:
    actual = path.stat().st_size
    if actual != expected:
        raise FileFormatError(
            f"{str(path)!r} has {actual:,} bytes where its header ({chunks} chunks) asks for "
            f"{expected:,}: it is {'truncated' if actual < expected else 'not of this layout'}; "
            "write it again with llama-perplexity --kl-divergence-base"
        )


def _check_tokens(path: Path, tokens: np.ndarray, events: int) -> None:
    foreign = np.flatnonzero((tokens < 0) | (tokens >= events))
    if len(foreign):
        raise FileFormatError(
            f"{str(path)!r}: token {foreign[0]} is {tokens[foreign[0]]}, outside the vocabulary "
            f"of {events}: the file is damaged; write it again"
        )


def decode(stored: Codes) -> Tensor:
    """Log-probabilities in float32, [positions, events]."""
    log_probs = stored.codes.astype(np.float32)
    log_probs *= stored.scale
    log_probs += stored.minimum
    return torch.from_numpy(log_probs)


def _censoring(stored: Codes, log_probs: Tensor) -> Censoring:
    """The clipped events, and bounds of their mass: what the others leave of one.

    llama.cpp normalises before it clips, so the known events add up to less than one by just
    the clipped mass, up to the rounding of codes. That is uniform within half a step of scale,
    so Σp is off by less than six standard deviations, σ² = scale²·Σp²/12. The clipped events
    also have at most their floor each. An interval turned around says the row is damaged.
    """
    censored = torch.from_numpy(stored.codes == 0)
    minimum, scale = (torch.from_numpy(x[:, 0]).double() for x in (stored.minimum, stored.scale))
    known = log_probs.exp() * ~censored
    missing = 1 - known.sum(-1).double()
    deviation = scale / 12**0.5 * torch.linalg.vector_norm(known, dim=-1).double().clamp(max=1)
    slack = 6 * deviation + _FLOAT_SLACK
    floor = minimum.exp() * censored.sum(-1)
    return Censoring(
        censored, (missing - slack).clamp(min=0), torch.minimum(floor, missing + slack)
    )


def encode(logits: Tensor) -> Codes:
    """What llama.cpp would store for these logits: clipped 16 nats below the top, 16 bits each."""
    values = logits.float().cpu()
    top = values.amax(-1, keepdim=True)
    floor = torch.maximum(values.amin(-1, keepdim=True), top - _DEPTH)
    minimum = floor - torch.logsumexp(values.double(), -1, keepdim=True).float()
    scale = (top - floor) / 65535
    codes = torch.where(scale > 0, (values - floor) / scale, 0.0).round().clamp(0, 65535)
    return Codes(scale.numpy(), minimum.numpy(), codes.numpy().astype(np.uint16))


def truncated_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p‖q) per row as llama.cpp sums it: over log p > −16 only, p not renormalised.

    `log_p` is what the base file says, so the sum misses the tail and can be negative.
    """
    terms = log_p.exp() * (log_p - log_q)
    return torch.where(log_p > -_DEPTH, terms, 0.0).sum(-1, dtype=torch.float64)


def write(path: Path, tokens: np.ndarray, events: int, stored: Codes) -> None:
    """Write a base-logits file: `tokens` int [chunks, n_ctx], and the rows of its positions."""
    chunks, context = tokens.shape
    padding = np.zeros((len(stored.codes), events % 2), dtype="<u2")
    header = np.concatenate([stored.scale, stored.minimum], axis=1).astype("<f4").view("<u2")
    with path.open("wb") as file:
        file.write(MAGIC)
        file.write(np.array([context, events, chunks], dtype="<i4").tobytes())
        file.write(tokens.astype("<i4").tobytes())
        file.write(np.concatenate([header, stored.codes.astype("<u2"), padding], axis=1).tobytes())
