"""Sums over consecutive integers from 32 of them: Gauss's quadrature for counting.

The Gauss nodes of the uniform weight on L points (the zeros of a Gram polynomial), rounded to
integers, carry weights that sum every polynomial of degree 31 exactly. Smooth terms over an
octave of 2⁴⁰ integers are so summed to the last digits, and nothing is ever asked between
integers.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

__all__ = ["NODES", "block_rules"]

NODES = 32


@functools.cache
def block_rules(levels: int) -> tuple[Tensor, Tensor]:
    """Offsets and positive weights, both [levels, 32], for 32·2^level consecutive integers.

    Source: Gautschi (2004), Orthogonal Polynomials, section 1.5.2 (discrete Chebyshev
    polynomials) and theorem 3.1.

    Example:
        >>> offsets, weights = block_rules(5)
        >>> round(float(weights[4] @ offsets[4] ** 3)), sum(k**3 for k in range(32 * 2**4))
        (17112825856, 17112825856)
    """
    rules = [_rule(NODES << level) for level in range(levels)]
    return torch.stack([nodes for nodes, _ in rules]), torch.stack([w for _, w in rules])


def _rule(length: int) -> tuple[Tensor, Tensor]:
    if length == NODES:
        return torch.arange(NODES, dtype=torch.float64), torch.ones(NODES, dtype=torch.float64)
    recurrence = _recurrence(length)
    zeros = torch.linalg.eigvalsh(torch.diag(recurrence, 1) + torch.diag(recurrence, -1))
    ideal = ((zeros[: NODES // 2] * length + (length - 1)) / 2).round().clamp_min(0)
    # Rounding may put two nodes near the end onto one integer.
    lower = torch.arange(NODES // 2) + (ideal - torch.arange(NODES // 2)).cummax(0).values
    nodes = torch.cat([lower, (length - 1 - lower).flip(0)])
    at_nodes = _polynomials((2 * nodes + 1 - length) / length, recurrence)
    first = torch.zeros(NODES, dtype=torch.float64)
    first[0] = length
    return nodes, torch.linalg.solve(at_nodes, first)


def _recurrence(length: int) -> Tensor:
    """√β_n of x P_n = √β_(n+1) P_(n+1) + √β_n P_(n−1), orthonormal over (2k + 1 − L)/L."""
    n = torch.arange(1, NODES, dtype=torch.float64)
    return (n * n * (1 - (n / length) ** 2) / (4 * n * n - 1)).sqrt()


def _polynomials(x: Tensor, recurrence: Tensor) -> Tensor:
    rows = [torch.ones_like(x), x / recurrence[0]]
    for n in range(1, NODES - 1):
        rows.append((x * rows[n] - recurrence[n - 1] * rows[n - 1]) / recurrence[n])
    return torch.stack(rows)
