"""A GGUF file is parsed once for a model, where Transformers parses it three times over.

It asks for the configuration, the tokeniser and the weights one after another, and makes the same
map of names for every module; each time costs seconds.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

__all__ = ["parsed_once"]


@contextmanager
def parsed_once() -> Iterator[None]:
    """Inside, gguf gives the same reader for the same file, and the same map of names."""
    try:
        import gguf
    except ImportError:
        # Nothing to do: a GGUF file is refused with a hint where it is named.
        yield
        return
    with ExitStack() as patches:
        for name in _REPEATED:
            kept = functools.cache(getattr(gguf, name))
            patches.enter_context(mock.patch.object(gguf, name, kept))
        yield


_REPEATED = ("GGUFReader", "get_tensor_name_map")
