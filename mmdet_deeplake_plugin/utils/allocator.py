"""Let glibc keep the memory that a worker frees.

Images are larger than the limit from which glibc gets memory from the system for each
array, and gives it back when the array is freed. So each image is written to pages that
the system has to clear first: several hundred page faults per image.
"""

from __future__ import annotations

import ctypes
import os
import sys

SWITCH = 'MMDET_DEEPLAKE_KEEP_MEMORY'
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(), see malloc.h
_LIMIT = 32 << 20  # bytes; older versions of glibc refuse more for arrays

_done: set[int] = set()  # process ids


def keep_freed_memory() -> bool:
    """Keep freed memory of this process; once, and unless ``SWITCH`` is 0.

    Free memory at the end of the heap beyond 256 MiB is still given back.

    Returns:
        Whether this call has changed the allocator.
    """
    process = os.getpid()
    if process in _done:
        return False
    _done.add(process)
    if sys.platform != 'linux' or os.environ.get(SWITCH, '1') == '0':
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:
        return False  # another C library
    return bool(mallopt(_MMAP_THRESHOLD, _LIMIT) and mallopt(_TRIM_THRESHOLD, 8 * _LIMIT))
