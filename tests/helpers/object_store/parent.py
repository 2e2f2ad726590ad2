"""Ends a process when the one that started it has ended, in whatever way."""

from __future__ import annotations

import os
import threading
import time


def end_with_parent(parent: int) -> None:
    """Starts to watch the parent's process id.

    A pipe would not do: forked workers of a killed parent may hold its other end.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(0)
