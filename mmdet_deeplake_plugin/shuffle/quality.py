"""How well an order is shuffled, in numbers.

Pure functions: arrays in, numbers out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .lanes import ChunkIndex


def step_entropy(order: NDArray[np.integer]) -> float:
    """Entropy of the distances between neighbours, in bits.

    The measure of the shuffle quality in MosaicML Streaming's simulator: rows in
    sequence give 0, since all steps are alike.

    Args:
        order: Position -> row, or chunk, shape ``(N,)``.
    """
    if len(order) < 2:
        return 0.0
    steps = np.bincount(np.abs(np.diff(order)))
    share = steps[steps > 0] / (len(order) - 1)
    return float(-(share * np.log2(share)).sum())


def shuffle_entropy(order: NDArray[np.integer], chunks: NDArray[np.integer]) -> float:
    """Mean of the entropies of an order of rows and of their chunks, in bits.

    Args:
        order: Position -> row, shape ``(N,)``.
        chunks: Row -> chunk.
    """
    return (step_entropy(order) + step_entropy(chunks[order])) / 2


def distinct_chunks(
    order: NDArray[np.integer], chunks: NDArray[np.integer], batch_size: int
) -> float:
    """Mean number of chunks that the samples of a batch come from, per sample.

    Args:
        order: Position -> row, shape ``(N,)``.
        chunks: Row -> chunk.
        batch_size: Samples in a batch; what is left at the end is not counted.

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
        entropy: Of the order, in bits; see :func:`shuffle_entropy`.
        at_random: The same of a permutation at random.
        distinct: Mean share of a batch that comes from chunks of its own.
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
    """Measures an order of samples.

    Args:
        order: Position -> sample, shape ``(N,)``.
        chunks: Sample -> chunk; samples may lie in any order.
        batch_size: Samples in a batch of all ranks.
    """
    index = ChunkIndex.from_chunks(chunks, int(chunks.max(initial=-1)) + 1)
    # Steps are measured where the samples lie, not by their numbers.
    place_of = np.empty(len(chunks), dtype=np.int64)
    place_of[index.take(np.arange(len(index)))] = np.arange(len(index))
    order, by_place = place_of[order], np.sort(chunks)
    at_random = np.random.default_rng(0).permutation(len(order))
    return ShuffleQuality(
        shuffle_entropy(order, by_place),
        shuffle_entropy(at_random, by_place),
        distinct_chunks(order, by_place, batch_size),
    )
