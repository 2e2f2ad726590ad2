"""Read image sizes without decoding the images, for lakes that do not store sizes.

Where the sizes come from depends on how the column stores images:

- Encoded: from the shapes that Deep Lake keeps beside the data. This takes one small read
  per chunk, however many images it has. Formats that Deep Lake does not measure (WebP,
  BMP, TIFF, GIF, JPEG in a PNG column) take one read per row, to parse the header.
- Uncompressed: from the same shapes.
- Links: from the first bytes of each file.
- Nullable: from the decoded images, because Deep Lake neither keeps their shapes nor
  returns their bytes. Such lakes should store width and height.

The shapes ignore the EXIF orientation, which pipelines apply. Reading every image to
check would cost a pass over the data. Therefore up to 64 rows, spread evenly over the
lake, are checked: if one of them is rotated by 90 degrees, all headers are read,
otherwise none. A lake with very few such images should store width and height.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ...structures.image_check import BrokenImageError
from ...structures.image_header import UNKNOWN, header_size, image_size, lies_on_its_side
from ...utils.messages import first_line, warn
from .column import ImageColumn
from .encoded import ENCODED, LINKED, PIXELS, fetch

_PROBED_ROWS = 64
_ROWS_AT_ONCE = 32
_LINKS_AT_ONCE = 16
_HEADER_BYTES = 2**16  # of a linked file

# Column -> whether EXIF swaps width and height of some images.
_turned: WeakKeyDictionary[ImageColumn, bool] = WeakKeyDictionary()


def read_sizes(
    column: ImageColumn, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read the sizes of the images of ``R`` rows.

    Returns:
        Widths and heights in pixels, each of shape ``(R,)``; 0 if the stored image does
        not have a readable size.

    Raises:
        ValueError: If the type of the column cannot be read.
        LakeReadError: If reading fails.
    """
    dtype = column.source.type_of(column.name)
    sizes = np.zeros((len(rows), 2), dtype=np.int64)
    unknown = np.ones(len(rows), dtype=bool)
    if column.storage != LINKED and not dtype.is_nullable and dtype.id != 'bytes':
        for index, shape in enumerate(column.shapes(rows)):
            if len(shape) >= 2 and 0 not in shape[:2]:
                sizes[index] = shape[1], shape[0]
        unknown = sizes[:, 0] == 0
        if column.storage == ENCODED and not unknown.all() and _some_turned(column):
            unknown |= sizes[:, 0] != sizes[:, 1]
    indices = np.flatnonzero(unknown)
    if len(indices):
        sizes[indices] = _measure(column, rows[indices].tolist())
    return sizes[:, 0].copy(), sizes[:, 1].copy()


def _measure(column: ImageColumn, rows: list[int]) -> list[tuple[int, int]]:
    """Return width and height of images by their headers."""
    if column.storage == PIXELS:
        return [_size_of_pixels(column, row) for row in rows]
    stored = _stored_bytes(column, rows)
    if column.storage == ENCODED:
        return list(map(image_size, stored))
    with ThreadPoolExecutor(_LINKS_AT_ONCE) as pool:
        return list(pool.map(partial(_size_of_linked, column), stored))


def _size_of_linked(column: ImageColumn, stored: bytes) -> tuple[int, int]:
    link, credentials = stored.decode(), column.source.spec.credentials
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


def _size_of_pixels(column: ImageColumn, row: int) -> tuple[int, int]:
    try:
        return image_size(column.read_row(row))
    except BrokenImageError:
        return UNKNOWN


def _stored_bytes(column: ImageColumn, rows: list[int]) -> Iterator[bytes]:
    """Yield the stored bytes of rows, read in batches to save round trips."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        yield from column.read_rows(part)


def _some_turned(column: ImageColumn) -> bool:
    """Whether EXIF rotates any of the probed images by 90 degrees.

    The probed rows depend on the number of rows only, so all processes agree.
    """
    if column not in _turned:
        last = column.source.num_rows - 1
        rows = np.linspace(0, last, min(_PROBED_ROWS, last + 1)).astype(np.int64)
        contents = _stored_bytes(column, rows.tolist())
        _turned[column] = any(map(lies_on_its_side, contents))
        if _turned[column]:
            warn(
                f'{column.source.name}: some images are rotated by their EXIF '
                'orientation, so the headers of all images are read to get their sizes; '
                'store width and height as columns to avoid this'
            )
    return _turned[column]
