"""Join what was matched in parts of the images, and compute the curves of it.

Matching is what takes memory. What COCO's evaluation needs to rank the detections of all
images is their score, and at each threshold whether they match and whether they count: 28
bytes for a detection. The curves are those that ``COCOeval.accumulate`` of pycocotools
computes from the same matches, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Curves:
    """Precision and recall of a class; -1 where nothing is to be found.

    At ``T`` thresholds, for ``A`` ranges of areas and ``M`` numbers of detections.

    Attributes:
        precision: At ``R`` recalls, shape ``(T, R, A, M)``.
        recall: Shape ``(T, A, M)``.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Matches:
    """Matches of ``D`` detections of one class, image by image, the best first in each.

    Attributes:
        scores: Confidences, shape ``(D,)``.
        ranks: How many detections of the same image are better, shape ``(D,)``.
        matched: Whether an annotation matches, one bit for each of ``T`` thresholds,
            shape ``(A, ceil(T / 8), D)``.
        ignored: Whether a detection does not count, of the same shape.
        num_truths: Number of annotations that count, shape ``(A,)``.
    """

    scores: NDArray[np.float64]
    ranks: NDArray[np.int32]
    matched: NDArray[np.uint8]
    ignored: NDArray[np.uint8]
    num_truths: NDArray[np.int64]


def matches_of_images(
    scores: Sequence[Sequence[float]],
    matched: Sequence[Sequence[NDArray[Any]]],
    ignored: Sequence[Sequence[NDArray[Any]]],
    truths_ignored: Sequence[Sequence[ArrayLike]],
    num_thresholds: int,
) -> Matches:
    """Pack the matches of some images.

    Args:
        scores: For each image, the confidences of its ``d`` detections, best first.
        matched: For each range of areas and image, what matches at each threshold, 0 for
            nothing, shape ``(T, d)``.
        ignored: For each range and image, what does not count, shape ``(T, d)``.
        truths_ignored: For each range and image, which annotations do not count.
        num_thresholds: ``T``.
    """
    empty = np.zeros((num_thresholds, 0), dtype=bool)
    return Matches(
        scores=np.concatenate([np.zeros(0), *scores]),
        ranks=np.concatenate(
            [
                np.zeros(0, np.int32),
                *(np.arange(len(each), dtype=np.int32) for each in scores),
            ]
        ),
        matched=_bits(matched, empty),
        ignored=_bits(ignored, empty),
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
    return Matches(
        scores=np.concatenate([part.scores for part in parts]),
        ranks=np.concatenate([part.ranks for part in parts]),
        matched=np.concatenate([part.matched for part in parts], axis=2),
        ignored=np.concatenate([part.ignored for part in parts], axis=2),
        num_truths=np.sum([part.num_truths for part in parts], axis=0),
    )


def curves_of_matches(
    matches: Matches,
    num_thresholds: int,
    recalls: NDArray[np.float64],
    max_dets: Sequence[int | None],
) -> Curves:
    """Compute precision and recall of a class.

    Args:
        matches: The matches in all images.
        num_thresholds: ``T``.
        recalls: Recalls at which precision is wanted, ascending, shape ``(R,)``.
        max_dets: Numbers of detections of an image that count; None for all.
    """
    num_areas = len(matches.num_truths)
    shape = num_areas, len(max_dets)
    precision = np.full((num_thresholds, len(recalls), *shape), -1.0)
    recall = np.full((num_thresholds, *shape), -1.0)
    for m, most in enumerate(max_dets):
        kept = np.arange(len(matches.scores))
        if most is not None:
            kept = kept[matches.ranks < most]
        # As pycocotools sorts, which decides between equal scores.
        kept = kept[np.argsort(-matches.scores[kept], kind='mergesort')]
        for a, num_truths in enumerate(matches.num_truths.tolist()):
            if not num_truths:
                continue
            for t in range(num_thresholds):
                is_match = _bit(matches.matched[a], t, kept)
                counts = ~_bit(matches.ignored[a], t, kept)
                precision[t, :, a, m], recall[t, a, m] = _curve(
                    is_match & counts, ~is_match & counts, num_truths, recalls
                )
    return Curves(precision, recall)


def _curve(
    right: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
    num_truths: int,
    recalls: NDArray[np.float64],
) -> tuple[NDArray[np.float64], float]:
    """Return precision at each recall and the whole recall of ranked detections."""
    at_recalls = np.zeros(len(recalls))
    if not len(right):
        return at_recalls, 0.0
    found = np.cumsum(right).astype(np.float64)
    precision = np.cumsum(wrong).astype(np.float64)
    precision += found
    precision += np.spacing(1)
    np.divide(found, precision, out=precision)
    # The best precision at this recall or a higher one.
    best = np.maximum.accumulate(precision[::-1])[::-1]
    found /= num_truths
    at = np.searchsorted(found, recalls, side='left')
    reached = at < len(found)
    at_recalls[reached] = best[at[reached]]
    return at_recalls, float(found[-1])


def _bits(
    of_ranges: Sequence[Sequence[NDArray[Any]]], empty: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Pack flags of ranges of areas and images, each ``(T, d)``, bit by bit."""
    return np.stack(
        [
            np.packbits(np.concatenate([empty, *images], axis=1) != 0, axis=0)
            for images in of_ranges
        ]
    )


def _bit(
    packed: NDArray[np.uint8], number: int, kept: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return the flags of one threshold, of shape ``(ceil(T / 8), D)``, of some."""
    byte, bit = divmod(number, 8)
    flags: NDArray[np.bool_] = packed[byte][kept] & (128 >> bit) != 0
    return flags
