"""Hold what LVIS and OpenImages know beside boxes: which classes were searched for.

LVIS is annotated in parts ("federated"): of each image, some classes are known to be
absent, some are only partly annotated, and of all others nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FREQUENCIES = ('r', 'c', 'f')


@dataclass(frozen=True)
class Federation:
    """Which classes of which image count, for M images and C categories.

    Args:
        negatives: Per image, the ids of categories that are known to be absent.
        not_exhaustive: Per image, the ids of categories that are only partly annotated.
        frequencies: Per category, ``r`` (rare), ``c`` (common) or ``f`` (frequent).
    """

    negatives: list[list[int]]
    not_exhaustive: list[list[int]]
    frequencies: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class OpenImagesKeys:
    """What OpenImages says of M images with N instances and C categories, beside boxes.

    Attributes:
        group_of: Whether a box stands for a group of instances, shape ``(N,)``, bool.
        image_labels: For each image the labels (indices of categories) that people
            verified, present or absent; None if that is unknown.
        relations: For each category the labels that its instances also have.
    """

    group_of: NDArray[np.bool_]
    image_labels: list[NDArray[np.int64]] | None
    relations: list[list[int]]


def images_by_category(listed: Sequence[Sequence[int]]) -> dict[int, NDArray[np.int64]]:
    """Turn a list of categories for each image into a list of images for each category.

    Examples:
        >>> images_by_category([[5, 2], [], [5]])
        {2: array([0]), 5: array([0, 2])}
    """
    counts = np.array([len(each) for each in listed], dtype=np.int64)
    images = np.repeat(np.arange(len(listed)), counts)
    ids = np.fromiter((number for each in listed for number in each), dtype=np.int64)
    order = np.argsort(ids, kind='stable')
    found, starts = np.unique(ids[order], return_index=True)
    return dict(zip(found.tolist(), np.split(images[order], starts[1:])))
