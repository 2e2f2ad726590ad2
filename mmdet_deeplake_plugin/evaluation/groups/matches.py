"""What is kept of images that were matched.

Matching is what takes memory. What COCO's evaluation needs afterwards is, for each
detection at each threshold, whether it matches and whether it counts: 16 bytes with four
ranges of areas. Scores and areas are those of the predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


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


def packed_matches(
    matched: Sequence[NDArray[Any]],
    ignored: Sequence[NDArray[Any]],
    num_truths: Sequence[int],
) -> Matches:
    """Pack what matches each detection at each threshold, and what does not count.

    Each has an entry per range of areas, the arrays of shape ``(T, D)``, 0 for nothing.
    """
    return Matches(
        np.stack([np.packbits(each != 0, axis=0) for each in matched]),
        np.stack([np.packbits(each != 0, axis=0) for each in ignored]),
        np.array(num_truths),
    )


def matches_of_images(
    evaluations: Sequence[Mapping[str, Any] | None],
    num_images: int,
    keys: tuple[str, str, str],
    num_thresholds: int,
) -> Matches:
    """Pack the matches that a package has for each image.

    Args:
        evaluations: What was matched, for each range of areas image by image; None for
            nothing.
        num_images: Number of images.
        keys: Where that has the matches and what does not count, shape ``(T, d)``, and
            which annotations do not count.
        num_thresholds: ``T``.
    """
    ranges = [
        [each for each in evaluations[start : start + num_images] if each]
        for start in range(0, len(evaluations), num_images)
    ]
    empty = np.zeros((num_thresholds, 0))
    matched, ignored, truths_ignored = (
        [[each[key] for each in images] for images in ranges] for key in keys
    )
    return packed_matches(
        [np.concatenate([empty, *images], axis=1) for images in matched],
        [np.concatenate([empty, *images], axis=1) for images in ignored],
        [
            int(np.count_nonzero(np.concatenate([[], *images]) == 0))
            for images in truths_ignored
        ],
    )


def join_matches(parts: Sequence[Matches]) -> Matches:
    """Return the matches of all images, in the order of one or more parts."""
    if len(parts) == 1:
        return parts[0]
    return Matches(
        matched=np.concatenate([part.matched for part in parts], axis=2),
        ignored=np.concatenate([part.ignored for part in parts], axis=2),
        num_truths=np.sum([part.num_truths for part in parts], axis=0),
    )


def bit(packed: NDArray[np.uint8], number: int) -> NDArray[np.bool_]:
    """Return the flags of a threshold, shape ``(D,)``, from those of all."""
    byte, place = divmod(number, 8)
    return packed[byte] & (128 >> place) != 0
