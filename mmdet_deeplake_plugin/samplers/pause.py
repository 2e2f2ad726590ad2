"""Pause samplers until a resumed run knows its position.

MMEngine's iteration-based loop starts to iterate its dataloader when it is built, long
before a checkpoint is loaded, and the workers would read images of batches that are
skipped a moment later. While paused, samplers therefore yield no samples; the hook that
paused them starts a new iteration afterwards.
"""

from __future__ import annotations

import weakref

from mmengine.logging import print_log

_owners: weakref.WeakSet[object] = weakref.WeakSet()


def pause(owner: object) -> None:
    """Pause all samplers of this process for as long as the owner exists, at most."""
    _owners.add(owner)


def unpause(owner: object) -> None:
    """End the pause of an owner."""
    _owners.discard(owner)


def is_paused() -> bool:
    """Return whether samplers are paused, and log it if they are."""
    if _owners:
        print_log(
            'DeepLakeLoader: paused until the run begins, when DeepLakeResumeHook knows '
            'where to continue',
            logger='current',
        )
    return bool(_owners)
