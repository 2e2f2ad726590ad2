"""The annotations of many rows as flat arrays: bytes per box, not objects.

Whole columns are read at once, checked, and laid end to end with offsets.
Workers that are forked share the arrays; there is one per kind of number,
whatever the number of images.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...structures.boxes import to_xywh, to_xyxy
from ...structures.seg_maps import MOST_IDS, VOID
from ...utils.packed_strings import PackedStrings
from ..images.column import ImageColumn
from ..images.sizes import read_sizes
from .mapping import Columns

_ROWS_AT_ONCE = 5_000


@dataclass(frozen=True)
class AnnotationTable:
    """Annotations of ``R`` rows with ``N`` instances in all.

    Instances of row ``i`` of the table stand at ``offsets[i]:offsets[i + 1]``.

    Args:
        rows: Row number in the lake, shape ``(R,)``.
        offsets: Where a row's instances begin, shape ``(R + 1,)``.
        boxes: Boxes as stored, shape ``(N, 4)``, in ``box_format``.
        labels: Class number, shape ``(N,)``.
        ignore_flags: Crowd (COCO) or difficult (VOC), shape ``(N,)``.
        excluded: COCO's ``ignore``: training never sees it, shape ``(N,)``.
        areas: Area in square pixels, shape ``(N,)``.
        widths: Image width in pixels, shape ``(R,)``; 0 if neither a column nor the
            image tells.
        heights: Image height in pixels, shape ``(R,)``; likewise.
        img_ids: Image id, shape ``(R,)``, integers or strings.
        file_names: File name of the image; empty strings if there is none.
        box_format: Convention of ``boxes``.
        segment_ids: Which pixels of the row's map are an instance's, shape ``(N,)``;
            zeros if no column tells.
    """

    rows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    ignore_flags: NDArray[np.bool_]
    excluded: NDArray[np.bool_]
    areas: NDArray[np.float64]
    widths: NDArray[np.int64]
    heights: NDArray[np.int64]
    img_ids: NDArray[np.int64] | PackedStrings
    file_names: PackedStrings
    box_format: str
    segment_ids: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def row_of_instance(self) -> NDArray[np.int32]:
        """Position in the table of each instance's row, shape ``(N,)``."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))

    @property
    def boxes_xyxy(self) -> NDArray[np.float64]:
        """Boxes as corners in pixels, shape ``(N, 4)``."""
        row = self.row_of_instance
        return to_xyxy(self.boxes, self.box_format, self.widths[row], self.heights[row])

    @property
    def boxes_xywh(self) -> NDArray[np.float64]:
        """Boxes as left, top, width, height in pixels, shape ``(N, 4)``."""
        row = self.row_of_instance
        return to_xywh(self.boxes, self.box_format, self.widths[row], self.heights[row])

    @property
    def nbytes(self) -> int:
        """Size of all arrays in bytes."""
        return sum(getattr(getattr(self, f.name), 'nbytes', 0) for f in fields(self))


def read_annotations(
    images: ImageColumn, columns: Columns, rows: NDArray[np.int64] | None
) -> AnnotationTable:
    """Reads the annotations of rows of a lake.

    Args:
        images: The image column, whose source reads the lake.
        columns: Which columns to read.
        rows: Row numbers in the order of the table, shape ``(R,)``; ``None``
            for all rows.

    Returns:
        The table of ``R`` rows.

    Raises:
        ValueError: If boxes are not ``(N, 4)`` finite numbers, a row's labels,
            flags or areas are not as many as its boxes, or a label has no class
            name.
    """
    if rows is None:
        rows = np.arange(images.source.num_rows, dtype=np.int64)
    reader = _Reader(images, columns, rows)
    widths, heights = reader.sizes()
    boxes, offsets = reader.boxes()
    counts = np.diff(offsets)
    labels = reader.numbers('gt_labels', counts, np.int64)
    reader.check_labels(labels, offsets)
    flags = reader.numbers('gt_ignore_flags', counts, np.bool_)
    excluded = reader.numbers('ignore', counts, np.bool_)
    areas = reader.numbers('area', counts, np.float64)
    if columns.of('area') is None:
        row = np.repeat(np.arange(len(rows)), counts)
        sizes = to_xywh(boxes, columns.box_format, widths[row], heights[row])[:, 2:]
        areas = sizes[:, 0] * sizes[:, 1]
    return AnnotationTable(
        rows=rows,
        offsets=offsets,
        boxes=boxes,
        labels=labels,
        ignore_flags=flags,
        excluded=excluded,
        areas=areas,
        widths=widths,
        heights=heights,
        img_ids=reader.img_ids(),
        file_names=reader.file_names(),
        box_format=columns.box_format,
        segment_ids=reader.segment_ids(offsets),
    )


