"""Order the rows of an epoch, as a pure function of seed, epoch and number of rows.

The *global* order is the same for any number of ranks; rank ``r`` of ``R`` takes
positions ``r, r + R, r + 2R, …`` of it (:func:`rank_slice`). Orders that follow stored
chunks are in :mod:`~mmdet_deeplake_plugin.shuffle.lanes`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def epoch_order(num_rows: int, seed: int, epoch: int, shuffle: bool) -> NDArray[np.int64]:
    """Return the order in which an epoch visits the rows.

    Args:
        num_rows: Number of rows of the dataset.
        seed: Seed of the run, 0 or more.
        epoch: Number of the epoch, from 0.
        shuffle: Whether to permute; ``False`` gives ``0, 1, 2, …``.

    Returns:
        Position in the epoch -> row, shape ``(num_rows,)``; each row comes once.
    """
    if not shuffle:
        return np.arange(num_rows, dtype=np.int64)
    # Seeded with the pair, not with the sum: seed 1 in epoch 0 must not repeat
    # seed 0 in epoch 1.
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch))))
    return rng.permutation(num_rows).astype(np.int64, copy=False)


def rank_length(num_rows: int, rank: int, world_size: int, round_up: bool) -> int:
    """Return the number of samples of one rank per epoch.

    Args:
        num_rows: Number of rows of the dataset.
        rank: Rank of the process, ``0 <= rank < world_size``.
        world_size: Number of ranks.
        round_up: Whether every rank gets as many samples as the first, by repeating
            the beginning of the order. Otherwise the last ranks may get one sample
            less.

    Returns:
        Length of what :func:`rank_slice` returns.
    """
    if round_up:
        return -(-num_rows // world_size)
    return -(-(num_rows - rank) // world_size)


def rank_slice(
    order: NDArray[np.int64], rank: int, world_size: int, round_up: bool
) -> NDArray[np.int64]:
    """Return the part of a global order that one rank gets.

    With four ranks, ten rows and ``round_up=True``, the beginning is repeated at the
    end, so that each rank gets three rows::

        position  0 1 2 3  4 5 6 7  8 9 0 1
        rank      0 1 2 3  0 1 2 3  0 1 2 3

    Args:
        order: Position in the epoch -> row, shape ``(N,)``.
        rank: Rank of the process, ``0 <= rank < world_size``.
        world_size: Number of ranks.
        round_up: See :func:`rank_length`.

    Returns:
        The rank's rows in order.
    """
    rows = order[rank::world_size]
    count = rank_length(len(order), rank, world_size, round_up)
    if count == len(rows):
        return rows
    beyond = rank + world_size * np.arange(len(rows), count)
    return np.append(rows, order[beyond % len(order)])
