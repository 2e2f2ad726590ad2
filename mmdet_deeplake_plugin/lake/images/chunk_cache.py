"""Read whole chunks ahead in a worker, and keep them within a memory bound."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from torch.utils.data import get_worker_info

from ...utils.shared_by_copies import SharedByCopies
from ..connection.fork_safety import run_in_thread
from .read_plan import ReadPlan
from .worker_plan import WorkerPlan

_USUAL_CHUNK = 8 << 20  # bytes: what Deep Lake aims at
# The cost of a request besides its bytes, in bytes: about 20 ms at 12 MB/s.
_REQUEST = 256 << 10
# A single row takes two requests, and more bytes than its own.
_ROW_REQUESTS, _ROW_BYTES = 2, 1.66


class ChunkReader(Protocol):
    """What the cache needs from the reader of one lake."""

    def chunk_rows(self, chunk: int) -> tuple[int, int]:
        """First row of a chunk, and the first behind it."""

    def read_chunk(self, chunk: int) -> list[bytes]:
        """Encoded images of a chunk's rows."""


class ChunkCache(SharedByCopies):
    """Serves rows of the chunks that an epoch is reading.

    A chunk is read whole when the plan reaches it, if that costs less than reading the
    needed rows one by one: for ``k`` of ``n`` rows of ``s`` bytes, with a request worth
    ``r`` bytes, if ``r + n s < k (2 r + 1.66 s)``. Rows of chunks that the plan has not
    reached (the other images of a mosaic), and rows that do not fit into memory, are read
    one by one. So no chunk is read over and over again, however small the bound.

    A sample that is mixed with others takes those from chunks that are kept for it
    (:meth:`keep`); what it takes of them (:meth:`lending`) uses nothing up.

    Further chunks are read in the background, but only inside workers: a process that
    forks while Deep Lake reads would crash.

    Args:
        plan: Which chunks the epoch goes through.
        readers: Readers of the lakes.
        offsets: Number of each lake's first chunk among all chunks.
    """

    def __init__(
        self,
        plan: ReadPlan | WorkerPlan,
        readers: Sequence[ChunkReader],
        offsets: Sequence[int],
    ) -> None:
        self.plan = plan
        self._readers = readers
        self._offsets = offsets
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._epoch = -1
        self._due: set[int] = set()
        self._held: dict[int, _Held] = {}
        self._coming: dict[int, Future[list[bytes]]] = {}
        self._clock = 0
        self._largest = 0
        self._row_bytes = 0.0
        self._left: dict[int, int] = {}
        self._kept: frozenset[int] = frozenset()
        self._ever_kept: set[int] = set()
        self._lends = False

    def take(self, chunk: int, row: int) -> bytes | None:
        """Take the image of a row; ``None`` if it has to be read on its own.

        Args:
            chunk: Number of the chunk among all chunks.
            row: Row of its lake.

        Raises:
            LakeReadError: If the chunk cannot be read.
        """
        self._follow()
        held = self._held.get(chunk) or self._load(chunk)
        if held is None:
            return None
        if self._lends:
            return held.image(row)
        self._clock += 1
        held.last = self._clock
        content = held.take(row, self.plan.once)
        if content is None:
            return None
        if not held.touched:
            held.touched = True
            self._due |= self.plan.after(chunk)
            self.fetch(self.plan.soon(chunk))
        if 2 * held.wanted <= self.plan.expected[chunk]:
            self.fetch(self.plan.ahead(chunk))
        if held.wanted <= 0 and chunk not in self._kept:
            del self._held[chunk]
        if self._clock % 64 == 0:
            self._forget_stale()
        return content

    def keep(self, chunks: frozenset[int]) -> None:
        """Keep chunks in memory, and read those that the plan has not reached yet.

        Args:
            chunks: Numbers among all chunks; those of the call before that are not
                among them are kept no longer.
        """
        self._follow()
        if chunks is self._kept:
            return
        left, self._kept = self._kept - chunks, chunks
        for chunk in left & self._held.keys():
            self._forget(chunk)
        first = chunks - self._ever_kept
        self._due |= first - self._held.keys() - self._coming.keys()
        self._ever_kept |= first
        self.fetch(first)

    @contextmanager
    def lending(self) -> Iterator[None]:
        """Within this context, rows are taken beside those that the plan counts."""
        self._lends = True
        try:
            yield
        finally:
            self._lends = False

    def fetch(self, chunks: Iterable[int]) -> None:
        """Start to read chunks that the plan has reached, if they fit into memory."""
        self._follow()
        if not self._may_read_ahead():
            return
        for chunk in chunks:
            known = chunk in self._held or chunk in self._coming
            if not known and self._wanted_whole(chunk):
                self._due.discard(chunk)
                self._coming[chunk] = self._begin_to_read(chunk)

    def covers(self, chunk: int) -> bool:
        """Whether a chunk is in memory, being read, or about to be read."""
        self._follow()
        known = chunk in self._held or chunk in self._coming
        return known or self._wanted_whole(chunk)

    @property
    def held_bytes(self) -> int:
        """Size of the images in memory, in bytes."""
        return sum(held.nbytes for held in self._held.values())

    def _may_read_ahead(self) -> bool:
        return get_worker_info() is not None

    def _begin_to_read(self, chunk: int) -> Future[list[bytes]]:
        return run_in_thread(partial(self._read, chunk), 'deeplake-chunk')

    def _load(self, chunk: int) -> _Held | None:
        coming = self._coming.pop(chunk, None)
        if coming is not None:
            images = coming.result()
        elif self._wanted_whole(chunk):
            self._due.discard(chunk)
            images = self._read(chunk)
        else:
            return None
        reader, local = self._locate(chunk)
        wanted = self._left.get(chunk, int(self.plan.expected[chunk]))
        held = _Held(reader.chunk_rows(local)[0], images, wanted)
        self._held[chunk] = held
        self._largest = max(self._largest, held.nbytes)
        self._row_bytes = held.nbytes / max(len(images), 1)
        return held

    def _read(self, chunk: int) -> list[bytes]:
        reader, local = self._locate(chunk)
        return reader.read_chunk(local)

    def _locate(self, chunk: int) -> tuple[ChunkReader, int]:
        place = bisect_right(self._offsets, chunk) - 1
        return self._readers[place], chunk - self._offsets[place]

    def _wanted_whole(self, chunk: int) -> bool:
        if chunk not in self._due:
            return False
        size = self._largest or _USUAL_CHUNK
        room = self.plan.cache_bytes - self.held_bytes - size * len(self._coming)
        if size > room:
            return False
        reader, local = self._locate(chunk)
        first, stop = reader.chunk_rows(local)
        row_bytes = self._row_bytes or _USUAL_CHUNK / (stop - first)
        share = self.plan.share
        if self.plan.per_worker:
            worker = get_worker_info()
            share /= worker.num_workers if worker else 1
        wanted = self._left.get(chunk, self.plan.expected[chunk]) * share
        whole = _REQUEST + (stop - first) * row_bytes
        return whole < wanted * (_ROW_REQUESTS * _REQUEST + _ROW_BYTES * row_bytes)

    def _follow(self) -> None:
        if self._process != os.getpid():
            self._begin()
        if self._epoch != self.plan.epochs:
            self._epoch = self.plan.epochs
            self._held.clear()
            self._coming.clear()
            self._left.clear()
            self._kept = frozenset()
            self._ever_kept.clear()
            self._due = self.plan.starts()

    def _forget_stale(self) -> None:
        # A chunk whose turn is not over is asked for about as often as the others.
        longest = max(256, 8 * len(self._held))
        for chunk, held in list(self._held.items()):
            is_stale = held.touched and self._clock - held.last > longest
            if is_stale and chunk not in self._kept:
                self._forget(chunk)

    def _forget(self, chunk: int) -> None:
        held = self._held.pop(chunk)
        if held.wanted > 0:
            # Another lane may still come to the part of it that is left.
            self._left[chunk] = held.wanted
            self._due.add(chunk)

    def __getstate__(self) -> dict[str, Any]:
        return {'plan': self.plan, 'readers': self._readers, 'offsets': self._offsets}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class _Held:
    """The images of a chunk that was read, until they are taken."""

    def __init__(self, first: int, images: list[bytes], wanted: int) -> None:
        self._first = first
        self._images: list[bytes | None] = list(images)
        self.wanted = wanted
        self.nbytes = sum(map(len, images))
        self.last = 0
        self.touched = False

    def image(self, row: int) -> bytes | None:
        return self._images[row - self._first]

    def take(self, row: int, once: bool) -> bytes | None:
        content = self.image(row)
        if content is not None:
            self.wanted -= 1
            if once:
                self._images[row - self._first] = None
                self.nbytes -= len(content)
        return content
