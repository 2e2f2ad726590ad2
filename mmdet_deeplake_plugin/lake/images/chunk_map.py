"""Which rows of a lake lie in which stored chunk of its images.

Deep Lake stores a column in objects of about 8 MB, and reads one in a request
where a single row costs two. It has no public call for where they begin: what it
reports of its data files is private, and missing for lakes in the v3 format.
There, and wherever the report does not add up, rows are taken in blocks.
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
    """Finds the chunks of a column.

    Rows that were deleted since are taken into account: Deep Lake counts the
    beginnings in rows that are left. Rows that were updated lie elsewhere, and
    cost a request more.

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
