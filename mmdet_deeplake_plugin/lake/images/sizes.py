"""Sizes of images, without decoding them, where a lake does not store them.

By the way in which a column stores images:

- Encoded: the shapes that Deep Lake keeps beside the data, one small read a chunk,
  whatever the number of images. Rows whose format Deep Lake does not measure (WebP,
  BMP, TIFF, GIF, JPEG in a PNG column) cost one read each: their header tells.
- Uncompressed: the same shapes.
- Links: the first bytes of each file.
- Nullable: Deep Lake keeps neither shapes nor gives the bytes, so it decodes each
  image. Store width and height in such lakes.

The shapes do not know of EXIF orientation, which pipelines follow. Reading every
JPEG to find out would cost a pass over the data. So up to 64 rows, spread evenly
over the lake, are asked: if one of them lies on its side, all headers are read,
else none. A lake with very few such images should store width and height.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from ...structures.image_check import BrokenImageError
from ...structures.image_header import UNKNOWN, header_size, image_size, lies_on_its_side
from ...utils.messages import first_line
from .column import ImageColumn
from .encoded import ENCODED, LINKED, PIXELS, fetch

_PROBED_ROWS = 64
_ROWS_AT_ONCE = 32
_LINKS_AT_ONCE = 16
_HEADER_BYTES = 2**16  # of a linked file

# Column -> whether images lie on their side.
_turned: WeakKeyDictionary[ImageColumn, bool] = WeakKeyDictionary()


def read_sizes(
    column: ImageColumn, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sizes of the images of rows.

    Args:
        column: The image column.
        rows: Row numbers, shape ``(R,)``.

    Returns:
        Widths and heights in pixels, shape ``(R,)`` each; 0 where no size can be
        read from what is stored.

    Raises:
        ValueError: If the column's type cannot be read.
        LakeReadError: If reading fails.
    """
    dtype, storage = column.source.type_of(column.name), column.storage
    sizes = np.zeros((len(rows), 2), dtype=np.int64)
    unknown = np.ones(len(rows), dtype=bool)
    if storage != LINKED and not dtype.is_nullable and dtype.id != 'bytes':
        for index, shape in enumerate(column.shapes(rows)):
            if len(shape) >= 2 and 0 not in shape[:2]:
                sizes[index] = shape[1], shape[0]
        unknown = sizes[:, 0] == 0
        if dtype.sample_compression == 'jpeg' and not unknown.all():
            if _some_turned(column):
                unknown |= sizes[:, 0] != sizes[:, 1]
    indices = np.flatnonzero(unknown)
    if len(indices):
        sizes[indices] = _READERS[storage](column, rows[indices].tolist())
    return sizes[:, 0].copy(), sizes[:, 1].copy()


def _of_encoded(column: ImageColumn, rows: list[int]) -> list[tuple[int, int]]:
    return [image_size(content) for content in _stored_bytes(column, rows)]


def _of_linked(column: ImageColumn, rows: list[int]) -> list[tuple[int, int]]:
    credentials = column.source.spec.credentials

    def of(stored: bytes) -> tuple[int, int]:
        link = stored.decode()
        try:
            size = header_size(fetch(link, credentials, _HEADER_BYTES))
            return size if size != UNKNOWN else image_size(fetch(link, credentials))
        except BrokenImageError:
            return UNKNOWN
        except Exception as error:
            raise ValueError(
                f'{column.source.where(column.name)}: cannot read a linked image: '
                f'{first_line(error)}'
            ) from error

    with ThreadPoolExecutor(_LINKS_AT_ONCE) as pool:
        return list(pool.map(of, _stored_bytes(column, rows)))


def _of_pixels(column: ImageColumn, rows: list[int]) -> list[tuple[int, int]]:
    sizes = []
    for row in rows:
        try:
            sizes.append(image_size(column.read_row(row)))
        except BrokenImageError:
            sizes.append(UNKNOWN)
    return sizes


def _stored_bytes(column: ImageColumn, rows: list[int]) -> Iterator[bytes]:
    """What rows hold, a few at a time: far fewer round trips than row by row."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        yield from column.read_rows(part)


def _some_turned(column: ImageColumn) -> bool:
    """Whether any of a few images, the same ones whoever asks, lies on its side."""
    if column not in _turned:
        last = column.source.num_rows - 1
        rows = np.linspace(0, last, min(_PROBED_ROWS, last + 1)).astype(np.int64)
        contents = _stored_bytes(column, rows.tolist())
        _turned[column] = any(map(lies_on_its_side, contents))
        if _turned[column]:
            print_log(
                f'{column.source.name}: the EXIF orientation of some images turns them, so the '
                'headers of all are read for their sizes; columns with width and height '
                'would save that',
                logger='current',
                level=logging.WARNING,
            )
    return _turned[column]


_READERS: dict[str, Callable[[ImageColumn, list[int]], list[tuple[int, int]]]] = {
    ENCODED: _of_encoded,
    LINKED: _of_linked,
    PIXELS: _of_pixels,
}
