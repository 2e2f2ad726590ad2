"""Read whole chunks from object storage, without opening the lake.

A chunk is an object with the layout that ``chunk_files.py`` describes. As there, the code
does not rely on it: an object is only used if its images fill it exactly and are as many
as Deep Lake reports, and one image must equal what Deep Lake reads before any object is.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from ...utils.shared_by_copies import SharedByCopies
from ..connection.fork_safety import run_in_thread
from ..connection.objects import ObjectReader
from .chunk_files import LAYOUT_BYTES_OF_A_ROW, read_layout, warn_unknown_layout
from .datafiles import DataFiles

_LAYOUT_BYTES = 64 << 10  # at least: most often with all that a small chunk has


class ChunkObjects(SharedByCopies):
    """The chunks of one column of encoded images."""

    def __init__(self, reader: ObjectReader, files: DataFiles) -> None:
        self._reader = reader
        self._files = files

    def read(self, what: str, first: int, stop: int) -> list[bytes] | None:
        """Read the images of a chunk: rows ``first`` to ``stop - 1``.

        Returns:
            One image per row; ``None`` if Deep Lake has to read them.

        Raises:
            LakeReadError: If the object cannot be read; the message says ``what``.
        """
        place = self._place_of(first)
        files, rows = self._files, stop - first
        is_chunk = files.starts[place] == first and files.written[place] == rows
        if not is_chunk or not files.as_written[place]:
            return None
        content = self._reader.read(what, files.names[place])
        return None if content is None else split(content, rows)

    def agree(self, row: int, by_deep_lake: Callable[[], bytes]) -> bool:
        """Return whether the image of a row is where the layout of its chunk says."""
        own = run_in_thread(lambda: self._read_one(row))
        expected = by_deep_lake()
        agree = bool(expected) and own.result() == expected
        if expected and not agree and self._files.as_written[self._place_of(row)]:
            warn_unknown_layout()
        return agree

    def _read_one(self, row: int) -> bytes | None:
        place, what = self._place_of(row), f'the layout of the chunk of row {row}'
        name = self._files.names[place]
        end = max(_LAYOUT_BYTES, LAYOUT_BYTES_OF_A_ROW * self._files.written[place])
        head = self._reader.read(what, name, 0, end)
        if head is None:
            return None
        layout = read_layout(io.BytesIO(head), 1 << 40)
        number = row - self._files.starts[place]
        if number >= layout.total or not len(layout.table):
            return None
        size, begin = layout.place(number)
        content = self._reader.read(what, name, begin, begin + size)
        return None if content is None else bytes(content)

    def _place_of(self, row: int) -> int:
        return bisect_right(self._files.starts, row) - 1

    def __reduce__(self) -> tuple[Any, ...]:
        return ChunkObjects, (self._reader, self._files)


def split(content: memoryview, rows: int) -> list[bytes] | None:
    """Split a chunk into its images, one per row.

    Returns:
        The images; ``None`` if it has another layout or was cut short.
    """
    layout = read_layout(io.BytesIO(content), len(content))
    if not layout.is_exact or layout.total != rows:
        return None
    places = map(layout.place, range(rows))
    return [bytes(content[begin : begin + size]) for size, begin in places]
