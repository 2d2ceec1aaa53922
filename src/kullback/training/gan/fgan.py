"""f-GANs: a critic and a generator against each other over any f-divergence with a conjugate.

For every T, E_P[T] − E_Q[f*(T)] ≤ D(P‖Q), with equality at T = f′(p/q). The critic raises that
bound, the generator Q lowers it. Everything that differs between divergences is in their records.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kullback.divergences import DIVERGENCES, GAN, Conjugate, Divergence, alpha, jensen_shannon
from kullback.errors import InputError
from kullback.training.gan.scores import checked, refuse_overflow

__all__ = ["FGAN", "NAMES"]

_RECORDS = {
    name: record
    for name, record in {**DIVERGENCES, GAN.name: GAN}.items()
    if record.conjugate is not None
}

_FAMILIES = {"alpha": alpha, "js": jensen_shannon}

NAMES = tuple(sorted(_RECORDS))
"""What `divergence=` can be, besides a record with a conjugate."""


class FGAN:
    """The losses of an adversarial pair whose generator is to lower D(P‖Q), P the data.

    | divergence | T = g(v) of a score v | f*(T) | T is at most | threshold f′(1) |
    | --- | --- | --- | --- | --- |
    | "kl" | v | e^(T−1) | ∞ | 1 |
    | "reverse_kl" | −e^(−v) | −1 − log(−T) | 0 | −1 |
    | "chi_squared" | v | T + T²/4, −1 for T < −2 | ∞ | 0 |
    | "squared_hellinger" | ½(1 − e^(−v)) | T/(1 − 2T) | ½ | 0 |
    | "js" | ½ log 2 + ½ log σ(v) | −½ log(2 − e^(2T)) | ½ log 2 | 0 |
    | "gan" | log σ(v) | −log(1 − e^T) − log 4 | 0 | −log 2 |
    | "total_variation" | ½ tanh v | T, −½ for T < −½ | ½ | 0 |
    | "alpha" (½) | −2 e^(−v/2) | −4 − 4/T | 0 | −2 |
    | `alpha(a)`, a < 1 | e^((a−1)v)/(a − 1) | ((a−1)T)^(a/(a−1))/a + 1/(a(a−1)) | 0 | 1/(a − 1) |
    | `alpha(a)`, a > 1 | v + 1/(a − 1) | the same, (a−1)T at least 0 | ∞ | 1/(a − 1) |

    T and f*(T) are both computed from the score, so that f* does not meet a T that was rounded
    to the end of its domain: the losses are finite wherever their limits are. The 1/(a − 1) that
    both have in `alpha(a)` never enters the bound, whose digits it would take as a nears 1. "gan"
    is the game of Goodfellow et al. (2014), up to its constant: it bounds 2 JS(P, Q).

    Args:
        divergence: see above, or a record of `kullback.divergences` with a conjugate, such as
            `alpha(0.3)` or `jensen_shannon(0.2)`.

    Attributes:
        record: of the divergence.
        threshold: f′(1), the value of T where a draw is as likely under P as under Q.

    Raises:
        InputError: an unknown divergence, or a record without a conjugate, or with another's.

    Source: Nowozin, Cseke & Tomioka (2016), f-GAN: Training Generative Neural Samplers using
    Variational Divergence Minimization, eq. 4 and 7, table 2. f* is here that of u ≥ 0, where
    p/q is; it is smaller than the paper's for χ² where T < −2, and the bound as much tighter. For
    a < 1 g is not the paper's, with which f* at v = 0 is beyond all numbers as a nears 1.

    Example:
        >>> import torch
        >>> game = FGAN("gan")
        >>> game
        FGAN('gan')
        >>> real, fake = torch.tensor([2.0, 1.0]), torch.tensor([-1.0, 0.0, -2.0])
        >>> print(f"{game.discriminator_loss(real, fake):.4f}")
        -0.7884
        >>> print(f"{game.generator_loss(fake):.4f}")
        1.0085
        >>> print(f"{game.non_saturating_generator_loss(fake):.4f}")
        1.3778
        >>> game.takes_for_real(fake).tolist()
        [False, False, False]
    """

    def __init__(self, divergence: str | Divergence) -> None:
        if isinstance(divergence, str):
            if divergence not in _RECORDS:
                raise InputError(
                    f"divergence={divergence!r} is not one of {list(NAMES)}, nor a record with a "
                    "conjugate"
                )
            divergence = _RECORDS[divergence]
        conjugate = divergence.conjugate if isinstance(divergence, Divergence) else None
        if conjugate is None:
            name = getattr(divergence, "name", divergence)
            raise InputError(
                f"divergence={name!r} has no conjugate f*, which a critic needs: give its record "
                f"one, or take one of {list(NAMES)}"
            )
        if not _belongs(conjugate, divergence):
            raise InputError(
                f"the conjugate of the record {divergence.name!r} is not that of its generator: a "
                "record made from another by dataclasses.replace keeps the other's, unless it is "
                "given its own"
            )
        self.record = divergence
        self.threshold = conjugate.slope_at_one
        self._conjugate: Conjugate = conjugate

    def __repr__(self) -> str:
        return f"FGAN({self.record.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by name and parameter, since records hold functions; others as the record."""
        names = [name for name, record in _RECORDS.items() if record is self.record]
        if names:
            return type(self), (names[0],)
        if self.record.parameter is not None:
            return _of_family, (type(self), self.record.name, self.record.parameter)
        return type(self), (self.record,)

    def activation(self, scores: Tensor) -> Tensor:
        """T = g(score), entry by entry: the last layer of a critic, into where f* is finite."""
        return self._conjugate.activation(checked(scores, "scores")) + self._conjugate.offset

    def takes_for_real(self, scores: Tensor) -> Tensor:
        """Whether T is above f′(1): the draw is judged likelier under P than under Q."""
        rest = self._conjugate.activation(checked(scores, "scores"))
        return rest > self.threshold - self._conjugate.offset

    def discriminator_loss(
        self, real_scores: Tensor, fake_scores: Tensor, *, validate: bool = True
    ) -> Tensor:
        """−(E_P[T] − E_Q[f*(T)]): its negative estimates, without bias, a lower bound of D(P‖Q).

        Args:
            real_scores: of draws of P, of any shape; their mean is taken over all of them.
            fake_scores: of draws of Q; there need not be as many.
            validate: raise where a score or the loss is not finite. It costs a look at them.

        Returns:
            A scalar in nats, in float32 (float64 if the scores are).

        Raises:
            ShapeError: no scores.
            DtypeError: scores that are not floating.
            NonFiniteError: NaN or an infinity among them, or a loss beyond the dtype, as of
                scores of 1000 where f* grows like e^T; the message says where.
        """
        real = checked(real_scores, "real_scores", validate)
        fake = checked(fake_scores, "fake_scores", validate)
        loss = self._conjugate.of_score(fake).mean() - self._conjugate.activation(real).mean()
        if validate:
            refuse_overflow(loss, "the loss", {"real_scores": real, "fake_scores": fake})
        return loss

    def generator_loss(self, fake_scores: Tensor, *, validate: bool = True) -> Tensor:
        """−E_Q[f*(T)]: what of the bound depends on the generator.

        Its gradient fades where the critic is sure that a draw is fake and f* is flat there
        (for "gan" it is that of log(1 − D)); see `non_saturating_generator_loss`.

        Arguments and errors are those of `discriminator_loss`.
        """
        fake = checked(fake_scores, "fake_scores", validate)
        loss = -self._conjugate.of_score(fake).mean() - self._conjugate.offset
        if validate:
            refuse_overflow(loss, "the loss", {"fake_scores": fake})
        return loss

    def non_saturating_generator_loss(
        self, fake_scores: Tensor, *, validate: bool = True
    ) -> Tensor:
        """−E_Q[T]: the generator raises T itself (for "gan", log D instead of −log(1 − D)).

        It is no bound of D(P‖Q), and its equilibrium is that of `generator_loss`: each moves a
        draw the way T grows, weighted by 1 and by f*′(T), the critic's p/q.

        Arguments and errors are those of `discriminator_loss`.

        Source: Nowozin, Cseke & Tomioka (2016), section 3.2; Goodfellow et al. (2014), section 3.
        """
        fake = checked(fake_scores, "fake_scores", validate)
        loss = -self._conjugate.activation(fake).mean() - self._conjugate.offset
        if validate:
            refuse_overflow(loss, "the loss", {"fake_scores": fake})
        return loss


def _belongs(conjugate: Conjugate, record: Divergence) -> bool:
    """Whether f*(f′(u)) = u·f′(u) − f(u), and f*(g(v)) is as stated: at two points each."""
    u = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        value = record.generator(u)
        (slope,) = torch.autograd.grad(value.sum(), u)
    score = torch.tensor([-0.5, 0.5], dtype=torch.float64)
    of_score = conjugate.value(conjugate.activation(score) + conjugate.offset)
    return torch.allclose(conjugate.value(slope), u * slope - value) and torch.allclose(
        conjugate.of_score(score) + conjugate.offset, of_score
    )


def _of_family(game: type[FGAN], name: str, parameter: float) -> FGAN:
    return game(_FAMILIES[name](parameter))
