"""How many threads a fit gets: one for few draws, which only wait for each other otherwise."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["threads_for"]

_MANY = 50_000


@contextmanager
def threads_for(draws: int) -> Iterator[None]:
    """Inside, BLAS and OpenMP use one thread unless there are many draws."""
    if draws >= _MANY:
        yield
        return
    with _controller().limit(limits=1):
        yield


@functools.cache
def _controller() -> Any:
    # scikit-learn brings it along, and needs it loaded before its libraries are counted.
    import sklearn.ensemble
    import sklearn.linear_model  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
