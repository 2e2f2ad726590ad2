"""Compute weights of samples from labels, and repeats per epoch from weights.

Pure functions: arrays in, arrays out. None of them needs images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..utils.blocks import blocks


def repeat_factors(
    offsets: NDArray[np.int64], labels: NDArray[np.integer], threshold: float
) -> NDArray[np.float64]:
    """Compute the repeat factors of LVIS (Gupta et al., 2019, section 4.2).

    A class that occurs in a share ``f`` of the images has the factor ``max(1,
    sqrt(threshold / f))``. An image has the largest factor of its classes, and 1 if it
    has no label. ``ClassBalancedDataset`` rounds the same factors up.

    Args:
        offsets: Image ``i`` has labels ``labels[offsets[i]:offsets[i + 1]]``, shape
            ``(N + 1,)``.
        labels: Labels of all images, shape ``(M,)``; -1 (what CrowdHuman ignores) counts
            as a class, as in ``ClassBalancedDataset``.
        threshold: Share of the images below which a class is repeated.

    Returns:
        Factor of each image, 1 or more, shape ``(N,)``.
    """
    image, label, share = _classes_of_images(offsets, labels + 1)
    factor = np.maximum(1.0, np.sqrt(threshold / share))
    factor[-1] = 1.0  # for images without a label
    factors = np.ones(len(offsets) - 1)
    np.maximum.at(factors, image, factor[label])
    return factors


def class_balanced_weights(
    offsets: NDArray[np.int64], labels: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Compute weights that give every class the same share of an epoch.

    Each class divides one unit of weight equally among its images; images without a
    label, or with -1 alone, count as a class of their own. The arguments are those of
    :func:`repeat_factors`.

    Returns:
        Weight of each image, shape ``(N,)``; they add up to the number of classes.
    """
    kept = labels >= 0
    offsets = np.append(0, np.cumsum(kept))[offsets]
    image, label, share = _classes_of_images(offsets, labels[kept])
    count = len(offsets) - 1
    weights = np.zeros(count)
    np.add.at(weights, image, 1 / (share[label] * count))
    return weights


def sample_counts(
    weights: NDArray[np.float64], total: int, seed: int, epoch: int
) -> NDArray[np.integer]:
    """Draw how often each sample comes in an epoch, by systematic sampling.

    The expected count is exactly ``total * weight / sum of weights``, and each count is
    this number rounded down or up. That is far less noise than drawing with
    replacement, and a sample with an expected count of 1 comes exactly once.

    Args:
        weights: Weight of each sample, 0 or more, shape ``(N,)``.
        total: Length of the epoch.
        seed: Seed of the run.
        epoch: Number of the epoch.

    Returns:
        Counts, shape ``(N,)``; they add up to ``total``. 32-bit if that is enough.
    """
    rng = np.random.Generator(
        np.random.Philox(np.random.SeedSequence((seed, epoch, 1 << 20)))
    )
    offset = rng.random()
    counts = np.zeros(len(weights), dtype=np.int32 if total < 1 << 31 else np.int64)
    parts = blocks(len(weights))
    ends = np.cumsum([weights[part].sum() for part in parts])
    begin, marked = 0.0, 0.0
    for part, end in zip(parts, ends / ends[-1:] * total):
        # Without shuffling, neighbours would be rounded down and up alternately.
        shuffled = rng.permutation(len(weights[part]))
        share = np.cumsum(weights[part][shuffled])
        if share[-1] > 0:
            share /= share[-1]
            reached = np.minimum(begin + share * (end - begin), end)
            reached[share == 1] = end
            marks = np.minimum(np.floor(reached + offset), total)
            counts[part][shuffled] = np.diff(marks, prepend=marked)
            begin, marked = end, marks[-1]
    return counts


def _classes_of_images(
    offsets: NDArray[np.int64], labels: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return all pairs of image and class, and the share of images of each class.

    Labels are 0 or more. Each pair comes once. The last class stands for images without
    a label.
    """
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
    share = np.bincount(label, minlength=num_classes) / max(count, 1)
    return image, label, np.where(share > 0, share, 1.0)
