"""Every rule for zeros, infinities and nearly equal inputs, stated once, in torch.

`pairs` has the rules for two distributions event by event, `special` those for the functions in
closed forms; every other room writes its formulas as the paper does.
"""

from kullback.numerics.counts import (
    log_binomial,
    log_factorial_excess,
    log_negative_binomial,
    log_poisson,
)
from kullback.numerics.matrices import (
    diagonal,
    factor_divergence,
    geometric_factor,
    off_diagonal_square,
    solve_lower,
)
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
    "diagonal",
    "excess",
    "exp_remainder",
    "expm1",
    "factor_divergence",
    "generalized_kl",
    "geometric_factor",
    "itakura_saito",
    "lgamma_bregman",
    "log_binomial",
    "log_factorial_excess",
    "log_negative_binomial",
    "log_normalizer",
    "log_poisson",
    "log_power_mean",
    "log_ratio",
    "make_pair",
    "off_diagonal_square",
    "probabilities",
    "safe_root",
    "scale_divergence",
    "solve_lower",
    "times",
    "total",
]
