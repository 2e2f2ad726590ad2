"""Keeps samplers from beginning before it is known where a resumed run goes on.

The iteration-based loop of MMEngine begins to iterate its dataloader when it is
built, long before a checkpoint is loaded: its workers would read images of batches
that are skipped a moment later. While a run waits for its checkpoint, samplers
therefore deal nothing; the hook that made them wait starts them anew.
"""

from __future__ import annotations

import logging
import weakref

from mmengine.logging import print_log

_waiting: weakref.WeakSet[object] = weakref.WeakSet()


def pause(owner: object) -> None:
    """Lets all samplers of this process deal nothing until the owner releases them.

    Args:
        owner: Who asks for it; when it is gone, so is the hold.
    """
    _waiting.add(owner)


def unpause(owner: object) -> None:
    """Ends the hold of an owner."""
    _waiting.discard(owner)


def is_paused() -> bool:
    """Whether samplers deal nothing for now; says so in the log."""
    if _waiting:
        print_log(
            'DeepLakeLoader: no samples before the run has begun; DeepLakeResumeHook '
            'says then where its order goes on',
            logger='current',
            level=logging.INFO,
        )
    return bool(_waiting)
