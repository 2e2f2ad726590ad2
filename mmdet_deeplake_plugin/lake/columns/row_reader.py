"""Read and check columns of the same rows; on object storage all at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...structures.seg_maps import MOST_IDS, VOID
from ...utils.packed_strings import PackedStrings
from ...utils.ragged import offsets_of
from ..connection.fork_safety import run_in_thread
from ..images.column import ImageColumn
from ..images.sizes import read_sizes
from .mapping import Columns

_ROWS_AT_ONCE = 5_000
# Roles of annotations whose columns are read in blocks.
_PARTS = ('gt_bboxes', 'gt_labels', 'gt_ignore_flags', 'ignore', 'area', 'segment_ids')


class RowReader:
    """The values of columns, whole or in blocks of rows, checked and concatenated.

    On object storage the first read of each column begins at once, if all annotations are
    read, as each waits for the network several times.

    Args:
        images: The image column, whose source reads the lake.
        columns: Which columns to read.
        rows: Row numbers, shape ``(R,)``.
        reads_all: Whether the caller reads the columns of all annotations.
    """

    def __init__(
        self,
        images: ImageColumn,
        columns: Columns,
        rows: NDArray[np.int64],
        reads_all: bool = False,
    ) -> None:
        self.images, self.source = images, images.source
        self.columns, self.rows = columns, rows
        # Only adjacent rows are read in blocks: each read of scattered rows searches the
        # whole column.
        is_contiguous = len(rows) and bool((np.diff(rows) == 1).all())
        self._step = _ROWS_AT_ONCE if is_contiguous else max(len(rows), 1)
        self._coming: dict[tuple[str, bool], Future[list[Any]]] = {}
        if self.source.spec.is_remote and reads_all:
            sizes = [columns.of('width'), columns.of('height')]
            whole = [columns.of('img_id'), columns.of('file_name')]
            self._begin([*whole, *(sizes if all(sizes) else [])], rows, False)
            self._begin(map(columns.of, _PARTS), rows[: self._step], True)

    def _begin(
        self, names: Iterable[str | None], rows: NDArray[np.int64], is_part: bool
    ) -> None:
        for name in filter(None, names):
            read = partial(self.source.values, name, rows, from_json=is_part)
            self._coming[name, is_part] = run_in_thread(read)

    def values(self, column: str) -> list[Any]:
        """Return the values of a column, one per row."""
        coming = self._coming.pop((column, False), None)
        return coming.result() if coming else self.source.values(column, self.rows)

    def parts(self, column: str) -> Iterator[tuple[slice, list[Any]]]:
        """Yield the values of a column, one per row, for a block of rows at a time.

        Separate arrays take several times the memory of concatenated ones.
        """
        for start in range(0, len(self.rows), self._step):
            part = slice(start, start + self._step)
            coming = self._coming.pop((column, True), None) if not start else None
            if coming:
                yield part, coming.result()
            else:
                yield part, self.source.values(column, self.rows[part], from_json=True)

    def boxes(
        self, role: str = 'gt_bboxes'
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the concatenated boxes, shape ``(N, 4)``, and their offsets."""
        column = self.columns.of(role)
        offsets = np.zeros(len(self.rows) + 1, dtype=np.int64)
        if column is None:
            return np.zeros((0, 4)), offsets
        blocks = [np.zeros((0, 4))]
        for part, values in self.parts(column):
            flat, counts = self._boxes_of(column, self.rows[part], values)
            blocks.append(flat)
            offsets[1:][part] = counts
        np.cumsum(offsets, out=offsets)
        flat = np.concatenate(blocks)
        for bad in np.flatnonzero(~np.isfinite(flat).all(axis=1))[:1].tolist():
            raise ValueError(
                f'{self.where(column, bad, offsets)}: a box must be four finite '
                f'numbers, got {flat[bad].tolist()}; correct the box, or remove it'
            )
        return flat, offsets

    def where(self, column: str | None, instance: int, offsets: NDArray[Any]) -> str:
        """Name lake, column and row of an instance for an error message."""
        row = np.searchsorted(offsets, instance, side='right') - 1
        return self.source.where(column, self.rows[row])

    def _boxes_of(
        self, column: str, rows: NDArray[np.int64], values: list[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        joined = _joined(values)
        if joined is not None and joined[0].shape[1:] == (4,):
            return joined[0].astype(np.float64, copy=False), joined[1]
        parts = [np.asarray(_or_empty(value)) for value in values]
        for row, part in zip(rows, parts):
            if part.size and (part.ndim != 2 or part.shape[1] != 4):
                where = self.source.where(column, row)
                raise ValueError(
                    f'{where}: boxes must have the shape (N, 4), got {part.shape}; '
                    'write four numbers per box'
                )
        parts = [part.reshape(-1, 4) for part in parts]
        return np.concatenate(parts).astype(np.float64, copy=False), _sizes(parts)

    def numbers(self, role: str, counts: NDArray[np.integer], dtype: Any) -> NDArray[Any]:
        """Return the concatenated numbers of a role; zeros without a column for it."""
        column, offsets = self.columns.of(role), offsets_of(counts)
        flat, start = np.zeros(int(offsets[-1]), dtype=dtype), 0
        for part, values in self.parts(column) if column else ():
            block = self._numbers_of(role, self.rows[part], values, counts[part])
            if block.dtype.kind == 'f':
                whole = np.issubdtype(dtype, np.integer)
                good = np.isfinite(block) & ((block == np.round(block)) | (not whole))
                for bad in np.flatnonzero(~good)[:1].tolist():
                    raise ValueError(
                        f'{self.where(column, start + bad, offsets)}: the values of '
                        f'deeplake_tensors[{role!r}] must be '
                        f'{"integers" if whole else "finite numbers"}, got {block[bad]}; '
                        'correct the row'
                    )
            flat[start : start + len(block)] = block
            start += len(block)
        return flat

    def _numbers_of(
        self,
        role: str,
        rows: NDArray[np.int64],
        values: list[Any],
        counts: NDArray[np.integer],
    ) -> NDArray[Any]:
        joined = _joined(values)
        if (
            joined is not None
            and joined[0].ndim == 1
            and joined[0].dtype.kind in 'biuf'
            and np.array_equal(joined[1], counts)
        ):
            return joined[0]
        column = self.columns.of(role)
        parts = [np.atleast_1d(_or_empty(value)).ravel() for value in values]
        for index, (row, part, count) in enumerate(zip(rows, parts, counts)):
            if len(part) != count:
                raise ValueError(
                    f'{self.source.where(column, row)}: there must be one value per box, '
                    f'found {len(part)} values for {count} boxes in column '
                    f'{self.columns.of("gt_bboxes")!r}; correct the row'
                )
            if role == 'gt_labels' and part.dtype.kind == 'U':
                where = self.source.where(column, row)
                parts[index] = part = self.columns.labels_of(part, where)
            if part.size and part.dtype.kind not in 'biuf':
                raise ValueError(
                    f'{self.source.where(column, row)}: {part[0]!r} is not a number; '
                    f'write a column of numbers for deeplake_tensors[{role!r}]'
                )
        return np.concatenate(parts)

    def check_labels(self, labels: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
        """Check that every label has a class name.

        Args:
            labels: Labels of all boxes, shape ``(N,)``.
            offsets: First box of each row, shape ``(R + 1,)``, for messages.

        Raises:
            ValueError: If one has none.
        """
        known = len(self.columns.class_names)
        outside = (labels < 0) | (labels >= known) if known else labels < 0
        for bad in np.flatnonzero(outside)[:1].tolist():
            where = self.where(self.columns.of('gt_labels'), bad, offsets)
            wanted = f'0 to {known - 1}' if known else '0 or more'
            raise ValueError(
                f'{where}: labels must be {wanted} (the column has {known} '
                f'class_names), got {labels[bad]}; correct the label, or the metadata '
                'class_names of the column'
            )

    def segment_ids(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the concatenated segment ids; zeros without a column for them."""
        ids = self.numbers('segment_ids', np.diff(offsets), np.int64)
        column = self.columns.of('segment_ids')
        if column is None or not self.columns.is_panoptic:
            return ids
        position = np.repeat(np.arange(len(self.rows)), np.diff(offsets))
        outside = (ids <= VOID) | (ids >= MOST_IDS)
        _, first = np.unique(position * MOST_IDS + ids, return_index=True)
        twice = np.ones(len(ids), dtype=bool)
        twice[first] = False
        for bad in np.flatnonzero(outside | twice)[:1].tolist():
            problem = (
                f'must be 1 to {MOST_IDS - 1}'
                if outside[bad]
                else 'must be unique within an image, but occurs twice'
            )
            where = self.where(column, bad, offsets)
            raise ValueError(f'{where}: the segment id {ids[bad]} {problem}')
        return ids

    def sizes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return widths and heights in pixels, shape ``(R,)`` each; 0 if unreadable."""
        width, height = self.columns.of('width'), self.columns.of('height')
        if width and height:
            return self.integers(width), self.integers(height)
        return read_sizes(self.images, self.rows)

    def img_ids(self) -> NDArray[np.int64] | PackedStrings:
        """Return the image ids; the row numbers without a column for them."""
        column = self.columns.of('img_id')
        if column is None:
            return self.rows.copy()
        values = self._one_per_row(column)
        if {str, bytes} & set(map(type, values)):
            return PackedStrings(values)  # Deep Lake returns None for an empty text
        return self._integers(column, values)

    def file_names(self) -> PackedStrings:
        """Return the file names; empty without a column for them."""
        column = self.columns.of('file_name')
        values = self._one_per_row(column) if column else [''] * len(self.rows)
        return PackedStrings([value or '' for value in values])

    def integers(self, column: str) -> NDArray[np.int64]:
        """Return the numbers of a column with one integer per row, shape ``(R,)``."""
        return self._integers(column, self._one_per_row(column))

    def _one_per_row(self, column: str) -> list[Any]:
        """Return the values of a column with one per row; ``None`` for an empty one."""
        values = self.values(column)
        if set(map(type, values)) <= {str, int}:
            return values
        for row, value in zip(self.rows, values):
            if isinstance(value, np.ndarray) and value.size > 1:
                raise ValueError(
                    f'{self.source.where(column, row)}: there must be one value per row, '
                    f'got {value.size}; name another column in deeplake_tensors, or None '
                    'to leave it out'
                )
        return [_scalar(value) for value in values]

    def _integers(self, column: str, values: list[Any]) -> NDArray[np.int64]:
        if set(map(type, values)) == {int}:
            return np.array(values, dtype=np.int64)
        for row, value in zip(self.rows, values):
            if not isinstance(value, (int, float)) or not float(value).is_integer():
                where = self.source.where(column, row)
                raise ValueError(
                    f'{where}: the value must be an integer, got {value!r}; correct the '
                    'row, or leave the column out with None in deeplake_tensors'
                )
        return np.array(values, dtype=np.int64)


def _or_empty(value: Any) -> Any:
    return np.zeros(0) if value is None else value


def _joined(values: list[Any]) -> tuple[NDArray[Any], NDArray[np.int64]] | None:
    """Concatenate arrays of one kind and return their lengths too.

    This fast path joins a hundred thousand arrays in a few calls; a loop over them takes
    seconds. ``None`` if they differ in type or shape: the caller then checks them one by
    one.
    """
    types = set(map(type, values))
    if not types <= {np.ndarray, type(None)}:
        return None
    if types == {np.ndarray}:
        # The usual case: even one loop over the rows would double the time.
        first = next((value for value in values if value.size), None)
        with contextlib.suppress(ValueError):
            flat = np.concatenate(values)
            # An empty array may have another dtype than the others.
            if first is not None and flat.size and flat.dtype == first.dtype:
                return flat, _sizes(values)
    full = [value for value in values if value is not None and value.size]
    try:
        flat = np.concatenate(full)
    except ValueError:  # no arrays, scalars, or different shapes
        return None
    return flat, _sizes(
        [() if value is None or not value.size else value for value in values]
    )


def _sizes(parts: Sequence[Sized]) -> NDArray[np.int64]:
    return np.fromiter(map(len, parts), np.int64, len(parts))


def _scalar(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else None
    return value.item() if isinstance(value, np.generic) else value
