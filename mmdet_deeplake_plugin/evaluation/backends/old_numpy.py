"""Lend packages the names of numpy that they use and it no longer has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np


class _OldNumpy:
    """numpy with what it had: Python's float until 1.24, ``in1d`` until 2.4."""

    float = float
    in1d = staticmethod(np.isin)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


@contextlib.contextmanager
def old_numpy(module: Any) -> Iterator[None]:
    """Give a module that has numpy as ``np`` the old names for a while."""
    given = module.np
    module.np = _OldNumpy()
    try:
        yield
    finally:
        module.np = given
