"""Deal the batches of a validation so that each worker gets neighbouring ones.

PyTorch gives batch ``j`` of a rank to worker ``j mod workers``, so in sequence every
worker of every rank reads a part of every chunk. Here the same batches come in another
order: they are laid end to end as they lie in the dataset, and cut into a run for each
worker of each rank. A worker reads the chunks of its own run, and shares at most those
at its ends with others::

    batches as they lie    0 1 2 3 4 5 6 7 8 9 10 11
    2 workers, 1 rank      0 6 1 7 2 8 3 9 4 10 5 11   worker 0: 0 to 5, worker 1: 6 to 11

Each batch holds the samples that it holds in sequence with as many ranks, so predictions
are the same, also where images of a batch are padded to one size. Only whole batches
move. The last batch of each rank stays where it is if it is not full, or if ranks are
rounded up: MMEngine cuts off what comes behind the last position of the dataset.

Pure functions of their arguments, which know neither chunks nor processes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .epoch import rank_length


def by_worker_order(
    num_rows: int, world_size: int, readers: int, batch_size: int, round_up: bool
) -> NDArray[np.int64]:
    """Return the order in which each worker gets a run of neighbouring batches.

    Args:
        num_rows: Number of rows of the dataset, ``N``.
        world_size: Number of ranks; rank ``r`` takes positions ``r, r + R, r + 2R, …``.
        readers: Number of processes per rank that read, 1 or more.
        batch_size: Batch size per rank.
        round_up: Whether every rank gets as many samples as the first.

    Returns:
        Position in the epoch -> row, shape ``(N,)``, or longer by the samples that are
        repeated to round up. The first ``N`` are all rows, each once.
    """
    lengths = np.array(
        [rank_length(num_rows, rank, world_size, round_up) for rank in range(world_size)]
    )
    total = int(lengths.sum())
    order = np.arange(total, dtype=np.int64)
    # As many on each rank, or one less on the last ranks: so the number of a batch in
    # the sequence of all tells its rank and its place there.
    whole = (lengths - (total > num_rows)) // batch_size
    ranks, places = _dealt(whole, readers)
    numbers = np.arange(len(ranks))
    step = world_size * np.arange(batch_size)
    target = ranks + world_size * batch_size * places
    source = numbers % world_size + world_size * batch_size * (numbers // world_size)
    order[target[:, None] + step] = source[:, None] + step
    return order % max(num_rows, 1)


def _dealt(
    whole: NDArray[np.int64], readers: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rank and place in it of all whole batches, worker after worker."""
    places = [
        np.arange(reader, count, readers)
        for count in whole.tolist()
        for reader in range(readers)
    ]
    counts = [len(part) for part in places]
    ranks = np.repeat(np.arange(len(whole)), readers)
    return np.repeat(ranks, counts), np.concatenate([*places, np.empty(0, np.int64)])


def reader_of_positions(count: int, readers: int, batch_size: int) -> NDArray[np.int64]:
    """Return the number of the process that reads each sample of a rank.

    Args:
        count: Number of samples of the rank.
        readers: Number of processes per rank that read.
        batch_size: Batch size per rank.

    Returns:
        Numbers from 0, shape ``(count,)``.
    """
    return np.arange(count) // batch_size % readers
