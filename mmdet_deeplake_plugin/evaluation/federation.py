"""Hold what LVIS and OpenImages know beside boxes: which classes were searched for.

LVIS is annotated in parts ("federated"): of each image, some classes are known to be
absent, some are only partly annotated, and of all others nothing is known.
"""

from __future__ import annotations

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
