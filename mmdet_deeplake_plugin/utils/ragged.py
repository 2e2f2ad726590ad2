"""Ragged arrays: lists of different lengths laid end to end in one flat array.

List ``i`` is ``flat[offsets[i]:offsets[i + 1]]``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def offsets_of(counts: NDArray[np.integer] | Sequence[int]) -> NDArray[np.int64]:
    """Return where each of ``N`` lists begins, and where the last ends: ``(N + 1,)``.

    Examples:
        >>> offsets_of([2, 0, 3])
        array([0, 2, 2, 5])
    """
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, dtype=np.int64, out=offsets[1:])
    return offsets


def indices_of_ranges(
    starts: NDArray[np.integer], counts: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Return the indices of several ranges, one range after the other.

    ``flat[indices_of_ranges(offsets[chosen], counts[chosen])]`` holds the chosen lists
    of a ragged array, and ``offsets_of(counts[chosen])`` are its offsets.

    Args:
        starts: First index of each range, shape ``(K,)``.
        counts: Length of each range, shape ``(K,)``.

    Examples:
        >>> indices_of_ranges(np.array([10, 0]), np.array([3, 2]))
        array([10, 11, 12,  0,  1])
    """
    offsets = offsets_of(counts)
    return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)
