"""Batches of one kind of image each, equal in number on all ranks.

The *global* batches are formed first, and each is dealt to the ranks: so every
rank has as many, all ranks have images of one orientation in the same step, and
the batches are the same for any number of ranks with the same global batch.

Pure functions: arrays in, arrays out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def global_batches(
    order: NDArray[np.integer],
    groups: NDArray[np.integer],
    batch_size: int,
    world_size: int,
    drop_last: bool,
) -> list[NDArray[np.integer]]:
    """Cuts an order into batches of one group each.

    A batch comes when it is full. What is left of the groups at the end is put
    together, group after group, into mixed batches, as ``AspectRatioBatchSampler``
    does; with one rank these are its batches.

    Args:
        order: Position in the epoch -> sample, shape ``(N,)``.
        groups: Group of each sample, by sample, 0 or more.
        batch_size: Samples in a global batch: of all ranks together.
        world_size: Number of ranks; divides ``batch_size``.
        drop_last: Whether a batch that is not full at the end is left out.
            Otherwise it is filled up to a multiple of ``world_size`` from the
            beginning of the order.

    Returns:
        Sample indices of each batch; rank ``r`` takes ``batch[r::world_size]``.
    """
    group = groups[order]
    full: list[NDArray[np.integer]] = []
    completed: list[NDArray[np.int64]] = []
    left: list[NDArray[np.integer]] = []
    for number in np.unique(group):
        places = np.flatnonzero(group == number)
        count = len(places) // batch_size
        parts = places[: count * batch_size].reshape(count, batch_size)
        full.extend(order[parts])
        completed.append(parts[:, -1])
        left.append(order[places[count * batch_size :]])
    batches = [full[i] for i in np.argsort(np.concatenate([*completed, []]))]
    rest = np.concatenate([*left, np.empty(0, dtype=np.int64)])
    for start in range(0, len(rest), batch_size):
        batch = rest[start : start + batch_size]
        if len(batch) < batch_size and drop_last:
            break
        missing = np.arange(-len(batch) % world_size)
        batches.append(np.concatenate([batch, order[missing % len(order)]]))
    return batches


def num_batches(num_samples: int, batch_size: int, drop_last: bool) -> int:
    """Number of batches that :func:`global_batches` returns, whatever the groups.

    Args:
        num_samples: Length of the epoch.
        batch_size: Samples in a global batch.
        drop_last: See :func:`global_batches`.
    """
    return num_samples // batch_size if drop_last else -(-num_samples // batch_size)


def spread(
    parts: list[NDArray[np.integer]], block: int, seed: tuple[int, ...]
) -> NDArray[np.integer]:
    """Mixes several orders into one, a block of each at a time.

    Each order is spread evenly over the whole; what remains of them below a block
    comes at the end.

    Args:
        parts: Orders, each of shape ``(N_k,)``.
        block: Length of a block.
        seed: Seed of the places of the blocks, of numbers 0 or more.

    Returns:
        All samples, shape ``(N_1 + N_2 + …,)``.
    """
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((*seed, 1 << 21))))
    moments = [np.empty(0)]
    blocks: list[NDArray[np.integer]] = []
    for part in parts:
        count = len(part) // block
        moments.append((np.arange(count) + rng.random(count)) / max(count, 1))
        blocks.extend(part[: count * block].reshape(count, block))
    ordered = [blocks[i] for i in np.argsort(np.concatenate(moments), kind='stable')]
    rests = [part[len(part) // block * block :] for part in parts]
    return np.concatenate([*ordered, *rests, np.empty(0, dtype=np.int64)])
