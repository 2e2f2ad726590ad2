"""pycocotools, or a faster package, as three calls and without chatter.

The backend's classes decide the numbers; this file only feeds them, and
sends the summary that they print to the log.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Sequence
from typing import Any

from mmengine.logging import print_log

from .faster_api import faster_classes


def _pycocotools() -> tuple[type, type]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return COCO, COCOeval


# Imported when asked for: another implementation need not be installed.
_BACKENDS: dict[str, Callable[[], tuple[type, type]]] = {
    'pycocotools': _pycocotools,
    'faster_coco_eval': faster_classes,
}


def backend_classes(name: str) -> tuple[type, type]:
    """The classes ``COCO`` and ``COCOeval`` of a backend.

    Args:
        name: Name of the backend: ``pycocotools`` or ``faster_coco_eval``.

    Raises:
        KeyError: If there is no such backend.
        ImportError: If its package is not installed.
    """
    if name not in _BACKENDS:
        known = ', '.join(repr(known) for known in _BACKENDS)
        raise KeyError(
            f'unknown backend {name!r} of the COCO evaluation: write one of {known}'
        )
    return _BACKENDS[name]()


def image_numbers(img_ids: Sequence[Any]) -> dict[Any, int]:
    """Numbers for images whose order is that of their ids, which decides ties.

    Args:
        img_ids: Unique image ids, all int or all str.
    """
    return {img_id: number for number, img_id in enumerate(sorted(img_ids), start=1)}


def load_annotations(coco_class: type, annotations: dict[str, Any]) -> Any:
    """Annotations as a ``COCO`` object.

    Args:
        coco_class: The backend's ``COCO``.
        annotations: Content of an annotation file.
    """
    coco = coco_class()
    coco.dataset = annotations
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def load_detections(coco_gt: Any, detections: list[dict[str, Any]]) -> Any:
    """Detections as a ``COCO`` object of the same class as the annotations'.

    Args:
        coco_gt: The annotations.
        detections: Content of a result file, may be empty. Those with masks lose
            their ``bbox``, and all gain keys.
    """
    if not detections:  # loadRes() looks at the first one
        return load_annotations(type(coco_gt), {**coco_gt.dataset, 'annotations': []})
    if 'segmentation' in detections[0]:
        for detection in detections:
            # Where there is a box, loadRes() takes its area for the mask's.
            detection.pop('bbox', None)
    with contextlib.redirect_stdout(io.StringIO()):
        return coco_gt.loadRes(detections)


def run(evaluation: Any, logger: logging.Logger | str) -> None:
    """Run a ``COCOeval`` to its end, and log the summary that it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    with contextlib.redirect_stdout(io.StringIO()) as table:
        evaluation.summarize()
    print_log('\n' + table.getvalue().rstrip('\n'), logger=logger)
