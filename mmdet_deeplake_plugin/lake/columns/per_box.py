"""Find columns of one's own that have a value for each box, by their lengths.

No role names them, but a row has as many values as boxes: an array, a list, masks, or
JSON of a list, of lists by key, or of regions that list their ``boxes``.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..connection.json_values import parse_json
from ..connection.source import LakeSource
from . import names
from .mapping import Columns, is_predicted
from .roles import MaskKind, holds_several, mask_kind

_PER_IMAGE = (
    *(names.COCO_IMAGE, names.COCO_ANNOTATION, names.CAPTIONS),
    *(names.IMAGE_LABELS, names.CONFIDENCES),
)
_FIRST_ROWS, _MOST_ROWS = 4, 64


def columns_per_box(
    source: LakeSource,
    columns: Columns,
    known: Container[str],
    rows: NDArray[np.int64],
) -> Iterator[str]:
    """Yield the columns that play no role, but have as many values as boxes.

    Rows without values do not count, as a column may be filled in part, nor do rows of
    one box and one value.

    Args:
        source: The lake.
        columns: Its columns; that of ``gt_bboxes`` holds numbers.
        known: Columns that are not looked at.
        rows: Rows that are looked at, beside some of the whole lake, shape ``(R,)``.
    """
    used = {column for _, column in columns.roles}
    sample = np.linspace(0, source.num_rows - 1, _MOST_ROWS).astype(np.int64)
    # A column with a large array per image is known by its first rows.
    parts = rows[:_FIRST_ROWS], np.union1d(rows, sample)
    boxes = columns.of('gt_bboxes') or ''
    counts = [[np.size(each) // 4 for each in source.values(boxes, p)] for p in parts]
    for column in source.handle.schema.columns:
        name, dtype = column.name, column.dtype
        if name in used or name in known or name in _PER_IMAGE:
            continue
        if is_predicted(source.handle, name) or not holds_several(dtype):
            continue
        axis = -1 if mask_kind(dtype) is MaskKind.BITMAPS else 0
        for part, of_part in zip(parts, counts):
            lengths = [_lengths(value, axis) for value in source.values(name, part)]
            equal, other = _compare(lengths, of_part)
            if other and not equal:
                break
        if equal:
            yield name


def _compare(
    lengths: list[dict[str, int]], counts: list[int]
) -> tuple[set[str], set[str]]:
    """Return the keys with a value per box in all rows, and the others.

    One value in a row of one box says nothing: it may be one of the image.
    """
    equal: set[str] = set()
    other: set[str] = set()
    for found, count in zip(lengths, counts):
        for key, length in found.items():
            if length != count:
                other.add(key)
            elif count != 1:
                equal.add(key)
    return equal - other, other


def _lengths(value: Any, axis: int) -> dict[str, int]:
    """Return the number of values in a row by key; of no values, nothing."""
    if isinstance(value, np.ndarray):
        found = {'': value.shape[axis] if value.ndim else 0}
    else:
        try:
            content = parse_json(value)
        except ValueError:  # plain text
            return {}
        keys = content if isinstance(content, dict) else {'': content}
        found = {key: len(each) for key, each in keys.items() if isinstance(each, list)}
        regions = content if isinstance(content, list) else []
        if all(isinstance(each, dict) and 'boxes' in each for each in regions):
            found['boxes'] = sum(np.size(each['boxes']) for each in regions)
    return {key: length for key, length in found.items() if length}
