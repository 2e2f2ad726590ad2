"""What LVIS says beside boxes: which classes were looked for in which image.

LVIS is annotated in parts ("federated"): of each image only some classes are known to
be absent, some are marked in part, and of all others nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FREQUENCIES = ('r', 'c', 'f')


@dataclass(frozen=True)
class Federation:
    """Which classes of which image count, of M images and C categories.

    Args:
        negatives: Per image the ids of categories that are known to be absent.
        not_exhaustive: Per image the ids of categories of which some are not marked.
        frequencies: Per category ``r`` (rare), ``c`` (common) or ``f`` (frequent).
    """

    negatives: list[list[int]]
    not_exhaustive: list[list[int]]
    frequencies: tuple[str, ...]


def joined(parts: Sequence[Federation]) -> Federation:
    """One for the images of several, which have the same categories."""
    return Federation(
        [ids for part in parts for ids in part.negatives],
        [ids for part in parts for ids in part.not_exhaustive],
        parts[0].frequencies,
    )
