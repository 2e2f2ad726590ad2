"""Read the annotations of many rows into flat arrays.

Whole columns are read at once, checked, and concatenated, with offsets that say where
each row begins. An instance costs bytes rather than Python objects, and forked workers
share the arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...structures.boxes import to_xywh, to_xyxy
from ...utils.packed_strings import PackedStrings
from .row_reader import RowReader


@dataclass(frozen=True)
class AnnotationTable:
    """Annotations of ``R`` rows with ``N`` instances in all.

    The instances of row ``i`` of the table are ``offsets[i]:offsets[i + 1]``.

    Args:
        rows: Row numbers in the lake, shape ``(R,)``.
        offsets: Index of each row's first instance, shape ``(R + 1,)``.
        boxes: Boxes as stored, shape ``(N, 4)``, in ``box_format``.
        labels: Stored class labels, shape ``(N,)``.
        ignore_flags: Crowd (COCO) or difficult (VOC) flags, shape ``(N,)``.
        excluded: COCO's ``ignore`` flags, which exclude an instance from training,
            shape ``(N,)``.
        areas: Areas in square pixels, shape ``(N,)``.
        widths: Image widths in pixels, shape ``(R,)``; 0 if neither a column nor the
            image itself gives the size.
        heights: Image heights in pixels, shape ``(R,)``; 0 as for ``widths``.
        img_ids: Image ids, shape ``(R,)``, integers or strings.
        file_names: File names of the images; empty strings if none are stored.
        box_format: Box convention of ``boxes``.
        segment_ids: Pixel value of each instance in the row's panoptic map, shape
            ``(N,)``; zeros without a column for it.
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


def read_annotations(reader: RowReader) -> AnnotationTable:
    """Read all annotations of some rows, in their order.

    Raises:
        ValueError: If boxes are not ``(N, 4)`` finite numbers, the number of a row's
            labels, flags or areas differs from the number of its boxes, or a label is
            outside the class names.
    """
    columns, rows = reader.columns, reader.rows
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