class _Reader:
    """Reads and checks columns of the same rows."""

    def __init__(
        self, images: ImageColumn, columns: Columns, rows: NDArray[np.int64]
    ) -> None:
        self.images, self.source = images, images.source
        self.columns = columns
        self.rows = rows

    def values(self, column: str) -> list[Any]:
        """The values of a column, one a row."""
        return self.source.values(column, self.rows)

    def parts(self, column: str) -> Iterator[tuple[slice, list[Any]]]:
        """The values of a column, one a row, some rows at a time.

        As arrays of their own they take several times what they take laid end to end.
        """
        # Of neighbours; others would each be looked for in the whole column.
        are_neighbours = len(self.rows) and bool((np.diff(self.rows) == 1).all())
        step = _ROWS_AT_ONCE if are_neighbours else max(len(self.rows), 1)
        for start in range(0, len(self.rows), step):
            part = slice(start, start + step)
            yield part, self.source.values(column, self.rows[part])

    def boxes(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Boxes laid end to end, shape ``(N, 4)``, and their offsets."""
        column = self.columns.of('gt_bboxes')
        offsets = np.zeros(len(self.rows) + 1, dtype=np.int64)
        found: list[NDArray[np.float64]] = [np.zeros((0, 4))]
        for part, values in self.parts(column) if column else ():
            flat, counts = self._boxes_of(column, self.rows[part], values)
            found.append(flat)
            offsets[1:][part] = counts
        np.cumsum(offsets, out=offsets)
        flat = np.concatenate(found)
        self._check_finite(column, flat, offsets)
        return flat, offsets

    def _boxes_of(
        self, column: str | None, rows: NDArray[np.int64], values: list[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        joined = _joined(values)
        if joined is not None and joined[0].shape[1:] == (4,):
            return joined[0].astype(np.float64, copy=False), joined[1]
        parts = [np.asarray(_or_empty(value)) for value in values]
        for row, part in zip(rows, parts):
            if part.size and (part.ndim != 2 or part.shape[1] != 4):
                raise ValueError(
                    f'{self.source.where(column, row)}: boxes of shape {part.shape}; write '
                    '(N, 4), one row of four numbers a box'
                )
        parts = [part.reshape(-1, 4) for part in parts]
        return np.concatenate(parts).astype(np.float64, copy=False), _sizes(parts)

    def _check_finite(
        self, column: str | None, flat: NDArray[np.float64], offsets: NDArray[np.int64]
    ) -> None:
        finite = np.isfinite(flat).all(axis=1)
        if not finite.all():
            bad = int(np.flatnonzero(~finite)[0])
            row = self.rows[np.searchsorted(offsets, bad, side='right') - 1]
            raise ValueError(
                f'{self.source.where(column, row)}: the box {flat[bad].tolist()} is not four '
                'finite numbers'
            )

    def numbers(self, role: str, counts: NDArray[np.int64], dtype: Any) -> NDArray[Any]:
        """A role's numbers laid end to end, zeros if no column plays it."""
        column = self.columns.of(role)
        if column is None:
            return np.zeros(int(counts.sum()), dtype=dtype)
        flat, start = np.empty(int(counts.sum()), dtype=dtype), 0
        for part, values in self.parts(column):
            found = self._numbers_of(role, self.rows[part], values, counts[part])
            flat[start : start + len(found)] = found
            start += len(found)
        return flat

    def _numbers_of(
        self,
        role: str,
        rows: NDArray[np.int64],
        values: list[Any],
        counts: NDArray[np.int64],
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
        for row, part, count in zip(rows, parts, counts):
            if len(part) != count:
                raise ValueError(
                    f'{self.source.where(column, row)}: {len(part)} values for {count} boxes '
                    f'in column {self.columns.of("gt_bboxes")!r}; write one a box'
                )
            if part.size and part.dtype.kind not in 'biuf':
                raise ValueError(
                    f'{self.source.where(column, row)}: {part[0]!r} is no number; '
                    f'deeplake_tensors[{role!r}] takes a column of numbers'
                )
        return np.concatenate(parts)

    def check_labels(self, labels: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
        """Refuses labels that have no class name."""
        known = len(self.columns.class_names)
        outside = (labels < 0) | (labels >= known) if known else labels < 0
        if not outside.any():
            return
        bad = int(np.flatnonzero(outside)[0])
        row = self.rows[np.searchsorted(offsets, bad, side='right') - 1]
        raise ValueError(
            f'{self.source.where(self.columns.of("gt_labels"), row)}: label {labels[bad]} is '
            f'outside its class_names ({known} names: labels 0 to {known - 1}); correct '
            'the label, or the metadata class_names of the column'
        )

    def segment_ids(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Ids of segments laid end to end, zeros if no column plays the role."""
        counts = np.diff(offsets)
        ids = self.numbers('segment_ids', counts, np.int64)
        column = self.columns.of('segment_ids')
        if column is None or not self.columns.is_panoptic:
            return ids
        position = np.repeat(np.arange(len(self.rows)), counts)
        outside = (ids <= VOID) | (ids >= MOST_IDS)
        _, first = np.unique(position * MOST_IDS + ids, return_index=True)
        twice = np.ones(len(ids), dtype=bool)
        twice[first] = False
        for bad in np.flatnonzero(outside | twice)[:1].tolist():
            problem = (
                f'is no id of a segment; write 1 to {MOST_IDS - 1}'
                if outside[bad]
                else 'stands there twice; segments of an image need distinct ids'
            )
            where = self.source.where(column, self.rows[position[bad]])
            raise ValueError(f'{where}: {ids[bad]} {problem}')
        return ids

    def sizes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Widths and heights in pixels, shape ``(R,)`` each; 0 if unreadable."""
        width, height = self.columns.of('width'), self.columns.of('height')
        if width and height:
            return self._numbers(width), self._numbers(height)
        return read_sizes(self.images, self.rows)

    def img_ids(self) -> NDArray[np.int64] | PackedStrings:
        """Image ids; row numbers if no column holds them."""
        column = self.columns.of('img_id')
        if column is None:
            return self.rows.copy()
        values = _scalars(self.values(column))
        if {str, bytes} & set(map(type, values)):
            # An empty text comes back as None.
            return PackedStrings(['' if value is None else value for value in values])
        return self._integers(column, values)

    def file_names(self) -> PackedStrings:
        """File names, empty if no column holds them."""
        column = self.columns.of('file_name')
        values = self.values(column) if column else [''] * len(self.rows)
        return PackedStrings([value or '' for value in _scalars(values)])

    def _numbers(self, column: str) -> NDArray[np.int64]:
        return self._integers(column, _scalars(self.values(column)))

    def _integers(self, column: str, values: list[Any]) -> NDArray[np.int64]:
        if set(map(type, values)) == {int}:
            return np.array(values, dtype=np.int64)
        for row, value in zip(self.rows, values):
            if not isinstance(value, (int, float)) or not float(value).is_integer():
                raise ValueError(
                    f'{self.source.where(column, row)}: {value!r} is no whole number; correct '
                    'the row, or leave the column out by None in deeplake_tensors'
                )
        return np.array(values, dtype=np.int64)


def _or_empty(value: Any) -> Any:
    return np.zeros(0) if value is None else value


def _joined(values: list[Any]) -> tuple[NDArray[Any], NDArray[np.int64]] | None:
    """Arrays laid end to end, and their lengths; ``None`` if they are not alike.

    A hundred thousand arrays are joined in a few calls where looking at each takes
    seconds; what is wrong with one of them is left to those who look at each.
    """
    types = set(map(type, values))
    if not types <= {np.ndarray, type(None)}:
        return None
    if types == {np.ndarray}:
        # The usual case, for which even a loop over the rows takes as long as the rest.
        first = next((value for value in values if value.size), None)
        with contextlib.suppress(ValueError):
            flat = np.concatenate(values)
            # An empty array may be of another type than the others.
            if first is not None and flat.size and flat.dtype == first.dtype:
                return flat, _sizes(values)
    full = [value for value in values if value is not None and value.size]
    try:
        flat = np.concatenate(full)
    except ValueError:  # there is none, a number, or they differ in their shapes
        return None
    return flat, _sizes(
        [() if value is None or not value.size else value for value in values]
    )


def _sizes(parts: Sequence[Sized]) -> NDArray[np.int64]:
    return np.fromiter(map(len, parts), np.int64, len(parts))


def _scalars(values: list[Any]) -> list[Any]:
    if set(map(type, values)) <= {str, int}:
        return values
    return [_scalar(value) for value in values]


def _scalar(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else None
    return value.item() if isinstance(value, np.generic) else value
