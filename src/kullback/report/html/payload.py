"""The positions of one candidate, packed for the page: about 30 bytes each before base64.

A payload is deflated; inside it are, little-endian,

| what | as |
| --- | --- |
| length of the head | uint32 |
| head | JSON: the sizes below, the shown texts, names of documents, stretches of unbroken text |
| `token` | index into the texts, a position each |
| `kl`, `next_p`, `next_q` | codes of the KL and of both probabilities of the next token |
| `flags` | number of events, + 128 where the top tokens differ |
| `event` | index into the texts; events one position after another |
| `p`, `q`, `part` | codes of both probabilities and of what the event adds to the KL |

Numbers wider than a byte are stored plane by plane, all lowest bytes first, and q's code as its
difference from p's: both make runs of equal bytes, which deflate well. Of each side the first few
top events are kept, each once, in falling order of p. A code is what `codes` says.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from kullback.report.html.codes import encode, encode_probabilities
from kullback.report.html.positions import Positions
from kullback.report.html.tokens import Vocabulary

__all__ = ["Payload", "pack", "packed_within"]

SWAPPED = 128
_LEAST_SHOWN = 1e-7
"""Events are in float32, whose rounding is what a smaller contribution would show."""


@dataclass(frozen=True)
class Payload:
    """Deflated and in base64; how many positions it has, and how many top events of each side."""

    text: str
    positions: int
    events: int


def packed_within(
    positions: Positions, vocabulary: Vocabulary, limit: int, most: int = 10
) -> Payload:
    """The payload with as many events as fit `limit` characters, then of as many positions."""
    kept = 1 if positions.top is None else min(positions.top.events.shape[1] // 2, most)
    for events in [k for k in (kept, 3, 2, 1) if k <= kept]:
        payload = pack(positions, vocabulary, events, len(positions))
        if len(payload.text) <= limit:
            return payload
    count = len(positions)
    while len(payload.text) > limit and count > 1:
        count = max(min(int(0.97 * count * limit / len(payload.text)), count - 1), 1)
        payload = pack(positions, vocabulary, events, count)
    return payload


def pack(positions: Positions, vocabulary: Vocabulary, events: int, count: int) -> Payload:
    """The first `count` positions with the top `events` of each side."""
    token = positions["token"][:count]
    ids, p, q, kept = _events(positions, events, count)
    sizes = kept.sum(1)
    event, p, q = ids[kept], p[kept].astype(np.float64), q[kept].astype(np.float64)
    shown, place = np.unique(np.concatenate([token, event]), return_inverse=True)
    finite = np.repeat(np.isfinite(positions["kl"][:count]), sizes)
    code_p = encode_probabilities(p)
    next_p, next_q = (
        encode_probabilities(np.exp(positions[f"log_prob_{side}"][:count])) for side in "pq"
    )
    swapped = positions["top_p"][:count] != positions["top_q"][:count]
    width = 2 if len(shown) < 1 << 16 else 3
    head = {
        "n": count,
        "m": len(event),
        "width": width,
        "texts": [vocabulary.shown(int(i)) for i in shown],
        **_stretches(positions, count),
    }
    planes = [
        _planes(place[:count], width),
        _planes(encode(positions["kl"][:count]), 2),
        _planes(next_p, 2),
        _planes(next_q - next_p, 2),
        _planes(sizes + SWAPPED * swapped, 1),
        _planes(place[count:], width),
        _planes(code_p, 2),
        _planes(encode_probabilities(q) - code_p, 2),
        _planes(encode(_contributions(p, q, finite)), 2),
    ]
    return Payload(_deflated(head, planes), count, events)


def _deflated(head: dict[str, Any], planes: list[bytes]) -> str:
    # ASCII escapes keep the head valid whatever the texts hold.
    start = json.dumps(head, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    whole = b"".join([struct.pack("<I", len(start)), start, *planes])
    return base64.b64encode(zlib.compress(whole, 9)).decode("ascii")


def _planes(values: np.ndarray, width: int) -> bytes:
    whole = values.astype(np.int64)
    return b"".join(((whole >> 8 * i) & 255).astype(np.uint8).tobytes() for i in range(width))


def _events(positions: Positions, k: int, count: int) -> tuple[np.ndarray, ...]:
    """Events, p and q, each [count, 2k], by falling p; and which of them are kept."""
    if positions.top is None:
        ids, p, q = _tops_only(positions, count)
    else:
        half = positions.top.events.shape[1] // 2
        columns = [*range(k), *range(half, half + k)]
        top = positions.top
        ids, p, q = (x[:count, columns] for x in (top.events, top.p, top.q))
    repeated = np.zeros(ids.shape, bool)
    for j in range(1, ids.shape[1]):
        repeated[:, j] = (ids[:, :j] == ids[:, j : j + 1]).any(1)
    # Of equally probable events the side's own top one stands first.
    first = ids == positions["top_p"][:count, None]
    order = np.lexsort((~first, -np.nan_to_num(p, nan=-1.0)), axis=1)
    return tuple(np.take_along_axis(x, order, 1) for x in (ids, p, q, ~repeated))


def _tops_only(positions: Positions, count: int) -> tuple[np.ndarray, ...]:
    """Of a table without events: each side's top one, whose other probability may be unknown."""
    p, q = (positions[f"top_{side}"][:count] for side in "pq")
    prob_p, prob_q = (positions[f"top_prob_{side}"][:count] for side in "pq")
    same = p == q
    return (
        np.stack([p, q], 1),
        np.stack([prob_p, np.where(same, prob_p, np.nan)], 1),
        np.stack([np.where(same, prob_q, np.nan), prob_q], 1),
    )


def _contributions(p: np.ndarray, q: np.ndarray, finite: np.ndarray) -> np.ndarray:
    """p·log(p/q) − p + q of each event, in the form that does not cancel.

    NaN where it is not known: q is too small for float32, but the position's KL is finite.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        d = np.log(q) - np.log(p)
        part = np.where(p == 0, q, p * (np.expm1(d) - d))
    part = np.where((part > 0) & (part < _LEAST_SHOWN), _LEAST_SHOWN / 10, part)
    return np.where(np.isinf(part) & finite, np.nan, part)


def _stretches(positions: Positions, count: int) -> dict[str, Any]:
    """Where unbroken text begins, with its document, chunk and first position."""
    starts = np.flatnonzero(~positions.joined[:count])
    order = sorted(positions.documents)
    places = {document: i for i, document in enumerate(order)}
    rows = [
        [int(s), places[int(positions["document_index"][s])], *_place(positions, int(s))]
        for s in starts
    ]
    return {
        "documents": [positions.documents[i] for i in order],
        "stretches": rows,
    }


def _place(positions: Positions, row: int) -> tuple[int, int]:
    return int(positions["chunk"][row]), int(positions["position"][row])
