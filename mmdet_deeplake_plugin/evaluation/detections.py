"""Turn predictions into what COCO's result files hold, and check and write them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.fileio import dump
from mmengine.logging import print_log
from numpy.typing import NDArray

from .backends.coco import box_sizes
from .ground_truth import GroundTruth, Prediction


def prepare_detections(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    metrics: Sequence[str],
    format_only: bool,
    outfile_prefix: str | None,
    log: logging.Logger | str,
) -> dict[str, list[dict[str, Any]]]:
    """Check predictions, return them in COCO's form, and write them if asked to.

    Args:
        gt: The annotations.
        predictions: One per image, in the order of ``gt.img_ids``.
        classes: Class names: label i of a prediction means ``classes[i]``.
        metrics: Metrics to compute; with ``segm``, both sides need masks.
        format_only: Whether predictions are only written: stored masks are not needed.
        outfile_prefix: Path prefix of COCO's result files, ``<outfile_prefix>.bbox.json``
            and, if there are masks, ``<outfile_prefix>.segm.json``. None to write none.
        log: Logger for the paths of the files.

    Returns:
        For ``'bbox'`` and ``'segm'``, as far as they are written or ``metrics`` compare
        them, one dict per box, in the order of the images, with ``image_id``, ``bbox``
        (left, top, width, height in pixels), ``score`` and ``category_id``. Those of
        ``'segm'`` also have ``segmentation``, and the scores of the masks.

    Raises:
        ValueError: If a class is not in the ground truth, if a label has no class, or if
            ``segm`` lacks masks.
    """
    gt.check_predictions(predictions, classes)
    stored_labels = gt.labels_of_classes(classes)
    if 'segm' in metrics:
        _check_predicted_masks(gt, predictions)
    if outfile_prefix is None:
        kinds = {'bbox' if metric == 'proposal' else metric for metric in metrics}
    else:
        has_masks = any(prediction.masks is not None for prediction in predictions)
        kinds = {'bbox', 'segm'} if has_masks else {'bbox'}
    category_of_label = [gt.category_ids[label] for label in stored_labels]
    detections: dict[str, list[dict[str, Any]]] = {
        kind: _of_kind(gt, predictions, category_of_label, kind == 'segm')
        for kind in ('bbox', 'segm')
        if kind in kinds
    }
    if outfile_prefix is not None:
        for kind, content in detections.items():
            path = f'{outfile_prefix}.{kind}.json'
            dump(content, path)
            print_log(f'Predictions are written to {path}', logger=log)
    if 'segm' in metrics and not format_only:
        _check_stored_masks(gt, stored_labels)
    return detections


def _check_predicted_masks(gt: GroundTruth, predictions: Sequence[Prediction]) -> None:
    for img_id, prediction in zip(gt.img_ids, predictions):
        if prediction.masks is None and len(prediction.labels):
            raise ValueError(
                "metric 'segm' compares masks, but the model predicts none (image "
                f"{img_id!r}); write metric='bbox', or use a model with a mask head"
            )


def _check_stored_masks(gt: GroundTruth, stored_labels: NDArray[np.int64]) -> None:
    scored = np.isin(gt.labels, stored_labels)
    for index, img_id in enumerate(gt.img_ids):
        rows = gt.instances(index)
        for number in np.flatnonzero(scored[rows]).tolist():
            mask = gt.segmentations and gt.segmentations[rows.start + number]
            if isinstance(mask, list) and mask and len(mask[0]) <= 4:
                # pycocotools would take it for a box and fail.
                raise ValueError(
                    f"metric 'segm' compares masks, but instance {number} of image "
                    f'{img_id!r} ({gt.file_names[index]!r}) is stored with a polygon of '
                    f'{len(mask[0])} numbers, {mask[0]}: a polygon needs at least 3 '
                    "points, [x, y, x, y, x, y]; correct it, or write metric='bbox'"
                )
            if not mask:
                raise ValueError(
                    f"metric 'segm' compares masks, but instance {number} of image "
                    f"{img_id!r} is stored without one; write metric='bbox', or store "
                    'its mask'
                )


def _of_kind(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    category_of_label: Sequence[int],
    with_masks: bool,
) -> list[dict[str, Any]]:
    detections = []
    for img_id, predicted in zip(gt.img_ids, predictions):
        boxes = box_sizes(predicted.bboxes)
        scores = predicted.scores
        if with_masks and predicted.mask_scores is not None:
            scores = predicted.mask_scores
        scores = np.asarray(scores, dtype=np.float64)
        of_image: list[dict[str, Any]] = [
            {
                'image_id': img_id,
                'bbox': box,
                'score': score,
                'category_id': category_of_label[label],
            }
            for box, score, label in zip(
                boxes.tolist(), scores.tolist(), predicted.labels.tolist()
            )
        ]
        if with_masks:
            for detection, mask in zip(of_image, predicted.masks or ()):
                detection['segmentation'] = mask
        detections += of_image
    return detections
