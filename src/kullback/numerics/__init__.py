"""Every rule for zeros, infinities and nearly equal inputs, stated once, in torch.

`pairs` has the rules for two distributions event by event, `special` those for the functions in
closed forms; every other room writes its formulas as the paper does.
"""

from kullback.numerics.pairs import (
    Pair,
    Space,
    accumulation_dtype,
    compute_dtype,
    excess,
    exp_remainder,
    expm1,
    log_normalizer,
    log_power_mean,
    log_ratio,
    make_pair,
    probabilities,
    safe_root,
    times,
    total,
)
from kullback.numerics.special import (
    generalized_kl,
    itakura_saito,
    lgamma_bregman,
    scale_divergence,
)

__all__ = [
    "Pair",
    "Space",
    "accumulation_dtype",
    "compute_dtype",
    "excess",
    "exp_remainder",
    "expm1",
    "generalized_kl",
    "itakura_saito",
    "lgamma_bregman",
    "log_normalizer",
    "log_power_mean",
    "log_ratio",
    "make_pair",
    "probabilities",
    "safe_root",
    "scale_divergence",
    "times",
    "total",
]
