"""Compute the recall of occluded and of separated masks, beside the numbers of COCO."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from mmengine.fileio import load

from ..backends.coco import quiet
from ..backends.mmdet import stock_metric
from ..coco import evaluate_coco
from ..ground_truth import GroundTruth, Prediction

METRICS = ('bbox', 'segm')


def evaluate_occluded(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    metrics: str | Sequence[str] = METRICS,
    *,
    occluded_ann: str | os.PathLike[str],
    separated_ann: str | os.PathLike[str],
    score_thr: float = 0.3,
    mask_iou_thr: float = 0.75,
    **options: Any,
) -> dict[str, float]:
    """Score predictions as ``CocoOccludedSeparatedMetric`` does.

    Args:
        gt: As for :func:`.evaluate_coco`, and likewise the others.
        predictions: One per image, with masks.
        classes: Class names.
        metrics: Some of ``bbox`` and ``segm``.
        occluded_ann: File of the occluded masks: a list of file name, class, id, box and
            run-length code.
        separated_ann: The same of masks in several parts.
        score_thr: Least score of the predictions that count. Defaults to 0.3.
        mask_iou_thr: IoU from which a mask is found. Defaults to 0.75.
        options: Those of :func:`.evaluate_coco`.

    Returns:
        The numbers of :func:`.evaluate_coco`, ``occluded_recall`` and
        ``separated_recall`` in percent; empty with ``format_only``.

    Raises:
        ValueError: If the files name an image that was not predicted, or the model
            predicts no masks; and as :func:`.evaluate_coco` raises it.
    """
    numbers = evaluate_coco(gt, predictions, classes, metrics, **options)
    if options.get('format_only'):
        return {}
    if any(each.masks is None and len(each.labels) for each in predictions):
        raise ValueError(
            "metrics_format='CocoOccludedSeparated' compares masks, but the model "
            "predicts none; write metrics_format='COCO'"
        )
    subsets = [load(os.fspath(path)) for path in (occluded_ann, separated_ann)]
    there = set(gt.file_names)
    for path, subset in zip((occluded_ann, separated_ann), subsets):
        absent = sorted({item[0] for item in subset} - there)
        if absent:
            raise ValueError(
                f'{path} names {len(absent)} images that were not predicted, the first '
                f'is {absent[0]!r}; evaluate all images of COCO val2017 under their '
                'file names'
            )
    images = {i: {'file_name': name} for i, name in enumerate(gt.file_names)}
    metric = stock_metric(
        'CocoOccludedSeparatedMetric',
        _coco_api=SimpleNamespace(imgs=images),
        _dataset_meta={'classes': classes},
        occluded_ann=subsets[0],
        separated_ann=subsets[1],
        score_thr=score_thr,
        iou_thr=mask_iou_thr,
    )
    results = [
        (None, {**vars(each), 'img_id': i, 'masks': each.masks or ()})
        for i, each in enumerate(predictions)
    ]
    with quiet():  # bars of progress
        return {**numbers, **metric.evaluate_occluded_separated(results)}
