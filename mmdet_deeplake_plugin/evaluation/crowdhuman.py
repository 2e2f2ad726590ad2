"""Compute CrowdHuman's metrics: average precision, miss rate and Jaccard index."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from .backends.mmdet import CrowdHumanScores
from .ground_truth import GroundTruth, Prediction

METRICS = ('AP', 'MR', 'JI')
MISS_RATES = ('CALTECH_-2', 'CALTECH_-4')


def evaluate_crowdhuman(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    metrics: Sequence[str] = METRICS,
    *,
    iou_thrs: float | None = None,
    mr_ref: str = 'CALTECH_-2',
    format_only: bool = False,
    outfile_prefix: str | os.PathLike[str] | None = None,
    logger: logging.Logger | str | None = None,
) -> dict[str, float]:
    """Score predictions as ``CrowdHumanMetric`` does for the full boxes of persons.

    Labels do not count: every prediction is one of a person. Crowds are what the metric
    ignores; instances of other classes than ``classes`` are left out.

    Args:
        gt: The annotations.
        predictions: One per image, in the order of ``gt.img_ids``.
        classes: Class names: label i of a prediction means ``classes[i]``.
        metrics: Some of ``AP``, ``MR`` and ``JI``. Defaults to all.
        iou_thrs: IoU from which boxes match. Defaults to 0.5.
        mr_ref: False positives per image between which the miss rate is averaged, from
            10^-2 or 10^-4 to 1. Defaults to ``CALTECH_-2``.
        format_only: Whether to write the results only. Defaults to False.
        outfile_prefix: Path of the file of results, without ``.json``. Defaults to None:
            it is not kept.
        logger: See ``mmengine.logging.print_log``. Defaults to None: the current logger.

    Returns:
        ``mAP``, ``mMR`` (the lower the better) and ``JI``, rounded to 4 digits; empty
        with ``format_only``.

    Raises:
        ValueError: If no person counts, or if predictions do not fit the annotations.
    """
    gt.check_predictions(predictions, classes)
    chosen = np.isin(gt.labels, gt.labels_of_classes(classes))
    if not format_only and not (chosen & ~gt.crowd).any():
        raise ValueError(
            "metrics_format='CrowdHuman' needs a person that is not ignored, but the "
            f'{len(gt)} images have none; evaluate other rows'
        )
    boxes = np.hstack([gt.boxes_xyxy, np.where(gt.crowd, -1.0, 1.0)[:, None]])
    annotations: dict[Any, NDArray[np.float64]] = {}
    results = []
    for index, (img_id, prediction) in enumerate(zip(gt.img_ids, predictions)):
        part = gt.instances(index)
        annotations[img_id] = boxes[part][chosen[part]]
        image = {
            'ID': img_id,
            'width': int(gt.widths[index]),
            'height': int(gt.heights[index]),
        }
        scores = np.asarray(prediction.scores).reshape(-1, 1)
        results.append((image, np.hstack([prediction.bboxes, scores])))
    scorer = CrowdHumanScores(
        annotations,
        metric=list(metrics),
        iou_thres=0.5 if iou_thrs is None else float(iou_thrs),
        mr_ref=mr_ref,
        format_only=format_only,
        outfile_prefix=None if outfile_prefix is None else os.fspath(outfile_prefix),
    )
    numbers = dict(scorer.compute_metrics(results))
    print_log(f'CrowdHuman: {numbers}', logger='current' if logger is None else logger)
    return numbers
