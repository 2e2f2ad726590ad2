"""Plan how the loader would read a lake: its own choices, and simulated reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...lake import ImageReader, Lake
from ...samplers.checks import (
    check_loader_keys,
    choose_shuffle,
    default_lanes,
)
from ...samplers.dataloader_shape import DataloaderShape
from ...samplers.read_strategy import choose_reads, suits_workers
from ...samplers.wrappers import SampleMap
from ...shuffle.lanes import Lanes
from ...shuffle.quality import ShuffleQuality, measure_quality
from .._cli import with_progress
from .simulation import Epoch, Reads, Simulation

_SIZED = 32  # images whose sizes are averaged
_MIB, _NO_BOUND = 1 << 20, 1 << 62


@dataclass(frozen=True)
class LoaderKeys:
    """Keys of ``DeepLakeLoader``, as in a config.

    Args:
        shuffle: ``'auto'``, ``'full'``, ``'lanes'`` or ``'none'``.
        lanes: Number of lanes; ``None`` for one that fits the dataloader.
        window: Number of chunks whose samples a lane mixes.
        seed: Seed of the order.
        loader_type: ``'auto'``, ``'c++'`` or ``'python'``.
        cache_bytes: Largest size of the chunks that a worker holds, in bytes.
        order: ``'auto'``, ``'dataset'`` or ``'by_worker'``.
    """

    shuffle: str = 'auto'
    lanes: int | None = None
    window: int = 1
    seed: int = 0
    loader_type: str = 'auto'
    cache_bytes: int = 1 << 30
    order: str = 'auto'


@dataclass(frozen=True)
class Mix:
    """Images of other samples that a pipeline mixes into each sample.

    Args:
        count: How many of them are read for each sample: three for ``Mosaic``, two for
            ``MixUp``, which looks at one first, one for ``CopyPaste``.
        from_held: Whether ``DeepLakeMultiImageMixDataset`` draws them; otherwise
            ``MultiImageMixDataset`` does.
    """

    count: int = 0
    from_held: bool = True


@dataclass(frozen=True)
class Plan:
    """How the loader would read a lake.

    Attributes:
        lake: The lake.
        rows: Row of each sample, shape ``(N,)``.
        row_bytes: Mean size of an image in bytes, estimated from some images.
        keys: The loader's keys, with ``shuffle``, ``lanes`` and ``order`` resolved.
        requested: The keys as passed.
        dataloader: Ranks, workers and batch size.
        along_chunks: Whether chunks are read whole.
        reads: What an epoch reads.
        room: Value of ``cache_bytes`` with which more chunks would be read whole; 0 if
            more would not help.
        quality: Quality of the shuffle.
        order: Sample at each position of the epoch, shape ``(N,)``.
        mix: What is mixed into each sample.
    """

    lake: Lake
    rows: NDArray[np.int64]
    row_bytes: int
    keys: LoaderKeys
    requested: LoaderKeys
    dataloader: DataloaderShape
    along_chunks: bool
    reads: Reads
    room: int
    quality: ShuffleQuality
    order: NDArray[np.integer]
    mix: Mix

    @property
    def lanes_divide(self) -> bool:
        """Whether each worker has its own lanes."""
        return (self.keys.lanes or 0) % self.dataloader.round_size == 0


def make_plan(
    lake: Lake,
    rows: NDArray[np.int64] | None,
    dataloader: DataloaderShape,
    keys: LoaderKeys,
    progress: bool = False,
    mix: Mix | None = None,
) -> Plan:
    """Plan how the loader would read a lake.

    Args:
        lake: The lake.
        rows: Selected rows, shape ``(N,)``; ``None`` for all.
        dataloader: Ranks, workers and batch size.
        keys: Keys of the loader.
        progress: Whether to draw a progress bar on stderr. Defaults to False.
        mix: What is mixed into each sample. Defaults to None: nothing.

    Raises:
        ValueError: If a key is wrong.
    """
    check_loader_keys({**vars(keys), **vars(dataloader), 'round_up': True})
    reader, mix = ImageReader(lake.images), mix or Mix()
    if rows is None:
        rows = np.arange(lake.source.num_rows)
    # The part of a dataset that planning needs: rows, without annotations.
    dataset: Any = SimpleNamespace(reader=reader, rows_of=lambda: rows)
    mixer: Any = SimpleNamespace(partners=None, num_mixing=-(-mix.count // 3))
    sample_map = SampleMap(
        [dataset],
        np.zeros(len(rows), np.int32),
        np.arange(len(rows)),
        only_own_image=not mix.count,
        mixer=mixer if mix.count and mix.from_held else None,
    )
    world = dataloader.world_size
    lanes = keys.lanes or default_lanes(
        world, dataloader.batch_size, dataloader.num_workers
    )
    shuffle = choose_shuffle(keys.shuffle, sample_map)

    order_key = keys.order
    if order_key == 'auto':
        several = dataloader.round_size > dataloader.batch_size
        gains = (
            shuffle == 'none' and several and suits_workers(sample_map, keys.loader_type)
        )
        order_key = 'by_worker' if gains else 'dataset'
    dealt = dataloader if order_key == 'by_worker' else None

    reads_within = partial(
        choose_reads,
        sample_map,
        shuffle,
        keys.loader_type,
        world_size=world,
        is_weighted=False,
        batch_size=dataloader.batch_size,
        dealt=dealt,
    )
    strategy = reads_within(cache_bytes=keys.cache_bytes)
    in_lanes = None
    if shuffle == 'lanes':
        in_lanes = Lanes(strategy.index, lanes, keys.window, keys.seed, 0)
    epoch = Epoch(len(rows), keys.seed, shuffle != 'none', in_lanes, dealt)
    row_bytes = _mean_size(reader, rows)

    def reads_with(cache_bytes: int) -> Reads:
        bounded = reads_within(cache_bytes=cache_bytes)
        workers = Simulation(
            epoch, dataloader, bounded, reader, rows, row_bytes, mix.count, mixer.partners
        )
        results = with_progress(workers, len(workers), 'simulating workers', progress)
        return list(results)[-1]

    reads, room = reads_with(keys.cache_bytes), 0
    if strategy.plan is not None and reads.listed + reads.rows:
        most = reads_with(_NO_BOUND)
        if most.chunk_rows > reads.chunk_rows:
            room = -(-int(most.peak) // _MIB) * _MIB
            while reads_with(room).chunk_rows < most.chunk_rows:
                room *= 2
    order = epoch.of_all()
    chunks = reader.chunks.of(rows)
    return Plan(
        lake=lake,
        rows=rows,
        row_bytes=row_bytes,
        keys=replace(keys, shuffle=shuffle, lanes=lanes, order=order_key),
        requested=keys,
        dataloader=dataloader,
        along_chunks=strategy.plan is not None,
        reads=reads,
        room=room,
        quality=measure_quality(order, chunks, world * dataloader.batch_size),
        order=order,
        mix=mix,
    )


def _mean_size(reader: ImageReader, rows: NDArray[np.int64]) -> int:
    """Estimate the mean size of an image in bytes, at least 1."""
    samples = np.linspace(0, len(rows) - 1, min(_SIZED, len(rows))).astype(int)
    chosen = np.unique(rows[samples]).tolist()
    images = reader.column.read_rows(chosen)
    return max(round(sum(map(len, images)) / len(images)), 1)
