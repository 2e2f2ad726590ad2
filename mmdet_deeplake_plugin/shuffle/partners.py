"""Choose which chunks the other images of a mixed sample come from.

A mosaic takes images of other samples. Drawn from all rows, each costs a read of its own.
Here they come from the chunks that the lanes of one process have open when the sample is
due: chunks that this process holds anyway. Position ``p`` of the epoch is in turn ``p //
lanes``, in which each lane makes one draw, so the chunks are those that these draws come
from. They depend on the order, the position and the shape of the dataloader alone, not on
what a process has read before, so they are the same after a resume.

Pure functions of their arguments.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .lanes import Lanes


def lanes_of_reader(
    lanes: int, position: int, world_size: int, readers: int, batch_size: int
) -> NDArray[np.int64]:
    """Return the lanes of the process that reads a position of the epoch.

    Rank ``r`` of ``R`` takes positions ``r, r + R, …``, and its batch ``j`` goes to the
    process ``j mod readers``. After a resume batches are counted anew, so processes swap
    their lanes, but a position meets the same ones.

    Args:
        lanes: Number of lanes.
        position: Position in the epoch.
        world_size: Number of ranks.
        readers: Processes per rank that read.
        batch_size: Batch size per rank.

    Returns:
        Lane numbers, ascending. If ``lanes`` is not a multiple of ranks x readers x batch
        size, several processes share them.
    """
    batch = position // (world_size * batch_size)
    first = position % world_size + world_size * batch_size * (batch % readers)
    positions = first + world_size * np.arange(batch_size)
    common = math.gcd(lanes, world_size * readers * batch_size)
    return np.flatnonzero(np.isin(np.arange(lanes) % common, positions % common))


def open_chunks(
    order: Lanes, lanes: NDArray[np.int64], position: int
) -> NDArray[np.int64]:
    """Return the chunks that some lanes have open at a position of the epoch.

    Args:
        order: The lanes of the epoch.
        lanes: Numbers of those to look at.
        position: Position in the epoch; after its end, the last turn counts.

    Returns:
        Chunks, ascending, each once.
    """
    turn = min(position, len(order) - 1) // order.lanes
    opened = [order.open_chunks(lane, turn) for lane in lanes.tolist()]
    if not any(map(len, opened)):  # these lanes ended before the samples that round up
        every = range(min(order.lanes, len(order)))
        opened = [order.open_chunks(lane, turn) for lane in every]
    return np.unique(np.concatenate(opened))
