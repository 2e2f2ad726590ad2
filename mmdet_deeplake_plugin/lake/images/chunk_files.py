"""Read rows straight from chunk files on a local disk, and find truncated files.

Deep Lake does not check whether a file is truncated: it reads past the end and returns
zeros, or crashes. It also reads 4 KB at a time, handed from thread to thread, which takes
longer than opening the file and reading all of it.

A chunk file begins with its layout, in little-endian numbers of four bytes: the length
(one byte) and text of a version; the number of rows and columns of the table of shapes,
and that table; the number of rows of the table of offsets, and that table, with three
columns: size of each image, offset of the first, number of the last of that size. The
images follow.
https://github.com/activeloopai/deeplake has described it since version 2
(``serialize_chunk``). The code does not rely on that: a file is only read if its images
fill it exactly, and for the first files one row each must equal what Deep Lake reads,
before any row is read without Deep Lake. A layout that does not fit causes a warning.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...structures.image_check import BrokenImageError
from ..changed_parts import warn_changed
from .datafiles import DataFiles

FILES_COMPARED = 8
# What the layout of a row takes: 4 to 12 bytes of its shape, 12 of its size and place.
LAYOUT_BYTES_OF_A_ROW = 32
_LAYOUT_BYTES_BESIDE = 512
_VERSION = re.compile(rb'\d+\.\d+')


@dataclass
class Layout:
    """Where the images of a chunk file are.

    Args:
        table: Of each run of images of one size: that size, the place of the first behind
            the layout, the number of the last; ``uint32``, shape ``(T, 3)``.
        begin: Place of the first image in the file, in bytes.
        total: How many images there should be.
        whole: How many of them are complete.
        is_exact: Whether they follow each other and fill the file.
    """

    table: NDArray[np.uint32]
    begin: int
    total: int
    whole: int
    is_exact: bool = False

    def is_known(self, count: int, size: int) -> bool:
        """Return whether a file with ``count`` images looks so, even if truncated."""
        if not len(self.table):  # it ends within the layout, or has another
            return size <= _LAYOUT_BYTES_BESIDE + LAYOUT_BYTES_OF_A_ROW * count
        is_cut = self.whole < self.total
        return self.total == count and (is_cut or self.is_exact)

    def place(self, number: int) -> tuple[int, int]:
        """Return the size of an image, and where it begins in the file."""
        if len(self.table) == self.total:  # each has a size of its own, as most often
            size, place, _ = self.table[number].tolist()
            return size, self.begin + place
        lasts = self.table[:, 2]
        run = int(np.searchsorted(lasts, number))
        size, place, _ = self.table[run].tolist()
        first = int(lasts[run - 1]) + 1 if run else 0
        return size, self.begin + place + (number - first) * size


_NOTHING: NDArray[np.uint32] = np.zeros((0, 3), np.uint32)
NO_LAYOUT = Layout(_NOTHING, 0, 0, 0)


class ChunkFiles:
    """The chunk files of one column; the layout of each is read once, at first use.

    They keep 12 bytes per row.

    Args:
        folder: Folder of the lake.
        files: Files of a column that holds the bytes of images; without any, all rows are
            read by Deep Lake.
    """

    def __init__(self, folder: Path, files: DataFiles) -> None:
        self._paths = [os.path.join(folder, name) for name in files.names]
        self._starts, self._counts = files.starts, files.written
        self._is_as_written = files.as_written
        self._layouts: dict[int, Layout] = {}
        self._compared: set[int] = set()
        self._differs = False

    def find_truncated(self, rows: Sequence[int]) -> str:
        """Describe the file that is truncated before some rows; ``''`` if none is."""
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

    def read_known(self, rows: Iterable[int]) -> dict[int, bytes]:
        """Read the images of those rows that can be read without Deep Lake, by row.

        Others are in files of which rows were updated or deleted, or in any file until
        enough files were compared.
        """
        images: dict[int, bytes] = {}
        if not self._paths or self._differs:
            return images
        for row in rows:
            try:
                content = self._read(row)
            except (BrokenImageError, OSError):  # raised when the row is read again
                continue
            if content is not None:
                images[row] = content
        return images

    def compare(self, rows: Iterable[int], images: Iterable[bytes]) -> None:
        """Compare what Deep Lake read of some rows with what their files have."""
        for row, content in zip(rows, images):
            place = self._place_of(row)  # -1 if there are none
            layout = self._layouts.get(place)
            if layout is None or not layout.is_exact or not content:
                continue
            if place not in self._compared and len(self._compared) < self._enough:
                own = self._content(place, layout, row)
                if own is not None and own != content:
                    warn_unknown_layout()
                self._differs |= own != content
                self._compared.add(place)

    def compare_some(self, by_deep_lake: Callable[[int], bytes]) -> None:
        """Compare as many files as needed with what Deep Lake reads of a row."""
        if len(self._compared) >= self._enough:
            return
        for place in np.linspace(0, len(self._paths) - 1, self._enough).astype(int):
            row = self._starts[place]
            # After a row that it cannot read, Deep Lake may crash.
            if not self.find_truncated([row]) and self._is_exact(place):
                self.compare([row], [by_deep_lake(row)])

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
            with open(self._paths[place], 'rb') as stream:
                size = os.fstat(stream.fileno()).st_size
                layout = read_layout(stream, size)
            is_as_written = self._is_as_written[place]
            if is_as_written and not layout.is_known(self._counts[place], size):
                warn_unknown_layout()
                layout = NO_LAYOUT
            elif layout.total != self._counts[place] or not is_as_written:
                layout.is_exact = False
            self._layouts[place] = layout
        return layout

    def _read(self, row: int) -> bytes | None:
        """Read an image from a file that is known to be right; ``None`` for others."""
        place = self._place_of(row)
        layout = self._layout_of(place)
        is_sure = len(self._compared) >= self._enough or place in self._compared
        if not layout.is_exact or not is_sure:
            return None
        return self._content(place, layout, row)

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
            del self._layouts[place]  # the file has changed since its layout was read
            name = os.path.basename(self._paths[place])
            raise BrokenImageError(f'its chunk file {name} was cut short')
        return content


def warn_unknown_layout() -> None:
    """Tell that chunks are not as this package knows them."""
    warn_changed(
        'stores images in another layout than earlier versions',
        'they are read by Deep Lake, which is slower',
    )


def read_layout(stream: BinaryIO, size: int) -> Layout:
    """Read the layout of a chunk.

    Args:
        stream: Its beginning, at least all of the layout.
        size: Size of the chunk in bytes.

    Returns:
        The layout: one missing image if the stream ends within the layout; no images if
        it has another layout.

    Raises:
        OSError: If it cannot be read.
    """
    cut, other = Layout(_NOTHING, 0, 1, 0), NO_LAYOUT
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
