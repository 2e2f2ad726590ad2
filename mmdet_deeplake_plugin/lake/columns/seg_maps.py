"""Read segmentation maps as image files, whichever column type stores them.

Stored PNG files are returned unchanged. Arrays are encoded, since MMDetection's loaders
decode files; without compression this takes about a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...structures.image_check import BrokenImageError, is_whole
from ...structures.image_format import image_format
from ...structures.image_header import UNKNOWN, header_size
from ...structures.seg_maps import encode_map
from ..connection.source import LakeSource
from ..images.column import ImageColumn
from ..images.encoded import ENCODED, LINKED

_REMEDY = 'store a map in the row, or leave the row out with deeplake_query'


class SegMapColumn:
    """The column that plays the role ``gt_seg_map``.

    Args:
        source: Reads the lake.
        column: Name of the column.
        panoptic: Whether pixels hold segment ids rather than labels.
    """

    def __init__(self, source: LakeSource, column: str, panoptic: bool) -> None:
        self.source = source
        self.column = column
        self.panoptic = panoptic
        self.images = ImageColumn(source, column, _REMEDY)
        self._prefetched: dict[int, bytes] = {}

    def prepare(self, rows: Sequence[int]) -> None:
        """Read the maps of a batch of rows from object storage in one request.

        Raises:
            LakeReadError: If the maps cannot be read.
        """
        self._prefetched = {}
        wanted = sorted(set(rows))
        if self.images.is_remote and self.images.storage == ENCODED and len(wanted) > 1:
            files = self.images.read_rows(wanted)
            self._prefetched = dict(zip(wanted, files))

    def of_row(self, row: int, size: tuple[int, int] | None = None) -> bytes:
        """Return the map of a row as an image file.

        Args:
            row: Row number.
            size: Width and height of its image in pixels; ``None`` to accept any size.

        Raises:
            BrokenImageError: If the row stores no map, or a truncated one.
            ValueError: If the content is not a map, has lossy compression, or has another
                size. The message names lake, column and row.
            LakeReadError: If the map cannot be read.
        """
        try:
            content = self._content(row)
            self._check(content, size)
        except BrokenImageError:
            raise
        except ValueError as error:
            where = self.source.where(self.column, row)
            raise ValueError(f'{where}: {error}') from error
        return content

    def _content(self, row: int) -> bytes:
        prefetched = self._prefetched.pop(row, b'')
        if is_whole(prefetched):
            return prefetched
        if self.images.storage in (ENCODED, LINKED):
            return self.images.read_row(row)
        value: Any = self.source.read(
            f'column {self.column!r}, row {row}', lambda handle: handle[self.column][row]
        )
        if value is None:
            raise self.images.broken(row, 'no map is stored (null)')
        return encode_map(value, self.panoptic)

    def _check(self, content: bytes, size: tuple[int, int] | None) -> None:
        if image_format(content) == 'JPEG':
            raise ValueError(
                'the map must have lossless compression, but is a JPEG, which changes '
                'labels; store a PNG'
            )
        map_size = header_size(content)
        if size is not None and map_size not in (size, UNKNOWN):
            raise ValueError(
                f'the map must have the size of its image, {size[1]} x {size[0]} pixels '
                f'(height x width), but has {map_size[1]} x {map_size[0]}; store a map '
                'of that size'
            )
