"""Sums over the integers of a half-line, octave by octave, each halved until halving is idle.

A line is one direction of one element of a batch. Every line keeps its own blocks, so that a
batch of rates from 1 to 10⁹ costs what its elements cost one by one; all lines are halved in
lockstep, so that a round is a handful of tensor operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from kullback.numerics.gram import NODES, block_rules

__all__ = ["Blocks", "Refined", "Tail", "on_blocks", "refine", "tail_of"]

# [0, 32), [32, 64), …, the last one up to 2⁵³, beyond which float64 has no odd numbers.
_OCTAVES = 49

# Points asked at a time, and for each line at most.
_CHUNK = 1 << 18
_MOST_POINTS = 1 << 18

# Octaves that fall by less than this are not shown to have a finite sum.
_SLOWEST = 0.97

# Octaves that grow by more than this for good have none.
_GROWTH = 1.02

# Octaves that are asked for before looking whether there is more.
_AT_ONCE = 7

# A peak is taken in blocks of at most so many spreads, out to so many on each side.
_SPREADS_A_BLOCK, _SPREADS = 8, 12

# Where terms have a kink, two halves may be as wrong as the whole, and all three nearly agree.
_CAUTION = 10


class Blocks(NamedTuple):
    """32·2^level integers of a line from `start` on; three vectors of one length."""

    line: Tensor
    start: Tensor
    level: Tensor

    def where(self, mask: Tensor) -> Blocks:
        return Blocks(self.line[mask], self.start[mask], self.level[mask])

    def halves(self) -> Blocks:
        """All first halves, then all second ones."""
        level = self.level - 1
        middle = self.start + _length(level)
        return Blocks(
            self.line.repeat(2), torch.cat([self.start, middle]), torch.cat([level, level])
        )


@dataclass(frozen=True)
class Refined:
    """What the blocks add up to.

    Attributes:
        octaves: [channels, octaves, lines].
        error: [channels, lines], ten times what the last halving changed; +inf where points were
            not enough.
        leaves: the blocks that were summed.
        evaluations: points asked for each line.
    """

    octaves: Tensor
    error: Tensor
    leaves: Blocks
    evaluations: int


Evaluate = Callable[[Tensor], Tensor]
"""From points [n, lines] to [channels, n, lines]."""


def refine(
    evaluate: Evaluate,
    lines: int,
    peaks: tuple[Tensor, Tensor],
    tolerance: Callable[[Tensor], Tensor],
    device: torch.device,
) -> Refined:
    """Sum every channel of `evaluate` over 0, 1, 2, … < 2⁵³ on each line, or until all are 0.

    Args:
        evaluate: the channels at given points.
        lines: how many.
        peaks: centres and spreads, both [peaks, lines], around which blocks are halved unasked.
        tolerance: from the channels' sums [channels, lines] to the error that a block may have,
            of the same shape; +inf for a channel that does not matter.
        device: where.
    """
    active, sums = _outward(evaluate, lines, peaks, device)
    octaves = sums.new_zeros(sums.shape[0], _OCTAVES, lines)
    error = sums.new_zeros(sums.shape[0], lines)
    leaves: list[Blocks] = []
    evaluations = _per_line(active)

    def accept(blocks: Blocks, sums: Tensor) -> None:
        leaves.append(blocks)
        index = _octave(blocks) * lines + blocks.line
        octaves.view(sums.shape[0], -1).index_add_(1, index, sums)

    while True:
        # What is empty at all its points has no halves to compare.
        whole = (active.level == 0) | ((sums == 0).all(0) & ~_at_peak(active, peaks))
        accept(active.where(whole), sums[:, whole])
        active, sums = active.where(~whole), sums[:, ~whole]
        if not len(active.line):
            break
        halves = active.halves()
        evaluations += _per_line(halves)
        parts = _sums(evaluate, halves, lines)
        together = parts.unflatten(1, (2, -1)).sum(1)
        change = torch.where(active.level == 1, 0.0, _CAUTION * (together - sums).abs())
        totals = octaves.sum(1).index_add(1, active.line, together)
        idle = (change <= tolerance(totals)[:, active.line]).all(0)
        good = (active.level == 1) | (idle & ~_at_peak(active, peaks))
        if evaluations > _MOST_POINTS:
            change = torch.where(good, change, torch.inf)
            good = torch.ones_like(good)
        error.index_add_(1, active.line[good], change[:, good])
        both = good.repeat(2)
        accept(halves.where(both), parts[:, both])
        active, sums = halves.where(~both), parts[:, ~both]
    return Refined(octaves, error, _joined(leaves), evaluations)


def on_blocks(
    evaluate: Evaluate, blocks: Blocks, lines: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The weighted channels at the points of some blocks at a time, until all had their turn.

    Yields which blocks (indices), which of the slots each has, and [channels, slots, 32, lines].
    """
    offsets, weights = (x.to(blocks.start.device) for x in block_rules(_OCTAVES - 1))
    at_once = max(1, _CHUNK // (NODES * lines))
    slots = _slots(blocks.line, lines)
    for first in range(0, int(slots.max()) + 1, at_once):
        chosen = ((slots >= first) & (slots < first + at_once)).nonzero().squeeze(-1)
        slot, line, level = slots[chosen] - first, blocks.line[chosen], blocks.level[chosen]
        shape = int(slot.max()) + 1, NODES, lines
        points, weight = offsets.new_zeros(shape), offsets.new_zeros(shape)
        points[slot, :, line] = blocks.start[chosen].unsqueeze(-1) + offsets[level]
        weight[slot, :, line] = weights[level]
        found = evaluate(points.flatten(0, 1))
        yield chosen, slot, found.unflatten(1, shape[:2]) * weight


def _sums(evaluate: Evaluate, blocks: Blocks, lines: int) -> Tensor:
    """The sum of every channel over each block: [channels, blocks]."""
    parts, order = [], []
    for chosen, slot, found in on_blocks(evaluate, blocks, lines):
        parts.append(found.sum(2)[:, slot, blocks.line[chosen]])
        order.append(chosen)
    return torch.cat(parts, 1)[:, torch.cat(order).argsort()]


def _slots(line: Tensor, lines: int) -> Tensor:
    """For each block how many of its line come before it."""
    order = line.argsort(stable=True)
    count = torch.bincount(line, minlength=lines)
    before = (count.cumsum(0) - count)[line[order]]
    slots = torch.empty_like(line)
    slots[order] = torch.arange(len(line), device=line.device) - before
    return slots


def _outward(
    evaluate: Evaluate, lines: int, peaks: tuple[Tensor, Tensor], device: torch.device
) -> tuple[Blocks, Tensor]:
    """Octaves and their sums, until they are empty on every line and no peak lies beyond."""
    parts: list[Blocks] = []
    sums: list[Tensor] = []
    for first in range(0, _OCTAVES, _AT_ONCE):
        octaves = range(first, min(first + _AT_ONCE, _OCTAVES))
        parts.append(_whole_octaves(octaves, lines, device))
        sums.append(_sums(evaluate, parts[-1], lines))
        outermost = parts[-1].level == octaves[-1] - 1
        ahead = peaks[0] + _SPREADS * peaks[1] > NODES * 2.0 ** octaves[-1]
        if not bool(ahead.any()) and bool((sums[-1][:, outermost] == 0).all()):
            break
    return _joined(parts), torch.cat(sums, 1)


def _whole_octaves(octaves: range, lines: int, device: torch.device) -> Blocks:
    index = torch.tensor(octaves, device=device)
    level = (index - 1).clamp_min(0)
    start = torch.where(index == 0, 0.0, _length(level))
    line = torch.arange(lines, device=device).repeat_interleave(len(octaves))
    return Blocks(line, start.repeat(lines), level.repeat(lines))


def _length(level: Tensor) -> Tensor:
    """32·2^level, exactly."""
    return torch.bitwise_left_shift(torch.full_like(level, NODES), level).double()


def _octave(blocks: Blocks) -> Tensor:
    _, exponent = torch.frexp(blocks.start / NODES)
    return torch.where(blocks.start < NODES, 0, exponent).long()


def _at_peak(blocks: Blocks, peaks: tuple[Tensor, Tensor]) -> Tensor:
    """Whether a block is long beside the spread of a peak that it meets."""
    center, spread = (x[:, blocks.line] for x in peaks)
    length = _length(blocks.level)
    reach = _SPREADS * spread
    meets = (blocks.start <= center + reach) & (blocks.start + length >= center - reach)
    return (meets & (length > _SPREADS_A_BLOCK * spread)).any(0)


def _per_line(blocks: Blocks) -> int:
    return NODES * int(torch.bincount(blocks.line).max()) if len(blocks.line) else 0


def _joined(parts: list[Blocks]) -> Blocks:
    line, start, level = (torch.cat(column) for column in zip(*parts, strict=True))
    return Blocks(line, start, level)


class Tail(NamedTuple):
    """Beyond the last octave, for [channels, lines]: an estimate, its error, what is known."""

    rest: Tensor
    error: Tensor
    shown: Tensor
    grows: Tensor


def tail_of(octaves: Tensor) -> Tail:
    """A geometric series of the last octaves' ratio, or of what it tends to if it rises.

    A ratio that goes to its limit as 1/octave, as logarithms make it, has as far to go as it
    went in the last step times the number of octaves; twice that is allowed for. Growth is only
    said of a ratio that stays above 1 all the way: p log k may grow for long and have a sum.
    """
    before, last = octaves[:, -2], octaves[:, -1]
    ratio = last / torch.where(before > 0, before, torch.inf)
    earlier = before / torch.where(octaves[:, -3] > 0, octaves[:, -3], torch.inf)
    slowest = ratio + 2 * _OCTAVES * (ratio - earlier).clamp_min(0)
    shown = (slowest < _SLOWEST) | (last == 0)
    fastest = ratio - 2 * _OCTAVES * (earlier - ratio).clamp_min(0)
    grows = ~shown & (fastest > _GROWTH)
    ratio, slowest_shown = torch.where(shown, ratio, 0.0), torch.where(shown, slowest, 0.0)
    rest = last * ratio / (1 - ratio)
    bound = last * slowest_shown / (1 - slowest_shown)
    return Tail(rest, torch.where(last == 0, 0.0, bound), shown, grows)
