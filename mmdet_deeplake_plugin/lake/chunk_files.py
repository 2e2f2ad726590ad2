"""Whether chunk files of images on a local disk hold all of their rows.

Deep Lake does not ask: it reads behind the end of a file that is cut short, and gets
zeros, or crashes. A chunk file begins with its layout, in numbers of four bytes, little
endian: the length (one byte) and text of a version; how many rows and columns the table
of shapes has, and that table; how many rows the table of places has, and that table, of
three columns: size of each image, place of the first, number of the last that is so
large. The images follow. https://github.com/activeloopai/deeplake has described it since
version 2 (``serialize_chunk``).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_VERSION = re.compile(rb'\d+\.\d+')


class ChunkFiles:
    """The chunk files of one column; each is looked into once, when a row is asked for.

    Args:
        handle: An open dataset; of views nothing is known.
        folder: Folder of the lake.
        column: Name of a column that holds the bytes of images.
    """

    def __init__(self, handle: Any, folder: Path, column: str) -> None:
        try:
            files = handle._datafiles_report[column].insert_datafiles
        except (AttributeError, KeyError, RuntimeError):
            files = []
        files = sorted(files, key=lambda file: file.offset_start)
        self._paths = [folder / file.filename for file in files]
        self._starts = np.array([file.offset_start for file in files], dtype=np.int64)
        self._stops = np.array([file.offset_end for file in files], dtype=np.int64)
        self._lost: dict[int, int] = {}

    def find_lost(self, rows: NDArray[np.int64]) -> str:
        """The file that ends before an image of some rows, in words; ``''`` if none.

        Args:
            rows: Row numbers, shape ``(R,)``.
        """
        if not self._paths:
            return ''
        places = np.searchsorted(self._starts, rows, side='right') - 1
        for place, row in zip(places.tolist(), rows.tolist()):
            if place not in self._lost:
                self._lost[place] = self._first_lost(place)
            if row >= self._lost[place]:
                path = self._paths[place]
                return f'{path.name} is cut short: {path.stat().st_size} bytes'
        return ''

    def _first_lost(self, place: int) -> int:
        start, stop = int(self._starts[place]), int(self._stops[place])
        try:
            total, whole = whole_images(self._paths[place])
        except OSError:  # for Deep Lake to tell
            return stop
        if whole == total:
            return stop
        # Where rows were deleted since, numbers in the file are others.
        return start + whole if total == stop - start else start


def whole_images(path: Path) -> tuple[int, int]:
    """How many images a chunk file should hold, and how many lie within it.

    Args:
        path: The file.

    Returns:
        Both numbers; ``(1, 0)`` if the file ends before it tells, ``(0, 0)`` if it is
        of another layout.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open('rb') as stream:
        size = os.fstat(stream.fileno()).st_size
        version = stream.read((stream.read(1) or b'\0')[0])
        if version.strip(b'\0') and not _VERSION.match(version):
            return 0, 0
        try:
            shapes = _numbers(stream, 2, size)
            _numbers(stream, int(shapes.prod()), size)
            (count,) = _numbers(stream, 1, size).tolist()
            table = _numbers(stream, 3 * count, size).reshape(-1, 3)
        except EOFError:
            return 1, 0
        data = size - stream.tell()
    if not len(table):
        return (0, 0) if version else (1, 0)
    sizes, places, lasts = table.T
    firsts = np.concatenate([[0], lasts[:-1] + 1])
    counts = lasts - firsts + 1
    within = np.clip((data - places) // np.maximum(sizes, 1), 0, counts)
    short = np.flatnonzero((within < counts) & (sizes > 0))
    total = int(lasts[-1]) + 1
    return total, int(firsts[short[0]] + within[short[0]]) if len(short) else total


def _numbers(stream: BinaryIO, count: int, size: int) -> NDArray[np.int64]:
    if 4 * count > size:
        raise EOFError
    content = stream.read(4 * count)
    if len(content) < 4 * count:
        raise EOFError
    return np.frombuffer(content, '<u4').astype(np.int64)
