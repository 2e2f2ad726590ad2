"""Compute Pascal VOC's metrics, mAP or recall.

The numbers and keys are those of MMDetection's ``VOCMetric``. The difference:
``scale_ranges`` works (stock fails when it rounds the list of results).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from ..utils.messages import comma_joined
from .backends.mmdet import mean_average_precision, print_recall_summary
from .ground_truth import GroundTruth, Prediction
from .recall import proposal_recall

METRICS = ('mAP', 'recall')
EVAL_MODES = ('11points', 'area')


def evaluate_voc(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    metric: str = 'mAP',
    *,
    iou_thrs: float | Sequence[float] | None = None,
    scale_ranges: Sequence[tuple[float, float]] | None = None,
    proposal_nums: Sequence[int] = (100, 300, 1000),
    eval_mode: str = '11points',
    logger: logging.Logger | str | None = None,
) -> dict[str, float]:
    """Score predictions as ``VOCMetric`` does.

    Boxes are compared as in VOC's own tool, including the pixel of the second corner.
    Crowds (VOC's difficult) count neither as found nor as missed; instances of other
    classes than ``classes`` are left out.

    As in stock, ``mAP`` forks worker processes if there are several images, so no read
    may be in flight.

    Args:
        gt: The annotations.
        predictions: One per image, in the order of ``gt.img_ids``.
        classes: Class names: label i of a prediction means ``classes[i]``.
        metric: ``mAP``, or ``recall`` of the proposals, which are the predictions of
            label 0, as in MMDetection. Defaults to ``mAP``.
        iou_thrs: IoU threshold or thresholds. Defaults to 0.5.
        scale_ranges: Ranges ``(min, max)`` of the square root of a box's area in pixels:
            ``mAP`` is then also reported for each range. Defaults to None.
        proposal_nums: Maximum numbers of proposals per image for ``recall``, in
            ascending order. Defaults to (100, 300, 1000).
        eval_mode: ``11points`` (VOC 2007) or ``area`` under the curve (VOC 2012).
            Defaults to ``11points``.
        logger: Logger for the tables, see ``mmengine.logging.print_log``. Defaults to
            None: the current logger.

    Returns:
        Numbers by name. For ``mAP``: ``mAP`` (the mean over the thresholds,
        not rounded), ``AP50``, ... and for a range (0, 32) ``mAP_0_32``,
        ``AP50_0_32``, .... For ``recall``: ``recall@100@0.5``, ... and, if
        there are several thresholds, ``AR@100``, ....

    Raises:
        KeyError: If the metric is unknown.
        ValueError: If the mode is unknown, if ``iou_thrs`` is empty, if a class is not
            in the ground truth, or if a label has no class.
    """
    log = 'current' if logger is None else logger
    if metric not in METRICS:
        known = comma_joined(map(repr, METRICS))
        raise KeyError(f'unknown metric {metric!r}: write one of {known}')
    if eval_mode not in EVAL_MODES:
        known = comma_joined(map(repr, EVAL_MODES))
        raise ValueError(f'unknown eval_mode {eval_mode!r}: write one of {known}')
    iou_thrs = 0.5 if iou_thrs is None else iou_thrs
    thresholds = np.atleast_1d(np.asarray(iou_thrs, dtype=np.float64)).tolist()
    if not thresholds:
        raise ValueError(
            'iou_thrs must have at least one threshold, such as 0.5, got none'
        )
    gt.check_predictions(predictions, classes)
    annotations = _annotations(gt, classes)
    detections = [_by_class(prediction, len(classes)) for prediction in predictions]
    if metric == 'recall':
        boxes = [annotation['bboxes'] for annotation in annotations]
        proposals = [by_class[0] for by_class in detections]
        return _recall(boxes, proposals, list(proposal_nums), thresholds, log)

    def average_precisions(
        threshold: float, ranges: Sequence[tuple[float, float]] | None
    ) -> Any:
        print_log(f'\n{"-" * 15}iou_thr: {threshold}{"-" * 15}', logger=log)
        return mean_average_precision(
            detections,
            annotations,
            scale_ranges=ranges,
            iou_thr=threshold,
            dataset=tuple(classes),
            logger=log,
            eval_mode=eval_mode,
            use_legacy_coordinate=True,
        )

    results = mean_over(thresholds, [average_precisions(thr, None) for thr in thresholds])
    if scale_ranges:
        by_threshold = [average_precisions(thr, scale_ranges) for thr in thresholds]
        for (low, high), values in zip(scale_ranges, zip(*by_threshold)):
            means = [float(value) for value in values]
            results.update(mean_over(thresholds, means, f'_{low}_{high}'))
    return results


def _annotations(
    gt: GroundTruth, classes: Sequence[str]
) -> list[dict[str, NDArray[Any]]]:
    label_of = np.full(len(gt.category_names), -1, dtype=np.int64)
    label_of[gt.labels_of_classes(classes)] = np.arange(len(classes))
    labels = label_of[gt.labels]
    boxes = gt.boxes_xyxy.astype(np.float32)
    annotations: list[dict[str, NDArray[Any]]] = []
    for index in range(len(gt)):
        rows = np.arange(*gt.offsets[index : index + 2])
        rows = rows[labels[rows] >= 0]
        counted, ignored = rows[~gt.crowd[rows]], rows[gt.crowd[rows]]
        annotations.append(
            {
                'bboxes': boxes[counted],
                'labels': labels[counted],
                'bboxes_ignore': boxes[ignored],
                'labels_ignore': labels[ignored],
            }
        )
    return annotations


def _by_class(prediction: Prediction, count: int) -> list[NDArray[Any]]:
    scores = np.asarray(prediction.scores).reshape(-1, 1)
    scored = np.hstack([np.asarray(prediction.bboxes).reshape(-1, 4), scores])
    labels = np.asarray(prediction.labels)
    return [scored[labels == label] for label in range(count)]


def mean_over(
    thresholds: list[float], values: list[float], suffix: str = ''
) -> dict[str, float]:
    """Return the mean of average precisions, and each by its threshold."""
    results = {f'mAP{suffix}': sum(values) / len(values)}
    for threshold, value in zip(thresholds, values):
        # Truncated, not rounded, like the names in MMDetection.
        results[f'AP{int(threshold * 100):02d}{suffix}'] = round(value, 3)
    return results


def _recall(
    boxes: list[NDArray[Any]],
    proposals: list[NDArray[Any]],
    proposal_nums: list[int],
    thresholds: list[float],
    log: logging.Logger | str,
) -> dict[str, float]:
    recalls = proposal_recall(
        boxes, proposals, proposal_nums, thresholds, use_legacy_coordinate=True
    )
    print_recall_summary(recalls, proposal_nums, thresholds, logger=log)
    results = {
        f'recall@{num}@{threshold}': float(recalls[row, column])
        for row, num in enumerate(proposal_nums)
        for column, threshold in enumerate(thresholds)
    }
    if len(thresholds) > 1:
        for num, average in zip(proposal_nums, recalls.mean(axis=1).tolist()):
            results[f'AR@{num}'] = average
    return results
