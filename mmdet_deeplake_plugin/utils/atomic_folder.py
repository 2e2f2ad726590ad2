"""Write a local folder atomically.

The new folder is written beside its destination under a hidden name and renamed when
it is complete. A failure leaves the old folder as it was, and no half-written one. A
process that is killed (SIGKILL, power loss) may leave the hidden sibling
``.NAME.partial-*`` or, between the two renames of a replacement, the complete old
folder as ``.NAME.replaced-*``.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_folder(dest: Path, replace: bool) -> Iterator[Path]:
    """Yield an empty folder that becomes ``dest`` if the block succeeds.

    Args:
        dest: Destination; its parents are created. A symbolic link is followed, so
            the folder that it points to is replaced.
        replace: Whether a non-empty ``dest`` is replaced.

    Yields:
        The folder to fill; it is removed after any exception in the block.

    Raises:
        OSError: If ``dest`` is not empty and ``replace`` is false, or if the
            file system refuses.
    """
    dest = dest.resolve()
    token = uuid.uuid4().hex[:8]
    partial = dest.with_name(f'.{dest.name}.partial-{token}')
    partial.mkdir(parents=True)
    try:
        yield partial
        if replace and dest.exists():
            _swap(partial, dest, dest.with_name(f'.{dest.name}.replaced-{token}'))
        else:
            partial.rename(dest)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _swap(new: Path, dest: Path, aside: Path) -> None:
    """Replace ``dest`` with ``new``; on failure, restore ``dest``."""
    dest.rename(aside)
    try:
        new.rename(dest)
    except BaseException:
        aside.rename(dest)
        raise
    shutil.rmtree(aside, ignore_errors=True)
