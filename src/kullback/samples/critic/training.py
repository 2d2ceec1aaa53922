"""Critics trained to tell P from Q, stopped where a second part of the draws says so.

The score is to be v = log p/q, whatever divergence is asked for, since f′(e^v) is the best T of
each. So all are trained in one game, that of Goodfellow et al. (2014), whose loss is bounded in
the tails: raised directly, the bound of KL runs away with e^v of a few draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from kullback.samples.critic.network import Weights, scores, starting_weights

__all__ = ["FOLDS", "Ceiling", "Scores", "trained_scores"]

FOLDS = 5
_TRAINED = 2
"""Critic k is judged on fold k, watched on fold k + 1, and trained from fold k + 2 on."""
_BATCH = 256
_LEARNING_RATE = 1e-2
_DECAY = 1e-2
_KEEP = 0.95
_MOST_CHECKS = 200
_LEAST_STEPS = 8


class Ceiling(NamedTuple):
    """v of every draw by a critic that was trained on it, float64 [n] and [m]."""

    p: Tensor
    q: Tensor


@dataclass(frozen=True)
class Scores:
    """What the critics say: v of every draw.

    Attributes:
        p, q: by the critic that has not seen the draw, float64 [n] and [m].
        best: by one that was trained on the draw, at its best check.
        last: by the same at the end of the training.
        finite: whether every weight stayed a number.
    """

    p: Tensor
    q: Tensor
    best: Ceiling
    last: Ceiling
    finite: bool


def trained_scores(p: Tensor, q: Tensor, *, width: int, patience: int, seed: int) -> Scores:
    """Train a critic for each fold and score every draw by those that did and did not see it."""
    chance = np.random.default_rng(seed)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    folds = [_folds(len(side), chance) for side in (p, q)]
    with torch.enable_grad():
        weights = starting_weights(FOLDS, p.shape[1], width, generator)
        best, last = _Race(p, q, folds, weights, generator).run(patience)

    def by(weights: Weights, shift: int) -> Ceiling:
        return Ceiling(
            *(_by_fold(weights, z, f, shift) for z, f in zip((p, q), folds, strict=True))
        )

    with torch.no_grad():
        held = by(best, 0)
        finite = all(bool(w.isfinite().all()) for w in last)
        return Scores(held.p, held.q, by(best, _TRAINED), by(last, _TRAINED), finite)


def _folds(count: int, chance: np.random.Generator) -> Tensor:
    """The draws in a random order, [folds, rows], filled up with −1."""
    order = chance.permutation(count)
    rows = -(-count // FOLDS)
    padded = np.full(rows * FOLDS, -1)
    padded[:count] = order
    return torch.from_numpy(padded.reshape(rows, FOLDS).T.copy())


def _part(folds: Tensor, first: int, count: int) -> Tensor:
    """For critic k the draws of folds k + first … k + first + count − 1, [folds, rows]."""
    whole = folds[:, (folds >= 0).all(0)]
    return torch.stack(
        [torch.cat([whole[(k + first + i) % FOLDS] for i in range(count)]) for k in range(FOLDS)]
    )


def _by_fold(weights: Weights, z: Tensor, folds: Tensor, shift: int) -> Tensor:
    """v of every draw: of fold k + shift by critic k."""
    found = torch.empty(len(z), dtype=torch.float64, device="cpu")
    moved = folds.roll(-shift, 0)
    rows = z[moved.clamp(min=0)]
    values = scores(weights, rows).double()
    kept = moved >= 0
    found[moved[kept]] = values[kept]
    return found


class _Race:
    """The critics of all folds on their way: each keeps the weights of its best check."""

    def __init__(
        self,
        p: Tensor,
        q: Tensor,
        folds: list[Tensor],
        weights: Weights,
        generator: torch.Generator,
    ) -> None:
        self.sides = (p, q)
        self.train = [_part(rows, _TRAINED, FOLDS - _TRAINED) for rows in folds]
        self.watched = [z[_part(rows, 1, 1)] for z, rows in zip((p, q), folds, strict=True)]
        self.mean = [w.clone() for w in weights]
        self.weights = [w.requires_grad_() for w in weights]
        self.generator = generator
        self.optimiser = torch.optim.AdamW(
            self.weights, lr=_LEARNING_RATE, weight_decay=_DECAY, foreach=True
        )
        self.checks = 0

    def run(self, patience: int) -> tuple[Weights, Weights]:
        """Train until no critic got better for `patience` checks: the best and last weights."""
        best = [w.clone() for w in self.mean]
        least = self._watch()
        waited = torch.zeros(FOLDS, dtype=torch.int64, device="cpu")
        longest = min(part.shape[1] for part in self.train)
        batch = min(_BATCH, longest)
        steps = max(_LEAST_STEPS, longest // batch)
        while self.checks < _MOST_CHECKS and bool((waited < patience).any()):
            for _ in range(steps):
                self._step(batch)
            self.checks += 1
            loss = self._watch()
            better = loss < least
            least = torch.where(better, loss, least)
            waited = torch.where(better, 0, waited + 1)
            for kept, now in zip(best, self.mean, strict=True):
                kept[better] = now[better]
        return best, self.mean

    def _step(self, batch: int) -> None:
        drawn = [self._drawn(part, batch) for part in self.train]
        z = torch.cat([side[d] for side, d in zip(self.sides, drawn, strict=True)], dim=1)
        v = scores(self.weights, z)
        loss = softplus(-v[:, :batch]).mean(1) + softplus(v[:, batch:]).mean(1)
        self.optimiser.zero_grad()
        loss.sum().backward()
        self.optimiser.step()
        for mean, now in zip(self.mean, self.weights, strict=True):
            mean.lerp_(now.detach(), 1 - _KEEP)

    def _drawn(self, part: Tensor, batch: int) -> Tensor:
        at = torch.randint(part.shape[1], (FOLDS, batch), generator=self.generator, device="cpu")
        return part.gather(1, at)

    def _watch(self) -> Tensor:
        """The loss on the second part, by critic."""
        with torch.no_grad():
            on_p, on_q = (scores(self.mean, z) for z in self.watched)
            return softplus(-on_p).mean(1) + softplus(on_q).mean(1)
