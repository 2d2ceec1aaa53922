"""The constrained step of TRPO, for any objective and any KL.

Raise an objective as far as the mean KL from the old policy allows: the direction is the natural
gradient, found by conjugate gradients from products with the Fisher information; its length makes
the KL's second-order expansion equal to the bound; and a line search on the true KL and the true
objective makes the promise good, or puts everything back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from kullback.errors import InputError
from kullback.training.trust_region.closures import scalar
from kullback.training.trust_region.direction import find_direction
from kullback.training.trust_region.fixed_policy import check_fixed_policy
from kullback.training.trust_region.line_search import Bounds, line_search
from kullback.training.trust_region.options import Options
from kullback.training.trust_region.outcome import TrustRegionStep, outcome
from kullback.training.trust_region.parameters import open_parameters

__all__ = ["TrustRegion"]


class TrustRegion:
    """Steps that raise an objective while the mean KL from the old policy stays within `max_kl`.

    | | |
    | --- | --- |
    | direction | s with (F + damping) s = g, g the objective's gradient |
    | length | of the full step β s: ½ β² sᵀF s = 0.9999 `max_kl`, F without the damping (or with) |
    | line search | β s, then shares of it, `backtracking` apart |
    | accepted | KL ≤ `max_kl`, and improvement ≥ `accept_ratio` of what g promises, and > 0 |

    With a network in evaluation mode a step is a function of the closures alone: dropout or batch
    statistics would make each call of theirs another policy. Only the parameters are moved, and
    no `.grad` is touched. Nothing is averaged over processes.

    Args:
        parameters: of any module; frozen ones are left out. A parameter that a closure does not
            use is no error: one that only the objective uses is moved as far as damping lets it.
        max_kl: the most that the mean KL may be after a step, in nats.
        damping: added to the Fisher information's diagonal. In the Fisher information's own unit;
            with 0 the direction is the natural gradient itself.
        cg_iterations: the most Fisher–vector products for the direction, each about as dear as a
            gradient. One more measures the length and the residual.
        cg_tolerance: the residual, relative to g, at which fewer are enough.
        backtracking: each trial is this share of the one before.
        line_search_steps: the most trials. A policy that is nearly certain needs many: its KL is a
            quadratic over a small share of the step only.
        accept_ratio: from 0, any improvement, up to but not 1, all that the gradient promises.
        damped_length: measure the length with F + damping, as TRPO's authors and most since do in
            their code: shorter steps, which leave some of `max_kl` unused.

    Raises:
        InputError, DtypeError: no parameters that can be moved, or a number out of its range.

    Source: Schulman et al. (2015), Trust Region Policy Optimization, section 6 and appendix C.

    Example:
        >>> import kullback as kl
        >>> logits, reward = torch.zeros(3, requires_grad=True), torch.tensor([0.0, 1.0, 0.5])
        >>> optimizer = TrustRegion([logits], max_kl=0.01)
        >>> for _ in range(3):
        ...     old = logits.detach().clone()
        ...     step = optimizer.step(
        ...         lambda: logits.softmax(-1) @ reward,
        ...         lambda: kl.kl_divergence(old, logits, space="logits"),
        ...     )
        ...     print(f"{step.accepted}: {step.improvement:.3f} for {step.kl:.4f} nats")
        True: 0.057 for 0.0100 nats
        True: 0.056 for 0.0099 nats
        True: 0.054 for 0.0098 nats
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        max_kl: float = 0.01,
        *,
        damping: float = 0.1,
        cg_iterations: int = 10,
        cg_tolerance: float = 1e-5,
        backtracking: float = 0.8,
        line_search_steps: int = 20,
        accept_ratio: float = 0.1,
        damped_length: bool = False,
    ) -> None:
        self._parameters = open_parameters(parameters)
        self.options = Options(
            max_kl,
            damping,
            cg_iterations,
            cg_tolerance,
            backtracking,
            line_search_steps,
            accept_ratio,
            damped_length,
        )

    def step(self, surrogate: Callable[[], Tensor], kl: Callable[[], Tensor]) -> TrustRegionStep:
        """Move the parameters, or leave them as they are, and say which.

        Both closures are called with gradients recorded once, and without for each trial; they
        have to compute the policy anew each time. A closure that raises leaves the parameters bit
        for bit as they were, and so does a step that is not accepted.

        Args:
            surrogate: the objective to be raised, a scalar; for TRPO `policy_surrogate`, the mean
                of exp(log π − log π_old)·advantage over states and actions drawn from π_old.
            kl: the mean KL between the old policy, held fixed, and the policy, a scalar in nats;
                in either direction. The old policy is the one that the parameters make before the
                step. It has to be differentiable twice, as `kullback.kl_divergence` is; compiled
                modules, and some fused kernels (attention, recurrent layers), are not.

        Returns:
            What became of it. A step that finds nothing acceptable is not an error.

        Raises:
            InputError: a closure that does not depend on the parameters, a KL that is not 0
                before the step, or one that stays 0 after it.
            ShapeError: a closure that returns no scalar.
            NonFiniteError: a surrogate, a gradient or a KL that is NaN or infinite before the step.
        """
        options, parameters = self.options, self._parameters
        direction = find_direction(surrogate, kl, parameters, options)
        if direction.trouble is not None:
            return outcome(direction, [], options.max_kl)
        saved = parameters.saved()

        def kl_at(fraction: float) -> float:
            parameters.move(saved, fraction * direction.full)
            return float(scalar(kl(), "kl()"))

        taken = False
        try:
            with torch.no_grad():
                trials = line_search(
                    kl_at,
                    lambda: float(scalar(surrogate(), "surrogate()")) - direction.surrogate,
                    Bounds(options.max_kl, options.accept_ratio * direction.promise),
                    (options.backtracking**trial for trial in range(options.line_search_steps)),
                )
                last = trials[-1]
                if last.objection is None:
                    check_fixed_policy(kl_at, last, direction, options.max_kl)
            taken = last.objection is None
        finally:
            if not taken:
                parameters.restore(saved)
        return outcome(direction, trials, options.max_kl)

    def state_dict(self) -> dict[str, Any]:
        """The options by name: a step depends on nothing else that is kept."""
        return asdict(self.options)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, of this or another trust region.

        Raises:
            InputError: other names than those of the options, or a number out of its range.
        """
        known = set(self.state_dict())
        names = set(state) if isinstance(state, Mapping) else type(state).__name__
        if names != known:
            raise InputError(
                f"the state has {names} and the options are {known}: pass what state_dict() of a "
                "TrustRegion gave"
            )
        self.options = Options(**state)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.state_dict().items())
        return f"TrustRegion({self._parameters.size} parameters, {shown})"
