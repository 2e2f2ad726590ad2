"""What is kept of images that were matched.

Matching is what takes memory. What COCO's evaluation needs afterwards is, for each
detection at each threshold, whether it matches and whether it counts: 16 bytes with four
ranges of areas. Scores and areas are those of the predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Matches:
    """Matches of ``D`` detections of one class, image by image, the best first in each.

    Attributes:
        matched: Whether an annotation matches, one bit for each of ``T`` thresholds,
            shape ``(A, ceil(T / 8), D)``.
        ignored: Whether a detection does not count, of the same shape.
        num_truths: Number of annotations that count, shape ``(A,)``.
    """

    matched: NDArray[np.uint8]
    ignored: NDArray[np.uint8]
    num_truths: NDArray[np.int64]


def matches_of_images(
    matched: Sequence[Sequence[NDArray[Any]]],
    ignored: Sequence[Sequence[NDArray[Any]]],
    truths_ignored: Sequence[Sequence[ArrayLike]],
    num_thresholds: int,
) -> Matches:
    """Pack the matches of some images.

    Args:
        matched: For each range of areas and image, what matches at each threshold, 0 for
            nothing, shape ``(T, d)``.
        ignored: For each range and image, what does not count, shape ``(T, d)``.
        truths_ignored: For each range and image, which annotations do not count.
        num_thresholds: ``T``.
    """
    empty = np.zeros((num_thresholds, 0), dtype=bool)

    def bits(tables: Sequence[Sequence[NDArray[Any]]]) -> NDArray[np.uint8]:
        return np.stack(
            [
                pack_bits(np.concatenate([empty, *images], axis=1) != 0)
                for images in tables
            ]
        )

    return Matches(
        matched=bits(matched),
        ignored=bits(ignored),
        num_truths=np.array(
            [
                sum(int(np.count_nonzero(np.asarray(each) == 0)) for each in images)
                for images in truths_ignored
            ]
        ),
    )


def join_matches(parts: Sequence[Matches]) -> Matches:
    """Return the matches of all images, in the order of the parts.

    Args:
        parts: At least one.
    """
    if len(parts) == 1:
        return parts[0]
    return Matches(
        matched=np.concatenate([part.matched for part in parts], axis=2),
        ignored=np.concatenate([part.ignored for part in parts], axis=2),
        num_truths=np.sum([part.num_truths for part in parts], axis=0),
    )


def pack_bits(flags: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pack flags of thresholds, shape ``(T, D)``, into shape ``(ceil(T / 8), D)``."""
    return np.packbits(flags, axis=0)


def bit(packed: NDArray[np.uint8], number: int) -> NDArray[np.bool_]:
    """Return the flags of a threshold, shape ``(D,)``.

    Args:
        packed: What :func:`pack_bits` returned.
        number: Number of the threshold.
    """
    byte, place = divmod(number, 8)
    flags: NDArray[np.bool_] = packed[byte] & (128 >> place) != 0
    return flags
