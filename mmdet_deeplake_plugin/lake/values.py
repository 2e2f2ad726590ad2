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
    values = handle[column]
    # Deep Lake 4.7.4 now and then crashes on a slice of a Sequence column, and hangs
    # on a long list of its rows; short lists are safe, and as fast.
    in_parts = handle.schema[column].dtype.is_sequence
    if in_parts or len(rows) * _WHOLE_COLUMN_SHARE < total:
        return [
            value
            for start in range(0, len(rows), _ROWS_AT_ONCE)
            for value in values[rows[start : start + _ROWS_AT_ONCE].tolist()]
        ]
    whole = values[:]
    if isinstance(whole, np.ndarray) and whole.ndim == 1 and whole.dtype.kind in 'biuf':
        return whole[rows].tolist()  # at once, not number by number
    if np.array_equal(rows, np.arange(total)):
        return list(whole)
    return [whole[row] for row in rows]
