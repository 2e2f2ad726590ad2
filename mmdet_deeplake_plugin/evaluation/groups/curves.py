"""Compute precision and recall from what was matched.

They are those that ``COCOeval.accumulate`` of pycocotools computes from the same matches,
to the last bit. A detection in an image without annotations of its class matches nothing,
whatever the threshold: such ones are only counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .matches import Matches, bit
from .ranking import Ranking


@dataclass(frozen=True, eq=False)
class Curves:
    """Precision and recall of a class; -1 where nothing is to be found.

    At ``T`` thresholds, for ``A`` ranges of areas and ``M`` numbers of detections, or 1
    if all of these give the same.

    Attributes:
        precision: At ``R`` recalls, shape ``(T, R, A, M)``.
        recall: Shape ``(T, A, M)``.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def curves_of(
    ranking: Ranking,
    matches: Matches,
    exempt: NDArray[np.bool_],
    num_thresholds: int,
    recalls: NDArray[np.float64],
    max_dets: Sequence[int | None],
) -> Curves:
    """Compute precision and recall of a class.

    Args:
        ranking: Its detections.
        matches: Matches of those in images with annotations.
        exempt: For each of ``A`` ranges of areas, which of the other detections do not
            count, in the order of the ranking.
        num_thresholds: ``T``.
        recalls: As in :class:`.Scorer`.
        max_dets: As in :class:`.Scorer`.
    """
    most_of_image = int(ranking.ranks.max(initial=-1)) + 1
    numbers = [most_of_image if n is None else min(n, most_of_image) for n in max_dets]
    if len(set(numbers)) == 1:  # as a rule: no image has so many of one class
        numbers = numbers[:1]
    shape = len(matches.num_truths), len(numbers)
    precision = np.full((num_thresholds, len(recalls), *shape), -1.0)
    recall = np.full((num_thresholds, *shape), -1.0)
    places, alone = ranking.places(), ~ranking.with_truth
    order = np.argsort(places[ranking.with_truth])
    near = places[ranking.with_truth][order]
    for m, most in enumerate(numbers):
        kept = ranking.ranks < most
        kept_near = kept[ranking.with_truth][order]
        for a, num_truths in enumerate(matches.num_truths.tolist()):
            if not num_truths:
                continue
            counted = np.sort(places[alone][kept[alone] & ~exempt[a]])
            wrong = np.searchsorted(counted, near)
            matched, ignored = matches.matched[a][:, order], matches.ignored[a][:, order]
            for t in range(num_thresholds):
                counts = kept_near & ~bit(ignored, t)
                right = np.flatnonzero(bit(matched, t) & counts)
                ranked = wrong[right] + np.cumsum(counts)[right]
                precision[t, :, a, m], recall[t, a, m] = _curve(
                    ranked, num_truths, recalls
                )
    return Curves(precision, recall)


def _curve(
    ranked: NDArray[np.int64], num_truths: int, recalls: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Return precision at each recall, and the whole recall.

    ``ranked`` is the rank of each right detection among those that count, from 1.
    """
    at_recalls = np.zeros(len(recalls))
    if not len(ranked):
        return at_recalls, 0.0
    found = np.arange(1, len(ranked) + 1, dtype=np.float64)
    precision = found / (ranked + np.spacing(1))
    # The best precision at this recall or a higher one. It is that of a right detection,
    # as a wrong one only lowers it.
    best = np.maximum.accumulate(precision[::-1])[::-1]
    found /= num_truths
    at = np.searchsorted(found, recalls, side='left')
    reached = at < len(found)
    at_recalls[reached] = best[at[reached]]
    return at_recalls, float(found[-1])
