"""The closed forms, one file per family; importing this registers them all."""

from kullback.distributions.closed_forms import (
    finite,
    normal,
)

__all__ = ["finite", "normal"]
