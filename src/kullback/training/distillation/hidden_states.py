"""What a causal language model makes its logits from, caught without making the logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kullback.errors import InputError


@dataclass(frozen=True)
class States:
    """What logits are made from: cap·tanh(scale·head(hidden)/cap)."""

    hidden: Tensor
    head: torch.nn.Linear
    scale: float
    cap: float | None

    @property
    def scaled_bias(self) -> Tensor | None:
        bias = self.head.bias
        return bias if bias is None or self.scale == 1 else bias * self.scale

    def logits(self, hidden: Tensor) -> Tensor:
        made = torch.nn.functional.linear(hidden, self.head.weight, self.head.bias) * self.scale
        return made if self.cap is None else self.cap * (made / self.cap).tanh()


def linear_head(model: torch.nn.Module) -> torch.nn.Linear:
    """The layer that makes logits; an error where it is anything but a plain one."""
    find: Any = getattr(model, "get_output_embeddings", None)
    head = find() if find is not None else None
    # Adapters and quantised layers do more than multiply by their weight.
    if not isinstance(head, torch.nn.Linear) or type(head).forward is not torch.nn.Linear.forward:
        raise InputError(
            f"the head of {type(model).__name__} is a {type(head).__name__} and not a plain "
            "torch.nn.Linear; pass fused=False, and the loss is made from its logits"
        )
    return head


def after_head(model: torch.nn.Module) -> tuple[float, float | None]:
    """What the configuration says becomes of the head's output: a factor, and a soft cap."""
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    factor = getattr(text, "logit_scale", None)
    divisor = getattr(text, "logits_scaling", None)
    scale = (1.0 if factor is None else factor) / (1.0 if divisor is None else divisor)
    return scale, getattr(text, "final_logit_softcapping", None)


@contextmanager
def without_logits(model: torch.nn.Module) -> Iterator[list[Tensor]]:
    """Within, the head sees one position a sequence; the hidden states of all are in the list."""
    caught: list[Tensor] = []

    def keep(_: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        caught.append(args[0])
        return (args[0][..., :1, :], *args[1:])

    handle = linear_head(model).register_forward_pre_hook(keep)
    try:
        yield caught
    finally:
        handle.remove()


def compare_with_model(states: States, theirs: Tensor, name: str) -> None:
    """Look once whether logits are what is assumed of them, at the position that was made."""
    with torch.no_grad():
        ours = states.logits(states.hidden[..., :1, :]).float()
        theirs = theirs.detach().float()
        # Half precision rounds each step to 2⁻⁸ at worst.
        if ours.shape != theirs.shape or float((ours - theirs).abs().max()) > 0.02 * float(
            theirs.abs().max()
        ):
            raise InputError(
                f"{name} does more between head and logits than scale and cap; pass fused=False"
            )
