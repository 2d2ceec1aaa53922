"""A language model of single characters, small enough to be trained while one waits.

It is real and still exact: English prose, a recurrent network, and so few characters that a sum
over all of them costs nothing.
"""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor, nn

__all__ = ["ALPHABET", "CharacterModel", "decoded", "encoded", "trained", "windows", "written"]

ALPHABET = " abcdefghijklmnopqrstuvwxyz.,"


def encoded(texts: list[str]) -> Tensor:
    """All texts in a row, in small letters; what the alphabet lacks is a space, and spaces one."""
    spaced = re.sub(r"[^a-z.,]+", " ", " ".join(texts).lower())
    return torch.tensor([ALPHABET.index(letter) for letter in spaced])


def decoded(tokens: Tensor) -> str:
    return "".join(ALPHABET[token] for token in tokens.tolist())


class CharacterModel(nn.Module):
    """Logits of the next character at every position, and the state that carries on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(ALPHABET), 32)
        self.recurrence = nn.GRU(32, width, batch_first=True)
        self.head = nn.Linear(width, len(ALPHABET))

    def forward(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        hidden, state = self.recurrence(self.embedding(tokens), state)
        return self.head(hidden), state


def windows(text: Tensor, number: int, length: int) -> Tensor:
    """[number, length] pieces from random places of the text."""
    starts = torch.randint(len(text) - length + 1, (number, 1))
    return text[starts + torch.arange(length)]


def trained(text: Tensor, steps: int, width: int) -> CharacterModel:
    """The model after so many steps of 64 pieces of 64 characters."""
    model = CharacterModel(width)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in track(range(steps), "The reference learns to write"):
        pieces = windows(text, 64, 65)
        logits, _ = model(pieces[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), pieces[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.requires_grad_(False)


@torch.no_grad()
def written(model: CharacterModel, prompts: Tensor, length: int) -> Tensor:
    """[prompts, length] characters that the model draws after each prompt."""
    drawn = []
    logits, state = model(prompts)
    for _ in range(length):
        # The smallest of exponential waiting times, with these rates, is a draw.
        waits = torch.empty_like(logits[:, -1]).exponential_().log() - logits[:, -1]
        drawn.append(waits.argmin(-1, keepdim=True))
        logits, state = model(drawn[-1], state)
    return torch.cat(drawn, 1)
