"""Tell workers through shared memory which chunks an epoch reads.

The sampler lives in the main process; workers that may have started long before read the
images. So the plan of an epoch is in memory that all of them share. It is a hint: a
worker that misreads it reads more than necessary, never anything wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...utils.shared_by_copies import SharedByCopies


@dataclass(eq=False)
class ReadPlan(SharedByCopies):
    """The order in which an epoch reads the chunks of all lakes of a dataset.

    Chunks of several lakes are numbered one after the other.

    Args:
        expected: Number of samples of the dataset in each chunk, shape ``(C,)``.
        slots: Largest number of chunks that may follow a chunk.
        share: Part of a chunk's samples that one worker of this rank meets, if there
            is one worker.
        per_worker: Whether several workers divide that part among them; in lanes
            each worker has chunks of its own.
        once: Whether each row is asked for once in an epoch, so that its bytes may be
            forgotten when they were given away.
        alone: Whether there is one rank.
        cache_bytes: Largest size of the chunks that a worker holds, in bytes.
    """

    expected: NDArray[np.int64]
    slots: int
    share: float
    per_worker: bool
    once: bool
    alone: bool
    cache_bytes: int

    def __post_init__(self) -> None:
        count = len(self.expected)
        self._starts = torch.zeros(count, dtype=torch.bool).share_memory_()
        self._follows = torch.full((count, self.slots), -1).share_memory_()
        self._soon = torch.full((count,), -1).share_memory_()
        self._epochs = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def epochs(self) -> int:
        """Number of epochs that were announced."""
        return int(self._epochs[0])

    def announce(
        self,
        starts: NDArray[np.int64],
        ways: list[NDArray[np.int64]],
        left: Sequence[int] = (),
    ) -> None:
        """Announce the next epoch; no worker may be reading.

        Args:
            starts: Chunks at which it begins; -1 for none.
            ways: Chunks in the order in which each lane goes through them.
            left: How many samples each lane takes of the chunk that it begins at.
        """
        follows = self._follows.numpy()
        follows[:] = -1
        for way in ways:
            here, there = way[:-1], way[1:]
            for slot in range(follows.shape[1]):
                free = follows[here, slot] == -1
                follows[here[free], slot] = there[free]
                here, there = here[~free], there[~free]
        soon = self._soon.numpy()
        soon[:] = -1
        for start, way, count in zip(starts.tolist(), ways, left):
            if start >= 0 and 2 * count <= self.expected[start]:
                following = np.flatnonzero(way == start)[0] + 1
                soon[start] = way[following] if following < len(way) else -1
        begins = self._starts.numpy()
        begins[:] = False
        begins[starts[starts >= 0]] = True
        self._epochs += 1

    def starts(self) -> set[int]:
        """Chunks at which the epoch begins."""
        return set(np.flatnonzero(self._starts.numpy()).tolist())

    def after(self, chunk: int) -> set[int]:
        """Chunks that follow a chunk."""
        return set(self._follows[chunk].tolist()) - {-1}

    def ahead(self, chunk: int) -> set[int]:
        """Chunks that follow a chunk, and that the same process is to read.

        Where two lanes begin in one chunk, the lanes may be those of two ranks.
        """
        following = self.after(chunk)
        return following if len(following) == 1 or self.alone else set()

    def soon(self, chunk: int) -> set[int]:
        """Chunks that follow soon after an epoch began at a chunk.

        Two lanes that begin in one chunk share it: the one with the smaller part leaves
        it when less than half of it is used.
        """
        return self.ahead(chunk) & {int(self._soon[chunk])}
