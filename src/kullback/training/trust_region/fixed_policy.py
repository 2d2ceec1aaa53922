"""Whether kl() compares with a policy that is held fixed, and not with the one it has just made.

A KL between a policy and its own detached output is 0 wherever the parameters are moved, while its
value, slope and curvature before the step are those of the KL that was meant: only a trial tells.
The same holds for a part of it, such as one of several heads.
"""

from __future__ import annotations

from collections.abc import Callable

from kullback.errors import InputError
from kullback.training.trust_region.direction import Direction
from kullback.training.trust_region.line_search import Trial

__all__ = ["check_fixed_policy"]

# A KL is this near its quadratic expansion, on the step or on some share of it: far out one may be
# below, as is that of a policy that becomes certain.
_NEAR = (0.9, 1.1)
_SHARES = (0.1, 1e-2, 1e-3, 1e-4, 1e-5)
# Of steps so short, float32's rounding of the parameters is part.
_SHORT = 1e-10
# Another library's KL of 0 is left at 1e-9 by float32's rounding, which is no KL either.
_ROUNDINGS = 10


def check_fixed_policy(
    kl_at: Callable[[float], float], trial: Trial, direction: Direction, max_kl: float
) -> None:
    """Raise where the KL is less than its expansion on the trial and on every share of the step.

    Args:
        kl_at: goes to a share of the step and measures the KL there; left at the trial's.
        trial: the one that is to be accepted.
        direction: what the KL of the full step is expected to be.
        max_kl: what the KL may be; where little of it is expected, nothing can be told.

    Raises:
        InputError: a KL that is less than nine tenths of its expansion all the way.
    """
    expected = direction.kl
    if expected < max(_SHORT, 1e-3 * max_kl):
        return
    if trial.kl >= _NEAR[0] * trial.fraction**2 * expected:
        return

    def is_near(share: float) -> bool:
        kl = kl_at(share)
        ratio = kl / (share**2 * expected)
        return _NEAR[0] <= ratio <= _NEAR[1] and kl > _ROUNDINGS * direction.rounding

    if any(is_near(share) for share in _SHARES):
        kl_at(trial.fraction)
        return
    raise InputError(
        f"kl() is {trial.kl:.4g} after a step that, by its own second derivative, takes it to "
        f"{trial.fraction**2 * expected:.4g}, and is as far below on short steps: compute the old "
        "policy once, before the step, and compare all of it with that; not with the detached "
        "output of the policy as it is at each call. A KL of another library may have lost so "
        "small a number: kullback.kl_divergence has not"
    )
