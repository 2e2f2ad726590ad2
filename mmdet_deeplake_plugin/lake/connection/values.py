"""Reading the values of a column for many rows, by the way that does not crash."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Below this share of the rows, picked rows cost less to read than the column.
_WHOLE_COLUMN_SHARE = 8
_ROWS_AT_ONCE = 1000


def read_values(
    handle: Any, column: str, rows: NDArray[np.int64] | None = None
) -> list[Any]:
    """Reads a column of an open dataset or view.

    Args:
        handle: An open Deep Lake dataset or view.
        column: Name of the column; none that holds images.
        rows: Row numbers, shape ``(R,)``; ``None`` for all.

    Returns:
        One value a row, in the order of ``rows``.
    """
    total = len(handle)
    if rows is None:
        rows = np.arange(total)
    if not len(rows):
        return []
    values = handle[column]
    first = int(rows[0])
    are_neighbours = np.array_equal(rows, np.arange(first, first + len(rows)))
    # Deep Lake 4.7.4 now and then crashes on a slice of a Sequence column, and hangs
    # on a long list of its rows; short lists are safe, and as fast.
    in_lists = handle.schema[column].dtype.is_sequence
    if in_lists or (len(rows) * _WHOLE_COLUMN_SHARE < total and not are_neighbours):
        return [
            value
            for start in range(0, len(rows), _ROWS_AT_ONCE)
            for value in values[rows[start : start + _ROWS_AT_ONCE].tolist()]
        ]
    found = values[first : first + len(rows)] if are_neighbours else values[:]
    if isinstance(found, np.ndarray) and found.ndim == 1 and found.dtype.kind in 'biuf':
        # At once, not number by number.
        return (found if are_neighbours else found[rows]).tolist()
    return list(found) if are_neighbours else [found[row] for row in rows]
