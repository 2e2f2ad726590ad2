"""Read the values of a column for many rows, around crashes of Deep Lake."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Up to one in this many rows, reading single rows is cheaper than the whole column.
_WHOLE_COLUMN_SHARE = 8
_ROWS_AT_ONCE = 1000


def read_values(
    handle: Any, column: str, rows: NDArray[np.int64] | None = None
) -> list[Any]:
    """Read a column, but not one of images, of an open dataset or view.

    Args:
        handle: An open Deep Lake dataset or view.
        column: Name of the column.
        rows: Row numbers, shape ``(R,)``; ``None`` for all.

    Returns:
        One value per row, in their order.
    """
    total = len(handle)
    if rows is None:
        rows = np.arange(total)
    if not len(rows):
        return []
    values = handle[column]
    first = int(rows[0])
    are_neighbours = np.array_equal(rows, np.arange(first, first + len(rows)))
    # Deep Lake 4.7.4 sometimes crashes on a slice of a Sequence column, and hangs on a
    # long list of its rows; short lists are safe and as fast.
    in_lists = handle.schema[column].dtype.is_sequence
    if in_lists or (len(rows) * _WHOLE_COLUMN_SHARE < total and not are_neighbours):
        return [
            value
            for start in range(0, len(rows), _ROWS_AT_ONCE)
            for value in values[rows[start : start + _ROWS_AT_ONCE].tolist()]
        ]
    block = values[first : first + len(rows)] if are_neighbours else values[:]
    if isinstance(block, np.ndarray) and block.ndim == 1 and block.dtype.kind in 'biuf':
        # Convert the whole array at once, which is faster than one number at a time.
        return (block if are_neighbours else block[rows]).tolist()
    return list(block) if are_neighbours else [block[row] for row in rows]
