"""pycocotools as three calls: without its chatter, with room for a faster one.

The backend's classes decide the numbers; this file only feeds them, and
sends the summary that they print to the log.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log

from .ground_truth import GroundTruth, Prediction


def _pycocotools() -> tuple[type, type]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return COCO, COCOeval


# Imported when asked for: another implementation need not be installed.
_BACKENDS: dict[str, Callable[[], tuple[type, type]]] = {'pycocotools': _pycocotools}


def backend_classes(name: str) -> tuple[type, type]:
    """The classes ``COCO`` and ``COCOeval`` of a backend.

    Args:
        name: Name of the backend: ``pycocotools``.

    Raises:
        KeyError: If there is no such backend.
    """
    if name not in _BACKENDS:
        known = ', '.join(repr(known) for known in _BACKENDS)
        raise KeyError(
            f'unknown backend {name!r} of the COCO evaluation: write one of {known}'
        )
    return _BACKENDS[name]()


def coco_detections(
    gt: GroundTruth, predictions: Sequence[Prediction], category_of_label: Sequence[int]
) -> list[dict[str, Any]]:
    """Predictions as the content of a COCO result file.

    Args:
        gt: The annotations: gives the image ids.
        predictions: One per image, in the order of ``gt.img_ids``.
        category_of_label: Category id of each label.

    Returns:
        One dict per box with ``image_id``, ``bbox`` (left, top, width, height
        in pixels), ``score`` and ``category_id``, in the order of the images.
    """
    detections = []
    for img_id, (bboxes, scores, labels) in zip(gt.img_ids, predictions):
        # In double from the stored float32: the size is then the exact
        # difference of the corners, which float32 would round.
        corners = np.asarray(bboxes, dtype=np.float64).reshape(-1, 4)
        boxes = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
        scores = np.asarray(scores, dtype=np.float64)
        for box, score, label in zip(boxes.tolist(), scores.tolist(), labels):
            detections.append(
                {
                    'image_id': img_id,
                    'bbox': box,
                    'score': score,
                    'category_id': category_of_label[int(label)],
                }
            )
    return detections


def load(
    coco_class: type, annotations: dict[str, Any], detections: list[dict[str, Any]]
) -> tuple[Any, Any]:
    """Annotations and detections as two ``COCO`` objects.

    Args:
        coco_class: The backend's ``COCO``.
        annotations: Content of an annotation file.
        detections: Content of a result file, may be empty. The dicts gain
            keys.
    """

    def indexed(content: dict[str, Any]) -> Any:
        coco = coco_class()
        coco.dataset = content
        coco.createIndex()
        return coco

    with contextlib.redirect_stdout(io.StringIO()):
        coco_gt = indexed(annotations)
        # loadRes() looks at the first detection, and fails without one.
        coco_dt = (
            coco_gt.loadRes(detections)
            if detections
            else indexed({**annotations, 'annotations': []})
        )
    return coco_gt, coco_dt


def run(evaluation: Any, logger: logging.Logger | str) -> None:
    """Run a ``COCOeval`` to its end, and log the summary that it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    with contextlib.redirect_stdout(io.StringIO()) as table:
        evaluation.summarize()
    print_log('\n' + table.getvalue().rstrip('\n'), logger=logger)
