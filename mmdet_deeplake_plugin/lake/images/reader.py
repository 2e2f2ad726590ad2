"""Read the encoded images of a dataset in the cheapest way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from ...structures.image_check import is_whole
from ...utils.allocator import keep_freed_memory
from ...utils.counters import ReadCounters
from ...utils.shared_by_copies import SharedByCopies
from .chunk_cache import ChunkCache
from .chunk_map import ChunkMap
from .column import ImageColumn
from .encoded import ENCODED


class ImageReader(SharedByCopies):
    """Reads the images of one dataset: by row, by list, by chunk.

    By default it reads row by row, and the rows of a batch at once where that is cheaper:
    on object storage, and on a local disk from files whose layout is known. A sampler
    that follows the stored chunks makes it read whole chunks.

    Args:
        column: The column of the images; the reader is shared by all copies of a dataset.
    """

    def __init__(self, column: ImageColumn) -> None:
        self.column = column
        self.counters = ReadCounters()
        self.in_lists = self.is_remote
        self.cache: ChunkCache | None = None
        self._offset = 0
        self._listed: dict[int, bytes] = {}
        # Called once per process, with batch size and number of workers.
        self.on_first_batch: Callable[[int, int], None] | None = None

    @property
    def is_remote(self) -> bool:
        """Whether a read goes over a network."""
        return self.column.is_remote

    @property
    def has_chunks(self) -> bool:
        """Whether reading neighbouring rows at once is cheaper than one by one.

        It is not in a saved view, whose rows may be anywhere, nor if the column does not
        contain the bytes of the images.
        """
        return not self.column.source.pin.tag and self._holds_bytes

    @property
    def chunks(self) -> ChunkMap:
        """Which rows lie in which chunk."""
        return self.column.chunks

    def read_chunks_from(self, cache: ChunkCache | None, offset: int) -> None:
        """Read whole chunks when a plan reaches them.

        Args:
            cache: Keeps the chunks of this lake and others; ``None`` to stop.
            offset: Number of this lake's first chunk in the plan.
        """
        self.cache, self._offset = cache, offset

    def read_row(self, row: int) -> bytes:
        """Read the encoded image of a row, as it was stored.

        Raises:
            BrokenImageError: If the row holds no whole image.
            LakeReadError: If it cannot be read.
        """
        began = perf_counter()
        content = self._listed.pop(row, None)
        if content is None and self.cache is not None:
            content = self.cache.take(self._chunk_of(row), row)
        read = content is None or not is_whole(content)
        if content is None or read:
            content = self.column.read_row(row)
        size, spent = len(content), perf_counter() - began
        self.counters.add(requests=read, bytes=read * size, needed=size, storage=spent)
        return content

    def holds(self, rows: Sequence[int]) -> bool:
        """Return whether all rows of a list have been read already."""
        return all(row in self._listed for row in rows)

    def prepare(self, rows: Sequence[int]) -> None:
        """Read the rows of a batch at once.

        Raises:
            LakeReadError: If they cannot be read.
        """
        worker = get_worker_info()
        if worker is not None:
            keep_freed_memory()
        on_first_batch, self.on_first_batch = self.on_first_batch, None
        if on_first_batch is not None:
            on_first_batch(len(rows), worker.num_workers if worker else 0)
        began = perf_counter()
        missing, self._listed = list(rows), {}
        if self.cache is not None:
            chunks = {row: self._chunk_of(row) for row in rows}
            self.cache.fetch(set(chunks.values()))
            missing = [row for row in rows if not self.cache.covers(chunks[row])]
        if len(set(missing)) > 1:
            self._list(sorted(set(missing)))
        self.counters.add(storage=perf_counter() - began)

    def _list(self, rows: list[int]) -> None:
        """Read rows of a batch, to be taken one by one."""
        if not self.in_lists:
            # Reading the files in a row is faster than each between two transforms.
            self._listed = self.column.read_known(rows)
            requests = len(self._listed)
        elif self._holds_bytes:
            self._listed = dict(zip(rows, self.column.read_rows(rows)))
            requests = 1
        else:
            return
        size = sum(map(len, self._listed.values()))
        self.counters.add(requests=requests, bytes=size)

    def chunk_rows(self, chunk: int) -> tuple[int, int]:
        """First row of a chunk, and the first behind it."""
        return self.chunks.rows(chunk)

    def read_chunk(self, chunk: int) -> list[bytes]:
        """Read the encoded images of a chunk.

        Raises:
            LakeReadError: If it cannot be read.
        """
        images = self.column.read_chunk(chunk)
        self.counters.add(chunks=1, requests=1, bytes=sum(map(len, images)))
        return images

    @property
    def _holds_bytes(self) -> bool:
        return self.column.storage == ENCODED

    def _chunk_of(self, row: int) -> int:
        rows: NDArray[np.int64] = np.asarray(row, dtype=np.int64)
        return self._offset + int(self.chunks.of(rows))
