"""What the loader would do with a lake: settled as it settles it, counted by trying."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ...datasets.dataset import DeepLakeDataset
from ...lake import ImageReader, LakeSpec, open_lake
from ...samplers.checks import check_loader_keys, choose_shuffle, default_lanes
from ...samplers.dataloader_shape import DataloaderShape
from ...samplers.read_strategy import RowReads, choose_reads
from ...samplers.wrappers import SampleMap
from ...shuffle.lanes import Lanes
from ...shuffle.quality import ShuffleQuality, measure_quality
from .._cli import with_progress
from .simulation import Epoch, Reads, Simulation

_SIZED = 32  # images whose size is looked up
_MIB, _NO_BOUND = 1 << 20, 1 << 62


@dataclass(frozen=True)
class LoaderKeys:
    """Keys of ``DeepLakeLoader``, as they stand in a config.

    Args:
        shuffle: ``'auto'``, ``'full'``, ``'lanes'`` or ``'none'``.
        lanes: Number of lanes; ``None`` for the one that suits the dataloader.
        window: Chunks whose samples a lane mixes.
        seed: Seed of the order.
        loader_type: ``'auto'``, ``'c++'`` or ``'python'``.
        cache_bytes: Largest size of the chunks that a worker holds, in bytes.
    """

    shuffle: str = 'auto'
    lanes: int | None = None
    window: int = 1
    seed: int = 0
    loader_type: str = 'auto'
    cache_bytes: int = 1 << 30


@dataclass(frozen=True)
class Plan:
    """What the loader would do.

    Attributes:
        name: The lake in words.
        is_remote: Whether a read goes over a network.
        total_rows: Rows of the lake.
        rows: Row of each sample, shape ``(N,)``.
        chunk_sizes: Rows of each chunk, shape ``(C,)``.
        chunks_stored: Whether chunks are the stored ones; else blocks of rows.
        row_bytes: Mean size of some images, in bytes.
        keys: The loader's keys, ``shuffle`` and ``lanes`` settled.
        asked: What they were before.
        dataloader: Who reads.
        along_chunks: Whether chunks are read whole.
        reads: What an epoch reads.
        room: What ``cache_bytes`` must be to read more chunks whole; 0 if it suffices.
        quality: Of the shuffle.
        order: Position -> sample, shape ``(N,)``.
    """

    name: str
    is_remote: bool
    total_rows: int
    rows: NDArray[np.int64]
    chunk_sizes: NDArray[np.int64]
    chunks_stored: bool
    row_bytes: int
    keys: LoaderKeys
    asked: LoaderKeys
    dataloader: DataloaderShape
    along_chunks: bool
    reads: Reads
    room: int
    quality: ShuffleQuality
    order: NDArray[np.integer]

    @property
    def per_draw(self) -> int:
        """Samples of a batch of each worker, of all ranks: lanes are to divide by it."""
        loader = self.dataloader
        return loader.world_size * loader.readers * loader.batch_size

    @property
    def lanes_divide(self) -> bool:
        """Whether each worker has lanes of its own."""
        return (self.keys.lanes or 0) % self.per_draw == 0


class _Rows:
    """Rows of a lake without annotations: as much of a dataset as planning needs."""

    def __init__(self, reader: ImageReader, rows: NDArray[np.int64]) -> None:
        self.reader = reader
        self._rows = rows

    def rows_of(self) -> NDArray[np.int64]:
        return self._rows


def make_plan(
    spec: LakeSpec,
    dataloader: DataloaderShape,
    keys: LoaderKeys,
    image_column: str | None = None,
    progress: bool = False,
) -> Plan:
    """Finds out what the loader would do.

    Args:
        spec: The lake.
        dataloader: Who reads it.
        keys: Keys of the loader.
        image_column: Column of the images. Defaults to the only one there is.
        progress: Whether to draw a progress bar on stderr.

    Raises:
        ValueError, FileNotFoundError, PermissionError, ConnectionError: If a key is
            wrong or the lake cannot be opened as asked.
    """
    check_loader_keys(
        keys.loader_type,
        batch_size=dataloader.batch_size,
        num_workers=dataloader.num_workers,
        window=keys.window,
        lanes=keys.lanes,
        cache_bytes=keys.cache_bytes,
    )
    # Without annotations a lake is opened in no time, whatever they are.
    tensors = {'img': image_column, 'gt_bboxes': None, 'gt_labels': None}
    if image_column is None:
        del tensors['img']
    lake, chosen = open_lake(spec, tensors)
    reader, pin = ImageReader(lake.images), lake.source.pin
    rows = np.arange(pin.num_rows) if chosen is None else chosen
    places = SampleMap(
        [cast(DeepLakeDataset, _Rows(reader, rows))],
        np.zeros(len(rows), np.int32),
        np.arange(len(rows)),
    )
    world = dataloader.world_size
    lanes = keys.lanes or default_lanes(
        world, dataloader.batch_size, dataloader.num_workers
    )
    settled = replace(keys, shuffle=choose_shuffle(keys.shuffle, places), lanes=lanes)
    reading = _reading(places, settled, world)
    epoch = _epoch(reading, settled, len(rows))
    row_bytes = _mean_size(reader, rows)

    def reads_with(cache_bytes: int) -> Reads:
        bound = _reading(places, replace(settled, cache_bytes=cache_bytes), world)
        tried = Simulation(epoch, dataloader, bound, reader, rows, row_bytes)
        shown = with_progress(tried, len(tried), 'trying workers', progress)
        return list(shown)[-1]

    reads, room = reads_with(settled.cache_bytes), 0
    if reading.plan is not None and reads.listed + reads.rows:
        most = reads_with(_NO_BOUND)
        if most.chunk_rows > reads.chunk_rows:
            room = -(-int(most.peak) // _MIB) * _MIB
            while reads_with(room).chunk_rows < most.chunk_rows:
                room *= 2
    order = epoch.of_rank(0, 1)
    chunks = reader.chunks
    return Plan(
        name=lake.name,
        is_remote=reader.is_remote,
        total_rows=pin.num_rows,
        rows=rows,
        chunk_sizes=np.diff(chunks.bounds),
        chunks_stored=chunks.stored,
        row_bytes=row_bytes,
        keys=settled,
        asked=keys,
        dataloader=dataloader,
        along_chunks=reading.plan is not None,
        reads=reads,
        room=room,
        quality=measure_quality(order, chunks.of(rows), world * dataloader.batch_size),
        order=order,
    )


def _reading(places: SampleMap, keys: LoaderKeys, world_size: int) -> RowReads:
    return choose_reads(
        places,
        keys.shuffle,
        keys.loader_type,
        world_size=world_size,
        is_weighted=False,
        cache_bytes=keys.cache_bytes,
    )


def _epoch(reading: RowReads, keys: LoaderKeys, num_samples: int) -> Epoch:
    lanes = None
    if keys.shuffle == 'lanes' and keys.lanes:
        lanes = Lanes(reading.index, keys.lanes, keys.window, keys.seed, 0)
    return Epoch(num_samples, keys.seed, keys.shuffle != 'none', lanes)


def _mean_size(reader: ImageReader, rows: NDArray[np.int64]) -> int:
    """Mean size of some images in bytes, 1 or more."""
    places = np.linspace(0, len(rows) - 1, min(_SIZED, len(rows))).astype(int)
    chosen = np.unique(rows[places]).tolist()
    images = reader.column.read_rows(chosen)
    return max(round(sum(map(len, images)) / len(images)), 1)
