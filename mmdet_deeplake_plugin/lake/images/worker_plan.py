"""Tell each worker through shared memory which chunks are its own to read.

For orders in which every sample of a rank is known to come to one of its workers. As a
:class:`~.read_plan.ReadPlan`, it is a hint: a worker that misreads it reads more than
necessary, never anything wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from ...utils.shared_by_copies import SharedByCopies


class WorkerPlan(SharedByCopies):
    """The chunks of all lakes of a dataset that each worker of a rank reads.

    A chunk of which a worker needs enough is read whole, and ahead of its turn; it is
    forgotten when the worker has had all of its part.

    Args:
        num_chunks: Number of chunks of all lakes.
        readers: Number of processes of the rank that read.
        once: Whether each row is asked for once in an epoch, so that its bytes may be
            forgotten when they were given away.
        cache_bytes: Largest size of the chunks that a worker holds, in bytes.

    Attributes:
        reader: Number of the process that asks; ``None`` for that of this process.
    """

    share = 1.0
    per_worker = False

    def __init__(
        self, num_chunks: int, readers: int, once: bool, cache_bytes: int
    ) -> None:
        self.once = once
        self.cache_bytes = cache_bytes
        self.reader: int | None = None
        shape = (readers, num_chunks)
        self._wanted = torch.zeros(shape, dtype=torch.int32).share_memory_()
        self._next = torch.full(shape, -1, dtype=torch.int32).share_memory_()
        self._epochs = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def epochs(self) -> int:
        """Number of epochs that were announced."""
        return int(self._epochs[0])

    @property
    def expected(self) -> NDArray[np.int32]:
        """Number of samples in each chunk that this process needs, shape ``(C,)``."""
        return self._of_reader(self._wanted)

    def announce(self, chunks: Sequence[NDArray[np.int64]]) -> None:
        """Announce the next epoch; no worker may be reading.

        Args:
            chunks: Chunk of each sample that a process reads, in its order, for each
                process.
        """
        self._wanted.zero_()
        self._next.fill_(-1)
        for reader, own in enumerate(chunks):
            different, first, counts = np.unique(
                own, return_index=True, return_counts=True
            )
            self._wanted[reader].numpy()[different] = counts
            path = different[np.argsort(first)]
            self._next[reader].numpy()[path[:-1]] = path[1:]
        self._epochs += 1

    def starts(self) -> set[int]:
        """Chunks that this process may read whole: all of its own."""
        return set(np.flatnonzero(self.expected).tolist())

    def after(self, chunk: int) -> set[int]:
        """Chunks that may be read whole from now on: none but those at the start."""
        return set()

    def ahead(self, chunk: int) -> set[int]:
        """Chunk that this process comes to after a chunk, if any."""
        return {int(self._of_reader(self._next)[chunk])} - {-1}

    def soon(self, chunk: int) -> set[int]:
        """Chunks to read as soon as a chunk is touched: none."""
        return set()

    def _of_reader(self, values: torch.Tensor) -> NDArray[np.int32]:
        number = self.reader
        if number is None:
            worker = get_worker_info()
            number = worker.id if worker else 0
        if number >= len(values):  # the sampler expected fewer workers
            return np.full(values.shape[1], -1 if values is self._next else 0, np.int32)
        return values[number].numpy()
