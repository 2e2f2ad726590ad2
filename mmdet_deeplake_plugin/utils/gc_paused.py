"""Pause Python's garbage collector while many objects are created.

An evaluation creates a dict per detection. While half a million are created, the
collector traverses all of them again and again, which takes a fifth of the time and
finds nothing: they form no reference cycles, so reference counting frees them.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Pause the collector in a block, or in a function as a decorator."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
