"""Compute the recall of proposals: the share of boxes that the best k find.

The numbers are those of ``mmdet.evaluation.eval_recalls``, which cannot be called itself:
it puts the overlaps of all images, matrices of different shapes, into one ``np.array``,
which numpy refuses since 1.24 with ``ValueError: ... inhomogeneous shape``. So its parts
are called. Classes do not matter here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backends.mmdet import bbox_overlaps, functional

_IMAGES_AT_ONCE = 500  # whose overlaps are held


def proposal_recall(
    gt_boxes: Sequence[NDArray[Any]],
    proposals: Sequence[NDArray[Any]],
    proposal_nums: Sequence[int],
    iou_thrs: Sequence[float] | NDArray[np.float64],
    use_legacy_coordinate: bool = False,
) -> NDArray[np.float64]:
    """Return the recall at each number of proposals and each IoU threshold.

    Within an image, the pair of box and proposal with the highest IoU is matched first;
    both are then removed, until no box remains.

    Args:
        gt_boxes: Per image, the true boxes, shape ``(n, 4)``, xyxy in pixels.
        proposals: Per image, the proposals, likewise, the best first; or with the score
            in a fifth column, by which they are sorted here.
        proposal_nums: Maximum numbers of proposals per image, in ascending order: as in
            MMDetection, the last one caps the others.
        iou_thrs: IoU thresholds.
        use_legacy_coordinate: Whether the pixel of the second corner belongs to the box,
            so that its width is ``x2 - x1 + 1``. Defaults to False.

    Returns:
        Array of shape ``(len(proposal_nums), len(iou_thrs))``; NaN without a true box.

    Raises:
        ValueError: If ``gt_boxes`` and ``proposals`` differ in length.
    """
    if len(gt_boxes) != len(proposals):
        raise ValueError(
            'gt_boxes and proposals must have one entry per image, but have '
            f'{len(gt_boxes)} and {len(proposals)}'
        )
    found: NDArray[Any] = np.zeros((len(proposal_nums), len(iou_thrs)), dtype=np.int64)
    for start in range(0, len(gt_boxes), _IMAGES_AT_ONCE):
        part = slice(start, start + _IMAGES_AT_ONCE)
        count = sum(map(len, gt_boxes[part]))
        if count:
            overlaps = _overlaps(
                gt_boxes[part], proposals[part], proposal_nums[-1], use_legacy_coordinate
            )
            recalls = functional.recall._recalls(
                overlaps, np.asarray(proposal_nums), np.asarray(iou_thrs, np.float64)
            )
            # Each is a number of boxes, divided by their count.
            found += np.rint(recalls * count).astype(np.int64)
    with np.errstate(invalid='ignore'):
        return found / np.float64(sum(map(len, gt_boxes)))


def _overlaps(
    gt_boxes: Sequence[NDArray[Any]],
    proposals: Sequence[NDArray[Any]],
    most: int,
    use_legacy_coordinate: bool,
) -> NDArray[np.object_]:
    """Return the IoU of boxes and the best proposals, a matrix for each image."""
    overlaps = np.empty(len(gt_boxes), dtype=object)
    for index, (boxes, candidates) in enumerate(zip(gt_boxes, proposals)):
        if candidates.shape[1] == 5:
            candidates = candidates[np.argsort(candidates[:, 4])[::-1]]
        overlaps[index] = bbox_overlaps(
            boxes, candidates[:most, :4], use_legacy_coordinate=use_legacy_coordinate
        )
    return overlaps
