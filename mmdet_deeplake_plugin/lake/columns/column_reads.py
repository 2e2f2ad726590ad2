"""Read several columns of the same rows; on object storage all at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..connection.fork_safety import run_in_thread
from ..connection.source import LakeSource
from .mapping import Columns

_ROWS_AT_ONCE = 5_000
# Roles of annotations whose columns are read in blocks.
_PARTS = ('gt_bboxes', 'gt_labels', 'gt_ignore_flags', 'ignore', 'area', 'segment_ids')


class ColumnReads:
    """The values of columns, whole or in blocks of rows.

    On object storage the first read of each column begins at once, as each waits for the
    network several times.

    Args:
        source: Reads the lake.
        rows: Row numbers, shape ``(R,)``.
        columns: Columns whose annotations are all read, so that their reads may begin
            at once; ``None`` if it is not known what is read.
    """

    def __init__(
        self,
        source: LakeSource,
        rows: NDArray[np.int64],
        columns: Columns | None = None,
    ) -> None:
        self._source, self._rows = source, rows
        # Only adjacent rows are read in blocks: each read of scattered rows searches the
        # whole column.
        is_contiguous = len(rows) and bool((np.diff(rows) == 1).all())
        self._step = _ROWS_AT_ONCE if is_contiguous else max(len(rows), 1)
        self._coming: dict[tuple[str, bool], Future[list[Any]]] = {}
        if source.spec.is_remote and columns is not None:
            sizes = [columns.of('width'), columns.of('height')]
            whole = [columns.of('img_id'), columns.of('file_name')]
            self._begin([*whole, *(sizes if all(sizes) else [])], rows, False)
            self._begin(map(columns.of, _PARTS), rows[: self._step], True)

    def _begin(
        self, names: Iterable[str | None], rows: NDArray[np.int64], is_part: bool
    ) -> None:
        for name in filter(None, names):
            read = partial(self._source.values, name, rows, from_json=is_part)
            self._coming[name, is_part] = run_in_thread(read)

    def values(self, column: str) -> list[Any]:
        """Return the values of a column, one per row."""
        coming = self._coming.pop((column, False), None)
        return coming.result() if coming else self._source.values(column, self._rows)

    def parts(self, column: str) -> Iterator[tuple[slice, list[Any]]]:
        """Yield the values of a column, one per row, for a block of rows at a time.

        Separate arrays take several times the memory of concatenated ones.
        """
        for start in range(0, len(self._rows), self._step):
            part = slice(start, start + self._step)
            coming = self._coming.pop((column, True), None) if not start else None
            if coming:
                yield part, coming.result()
            else:
                yield part, self._source.values(column, self._rows[part], from_json=True)
