"""The few events that a reader wants to see of a position: each side's most probable ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kullback.compare.readers import Rows

__all__ = ["TopEvents", "top_events"]


@dataclass(frozen=True)
class TopEvents:
    """Events and their probabilities on both sides, each [n, 2k].

    The first k are the most probable of P, the others those of Q, each in falling order; an event
    that is among both stands there twice. To KL(P‖Q) an event adds p·log(p/q) − p + q.
    """

    events: np.ndarray
    p: np.ndarray
    q: np.ndarray


def top_events(p: Rows, q: Rows, statistics: Mapping[str, Tensor], k: int) -> TopEvents:
    """The `k` most probable events of each side, whose `statistics` a kernel has given.

    A side's normaliser is the logit of its top event less that event's log-probability.
    """
    k = min(k, p.values.shape[1])
    events = torch.cat([rows.values.topk(k, dim=-1).indices for rows in (p, q)], dim=-1)
    probabilities = []
    for side, rows in (("p", p), ("q", q)):
        top = rows.values.gather(-1, statistics[f"top_{side}"].unsqueeze(-1)).double()
        normalizer = top - statistics[f"top_prob_{side}"].double().log().unsqueeze(-1)
        probabilities.append((rows.values.gather(-1, events).double() - normalizer).exp())
    return TopEvents(*(x.cpu().numpy() for x in (events, *probabilities)))
