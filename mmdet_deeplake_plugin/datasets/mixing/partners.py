"""Tell a process which samples may be mixed into one: those whose chunks it holds.

The sampler lives in the main process; workers that may have started long before mix the
samples. So the order of an epoch is in memory that all of them share, and each index that
the sampler yields knows its position in the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...lake import ChunkCache
from ...shuffle.lanes import ChunkIndex, Lanes
from ...shuffle.partners import lanes_of_reader, open_chunks
from ...utils.ragged import offsets_of
from ...utils.shared_by_copies import SharedByCopies


class IndexInEpoch(int):
    """The index of a sample, with its position in the order of all ranks, from 0."""

    position: int

    def __new__(cls, index: int, position: int) -> IndexInEpoch:
        """Make an integer that has a position."""
        made = super().__new__(cls, index)
        made.position = position
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        # Samplers send indices to workers.
        return IndexInEpoch, (int(self), self.position)


class Partners(SharedByCopies):
    """The samples that may be mixed into a sample at a position of an epoch.

    Args:
        index: Samples by chunk.
        cache: Holds the chunks in this process.
        world_size: Number of ranks.
        batch_size: Batch size per rank; ``None`` for that of the largest batch so far.
    """

    def __init__(
        self,
        index: ChunkIndex,
        cache: ChunkCache,
        world_size: int,
        batch_size: int | None = None,
    ) -> None:
        self.cache = cache
        self._index, self._world_size = index, world_size
        self._batch_size = batch_size or 1
        # Number of epochs announced, lanes, window.
        self._order = torch.zeros(3, dtype=torch.int64).share_memory_()
        self._sequence = torch.zeros(index.num_chunks, dtype=torch.int64).share_memory_()
        self._sizes = torch.zeros_like(self._sequence).share_memory_()
        self._epoch = 0
        self._lanes: Lanes | None = None
        self._known: tuple[int, ...] = ()
        self._chunks: frozenset[int] = frozenset()
        self._samples: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def announce(self, lanes: list[Lanes]) -> None:
        """Announce the order of the next epoch; no worker may be reading.

        Args:
            lanes: The lanes of its order. With several groups of lanes, positions do not
                tell which of them a sample is from, so all samples are drawn from.
        """
        count = window = 0
        if len(lanes) == 1:
            (order,) = lanes
            count, window = order.lanes, order.window
            self._sequence.numpy()[:] = order.sequence
            self._sizes.numpy()[:] = order.index.sizes
        self._order.numpy()[:] = int(self._order[0]) + 1, count, window

    def knows(self, batch: Sequence[int]) -> bool:
        """Return whether a batch is one of those that the order is dealt in.

        Not so if a batch sampler forms others: their process is not known.
        """
        # The last batch of an epoch may be smaller than the others.
        size = self._batch_size = max(self._batch_size, len(batch))
        positions = [i.position for i in batch if isinstance(i, IndexInEpoch)]
        if not positions or len(positions) < len(batch):
            return False
        first, step = positions[0], self._world_size
        expected = list(range(first, first + step * len(batch), step))
        return positions == expected and first // step % size == 0

    def keep(self, position: int, readers: int) -> NDArray[np.int64] | None:
        """Keep the chunks that a sample is mixed from in memory.

        Args:
            position: Position of the sample in the epoch.
            readers: Processes per rank that read.

        Returns:
            The samples in these chunks, shape ``(N,)``; ``None`` if the order of the
            epoch does not follow chunks.
        """
        order = self._current()
        if order is None:
            return None
        world_size, size = self._world_size, self._batch_size
        turn, block = position // order.lanes, position // (world_size * size)
        known = (self._epoch, turn, block % readers, position % world_size, size)
        if known != self._known:
            self._known = known
            lanes = lanes_of_reader(order.lanes, position, world_size, readers, size)
            chunks = open_chunks(order, lanes, position).tolist()
            starts = self._index.starts
            self._samples = np.concatenate(
                [self._index.take(np.arange(starts[c], starts[c + 1])) for c in chunks]
            )
            self._chunks = frozenset(chunks)
        self.cache.keep(self._chunks)
        return self._samples

    def _current(self) -> Lanes | None:
        epoch, count, window = self._order.tolist()
        if epoch != self._epoch:
            self._epoch = epoch
            self._lanes = None
            if count:
                index = ChunkIndex(offsets_of(self._sizes.numpy()))
                sequence = self._sequence.numpy().copy()
                self._lanes = Lanes(index, count, window, 0, 0, sequence=sequence)
        return self._lanes
