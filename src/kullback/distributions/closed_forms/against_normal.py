"""KL(P‖Normal) for every P whose mean, variance and entropy are known; the reverse is elsewhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Cauchy, Distribution, Normal

from kullback.distributions.closed_forms.shared.line_law import LINE_LAWS, infinite
from kullback.distributions.dispatch import closed_form
from kullback.distributions.parameters import wide
from kullback.numerics.special import itakura_saito

__all__: list[str] = []


def _register(kind: type[Distribution]) -> None:
    law = LINE_LAWS[kind]

    @closed_form("kl", kind, Normal, source="Cover & Thomas (2006), theorem 8.6.5 and eq. 8.46")
    def _kl(p: Any, q: Normal) -> Tensor:
        """The negentropy of P, (v/τ² − 1 − log(v/τ²))/2 and (m − ν)²/2τ²; +inf for v = ∞."""
        finite, mean, variance, negentropy = law(p)
        loc, scale = wide(q.loc, q.scale)
        z = (mean - loc) / scale
        value = negentropy + 0.5 * itakura_saito(variance, scale * scale) + 0.5 * z * z
        return torch.where(finite, value, torch.inf)


for _kind in LINE_LAWS:
    _register(_kind)


closed_form("kl", Cauchy, Normal, source="Johnson, Kotz & Balakrishnan (1994), section 16.2")(
    infinite
)
