"""Tells the readers of a dataset's images which chunks an epoch goes through."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..lake import ChunkCache, ReadPlan
from ..shuffle.lanes import ChunkIndex, Lanes
from .wrappers import SampleMap

# Upright and wide images each have lanes of their own along the same chunks.
_GROUPS = 2


class RowReads:
    """Nothing to tell: images are read row by row, or the rows of a batch as a list."""

    index = ChunkIndex(np.zeros(1, dtype=np.int64))
    plan: ReadPlan | None = None

    def begin(self, lanes: list[Lanes], skip: int) -> None:
        """Announces an epoch.

        Args:
            lanes: The lanes of its order, if it has any.
            skip: Number of samples of all ranks that are left out at its beginning.
        """


class ChunkReads(RowReads):
    """Announces each epoch to the readers of all lakes of a dataset.

    Args:
        index: Samples by chunk.
        plan: What the readers follow; ``None`` if they read row by row all the same.
        order: Chunks in the order of the samples, if they come in sequence.
    """

    def __init__(
        self,
        index: ChunkIndex,
        plan: ReadPlan | None,
        order: NDArray[np.int64] | None = None,
    ) -> None:
        self.index = index
        self.plan = plan
        self._order = order

    def begin(self, lanes: list[Lanes], skip: int) -> None:
        """Announces an epoch.

        Args:
            lanes: The lanes of its order, if it has any.
            skip: Number of samples of all ranks that are left out at its beginning.
        """
        if self.plan is None:
            return
        if self._order is not None:
            rest = self._order[skip:]
            changes = np.flatnonzero(np.diff(rest, prepend=-1))
            way = rest[changes]
            self.plan.announce(way[:1], [way])
            return
        total = sum(len(each) for each in lanes)
        starts, left, ways = [], [], []
        for each in lanes:
            passed = skip * len(each) // max(total, 1)
            for lane in range(each.lanes):
                turns = -(-max(passed - lane, 0) // each.lanes)
                starts.append(each.chunk_at(lane, turns))
                left.append(each.left_of_chunk(lane, turns))
                ways.append(each.chunks(lane))
        self.plan.announce(np.array(starts, dtype=np.int64), ways, left)


def choose_reads(
    places: SampleMap | None,
    shuffle: str,
    loader_type: str,
    world_size: int,
    is_weighted: bool,
    cache_bytes: int,
) -> RowReads:
    """Chooses how the images of a dataset are read.

    Args:
        places: Where the samples lie; ``None`` for other datasets.
        shuffle: ``'full'``, ``'lanes'`` or ``'none'``.
        loader_type: ``'c++'``, ``'python'`` or ``'auto'``.
        world_size: Number of ranks.
        is_weighted: Whether samples may come more than once in an epoch.
        cache_bytes: Largest size of the chunks that a worker holds, in bytes.
    """
    if places is None:
        return RowReads()
    readers = [dataset.reader for dataset in places.datasets]
    by_engine = loader_type == 'c++' or (
        loader_type == 'auto' and any(reader.is_remote for reader in readers)
    )
    for reader in readers:
        reader.in_lists = by_engine
        reader.read_chunks_from(None, 0)
    in_chunks = by_engine and all(reader.has_chunks for reader in readers)
    if shuffle == 'full' or (shuffle == 'none' and not in_chunks):
        return RowReads()
    chunks, offsets = places.chunks()
    index = ChunkIndex.from_chunks(chunks, offsets[-1])
    in_sequence = shuffle == 'none'
    if not in_chunks or (in_sequence and not _in_runs(chunks, offsets[-1])):
        return ChunkReads(index, None)
    plan = ReadPlan(
        expected=index.sizes,
        slots=1 if in_sequence else 2 * _GROUPS,
        share=1 / world_size if in_sequence else 1.0,
        per_worker=in_sequence,
        once=places.in_turn and not is_weighted and _each_once(places),
        alone=world_size == 1,
        cache_bytes=cache_bytes,
    )
    cache = ChunkCache(plan, readers, offsets[:-1])
    for reader, offset in zip(readers, offsets):
        reader.read_chunks_from(cache, offset)
    return ChunkReads(index, plan, chunks if in_sequence else None)


def _in_runs(chunks: NDArray[np.int64], num_chunks: int) -> bool:
    """Whether samples in sequence leave a chunk about once."""
    return bool(np.count_nonzero(np.diff(chunks)) < 2 * num_chunks)


def _each_once(places: SampleMap) -> bool:
    """Whether no row stands for two samples."""
    rows = [np.bincount(dataset.rows_of()) for dataset in places.datasets]
    samples = [
        np.bincount(places.index[places.which == i]) for i in range(len(places.datasets))
    ]
    return all(counts.max(initial=0) <= 1 for counts in (*rows, *samples))
