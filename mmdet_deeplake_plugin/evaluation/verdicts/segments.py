"""Judge the panoptic segments of one image, as panoptic quality matches them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..ground_truth import GroundTruth
from ..panoptic import PanopticPrediction, match_segments
from .judge import IGNORED, RIGHT, WRONG, Judgement, Rules, conclude

_MATCHING = float(np.nextafter(0.5, 1))  # an IoU of more than a half


def judge_segments(
    gt: GroundTruth,
    index: int,
    prediction: PanopticPrediction,
    label_of: NDArray[np.int64],
    background_thr: float,
) -> Judgement:
    """Judge the predicted segments of one image.

    A segment is right if it shares more than half of the union with a true one of its
    class, without what is void in the truth. Of the others those are ignored that lie
    for more than a half where the truth is void or has a crowd of their class. All count
    with a score of 1, which panoptic maps do not have.

    Args:
        gt: The annotations, with ``segment_ids``.
        index: Number of the image in ``gt``.
        prediction: The predicted segments.
        label_of: Label in ``gt`` of each predicted label. Annotations of other labels do
            not count.
        background_thr: IoU up to which a wrong segment is on the background.

    Raises:
        ValueError: If the map of the truth holds a segment that is not listed.
    """
    part = gt.instances(index)
    annotation_labels, labels = gt.labels[part], label_of[prediction.labels]
    matches = match_segments(gt, index, prediction, label_of)
    verdicts = np.select(
        [matches.annotation_of >= 0, matches.excused], [RIGHT, IGNORED], WRONG
    ).astype(np.uint8)
    return conclude(
        verdicts,
        matches.annotation_of,
        matches.ious,
        labels[:, None] == annotation_labels[None],
        np.ones(len(labels)),
        verdicts != IGNORED,
        gt.crowd[part] | ~np.isin(annotation_labels, label_of),
        Rules(iou_thr=_MATCHING, background_thr=background_thr),
    )
