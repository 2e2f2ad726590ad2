"""Choose how images are read, and announce each epoch's chunks to the readers."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..datasets.mixing.partners import IndexInEpoch, Partners
from ..lake import ChunkCache, ReadPlan, WorkerPlan
from ..shuffle.by_worker import reader_of_positions
from ..shuffle.lanes import ChunkIndex, Lanes
from ..utils.distributed import once_per_node
from ..utils.messages import warn
from .dataloader_shape import DataloaderShape
from .wrappers import SampleMap

# Upright and wide images each have lanes of their own over the same chunks.
_GROUPS = 2


class RowReads:
    """Images are read row by row, or a batch's rows as a list: nothing to announce."""

    index = ChunkIndex(np.zeros(1, dtype=np.int64))
    plan: ReadPlan | WorkerPlan | None = None

    def begin(
        self, lanes: list[Lanes], skip: int, samples: NDArray[np.integer] | None = None
    ) -> None:
        """Announce an epoch.

        Args:
            lanes: The lanes of the epoch's order, if it has any.
            skip: Number of samples of all ranks that are skipped at the beginning.
            samples: What this rank sees, without what is skipped, shape ``(n,)``;
                needed where each worker has chunks of its own.
        """

    def indices(self, samples: NDArray[np.integer], positions: range) -> list[int]:
        """Return the indices that a sampler yields for samples.

        Args:
            samples: Samples, shape ``(N,)``.
            positions: Position of each in the epoch.
        """
        return samples.tolist()


