"""Every rule for zeros, infinities and nearly equal inputs, stated once, in torch.

`pairs` has the rules for two distributions event by event, `special` those for the functions in
closed forms; every other room writes its formulas as the paper does.
"""

from kullback.numerics.bessel import (
    bessel_ratio,
    log_i0,
    log_i0_bregman,
    log_i0_intercept,
)
from kullback.numerics.counts import (
    log_binomial,
    log_factorial_excess,
    log_negative_binomial,
    log_poisson,
)
from kullback.numerics.elementary import (
    length,
    lost_in_difference,
    magnitude,
    sinhc,
)
from kullback.numerics.exponential_integral import (
    exponential_integral_of_exp,
)
from kullback.numerics.gauss_legendre import (
    average,
    tangent_remainder,
)
from kullback.numerics.incomplete import (
    beta_tails,
    gamma_tails,
)
from kullback.numerics.interval_averages import (
    average_distance,
    average_log,
    average_log1p_square,
    average_squared_log,
    log_average_power,
)
from kullback.numerics.log_beta import (
    log_beta_bregman,
    log_gamma_half_step,
)
from kullback.numerics.log_sinhc import (
    log_sinhc,
    log_sinhc_bregman,
    log_sinhc_curvature,
    log_sinhc_intercept,
    log_sinhc_slope,
)
from kullback.numerics.matrices import (
    diagonal,
    factor_divergence,
    geometric_factor,
    off_diagonal_square,
    solve_lower,
)
from kullback.numerics.normal_interval import (
    log_normal_mass,
    normal_mass,
    normal_moments,
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
from kullback.numerics.student import t_quantile

__all__ = [
    "Pair",
    "Space",
    "accumulation_dtype",
    "average",
    "average_distance",
    "average_log",
    "average_log1p_square",
    "average_squared_log",
    "bessel_ratio",
    "beta_tails",
    "compute_dtype",
    "diagonal",
    "excess",
    "exp_remainder",
    "expm1",
    "exponential_integral_of_exp",
    "factor_divergence",
    "gamma_tails",
    "generalized_kl",
    "geometric_factor",
    "itakura_saito",
    "length",
    "lgamma_bregman",
    "log_average_power",
    "log_beta_bregman",
    "log_binomial",
    "log_factorial_excess",
    "log_gamma_half_step",
    "log_i0",
    "log_i0_bregman",
    "log_i0_intercept",
    "log_negative_binomial",
    "log_normal_mass",
    "log_normalizer",
    "log_poisson",
    "log_power_mean",
    "log_ratio",
    "log_sinhc",
    "log_sinhc_bregman",
    "log_sinhc_curvature",
    "log_sinhc_intercept",
    "log_sinhc_slope",
    "lost_in_difference",
    "magnitude",
    "make_pair",
    "normal_mass",
    "normal_moments",
    "off_diagonal_square",
    "probabilities",
    "safe_root",
    "scale_divergence",
    "sinhc",
    "solve_lower",
    "t_quantile",
    "tangent_remainder",
    "times",
    "total",
]
