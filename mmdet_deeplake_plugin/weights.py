"""How often a sample comes in an epoch: weights from labels, and counts from weights.

Pure functions: arrays in, arrays out. No image is read for any of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def repeat_factors(
    offsets: NDArray[np.int64], labels: NDArray[np.integer], threshold: float
) -> NDArray[np.float64]:
    """Repeat factors of LVIS (Gupta et al., 2019, section 4.2).

    A class in a share ``f`` of the images has the factor ``max(1, sqrt(threshold /
    f))``, an image the largest factor of its classes. The images without a label
    count as a class of their own, as in ``ClassBalancedDataset``.

    Args:
        offsets: Image ``i`` has labels ``labels[offsets[i]:offsets[i + 1]]``, shape
            ``(N + 1,)``.
        labels: Labels of all images, shape ``(M,)``.
        threshold: Share of the images below which a class is repeated.

    Returns:
        Factor of each image, 1 or more, shape ``(N,)``.
    """
    image, label, share = _classes_of_images(offsets, labels)
    factor = np.maximum(1.0, np.sqrt(threshold / share))
    factors = np.ones(len(offsets) - 1)
    np.maximum.at(factors, image, factor[label])
    return factors


def class_balanced_weights(
    offsets: NDArray[np.int64], labels: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Weights that give every class the same part of an epoch.

    Each class shares one unit of weight equally among its images; the images
    without a label count as a class of their own.

    Args:
        offsets: See :func:`repeat_factors`.
        labels: See :func:`repeat_factors`.

    Returns:
        Weight of each image, shape ``(N,)``, with the number of classes for a sum.
    """
    image, label, share = _classes_of_images(offsets, labels)
    count = len(offsets) - 1
    weights = np.zeros(count)
    np.add.at(weights, image, 1 / (share[label] * count))
    return weights


def sample_counts(
    weights: NDArray[np.float64], total: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """How often each sample comes in an epoch, by systematic sampling.

    The expectation of a count is exactly ``total * weight / sum of weights``, and a
    count is that number rounded down or up: far less noise than drawing with
    replacement, and a sample of expectation 1 comes exactly once.

    Args:
        weights: Weight of each sample, 0 or more, shape ``(N,)``.
        total: Length of the epoch.
        seed: Seed of the run, 0 or more.
        epoch: Number of the epoch, from 0.

    Returns:
        Counts, shape ``(N,)``, with ``total`` for a sum.
    """
    rng = np.random.Generator(
        np.random.Philox(np.random.SeedSequence((seed, epoch, 1 << 20)))
    )
    # Neighbours would otherwise be rounded down and up in turn.
    shuffled = rng.permutation(len(weights))
    ends = np.cumsum(weights[shuffled])
    ends *= total / ends[-1]
    ends[-1] = total
    marks = np.floor(ends + rng.random()).astype(np.int64)
    marks[-1] = total
    counts = np.empty(len(weights), dtype=np.int64)
    counts[shuffled] = np.diff(np.minimum(marks, total), prepend=0)
    return counts


def _classes_of_images(
    offsets: NDArray[np.int64], labels: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of image and class, each once, and the share of images of each class."""
    count = len(offsets) - 1
    sizes = np.diff(offsets)
    num_classes = int(labels.max(initial=-1)) + 2
    image = np.concatenate(
        [np.repeat(np.arange(count), sizes), np.flatnonzero(sizes == 0)]
    )
    label = np.concatenate(
        [labels.astype(np.int64), np.full(int((sizes == 0).sum()), num_classes - 1)]
    )
    pairs = np.unique(image * num_classes + label)
    image, label = pairs // num_classes, pairs % num_classes
    share = np.bincount(label, minlength=num_classes) / count
    return image, label, np.where(share > 0, share, 1.0)
