"""Rank the detections of one class in all images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Ranking:
    """``D`` detections of one class, image by image, the best first in each.

    Images are in the order of their ids, which decides between equal scores.

    Attributes:
        rows: Their rows in the predictions, shape ``(D,)``.
        scores: Confidences, shape ``(D,)``.
        ranks: How many detections of the same image are better, shape ``(D,)``.
        with_truth: Whether the image has annotations of the class, shape ``(D,)``. Only
            there something can match.
    """

    rows: NDArray[np.integer]
    scores: NDArray[np.floating]
    ranks: NDArray[np.int32]
    with_truth: NDArray[np.bool_]

    def places(self) -> NDArray[np.int32]:
        """Return the place of each detection among those of all images, best first."""
        # As pycocotools sorts, which decides between equal scores.
        order = np.argsort(-self.scores, kind='stable')
        places = np.empty(len(order), dtype=np.int32)
        places[order] = np.arange(len(order), dtype=np.int32)
        return places


def rank(
    rows: NDArray[np.integer],
    scores: NDArray[np.floating],
    images: NDArray[np.integer],
    with_truth: NDArray[np.bool_],
    most: int | None,
    classes: NDArray[np.integer] | None = None,
) -> Ranking:
    """Rank detections within their images.

    Args:
        rows: Rows of the detections, in ascending order, shape ``(N,)``.
        scores: Their confidences, shape ``(N,)``.
        images: Place of their images in the order of the ids, shape ``(N,)``.
        with_truth: Whether an image has annotations, by place.
        most: Number of detections of an image that are taken; None for all.
        classes: Place of their classes, which decides between equal scores of an image,
            shape ``(N,)``. Defaults to None: all are of one class.
    """
    keys = [-scores, images] if classes is None else [classes, -scores, images]
    order = np.lexsort(keys)
    images = images[order]
    ranks = np.arange(len(order), dtype=np.int32)
    starts = np.flatnonzero(np.diff(images, prepend=-1))
    ranks -= np.repeat(ranks[starts], np.diff(starts, append=len(order)))
    if most is not None and len(ranks) and ranks.max() >= most:
        kept = ranks < most
        order, images, ranks = order[kept], images[kept], ranks[kept]
    return Ranking(rows[order], scores[order], ranks, with_truth[images])
