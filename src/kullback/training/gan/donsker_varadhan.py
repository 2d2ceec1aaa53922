"""The Donsker–Varadhan bound of KL(P‖Q), and MINE's correction of its gradient.

The gradient of log E_Q[e^T] is E_Q[e^T ∇T]/E_Q[e^T]. On a batch, the quotient of two means is
biased; dividing by an average over many batches leaves a bias that fades as the average settles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from kullback.errors import InputError, NonFiniteError, ShapeError
from kullback.training.gan.scores import checked, log_mean_exp
from kullback.training.gradient import with_gradient_of
from kullback.training.plain import plain_number

__all__ = ["MovingNormalizer", "donsker_varadhan"]


def donsker_varadhan(
    p_scores: Tensor,
    q_scores: Tensor,
    *,
    log_normalizer: Tensor | float | None = None,
    validate: bool = True,
) -> Tensor:
    """E_P[T] − log E_Q[e^T] over two batches: at most KL(P‖Q) for every T, as expectations.

    It is reached by T = log p/q + any constant. Over batches it is no bound: a batch's
    log-mean lies, on average, below the log of the mean, so that the value overestimates the
    bound by about Var(e^T)/(2n E[e^T]²), and with few draws of Q it passes KL itself.

    | log_normalizer | value | gradient |
    | --- | --- | --- |
    | None | the bound | of the value, biased by the quotient of two means of a batch |
    | log c | the same | E_P[∇T] − E_Q[e^T ∇T]/c, unbiased if c = E_Q[e^T], of this T |

    Args:
        p_scores: T of draws of P, of any shape; in mutual information, of pairs.
        q_scores: T of draws of Q; there need not be as many.
        log_normalizer: a constant near log E_Q[e^T], such as `MovingNormalizer.update` returns.
        validate: raise where a score or `log_normalizer` is not finite. It costs a look at them.

    Returns:
        A scalar in nats, to be raised, in float32 (float64 if the scores are).

    Raises:
        ShapeError: no scores, or a `log_normalizer` that is not one number.
        DtypeError: scores that are not floating.
        NonFiniteError: NaN or an infinity among them, or as `log_normalizer`; the message says
            where. Or a gradient is wanted, and E_Q[e^T]/c, which it carries, is beyond the dtype.
        InputError: a `log_normalizer` that is no number.

    Source: Donsker & Varadhan (1983), Asymptotic Evaluation of Certain Markov Process
    Expectations for Large Time IV; Belghazi et al. (2018), MINE: Mutual Information Neural
    Estimation, theorem 1, and section 3.2 for the gradient.

    Example:
        >>> p_scores, q_scores = torch.tensor([1.0, 2.0]), torch.tensor([0.0, -1.0, 1.0])
        >>> print(f"{donsker_varadhan(p_scores, q_scores):.4f}")
        1.1910
    """
    p = checked(p_scores, "p_scores", validate)
    q = checked(q_scores, "q_scores", validate)
    log_mean = log_mean_exp(q)
    value = p.mean() - log_mean
    if log_normalizer is None:
        return value
    constant = _constant(log_normalizer, q, validate)
    # ∇(log mean)·(mean/c): a factor on the gradient alone.
    share = (log_mean.detach() - constant).exp()
    surrogate = p.mean() - share * log_mean
    if validate and surrogate.requires_grad:
        _refuse_far(share, log_mean.detach(), constant)
    return with_gradient_of(surrogate, value)


def _constant(log_normalizer: Any, scores: Tensor, validate: bool) -> Tensor:
    if not isinstance(log_normalizer, Tensor) and not _is_number(log_normalizer):
        raise InputError(
            f"log_normalizer={log_normalizer!r} is of {type(log_normalizer).__name__}: pass one "
            "number, the log of what E_Q[e^T] is on average"
        )
    constant = torch.as_tensor(log_normalizer, dtype=scores.dtype, device=scores.device).detach()
    if constant.numel() != 1:
        raise ShapeError(
            f"log_normalizer has shape {tuple(constant.shape)}: pass one number, the log of what "
            "E_Q[e^T] is on average"
        )
    if validate and not bool(constant.isfinite().all()):
        raise NonFiniteError(
            f"log_normalizer is {float(constant)}: pass one finite number, the log of what "
            "E_Q[e^T] is on average"
        )
    return constant.reshape(())


def _is_number(x: Any) -> bool:
    return isinstance(x, Real) and not isinstance(x, bool)


def _refuse_far(share: Tensor, log_mean: Tensor, constant: Tensor) -> None:
    if bool(share.isinf()):
        raise NonFiniteError(
            f"log_normalizer is {float(constant):.6g} and the batch's own log of E_Q[e^T] "
            f"{float(log_mean):.6g}: the gradient carries e to their difference, which is beyond "
            f"{share.dtype}. Count this batch in first, as MovingNormalizer.update does"
        )


class MovingNormalizer:
    """log of a moving average of E_Q[e^T] over batches, each weighing `decay` times the next.

    The weights are normalised, so that the first batch is its own average. The average lags: it
    belongs to the critics of the last 1/(1 − decay) batches. It is kept as a logarithm, and a
    batch is never more than 1/(1 − decay) times an average that it was counted in, so nothing
    overflows, whatever the scores.

    Args:
        decay: of the weights from batch to batch, between 0 and 1.

    Raises:
        InputError: a decay out of its range.

    Source: Belghazi et al. (2018), MINE, section 3.2.

    Example:
        >>> normalizer = MovingNormalizer(decay=0.9)
        >>> p_scores, q_scores = torch.tensor([1.0, 2.0]), torch.tensor([0.0, -1.0, 1.0])
        >>> bound = donsker_varadhan(
        ...     p_scores, q_scores, log_normalizer=normalizer.update(q_scores)
        ... )
        >>> print(f"{bound:.4f}")
        1.1910
    """

    def __init__(self, decay: float = 0.99) -> None:
        self.decay = plain_number(decay, "decay")
        if not 0 < self.decay < 1:
            raise InputError(f"decay={decay}: it lies between 0 and 1, such as 0.99")
        self.steps = 0
        self._log_total: Tensor | None = None

    def update(self, q_scores: Tensor, *, validate: bool = True) -> Tensor:
        """Count a batch, once; the log of the average with it, a scalar without gradient.

        Raises:
            ShapeError, DtypeError, NonFiniteError: as in `donsker_varadhan`; the average is then
                what it was.
        """
        log_mean = log_mean_exp(checked(q_scores, "q_scores", validate).detach())
        log_part = log_mean + math.log1p(-self.decay)
        if self._log_total is not None:
            before = self._log_total.to(log_part) + math.log(self.decay)
            log_part = torch.logaddexp(before, log_part)
        self._log_total, self.steps = log_part, self.steps + 1
        return log_part - math.log1p(-(self.decay**self.steps))

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` continues from: plain numbers."""
        log_total = None if self._log_total is None else float(self._log_total)
        return {"decay": self.decay, "steps": self.steps, "log_total": log_total}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises:
            InputError: a state that is none of this class; the average is then what it was.
        """
        if not _is_state(state):
            raise InputError(
                f"the state {state!r} is none of an average: pass what "
                "MovingNormalizer.state_dict() gave"
            )
        log_total = state["log_total"]
        self.decay, self.steps = float(state["decay"]), state["steps"]
        self._log_total = (
            None if log_total is None else torch.tensor(log_total, dtype=torch.float64)
        )


def _is_state(state: Any) -> bool:
    """Whether these are the numbers of an average: of no batch at all, or of some."""
    if not isinstance(state, Mapping) or set(state) != {"decay", "steps", "log_total"}:
        return False
    decay, steps, log_total = state["decay"], state["steps"], state["log_total"]
    if not (_is_number(decay) and 0 < decay < 1):
        return False
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 0:
        return False
    if steps == 0:
        return log_total is None
    return _is_number(log_total) and math.isfinite(log_total)
