"""Read what instances have beside a box and a label: further boxes, and flags."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...structures.boxes import to_xyxy
from ..images.column import ImageColumn
from .annotations import RowReader
from .box_format import declared_box_format
from .mapping import Columns
from .roles import EXTRA_BOXES


def read_extras(
    images: ImageColumn,
    columns: Columns,
    rows: NDArray[np.int64],
    counts: NDArray[np.integer],
    sizes: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> dict[str, NDArray[np.float64]]:
    """Read the further boxes of all instances of rows.

    Args:
        images: The image column, whose source reads the lake.
        columns: Which columns to read.
        rows: Row numbers, shape ``(R,)``.
        counts: Number of boxes of each row, shape ``(R,)``.
        sizes: Widths and heights of the images in pixels, each of shape ``(R,)``.

    Returns:
        Key in the sample -> corners in pixels, shape ``(N, 4)``, in stored order. Empty
        if the lake has no such columns.

    Raises:
        ValueError: If a row does not have as many of them as boxes, or the convention of
            the boxes is not declared.
    """
    reader = RowReader(images, columns, rows)
    row = np.repeat(np.arange(len(rows)), counts)
    found: dict[str, NDArray[np.float64]] = {}
    for role in EXTRA_BOXES:
        column = columns.of(role)
        if column is None:
            continue
        box_format = declared_box_format(images.source.handle, column)
        if box_format is None:
            raise ValueError(
                f'{images.source.where(column)}: the box convention must be declared; '
                "store the boxes in a column of type BoundingBox(dtype='float64', "
                f"format='ltrb', bbox_type='pixel'), or write None for {role} in "
                'deeplake_tensors'
            )
        boxes, offsets = reader.boxes(role)
        for bad in np.flatnonzero(np.diff(offsets) != counts)[:1].tolist():
            raise ValueError(
                f'{images.source.where(column, rows[bad])}: there must be one for each '
                f'box, found {np.diff(offsets)[bad]} for {counts[bad]} boxes in column '
                f'{columns.of("gt_bboxes")!r}; correct the row'
            )
        found[role] = to_xyxy(boxes, box_format, sizes[0][row], sizes[1][row])
    return found
