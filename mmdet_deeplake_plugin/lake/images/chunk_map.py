"""Map the rows of a lake to the stored chunks of its images.

Deep Lake stores a column in objects of about 8 MB, and reads one in a single request,
where a single row takes two. Where the chunks begin is unknown for lakes in the v3
format and for views; there, rows are taken in blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .datafiles import list_datafiles

ROWS_OF_A_BLOCK = 64


@dataclass(frozen=True)
class ChunkMap:
    """Rows by chunk.

    Args:
        bounds: Chunk ``c`` holds rows ``bounds[c]`` to ``bounds[c + 1]``, shape
            ``(C + 1,)``, increasing.
        stored: Whether these are the stored chunks; else blocks of rows.
    """

    bounds: NDArray[np.int64]
    stored: bool

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Chunk of each row, shape ``(R,)``."""
        return np.searchsorted(self.bounds, rows, side='right') - 1

    def rows(self, chunk: int) -> tuple[int, int]:
        """First row of a chunk, and the first behind it."""
        return int(self.bounds[chunk]), int(self.bounds[chunk + 1])


def map_chunks(handle: Any, column: str) -> ChunkMap:
    """Find the chunks of a column.

    Deleted rows are taken into account: Deep Lake counts the beginnings in rows that are
    left. Updated rows are stored elsewhere, and cost one more request.

    Args:
        handle: An open dataset or view.
        column: Name of the column.
    """
    total = len(handle)
    starts = list_datafiles(handle, column).starts
    bounds = np.unique(np.array([*starts, total], dtype=np.int64))
    if starts and bounds[0] == 0 and bounds[-1] == total:
        return ChunkMap(bounds, stored=True)
    blocks = np.arange(0, total, ROWS_OF_A_BLOCK)
    return ChunkMap(np.append(blocks, total), stored=False)
