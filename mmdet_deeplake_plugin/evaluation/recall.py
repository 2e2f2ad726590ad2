"""Compute the recall of proposals: the share of boxes that the best k find.

The numbers are those of ``mmdet.evaluation.eval_recalls``, which cannot be called itself:
it puts the overlaps of all images, matrices of different shapes, into one ``np.array``,
which numpy refuses since 1.24 with ``ValueError: ... inhomogeneous shape``. Classes do
not matter here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
        proposals: Per image, the proposals, xyxy in pixels: best first with shape
            ``(k, 4)``, or with the score in the last column with shape ``(k, 5)``, which
            are sorted here.
        proposal_nums: Maximum numbers of proposals per image, in ascending order: as in
            MMDetection, the last one caps the others.
        iou_thrs: IoU thresholds.
        use_legacy_coordinate: Whether the pixel of the second corner belongs to the box,
            so that its width is ``x2 - x1 + 1``. Defaults to False.

    Returns:
        Array of shape ``(len(proposal_nums), len(iou_thrs))``. All NaN without any true
        box.

    Raises:
        ValueError: If ``gt_boxes`` and ``proposals`` differ in length.
    """
    if len(gt_boxes) != len(proposals):
        raise ValueError(
            'gt_boxes and proposals must have one entry per image, but have '
            f'{len(gt_boxes)} and {len(proposals)}'
        )
    overlaps = []
    for boxes, candidates in zip(gt_boxes, proposals):
        if candidates.shape[1] == 5:
            candidates = candidates[np.argsort(candidates[:, 4])[::-1]]
        best = candidates[: proposal_nums[-1], :4]
        overlaps.append(pairwise_iou(boxes, best, use_legacy_coordinate))

    total = sum(len(iou) for iou in overlaps)
    recalls = np.zeros((len(proposal_nums), len(iou_thrs)))
    for row, num in enumerate(proposal_nums):
        matched = [greedy_match(iou[:, :num]) for iou in overlaps]
        ious = np.concatenate([np.zeros(0, dtype=np.float32), *matched])
        for column, threshold in enumerate(np.asarray(iou_thrs, dtype=np.float64)):
            with np.errstate(invalid='ignore'):
                recalls[row, column] = (ious >= threshold).sum() / np.float64(total)
    return recalls


def greedy_match(iou: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the IoU of each match, in the order in which the matches are made.

    Args:
        iou: IoU of n boxes with k proposals, shape ``(n, k)``.

    Returns:
        Array of shape ``(n,)``: -1 for a box without a proposal, or 0 if the image has no
        proposals at all.
    """
    boxes, proposals = iou.shape
    matched = np.zeros(boxes, dtype=np.float32)
    if proposals == 0:
        return matched
    left = iou.copy()
    for position in range(boxes):
        box, proposal = divmod(int(left.argmax()), proposals)
        matched[position] = left[box, proposal]
        left[box, :] = -1
        left[:, proposal] = -1
    return matched


def pairwise_iou(
    boxes: NDArray[Any], others: NDArray[Any], use_legacy_coordinate: bool = False
) -> NDArray[np.float32]:
    """Return the intersection over union of every pair, in float32 as in MMDetection.

    Args:
        boxes: Shape ``(n, 4)``, xyxy in pixels.
        others: Shape ``(k, 4)``, xyxy in pixels.
        use_legacy_coordinate: Whether widths are ``x2 - x1 + 1``. Defaults to False.

    Returns:
        Array of shape ``(n, k)``.
    """
    extra = np.float32(1 if use_legacy_coordinate else 0)
    a = boxes.astype(np.float32)[:, None, :]
    b = others.astype(np.float32)[None, :, :]
    size_a = a[..., 2:] - a[..., :2] + extra
    size_b = b[..., 2:] - b[..., :2] + extra
    corner = np.minimum(a[..., 2:], b[..., 2:])
    shared = np.maximum(corner - np.maximum(a[..., :2], b[..., :2]) + extra, 0)
    overlap = shared[..., 0] * shared[..., 1]
    union = size_a[..., 0] * size_a[..., 1] + size_b[..., 0] * size_b[..., 1] - overlap
    # Avoids a division by zero for boxes without extent.
    return overlap / np.maximum(union, np.float32(1e-6))
