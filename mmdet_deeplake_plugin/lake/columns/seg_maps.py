"""Segmentation maps of rows as image files, from whichever column type holds them.

Stored PNG files are given as they are. Arrays are encoded, since the stock loaders
decode a file; without compression, which costs about a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...structures.image_check import BrokenImageError, is_whole
from ...structures.image_header import UNKNOWN, header_size
from ...structures.seg_maps import encode_map
from ..connection.source import LakeSource
from ..images.column import ImageColumn
from ..images.encoded import ENCODED, LINKED

_REMEDY = 'store a map in the row, or leave the row out by deeplake_query'
_LOSSY = b'\xff\xd8\xff'  # a JPEG


class SegMapColumn:
    """The column that plays the role ``gt_seg_map``.

    Args:
        source: Reads the lake.
        column: Name of the column.
        panoptic: Whether a pixel holds the id of a segment rather than a label.
    """

    def __init__(self, source: LakeSource, column: str, panoptic: bool) -> None:
        self.source = source
        self.column = column
        self.panoptic = panoptic
        self.images = ImageColumn(source, column, _REMEDY)
        self._listed: dict[int, bytes] = {}

    def prepare(self, rows: Sequence[int]) -> None:
        """Reads what a batch is going to ask for, at one time, from object storage.

        Args:
            rows: Row numbers.

        Raises:
            LakeReadError: If they cannot be read.
        """
        self._listed = {}
        wanted = sorted(set(rows))
        if self.images.is_remote and self.images.storage == ENCODED and len(wanted) > 1:
            files = self.images.read_rows(wanted)
            self._listed = dict(zip(wanted, files))

    def of_row(self, row: int, size: tuple[int, int] | None = None) -> bytes:
        """The map of a row as an image file.

        Args:
            row: Row number.
            size: Width and height of its image in pixels; ``None`` if the map may have
                any.

        Raises:
            BrokenImageError: If no whole map is stored.
            ValueError: If it is no map, compressed with loss, or of another size; names
                lake, column and row.
            LakeReadError: If it cannot be read.
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
        listed = self._listed.pop(row, b'')
        if is_whole(listed):
            return listed
        if self.images.storage in (ENCODED, LINKED):
            return self.images.read_row(row)
        value: Any = self.source.read(
            f'column {self.column!r}, row {row}', lambda handle: handle[self.column][row]
        )
        if value is None:
            raise self.images.broken(row, 'no map is stored (null)')
        return encode_map(value, self.panoptic)

    def _check(self, content: bytes, size: tuple[int, int] | None) -> None:
        if content.startswith(_LOSSY):
            raise ValueError(
                'the map is a JPEG, whose compression changes labels; store a PNG'
            )
        found = header_size(content)
        if size is not None and found not in (size, UNKNOWN):
            raise ValueError(
                f'a map of {found[1]} x {found[0]} pixels (height x width) in an image '
                f'of {size[1]} x {size[0]}; they must be equal'
            )
