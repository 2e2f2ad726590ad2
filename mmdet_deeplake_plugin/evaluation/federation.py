"""Hold what LVIS knows beside boxes: which classes were searched for in which image.

LVIS is annotated in parts ("federated"): of each image, some classes are known to be
absent, some are only partly annotated, and of all others nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass

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
