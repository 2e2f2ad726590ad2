"""Predictions as COCO's result files hold them, and what they must have for masks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.fileio import dump
from mmengine.logging import print_log
from numpy.typing import NDArray

from .ground_truth import GroundTruth, Prediction


def detections_by_kind(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    category_of_label: Sequence[int],
    metrics: Sequence[str] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Predictions as the content of COCO's result files.

    Args:
        gt: The annotations: gives the image ids.
        predictions: One per image, in the order of ``gt.img_ids``.
        category_of_label: Category id of each label.
        metrics: Leaves out the kind that none of these compares. Defaults to None:
            ``'bbox'`` and, if there are masks, ``'segm'``.

    Returns:
        ``'bbox'``, ``'segm'`` or both -> one dict per box with
        ``image_id``, ``bbox`` (left, top, width, height in pixels), ``score``,
        ``category_id``, in the order of the images. Those of ``'segm'`` have
        ``segmentation`` too, and the scores of the masks.
    """
    kinds = ['bbox', 'segm']
    if metrics is not None:
        compared = {'bbox' if metric == 'proposal' else metric for metric in metrics}
        kinds = [kind for kind in kinds if kind in compared]
    elif all(found.masks is None for found in predictions):
        kinds = ['bbox']
    return {
        kind: _of_kind(gt, predictions, category_of_label, kind == 'segm')
        for kind in kinds
    }


def write_detections(
    detections: Mapping[str, Any], outfile_prefix: str, log: logging.Logger | str
) -> None:
    """Writes COCO's result files, ``<outfile_prefix>.bbox.json`` and so on.

    Args:
        detections: What :func:`detections_by_kind` returned.
        outfile_prefix: Path without its end.
        log: Where it is told.
    """
    for kind, content in detections.items():
        path = f'{outfile_prefix}.{kind}.json'
        dump(content, path)
        print_log(f'Predictions are written to {path}', logger=log)


def check_predicted_masks(gt: GroundTruth, predictions: Sequence[Prediction]) -> None:
    """Refuses predictions without masks.

    Args:
        gt: The annotations, which name the images.
        predictions: One per image.

    Raises:
        ValueError: If one has boxes, but no masks.
    """
    for img_id, found in zip(gt.img_ids, predictions):
        if found.masks is None and len(found.labels):
            raise ValueError(
                f"metric 'segm' compares masks, but the model predicts none (image "
                f"{img_id!r}); write metric='bbox', or use a model with a mask head"
            )


def check_stored_masks(gt: GroundTruth, stored_labels: NDArray[np.int64]) -> None:
    """Refuses annotations without masks.

    Args:
        gt: The annotations.
        stored_labels: The labels that are scored.

    Raises:
        ValueError: If an instance with such a label has no mask.
    """
    scored = np.isin(gt.labels, stored_labels)
    for index, img_id in enumerate(gt.img_ids):
        rows = gt.instances(index)
        for number in np.flatnonzero(scored[rows]).tolist():
            if gt.segmentations is None or not gt.segmentations[rows.start + number]:
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
        # In double from the stored float32: the size is then the exact
        # difference of the corners, which float32 would round.
        corners = np.asarray(predicted.bboxes, dtype=np.float64).reshape(-1, 4)
        boxes = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
        scores = predicted.scores
        if with_masks and predicted.mask_scores is not None:
            scores = predicted.mask_scores
        scores = np.asarray(scores, dtype=np.float64)
        found: list[dict[str, Any]] = [
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
            for detection, mask in zip(found, predicted.masks or ()):
                detection['segmentation'] = mask
        detections += found
    return detections
