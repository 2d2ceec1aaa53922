"""Several small critics at once: one for each fold, trained side by side in batched products.

A critic is v(z) = a·z + b·z² + network(z), with two hidden layers. It starts as v = 0, which says
that P = Q, so that a critic that learns nothing bounds every divergence by exactly 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["Weights", "scores", "starting_weights"]

Weights = list[Tensor]
SHARE = 1 / 8


def starting_weights(critics: int, inputs: int, width: int, generator: torch.Generator) -> Weights:
    """Weights of `critics` networks, each layer [critics, from, to] and [critics, 1, to]."""
    layers = []
    for fan_in, fan_out in ((inputs, width), (width, width)):
        spread = math.sqrt(2 / fan_in)
        drawn = torch.randn(
            critics, fan_in, fan_out, generator=generator, dtype=torch.float32, device="cpu"
        )
        layers += [spread * drawn, torch.zeros(critics, 1, fan_out, device="cpu")]
    last = torch.zeros(critics, width + 2 * inputs, 1, device="cpu")
    return [*layers, last, torch.zeros(critics, 1, 1, device="cpu")]


def scores(weights: Weights, z: Tensor) -> Tensor:
    """v of each draw by each critic: [critics, n] of z [critics, n, inputs]."""
    first, first_bias, second, second_bias, last, bias = weights
    hidden = torch.nn.functional.silu(torch.baddbmm(first_bias, z, first))
    hidden = torch.nn.functional.silu(torch.baddbmm(second_bias, hidden, second))
    read = torch.cat([hidden / hidden.shape[-1], z, z * z], dim=-1)
    return torch.baddbmm(bias, read, last)[..., 0]
