"""Chunk files of images on a local disk: are they whole, and a row read from one at once.

Deep Lake does not ask whether a file is cut short: it reads behind the end, and gets
zeros, or crashes. And it reads 4 KB at a time, handed from thread to thread, which takes
longer than to open a file and read all of it.

A chunk file begins with its layout, in numbers of four bytes, little endian: the length
(one byte) and text of a version; how many rows and columns the table of shapes has, and
that table; how many rows the table of places has, and that table, of three columns: size
of each image, place of the first, number of the last that is so large. The images follow.
https://github.com/activeloopai/deeplake has described it since version 2
(``serialize_chunk``). That it is still so is not taken for granted: a file is read from
only if its images fill it exactly, and a row of each of the first files must come as Deep
Lake reads it before any other is read without it.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...structures.image_check import BrokenImageError
from .datafiles import list_datafiles

FILES_COMPARED = 8
_VERSION = re.compile(rb'\d+\.\d+')


@dataclass
class Layout:
    """Where the images of a chunk file lie.

    Args:
        table: Of each run of images of one size: that size, the place of the first behind
            the layout, the number of the last; ``uint32``, shape ``(T, 3)``.
        begin: Place of the first image in the file, in bytes.
        total: How many images there should be.
        whole: How many of them end within the file.
        is_exact: Whether they follow each other and fill the file.
    """

    table: NDArray[np.uint32]
    begin: int
    total: int
    whole: int
    is_exact: bool = False

    def place(self, number: int) -> tuple[int, int]:
        """Size of an image, and where it begins in the file.

        Args:
            number: Number of the image in the file.
        """
        if len(self.table) == self.total:  # each has a size of its own, as most often
            size, place, _ = self.table[number].tolist()
            return size, self.begin + place
        lasts = self.table[:, 2]
        run = int(np.searchsorted(lasts, number))
        size, place, _ = self.table[run].tolist()
        first = int(lasts[run - 1]) + 1 if run else 0
        return size, self.begin + place + (number - first) * size


class ChunkFiles:
    """The chunk files of one column; each is looked into once, when a row is asked for.

    It keeps 12 bytes a row of those.

    Args:
        handle: An open dataset; of views nothing is known.
        folder: Folder of the lake.
        column: Name of a column that holds the bytes of images.
    """

    def __init__(self, handle: Any, folder: Path, column: str) -> None:
        files = list_datafiles(handle, column)
        self._paths = [os.path.join(folder, name) for name in files.names]
        self._starts, self._counts = files.starts, files.written
        self._is_as_written = files.as_written
        self._layouts: dict[int, Layout] = {}
        self._compared: set[int] = set()
        self._differs = False

    def find_truncated(self, rows: Sequence[int]) -> str:
        """The file that ends before an image of some rows, in words; ``''`` if none.

        Args:
            rows: Row numbers.
        """
        for row in rows if self._paths else ():
            place = self._place_of(row)
            try:
                layout = self._layout_of(place)
            except OSError:  # for Deep Lake to tell
                continue
            if layout.whole == layout.total:
                continue
            # Where rows were deleted since, numbers in the file are others.
            whole = layout.whole if layout.total == self._counts[place] else 0
            if row >= self._starts[place] + whole:
                path = Path(self._paths[place])
                return f'{path.name} is cut short: {path.stat().st_size} bytes'
        return ''

    def read(
        self, rows: Sequence[int], by_deep_lake: Callable[[], list[bytes]]
    ) -> list[bytes]:
        """The images of some rows, in as many reads of their files.

        Deep Lake reads all of them where rows were updated, or deleted in the same file,
        or too few files were compared so far.

        Args:
            rows: Row numbers.
            by_deep_lake: Reads them by Deep Lake.
        """
        known = self.read_known(rows)
        if all(row in known for row in rows):
            return [known[row] for row in rows]
        images = by_deep_lake()
        for row, content in zip(rows, images):
            self._compare(row, content)
        return images

    def read_known(self, rows: Iterable[int]) -> dict[int, bytes]:
        """The images of those of some rows that may be read without Deep Lake.

        Args:
            rows: Row numbers.

        Returns:
            Row -> image.
        """
        images: dict[int, bytes] = {}
        if not self._paths or self._differs:
            return images
        for row in rows:
            try:
                content = self._read(row)
            except (BrokenImageError, OSError):  # told by who asks again
                continue
            if content is not None:
                images[row] = content
        return images

    def compare_some(self, by_deep_lake: Callable[[int], bytes]) -> None:
        """Compares as many files as it takes to read all without Deep Lake.

        Args:
            by_deep_lake: Reads a row by Deep Lake.
        """
        if len(self._compared) >= self._enough:
            return
        for place in np.linspace(0, len(self._paths) - 1, self._enough).astype(int):
            row = self._starts[place]
            # After a row that it cannot read, Deep Lake may crash.
            if not self.find_truncated([row]) and self._is_exact(place):
                self._compare(row, by_deep_lake(row))

    def _is_exact(self, place: int) -> bool:
        layout = self._layouts.get(place)
        return layout is not None and layout.is_exact

    @property
    def _enough(self) -> int:
        return min(FILES_COMPARED, len(self._paths))

    def _place_of(self, row: int) -> int:
        return bisect_right(self._starts, row) - 1

    def _layout_of(self, place: int) -> Layout:
        layout = self._layouts.get(place)
        if layout is None:
            layout = read_layout(self._paths[place])
            if layout.total != self._counts[place] or not self._is_as_written[place]:
                layout.is_exact = False
            self._layouts[place] = layout
        return layout

    def _read(self, row: int) -> bytes | None:
        """An image of a file that may be read from; ``None`` of another."""
        place = self._place_of(row)
        layout = self._layout_of(place)
        is_sure = len(self._compared) >= self._enough or place in self._compared
        if not layout.is_exact or not is_sure:
            return None
        return self._content(place, layout, row)

    def _compare(self, row: int, content: bytes) -> None:
        """Compares what Deep Lake read with what the file of the row has in its place."""
        place = self._place_of(row)  # -1 if there are none
        layout = self._layouts.get(place)
        if layout is None or not layout.is_exact or not content:
            return
        if place not in self._compared and len(self._compared) < self._enough:
            self._differs |= self._content(place, layout, row) != content
            self._compared.add(place)

    def _content(self, place: int, layout: Layout, row: int) -> bytes | None:
        size, begin = layout.place(row - self._starts[place])
        try:
            file = os.open(self._paths[place], os.O_RDONLY)
        except OSError:  # for Deep Lake to tell
            return None
        try:
            content = os.pread(file, size, begin)
        finally:
            os.close(file)
        if len(content) < size:
            del self._layouts[place]  # it is no longer what was looked into
            name = os.path.basename(self._paths[place])
            raise BrokenImageError(f'its chunk file {name} was cut short')
        return content


def read_layout(path: str) -> Layout:
    """What a chunk file says of its images.

    Args:
        path: The file.

    Returns:
        The layout: one image, of which none is there, if the file ends before it tells;
        no images if it is of another layout.

    Raises:
        OSError: If it cannot be read.
    """
    nothing: NDArray[np.uint32] = np.zeros((0, 3), np.uint32)
    cut, other = Layout(nothing, 0, 1, 0), Layout(nothing, 0, 0, 0)
    with open(path, 'rb') as stream:
        size = os.fstat(stream.fileno()).st_size
        version = stream.read((stream.read(1) or b'\0')[0])
        if version.strip(b'\0') and not _VERSION.match(version):
            return other
        try:
            shapes = _numbers(stream, 2, size).astype(np.int64)
            _numbers(stream, int(shapes.prod()), size)
            (count,) = _numbers(stream, 1, size).tolist()
            table = _numbers(stream, 3 * count, size).reshape(-1, 3)
        except EOFError:
            return cut
        begin = stream.tell()
    if not len(table):
        return other if version else cut
    sizes, places, lasts = table.astype(np.int64).T
    firsts = np.concatenate([[0], lasts[:-1] + 1])
    counts = lasts - firsts + 1
    within = np.clip((size - begin - places) // np.maximum(sizes, 1), 0, counts)
    short = np.flatnonzero((within < counts) & (sizes > 0))
    total = int(lasts[-1]) + 1
    whole = int(firsts[short[0]] + within[short[0]]) if len(short) else total
    ends = places + counts * sizes
    follow = np.array_equal(places, np.append(0, ends[:-1]))
    is_exact = bool(follow and begin + ends[-1] == size)
    return Layout(table, begin, total, whole, is_exact)


def _numbers(stream: BinaryIO, count: int, size: int) -> NDArray[np.uint32]:
    if 4 * count > size:
        raise EOFError
    content = stream.read(4 * count)
    if len(content) < 4 * count:
        raise EOFError
    return np.frombuffer(content, '<u4')
