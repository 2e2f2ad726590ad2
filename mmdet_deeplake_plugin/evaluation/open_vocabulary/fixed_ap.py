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
    gt.check_predictions(predictions, classes)
    stored = gt.labels_of_classes(classes)
    most = TOPK if topk is None else topk
    detections = _best(gt, predictions, len(classes), most)
    for detection in detections:
        detection['category_id'] = gt.category_ids[stored[detection['category_id']]]
    names = gt.categories_of_classes(classes)
    results = score_all(gt.to_coco(), detections, list(names))
    print_log(f'LVISFixedAP: the best {most} detections of each class', logger='current')
    return {key: value for key, value in results.items() if key.startswith('AP')}


def _best(
    gt: GroundTruth, predictions: Sequence[Prediction], num_classes: int, most: int
) -> list[dict[str, Any]]:
    """Return the best detections of each label; of equal ones those of earlier images."""
    counts = [len(prediction.labels) for prediction in predictions]
    images = np.repeat(np.arange(len(predictions)), counts)
    labels = np.concatenate([each.labels for each in predictions]).astype(np.int64)
    scores = np.concatenate([each.scores for each in predictions])
    # The size is rounded as the model's numbers are, unlike that of CocoMetric.
    corners = [np.asarray(each.bboxes).reshape(-1, 4) for each in predictions]
    boxes = np.concatenate(
        [np.hstack([box[:, :2], box[:, 2:] - box[:, :2]]) for box in corners]
    )
    by_score = np.argsort(-scores, kind='stable')
    chosen = [by_score[labels[by_score] == label][:most] for label in range(num_classes)]
    kept = np.concatenate([np.zeros(0, np.int64), *chosen])
    return [
        {'image_id': gt.img_ids[image], 'category_id': label, 'bbox': box, 'score': score}
        for image, label, box, score in zip(
            images[kept].tolist(),
            labels[kept].tolist(),
            boxes[kept].tolist(),
            scores[kept].tolist(),
        )
    ]
