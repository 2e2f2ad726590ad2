"""Form batches that hold one group of images each, as many on every rank.

The *global* batches are formed first, and each is split among the ranks. So every rank
has the same number of batches, all ranks have images of the same group in a step, and
the batches do not depend on the number of ranks, only on the global batch size.

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
    """Split an order into batches of one group each.

    A batch is emitted when it is full. The leftovers of all groups at the end are
    joined, group after group, into mixed batches, as ``AspectRatioBatchSampler`` does;
    with one rank the batches are the same as there.

    Args:
        order: Position in the epoch -> sample, shape ``(N,)``.
        groups: Group of each sample, by sample, 0 or more.
        batch_size: Samples per global batch, of all ranks together.
        world_size: Number of ranks; divides ``batch_size``.
        drop_last: Whether to leave out an incomplete batch at the end. Otherwise it is
            filled up to a multiple of ``world_size`` from the beginning of the order.

    Returns:
        Sample indices of each batch; rank ``r`` gets ``batch[r::world_size]``.
    """
    group = groups[order]
    full: list[NDArray[np.integer]] = []
    completed: list[NDArray[np.int64]] = []
    left: list[NDArray[np.integer]] = []
    for number in np.unique(group):
        positions = np.flatnonzero(group == number)
        count = len(positions) // batch_size
        parts = positions[: count * batch_size].reshape(count, batch_size)
        full.extend(order[parts])
        completed.append(parts[:, -1])
        left.append(order[positions[count * batch_size :]])
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
    """Return how many batches :func:`global_batches` forms, whatever the groups.

    Args:
        num_samples: Length of the epoch.
        batch_size: Samples per global batch.
        drop_last: See :func:`global_batches`.
    """
    return num_samples // batch_size if drop_last else -(-num_samples // batch_size)


def spread(
    parts: list[NDArray[np.integer]], block: int, seed: tuple[int, ...]
) -> NDArray[np.integer]:
    """Interleave several orders in blocks.

    Each order is spread evenly over the result; its remainder, shorter than a block,
    comes at the end.

    Args:
        parts: Orders, each of shape ``(N_k,)``.
        block: Length of a block.
        seed: Seed of the positions of the blocks, numbers of 0 or more.

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
