"""Whether kl() compares with a policy that is held fixed, and not with the one it has just made.

A KL between a policy and its own detached output is 0 wherever the parameters are moved, while its
value, slope and curvature before the step are those of the KL that was meant: only a trial tells.
"""

from __future__ import annotations

from collections.abc import Callable

from kullback.errors import InputError
from kullback.training.trust_region.direction import Direction
from kullback.training.trust_region.line_search import Trial

__all__ = ["check_fixed_policy"]

# A policy that becomes certain has a KL far below its quadratic expansion, and near it on a share
# of the step.
_SHARES = (0.1, 1e-2, 1e-3)
_FAR_BELOW, _LITTLE = 1e-2, 1e-3
# Another library's KL of 0 is left at 1e-9 by float32's rounding, which is no KL either.
_ROUNDINGS = 10


def check_fixed_policy(
    kl_at: Callable[[float], float], trial: Trial, direction: Direction, max_kl: float
) -> None:
    """Raise where the KL of a trial, and of shares of the step, is next to nothing.

    Args:
        kl_at: goes to a share of the step and measures the KL there; left at the trial's.
        trial: the one that is to be accepted.
        direction: what the KL of the full step is expected to be.
        max_kl: what the KL may be; where little of it is expected, nothing can be told.

    Raises:
        InputError: a KL below a hundredth of its expansion on every share.
    """
    expected = direction.kl

    def is_far_below(kl: float, share: float) -> bool:
        return kl < max(_FAR_BELOW * share**2 * expected, _ROUNDINGS * direction.rounding)

    if expected < _LITTLE * max_kl or not is_far_below(trial.kl, trial.fraction):
        return
    if not all(is_far_below(kl_at(share), share) for share in _SHARES):
        kl_at(trial.fraction)
        return
    raise InputError(
        f"kl() is {trial.kl:.4g} after a step that, by its own second derivative, takes it to "
        f"{trial.fraction**2 * expected:.4g}, and no more on the way: compute the old policy once, "
        "before the step, and compare with that; not with the detached output of the policy as "
        "it is at each call"
    )
