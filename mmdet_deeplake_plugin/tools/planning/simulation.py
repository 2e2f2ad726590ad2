"""What the workers of a dataloader would read in an epoch, found by trying it.

The order, the dealing of batches and the cache of chunks are those of a training;
only the reads are counted instead of made, and all images are taken to be equally
large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from ...datasets.mixing.partners import Partners
from ...lake import ChunkCache, ImageColumn, ImageReader, WorkerPlan
from ...samplers.dataloader_shape import DataloaderShape
from ...samplers.read_strategy import RowReads
from ...shuffle.by_worker import by_worker_order
from ...shuffle.epoch import epoch_order, rank_length, rank_slice
from ...shuffle.lanes import Lanes

# Samples to try at least; the rest is taken to be like them.
_ENOUGH = 300_000
# Rows of a list that Deep Lake reads at one time.
_AT_ONCE = 16
# Where a row begins, then the row.
_TRIPS_TO_ROW = 2
# The ends of an image that passes for a whole one.
_JPEG_BEGIN, _JPEG_END = b'\xff\xd8\xff\xda\0\2', b'\xff\xd9'


@dataclass(frozen=True)
class Epoch:
    """An epoch in the order in which ``DeepLakeLoader`` deals it to ranks.

    Args:
        num_samples: Number of samples of all ranks together.
        seed: Seed of the run, 0 or more.
        is_shuffled: Whether samples come in another than their own sequence.
        lanes: The lanes that they come in, if they do.
        dealt: The dataloaders, if each worker has a run of the samples.
    """

    num_samples: int
    seed: int
    is_shuffled: bool
    lanes: Lanes | None
    dealt: DataloaderShape | None = None

    def of_all(self) -> NDArray[np.integer]:
        """Samples that all ranks see, in their order, shape ``(num_samples,)``."""
        if self.dealt is None:
            return self.of_rank(0, 1)
        return self._by_worker(self.dealt)[: self.num_samples]

    def of_rank(self, rank: int, world_size: int) -> NDArray[np.integer]:
        """Samples that a rank sees, rounded up, in their order."""
        if self.dealt is not None:
            return self._by_worker(self.dealt)[rank::world_size]
        if self.lanes is None:
            order = epoch_order(self.num_samples, self.seed, 0, self.is_shuffled)
            return rank_slice(order, rank, world_size, round_up=True)
        count = rank_length(self.num_samples, rank, world_size, round_up=True)
        return self.lanes.rank_slice(rank, world_size, count)

    def _by_worker(self, dealt: DataloaderShape) -> NDArray[np.int64]:
        shape = dealt.world_size, dealt.readers, dealt.batch_size
        return by_worker_order(self.num_samples, *shape, round_up=True)


@dataclass
class Reads:
    """What workers read.

    Args:
        samples: Samples that they asked for.
        chunks: Chunks read whole.
        chunk_rows: Rows in these.
        lists: Reads of several rows of a batch at one time.
        listed: Rows in these.
        rows: Rows read by themselves.
        chunks_again: Chunks that the same worker had read whole before.
        rows_again: Rows, alone or in lists, of such chunks.
        divided: Chunks of which a worker read rows, and had not read the whole.
        waits: Round trips to storage of the busiest worker, one after the other.
        peak: Largest size of the images that one worker holds, in bytes.
        candidates: Samples that another one was drawn from, summed over ``samples``.
    """

    samples: float = 0
    chunks: float = 0
    chunk_rows: float = 0
    lists: float = 0
    listed: float = 0
    rows: float = 0
    chunks_again: float = 0
    rows_again: float = 0
    divided: float = 0
    waits: float = 0
    peak: float = 0
    candidates: float = 0

    @property
    def reads(self) -> float:
        """Reads of any kind, as ``DeepLakeReportHook`` counts them."""
        return self.chunks + self.lists + self.rows

    @property
    def rows_read(self) -> float:
        """Images that were read, whether needed or not."""
        return self.chunk_rows + self.listed + self.rows


class Simulation:
    """Workers that go through an epoch: as many as tell enough of all.

    Args:
        epoch: The epoch.
        dataloader: Who reads it.
        reading: How its images are read; the epoch is announced to its plan.
        reader: Knows the chunks of the lake.
        rows: Row of the lake that each sample shows, shape ``(N,)``.
        row_bytes: Size of an image.
        mix_count: How many other samples are mixed into each, as by a mosaic.
        partners: Samples that may be mixed in; ``None`` if all.
    """

    def __init__(
        self,
        epoch: Epoch,
        dataloader: DataloaderShape,
        reading: RowReads,
        reader: ImageReader,
        rows: NDArray[np.int64],
        row_bytes: int,
        mix_count: int = 0,
        partners: Partners | None = None,
    ) -> None:
        self._epoch, self._dataloader = epoch, dataloader
        self._mix_count, self._partners = mix_count, partners
        self._reader, self._rows, self._row_bytes = reader, rows, row_bytes
        reading.begin([epoch.lanes] if epoch.lanes else [], 0)
        self._reading = reading
        self._plan = copy(reading.plan)
        readers = dataloader.readers
        if self._plan is not None and self._plan.per_worker:
            self._plan.share /= readers  # as a cache finds out that is in a worker
        self._length = rank_length(
            epoch.num_samples, 0, dataloader.world_size, round_up=True
        )
        every = dataloader.world_size * readers
        count = min(-(-_ENOUGH * readers // max(self._length, 1)), every)
        self._tried = np.unique(np.linspace(0, every - 1, count).astype(int)).tolist()

    def __len__(self) -> int:
        """Number of workers that are tried."""
        return len(self._tried)

    def __iter__(self) -> Iterator[Reads]:
        """What all workers read, as far as it is known after each that was tried."""
        total = Reads()
        rank = -1
        samples: NDArray[np.integer] = np.empty(0, np.int64)
        size, readers = self._dataloader.batch_size, self._dataloader.readers
        world = self._dataloader.world_size
        for number in self._tried:
            if number // readers != rank:
                rank = number // readers
                samples = self._epoch.of_rank(rank, world)
                if isinstance(self._plan, WorkerPlan):
                    self._reading.begin([], 0, samples)
            if isinstance(self._plan, WorkerPlan):
                self._plan.reader = number % readers
            # PyTorch deals batch j to worker j mod workers.
            starts = range(number % readers * size, self._length, readers * size)
            enough = starts[: -(-_ENOUGH // size)]
            positions = np.arange(rank, self._length * world, world)
            found = self._read(
                (samples[start : start + size], positions[start : start + size])
                for start in enough
            )
            total = _merged(total, found, len(starts) / max(len(enough), 1))
            # What all workers read, by what some of them read.
            factor = self._length * world / max(total.samples, 1)
            grown = _merged(Reads(), total, factor)
            yield replace(grown, waits=total.waits, peak=total.peak)

    def _read(
        self, batches: Iterable[tuple[NDArray[np.integer], NDArray[np.int64]]]
    ) -> Reads:
        """Read batches, samples with positions, over a column that counts."""
        column = _CountingColumn(self._reader.column, self._row_bytes)
        reader = ImageReader(column)
        reader.in_lists = self._reader.in_lists
        cache: ChunkCache | None = None
        if self._plan is not None:
            kind = _CacheOfWorker if self._dataloader.num_workers else ChunkCache
            cache = kind(self._plan, [reader], [0])
            reader.read_chunks_from(cache, 0)
        reads = column.reads
        partners = copy(self._partners)
        if partners is not None and cache is not None:
            partners.cache = cache
        rng = np.random.default_rng(0)
        for samples, positions in batches:
            rows = self._rows[samples].tolist()
            reads.samples += len(rows)
            if not self._mix_count:
                reader.prepare(rows)
            for row, position in zip(rows, positions.tolist()):
                others, drawn_from = self._draw(partners, position, rng)
                reads.candidates += drawn_from
                reader.read_row(row)
                with cache.lending() if cache and partners else nullcontext():
                    for other in others:
                        reader.read_row(other)
            if cache is not None:
                ahead = cache.coming_rows() if isinstance(cache, _CacheOfWorker) else 0
                reads.peak = max(reads.peak, cache.held_bytes + ahead * len(column.image))
        reads.divided = len(column.divided)
        return reads

    def _draw(
        self, partners: Partners | None, position: int, rng: np.random.Generator
    ) -> tuple[list[int], int]:
        """Draw rows to mix into a sample; also return how many they are drawn from."""
        if not self._mix_count:
            return [], 0
        readers = self._dataloader.readers
        held = None if partners is None else partners.keep(position, readers)
        count = len(self._rows) if held is None else len(held)
        chosen = rng.integers(count, size=self._mix_count)
        return self._rows[chosen if held is None else held[chosen]].tolist(), count


class _CountingColumn(ImageColumn):
    """Counts reads instead of making them; all images are the same."""

    def __init__(self, column: ImageColumn, row_bytes: int) -> None:
        super().__init__(column.source, column.name)
        self.storage, self.chunks = column.storage, column.chunks
        self.image = _JPEG_BEGIN.ljust(row_bytes - len(_JPEG_END), b'\0') + _JPEG_END
        self.reads = Reads()
        # Chunks of which rows were read that had not been read whole.
        self.divided: set[int] = set()
        self._whole_chunks: set[int] = set()

    def read_row(self, row: int) -> bytes:
        self.reads.rows += 1
        self.reads.waits += _TRIPS_TO_ROW
        self._count_rows([row])
        return self.image

    def read_rows(self, rows: slice | list[int]) -> list[bytes]:
        if isinstance(rows, slice):
            count = rows.stop - rows.start
            chunk = int(self.chunks.of(np.array(rows.start)))
            self.reads.chunks += 1
            self.reads.waits += 1
            self.reads.chunk_rows += count
            self.reads.chunks_again += chunk in self._whole_chunks
            self._whole_chunks.add(chunk)
        else:
            count = len(rows)
            self.reads.lists += 1
            self.reads.listed += count
            self.reads.waits += _TRIPS_TO_ROW * -(-count // _AT_ONCE)
            self._count_rows(rows)
        return [self.image] * count

    def read_known(self, rows: Iterable[int]) -> dict[int, bytes]:
        return {}

    def _count_rows(self, rows: list[int]) -> None:
        for chunk in self.chunks.of(np.array(rows)).tolist():
            if chunk in self._whole_chunks:
                self.reads.rows_again += 1
            else:
                self.divided.add(chunk)


class _CacheOfWorker(ChunkCache):
    """Reads ahead as a cache does inside a worker, but has what it reads at once."""

    def _may_read_ahead(self) -> bool:
        return True

    def _begin_to_read(self, chunk: int) -> Future[list[bytes]]:
        coming: Future[list[bytes]] = Future()
        coming.set_result(self._read(chunk))
        return coming

    def coming_rows(self) -> int:
        """Number of rows that were read ahead."""
        return sum(len(coming.result()) for coming in self._coming.values())


def _merged(total: Reads, found: Reads, factor: float) -> Reads:
    """Reads of several workers, and those of one more, ``factor`` times."""
    values = {
        field.name: getattr(total, field.name) + factor * getattr(found, field.name)
        for field in fields(Reads)
    }
    values['waits'] = max(total.waits, factor * found.waits)
    values['peak'] = max(total.peak, found.peak)
    return Reads(**values)
