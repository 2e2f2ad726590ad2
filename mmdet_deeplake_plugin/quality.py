"""How well an order is shuffled, in numbers.

Pure functions: arrays in, numbers out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
    """Mean share of the samples of a batch that come from a chunk of their own.

    Args:
        order: Position -> row, shape ``(N,)``.
        chunks: Row -> chunk.
        batch_size: Samples in a batch; what is left at the end is not counted.

    Returns:
        Between ``1 / batch_size`` and 1; ``nan`` when there is no full batch.
    """
    count = len(order) // batch_size
    if not count:
        return float('nan')
    batches = np.sort(chunks[order[: count * batch_size]].reshape(count, batch_size))
    return float((1 + (np.diff(batches) != 0).sum(axis=1)).mean() / batch_size)
