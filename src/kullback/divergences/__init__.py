"""What a divergence is: one frozen record each, from which every room derives what it needs.

A record holds the divergence's *terms*: non-negative contributions of single events that add up
to the divergence on normalised inputs (an f-divergence with f replaced by
f(u) − f′(1)(u − 1), which changes no value and makes each term non-negative, so that Gibbs'
inequality holds in floating point too), and its *log-slopes*, the derivatives of a term in log p
and log q. Both read like the paper; the care for zeros and near-equality is in `numerics`.
Where it is stated, the *conjugate* of f is what a critic learns the divergence with, from samples.
"""

from kullback.divergences.alpha_family import CHI_SQUARED, alpha
from kullback.divergences.kullback_leibler import CROSS_ENTROPY, JEFFREYS, KL, REVERSE_KL
from kullback.divergences.mixtures import GAN, jensen_shannon, reverse_skew, skew
from kullback.divergences.record import Conjugate, Divergence, FormulaId, Functional
from kullback.divergences.squared_hellinger import SQUARED_HELLINGER
from kullback.divergences.total_variation import TOTAL_VARIATION

__all__ = [
    "CHI_SQUARED",
    "CROSS_ENTROPY",
    "DIVERGENCES",
    "GAN",
    "JEFFREYS",
    "KL",
    "REVERSE_KL",
    "SQUARED_HELLINGER",
    "TOTAL_VARIATION",
    "Conjugate",
    "Divergence",
    "FormulaId",
    "Functional",
    "alpha",
    "jensen_shannon",
    "reverse_skew",
    "skew",
]

# Parametrised families stand here with the value their public function has by default.
DIVERGENCES: dict[str, Divergence] = {
    record.name: record
    for record in (
        KL,
        REVERSE_KL,
        JEFFREYS,
        jensen_shannon(),
        TOTAL_VARIATION,
        SQUARED_HELLINGER,
        CHI_SQUARED,
        alpha(0.5),
    )
}
