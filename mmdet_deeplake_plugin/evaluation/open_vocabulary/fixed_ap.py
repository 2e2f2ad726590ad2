"""Compute LVIS's "fixed AP": the best detections of each class, as many as for any other.

The numbers are those of MMDetection's ``LVISFixedAPMetric``. The differences: a label
means its class by name, only the dataset's classes count, and a model without any
detections is scored like any other: zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ..backends.lvis import score_all
from ..detections import prepare_predictions
from ..ground_truth import GroundTruth, Prediction

METRICS = ('bbox',)
TOPK = 10_000


def evaluate_fixed_ap(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    metrics: str | Sequence[str] = METRICS,
    *,
    topk: int | None = None,
) -> dict[str, float]:
    """Score boxes as ``LVISFixedAPMetric`` does.

    Args:
        gt: The annotations, with ``federation``.
        predictions: One per image, in the order of ``gt.img_ids``.
        classes: Class names: label i of a prediction means ``classes[i]``.
        metrics: ``bbox``.
        topk: Number of detections of each class that count, the best of all images.
            Defaults to 10,000.

    Returns:
        ``AP``, ``AP50``, ``AP75``, ``APs``, ``APm``, ``APl``, ``APr``, ``APc`` and
        ``APf``, not rounded; -1 without ground truth.

    Raises:
        ValueError: If predictions do not fit the annotations, or ``federation`` is not
            set.
        ImportError: If the package ``lvis`` is not installed.
    """
    if gt.federation is None:
        raise ValueError('the ground truth must have federation, got None')
    packed = prepare_predictions(
        gt, predictions, classes, METRICS, False, None, 'current'
    )
    most = TOPK if topk is None else topk
    by_score = np.argsort(-packed.scores, kind='stable')  # of equal ones the earlier
    labels = packed.labels[by_score]
    best = [by_score[labels == label][:most] for label in range(len(classes))]
    rows = np.concatenate([np.zeros(0, np.int64), *best])
    # The size is rounded as the model's numbers are, unlike that of CocoMetric.
    corners = packed.bboxes[rows]
    boxes = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    category_ids = np.array(gt.category_ids)[gt.labels_of_classes(classes)]
    detections: list[dict[str, Any]] = [
        {
            'image_id': gt.img_ids[image],
            'category_id': number,
            'bbox': box,
            'score': score,
        }
        for image, number, box, score in zip(
            packed.images_of(rows).tolist(),
            category_ids[packed.labels[rows]].tolist(),
            boxes.tolist(),
            packed.scores[rows].tolist(),
        )
    ]
    names = gt.categories_of_classes(classes)
    results = score_all(gt.to_coco(), detections, list(names))
    print_log(f'LVISFixedAP: the best {most} detections of each class', logger='current')
    return {key: value for key, value in results.items() if key.startswith('AP')}