class ChunkReads(RowReads):
    """The order follows stored chunks: each epoch is announced to all readers.

    Args:
        index: Samples by chunk.
        plan: The plan that the readers follow; ``None`` if they read row by row
            although the order follows chunks.
        order: Chunk of each sample, if samples come in sequence.

    Attributes:
        partners: What samples are mixed from; ``None`` if not from held chunks.
    """

    plan: ReadPlan | None

    def __init__(
        self,
        index: ChunkIndex,
        plan: ReadPlan | None,
        order: NDArray[np.int64] | None = None,
    ) -> None:
        self.index, self.plan, self._order = index, plan, order
        self.partners: Partners | None = None

    def begin(
        self, lanes: list[Lanes], skip: int, samples: NDArray[np.integer] | None = None
    ) -> None:
        """Announce an epoch; see :meth:`RowReads.begin`."""
        if self.plan is None:
            return
        if self._order is not None:
            rest = self._order[skip:]
            path = rest[np.flatnonzero(np.diff(rest, prepend=-1))]
            self.plan.announce(path[:1], [path])
            return
        if self.partners is not None:
            self.partners.announce(lanes)
        total = sum(len(each) for each in lanes)
        starts, left, paths = [], [], []
        for each in lanes:
            passed = skip * len(each) // max(total, 1)
            for lane in range(each.lanes):
                draws = -(-max(passed - lane, 0) // each.lanes)
                starts.append(each.chunk_at(lane, draws))
                left.append(each.left_of_chunk(lane, draws))
                paths.append(each.chunks(lane))
        self.plan.announce(np.array(starts, dtype=np.int64), paths, left)

    def indices(self, samples: NDArray[np.integer], positions: range) -> list[int]:
        """Return the indices that a sampler yields; see :meth:`RowReads.indices`."""
        if self.partners is None:
            return samples.tolist()
        return list(map(IndexInEpoch, samples.tolist(), positions))


class WorkerReads(RowReads):
    """Each worker has a run of the samples: its own chunks are announced to it.

    Args:
        plan: The plan that the workers follow.
        chunks: Chunk of each sample, shape ``(N,)``.
        dataloader: How samples are dealt to workers.
    """

    plan: WorkerPlan

    def __init__(
        self, plan: WorkerPlan, chunks: NDArray[np.int64], dataloader: DataloaderShape
    ) -> None:
        self.plan, self._chunks, self._dataloader = plan, chunks, dataloader

    def begin(
        self, lanes: list[Lanes], skip: int, samples: NDArray[np.integer] | None = None
    ) -> None:
        """Announce an epoch; see :meth:`RowReads.begin`."""
        if samples is None:
            return
        readers, size = self._dataloader.readers, self._dataloader.batch_size
        chunks = self._chunks[samples]
        reader = reader_of_positions(len(samples), readers, size)
        self.plan.announce([chunks[reader == number] for number in range(readers)])


def choose_reads(
    sample_map: SampleMap | None,
    shuffle: str,
    loader_type: str,
    world_size: int,
    is_weighted: bool,
    cache_bytes: int,
    batch_size: int | None = None,
    dealt: DataloaderShape | None = None,
) -> RowReads:
    """Choose how the images of a dataset are read, and set up its readers.

    Args:
        sample_map: Map of the samples to lakes; ``None`` for other datasets.
        shuffle: ``'full'``, ``'lanes'`` or ``'none'``.
        loader_type: ``'c++'``, ``'python'`` or ``'auto'``.
        world_size: Number of ranks.
        is_weighted: Whether samples may come more than once per epoch.
        cache_bytes: Most bytes of chunks that a worker keeps in memory.
        batch_size: Batch size per rank, if it is known.
        dealt: The dataloaders, if each worker has a run of the samples.
    """
    if sample_map is None:
        return RowReads()
    mixer = sample_map.mixer
    if mixer is not None:
        mixer.partners = None
    readers = [dataset.reader for dataset in sample_map.datasets]
    by_engine = _by_engine(sample_map, loader_type)
    for reader in readers:
        reader.in_lists = by_engine
        reader.read_chunks_from(None, 0)
    in_chunks = by_engine and all(reader.has_chunks for reader in readers)
    if shuffle == 'full' or (shuffle == 'none' and not in_chunks):
        return RowReads()
    chunks, offsets = sample_map.chunks_of_samples()
    in_sequence = shuffle == 'none'
    make = partial(ChunkIndex.from_chunks, chunks, offsets[-1])
    # In sequence, a hook may choose again; ranks need not do so together.
    index = make() if in_sequence else once_per_node(make, chunks, offsets)
    if not in_chunks or (in_sequence and not _in_runs(chunks, offsets[-1])):
        return ChunkReads(index, None)
    once = sample_map.only_own_image and not is_weighted and _each_once(sample_map)
    reads: RowReads
    if dealt is not None:
        own = WorkerPlan(index.num_chunks, dealt.readers, once, cache_bytes)
        reads = WorkerReads(own, chunks, dealt)
    else:
        num_mixing = mixer.num_mixing if mixer else 0
        plan = ReadPlan(
            expected=index.sizes,
            slots=1 if in_sequence else 2 * _GROUPS,
            # Each other image of a mosaic makes a chunk worth more.
            share=1 / world_size if in_sequence else 1.0 + num_mixing,
            per_worker=in_sequence,
            once=once,
            alone=world_size == 1,
            cache_bytes=cache_bytes,
        )
        reads = ChunkReads(index, plan, chunks if in_sequence else None)
    if reads.plan is not None:
        cache = ChunkCache(reads.plan, readers, offsets[:-1])
        for reader, offset in zip(readers, offsets):
            reader.read_chunks_from(cache, offset)
            reader.column.verify_chunk_objects()
        if mixer is not None and isinstance(reads, ChunkReads) and not in_sequence:
            reads.partners = Partners(index, cache, world_size, batch_size)
            mixer.partners = reads.partners
    return reads


def suits_workers(sample_map: SampleMap | None, loader_type: str) -> bool:
    """Return whether workers read less if each has a run of the samples in sequence.

    So it is for lakes on object storage, unless their rows come from all over the lake.
    The arguments are those of :func:`choose_reads`.
    """
    if sample_map is None or not _by_engine(sample_map, loader_type):
        return False
    if not all(dataset.reader.has_chunks for dataset in sample_map.datasets):
        return False
    chunks, offsets = sample_map.chunks_of_samples()
    return _in_runs(chunks, offsets[-1])


def _by_engine(sample_map: SampleMap, loader_type: str) -> bool:
    """Return whether Deep Lake's engine reads: chunks, or rows as lists."""
    is_remote = any(dataset.reader.is_remote for dataset in sample_map.datasets)
    return loader_type == 'c++' or (loader_type == 'auto' and is_remote)


def warn_of_scattered_reads(sample_map: SampleMap | None) -> None:
    """Log a warning if mixed samples read rows all over a lake on object storage."""
    if sample_map is None or sample_map.only_own_image:
        return
    in_chunks = sample_map.mixer is not None and sample_map.mixer.partners is not None
    if not in_chunks and any(each.reader.is_remote for each in sample_map.datasets):
        warn(
            'the other images of mixed samples (Mosaic, MixUp) are drawn from all rows, '
            'and each is read from object storage by itself; write '
            "type='DeepLakeMultiImageMixDataset' in the outermost dataset, and "
            'shuffle=True in DeepLakeLoader, to draw them from chunks that are held'
        )


def _in_runs(chunks: NDArray[np.int64], num_chunks: int) -> bool:
    """Return whether samples in sequence leave each chunk about once."""
    return bool(np.count_nonzero(np.diff(chunks)) < 2 * num_chunks)


def _each_once(sample_map: SampleMap) -> bool:
    """Return whether each row stands for at most one sample."""
    rows = [np.bincount(dataset.rows_of()) for dataset in sample_map.datasets]
    samples = [
        np.bincount(sample_map.sample_idx[sample_map.dataset_idx == i])
        for i in range(len(sample_map.datasets))
    ]
    return all(counts.max(initial=0) <= 1 for counts in (*rows, *samples))
