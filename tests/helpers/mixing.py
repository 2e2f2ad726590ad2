"""Measure how well samples are mixed with others, for the table in docs/loader.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MixQuality:
    """How well the samples of an epoch are mixed with others, as in mosaics.

    Args:
        entropy: Entropy of what is drawn for a given sample, in bits.
        ever: Share of all samples that are ever mixed into another one.
        repeated: Share of the pairs of samples that were mixed in the epoch before.
    """

    entropy: float
    ever: float
    repeated: float


def measure_mixing(
    own: NDArray[np.integer],
    others: NDArray[np.integer],
    drawn_from: NDArray[np.integer],
    num_samples: int,
) -> MixQuality:
    """Measure the mixing of an epoch.

    Args:
        own: Sample at each position, shape ``(P,)``.
        others: Samples that were mixed into it, shape ``(P, M)``.
        drawn_from: Number of samples that they were drawn from, all alike, shape
            ``(P,)``.
        num_samples: Number of samples of the dataset.
    """
    left = np.repeat(own, others.shape[1])
    pairs = np.minimum(left, others.ravel()) * num_samples
    pairs += np.maximum(left, others.ravel())
    return MixQuality(
        entropy=float(np.log2(drawn_from).mean()),
        ever=len(np.unique(others)) / num_samples,
        repeated=1 - len(np.unique(pairs)) / len(pairs),
    )
