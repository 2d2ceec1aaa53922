"""Several small networks of one shape, each with a seed of its own, trained in the time of one.

Their weights are stacked, [networks, inputs, outputs], so that one batched product serves all.
A loss averaged over all of them has for each the gradient of its own loss, divided by how many
there are, and Adam does not see that factor: they do not touch each other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class SideBySide(torch.nn.Module):
    """Maps [networks, n, sizes[0]] to [networks, n, sizes[-1]], a seed for each network."""

    def __init__(
        self,
        seeds: Sequence[int],
        sizes: Sequence[int],
        activation: Callable[[Tensor], Tensor] = torch.nn.functional.silu,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.weights, self.biases = torch.nn.ParameterList(), torch.nn.ParameterList()
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        for inputs, outputs in itertools.pairwise(sizes):
            # As in torch.nn.Linear.
            most = 1 / math.sqrt(inputs)
            for where, shape in ((self.weights, (inputs, outputs)), (self.biases, (1, outputs))):
                drawn = [torch.rand(shape, generator=x) * 2 * most - most for x in draws]
                where.append(torch.nn.Parameter(torch.stack(drawn)))

    def forward(self, x: Tensor) -> Tensor:
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x if place == 0 else self.activation(x), weight)
        return x
