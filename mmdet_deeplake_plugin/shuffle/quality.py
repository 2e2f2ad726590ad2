"""Measure how well an order is shuffled.

Pure functions: arrays in, numbers out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .lanes import ChunkIndex


def step_entropy(order: NDArray[np.integer]) -> float:
    """Compute the entropy of the distances between neighbours, in bits.

    MosaicML Streaming's simulator measures shuffle quality this way. Rows in sequence
    have 0 bits, since all distances are equal.

    Args:
        order: Position -> row (or chunk), shape ``(N,)``.
    """
    if len(order) < 2:
        return 0.0
    steps = np.bincount(np.abs(np.diff(order)))
    share = steps[steps > 0] / (len(order) - 1)
    return float(-(share * np.log2(share)).sum())


def shuffle_entropy(order: NDArray[np.integer], chunks: NDArray[np.integer]) -> float:
    """Compute the mean of the entropies of rows and of their chunks, in bits.

    Args:
        order: Position -> row, shape ``(N,)``.
        chunks: Row -> chunk.
    """
    return (step_entropy(order) + step_entropy(chunks[order])) / 2


def distinct_chunks(
    order: NDArray[np.integer], chunks: NDArray[np.integer], batch_size: int
) -> float:
    """Compute the mean number of distinct chunks per sample of a batch.

    Args:
        order: Position -> row, shape ``(N,)``.
        chunks: Row -> chunk.
        batch_size: Samples per batch; an incomplete batch at the end is not counted.

    Returns:
        Between ``1 / batch_size`` and 1; ``nan`` without a full batch.
    """
    count = len(order) // batch_size
    if not count:
        return float('nan')
    batches = np.sort(chunks[order[: count * batch_size]].reshape(count, batch_size))
    return float((1 + (np.diff(batches) != 0).sum(axis=1)).mean() / batch_size)


@dataclass(frozen=True)
class ShuffleQuality:
    """How well an epoch is shuffled.

    Args:
        entropy: Entropy of the order in bits, see :func:`shuffle_entropy`.
        at_random: Entropy of a random permutation in bits.
        distinct: Distinct chunks per sample of a batch, see :func:`distinct_chunks`.
    """

    entropy: float
    at_random: float
    distinct: float

    def __str__(self) -> str:
        return (
            f'{self.entropy:.2f} bits of {self.at_random:.2f}; a batch has '
            f'{self.distinct:.2f} chunks for each sample'
        )


def measure_quality(
    order: NDArray[np.integer], chunks: NDArray[np.int64], batch_size: int
) -> ShuffleQuality:
    """Measure an order of samples.

    Args:
        order: Position -> sample, shape ``(N,)``.
        chunks: Sample -> chunk; samples may be stored in any order.
        batch_size: Samples per global batch, of all ranks together.
    """
    index = ChunkIndex.from_chunks(chunks, int(chunks.max(initial=-1)) + 1)
    # Distances are those between the samples as stored, not between their indices.
    stored_at = np.empty(len(chunks), dtype=np.int64)
    stored_at[index.take(np.arange(len(index)))] = np.arange(len(index))
    order, chunk_at = stored_at[order], np.sort(chunks)
    at_random = np.random.default_rng(0).permutation(len(order))
    return ShuffleQuality(
        shuffle_entropy(order, chunk_at),
        shuffle_entropy(at_random, chunk_at),
        distinct_chunks(order, chunk_at, batch_size),
    )
