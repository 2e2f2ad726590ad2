"""Read what instances have beside a box and a label, and the labels of images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...structures.boxes import to_xyxy
from ...utils.ragged import offsets_of
from .box_format import declared_box_format
from .roles import EXTRA_BOXES, EXTRA_FLAGS, EXTRA_NUMBERS
from .row_reader import RowReader


def read_extras(
    reader: RowReader,
    counts: NDArray[np.integer],
    sizes: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> dict[str, NDArray[Any]]:
    """Read the further boxes, flags and numbers of all instances of rows.

    Args:
        reader: Reads the rows, ``R`` of them.
        counts: Number of boxes of each row, shape ``(R,)``.
        sizes: Widths and heights of the images in pixels, each of shape ``(R,)``.

    Returns:
        Key in the sample -> corners in pixels, shape ``(N, 4)``, flags or numbers,
        shape ``(N,)``, in stored order. Empty if the lake has no such columns.

    Raises:
        ValueError: If a row does not have as many of them as boxes, or the convention of
            the boxes is not declared.
    """
    columns, source = reader.columns, reader.source
    row = np.repeat(np.arange(len(counts)), counts)
    found: dict[str, NDArray[Any]] = {}
    for role in EXTRA_BOXES:
        column = columns.of(role)
        if column is None:
            continue
        box_format = declared_box_format(source.handle, column)
        if box_format is None:
            raise ValueError(
                f'{source.where(column)}: the box convention must be declared; '
                "store the boxes in a column of type BoundingBox(dtype='float64', "
                f"format='ltrb', bbox_type='pixel'), or write None for {role} in "
                'deeplake_tensors'
            )
        boxes, offsets = reader.boxes(role)
        for bad in np.flatnonzero(np.diff(offsets) != counts)[:1].tolist():
            raise ValueError(
                f'{source.where(column, reader.rows[bad])}: there must be one for each '
                f'box, found {np.diff(offsets)[bad]} for {counts[bad]} boxes in column '
                f'{columns.of("gt_bboxes")!r}; correct the row'
            )
        found[role] = to_xyxy(boxes, box_format, sizes[0][row], sizes[1][row])
    for role, others in EXTRA_FLAGS.items():
        column = columns.of(role)
        if column is not None:
            key = column if column in others else role
            found[key] = reader.numbers(role, counts, np.bool_)
    for role, (key, dtype) in EXTRA_NUMBERS.items():
        if columns.of(role) is not None:
            found[key] = reader.numbers(role, counts, np.dtype(dtype))
    return found


def read_image_labels(
    reader: RowReader,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]] | None:
    """Read the verified labels of images.

    Args:
        reader: Reads the rows, ``R`` of them.

    Returns:
        Offsets of each image's labels, shape ``(R + 1,)``, stored labels, and confidences
        (1 without a column for them); ``None`` if the lake has no such labels.

    Raises:
        ValueError: If a label is not one of a class, or an image has not one confidence
            for each label.
    """
    columns, source, rows = reader.columns, reader.source, reader.rows
    column = columns.of('image_level_labels')
    if column is None:
        return None
    labels, offsets = _lists(reader, column)
    count = len(columns.class_names)
    is_label = (labels >= 0) & (labels < count) & (labels == np.round(labels))
    for bad in np.flatnonzero(~is_label)[:1].tolist():
        raise ValueError(
            f'{reader.where(column, bad, offsets)}: labels must be 0 to {count - 1}, got '
            f'{labels[bad]:g}; correct the row'
        )
    confidences, given = np.ones(len(labels)), columns.of('confidences')
    if given is not None:
        confidences, ends = _lists(reader, given)
        for bad in np.flatnonzero(np.diff(ends) != np.diff(offsets))[:1].tolist():
            raise ValueError(
                f'{source.where(given, rows[bad])}: there must be one confidence for '
                f'each label, found {np.diff(ends)[bad]} for {np.diff(offsets)[bad]} '
                f'labels in column {column!r}; correct the row'
            )
    return offsets, labels.astype(np.int64), confidences.astype(np.float32)


def _lists(
    reader: RowReader, column: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the numbers of all rows, and where those of each row begin."""
    found = [np.ravel([] if v is None else v) for v in reader.values(column)]
    numbers = np.concatenate([np.zeros(0), *found], dtype=np.float64)
    return numbers, offsets_of([len(each) for each in found])
