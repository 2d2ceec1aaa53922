"""The head of a model: what turns a hidden state into logits, and what the model does after it.

A hidden state is what the module of `get_output_embeddings()` is given, caught on its way in, so
that whatever an architecture does before (norms, scalings) is in it. After the head most models
do nothing; some cap or scale the logits. Which it is, is tried out at the first batch and holds
only if it gives the logits that the model made, to the rounding of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kullback.compare.readers.hugging_face import HuggingFaceModel
from kullback.compare.windows import Window
from kullback.errors import ComparisonError

__all__ = ["AFTER", "Head", "head_of", "hidden_and_logits"]

_INSTEAD = "record the largest probabilities with --top-k 256, or save the logits themselves"

AFTER: dict[str, Callable[[Tensor, float], Tensor]] = {
    "final_logit_softcapping": lambda logits, cap: torch.tanh(logits / cap) * cap,
    "logit_scale": lambda logits, scale: logits * scale,
    "lm_head_multiplier": lambda logits, scale: logits * scale,
    "logits_scaling": lambda logits, scale: logits / scale,
}
"""What models do after their head, by the setting: Gemma 2, Cohere, Falcon H1, Granite."""


class Head(NamedTuple):
    """Logits are `after(hidden·weightᵀ + bias)`; weight [events, hidden], bias [events]."""

    weight: Tensor
    bias: Tensor | None = None
    after: tuple[str, float] | None = None
    """A name of `AFTER` with its number, None where nothing follows."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [n, events] of hidden states [n, hidden], in the head's dtype."""
        logits = torch.nn.functional.linear(hidden.to(self.weight), self.weight, self.bias)
        return logits if self.after is None else AFTER[self.after[0]](logits, self.after[1])


def head_of(source: HuggingFaceModel, windows: Sequence[Window]) -> Head:
    """The head of a model, proved on `windows`: it gives the logits that the model made.

    Raises `ComparisonError` where it does not, which names what can be recorded instead.
    """
    module = source.model.get_output_embeddings()
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2 or not weight.is_floating_point():
        raise ComparisonError(
            f"the head of {source.name!r} is no linear layer with floating weights "
            f"({type(module).__name__}): {_INSTEAD}"
        )
    with torch.inference_mode():
        hidden, logits = hidden_and_logits(source, windows)
        if hidden.shape[1] != weight.shape[1] or logits.shape[1] != weight.shape[0]:
            raise _unlike(source)
        plain = Head(weight.detach(), None if bias is None else bias.detach())
        found = min(_candidates(plain, source), key=lambda head: _distance(head, hidden, logits))
        if _agree(found, hidden, logits):
            return found
    raise _unlike(source)


def _candidates(plain: Head, source: HuggingFaceModel) -> list[Head]:
    """What the model may do after its head; of equals the first counts, which does something."""
    settings = ((name, getattr(source.config, name, None)) for name in AFTER)
    after = [(name, float(value)) for name, value in settings if value]
    return [*(plain._replace(after=one) for one in after), plain]


def _unlike(source: HuggingFaceModel) -> ComparisonError:
    return ComparisonError(
        f"the logits of {source.name!r} are not what its head makes of its hidden states, nor that "
        f"capped or scaled by its settings ({', '.join(AFTER)}): {_INSTEAD}"
    )


def _distance(head: Head, hidden: Tensor, logits: Tensor) -> float:
    return float((head.logits(hidden).double() - logits.double()).abs().max())


def _agree(head: Head, hidden: Tensor, logits: Tensor) -> bool:
    """Whether `head` gives `logits` to rounding.

    Two sums of m products in another order differ by at most 2m·2⁻²⁴·Σ|h||w|, also where the
    products are of 16-bit numbers (Higham, *Accuracy and Stability of Numerical Algorithms*,
    §3.1); then both sides round to the dtype of the logits, in up to four steps.
    """
    made, scale = head.logits(hidden).double(), head.after[1] if head.after else 1.0
    unit = 2.0**-53 if hidden.dtype == torch.float64 else 2.0**-24
    size = hidden.abs().double() @ head.weight.abs().double().T
    order = max(1.0, scale, 1 / scale) * 2 * hidden.shape[1] * unit * size
    rounding = 8 * torch.finfo(logits.dtype).eps * logits.double().abs()
    return bool(((made - logits.double()).abs() <= order + rounding).all())


def hidden_and_logits(source: HuggingFaceModel, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
    """Hidden states [n, hidden] and logits [n, events] at the scored positions of `windows`.

    Raises `ComparisonError` where the model does not call its head once, on one state a position.
    """
    module, seen = source.model.get_output_embeddings(), list[Tensor]()

    def catch(_: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append(inputs[0] if inputs else next(iter(named.values())))

    if module is None:
        raise ComparisonError(f"{source.name!r} names no head: {_INSTEAD}")
    handle = module.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        logits = source.rows(windows).values
    finally:
        handle.remove()
    window = windows[0]
    if len(seen) != 1 or seen[0].shape[:-1] not in (
        (len(windows), window.scored),
        (len(windows), len(window.tokens)),
    ):
        shapes = [list(part.shape) for part in seen]
        raise ComparisonError(
            f"{source.name!r} does not run its head once over its positions (it was given "
            f"{shapes or 'nothing'}): {_INSTEAD}"
        )
    hidden = seen[0]
    if hidden.shape[1] != window.scored:
        hidden = hidden[:, window.first_position - 1 : len(window.tokens) - 1]
    return hidden.reshape(-1, hidden.shape[-1]).to(logits.device), logits
