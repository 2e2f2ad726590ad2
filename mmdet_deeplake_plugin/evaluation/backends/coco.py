"""Call pycocotools, or a faster package, without its output to the terminal.

The backend's classes decide the numbers; this file only feeds them.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ...utils.messages import comma_joined
from ..groups.matches import Matches, matches_of_images
from .faster_coco import faster_classes

# pycocotools 2.0.11 accepts at most 255.
_MASKS_AT_ONCE = 250

BACKENDS = ('pycocotools', 'faster_coco_eval')


def backend_classes(name: str) -> tuple[type, type]:
    """Return the classes ``COCO`` and ``COCOeval`` of one of :data:`BACKENDS`.

    Raises:
        KeyError: If the backend is unknown.
        ImportError: If its package is not installed.
    """
    if name == 'pycocotools':
        return COCO, PlainEval
    if name == 'faster_coco_eval':
        return faster_classes()
    raise KeyError(
        f'unknown backend {name!r} of the COCO evaluation: write one of '
        f'{comma_joined(map(repr, BACKENDS))}'
    )


def load_annotations(coco_class: type, annotations: dict[str, Any]) -> Any:
    """Return the content of an annotation file as an object of a backend's ``COCO``."""
    coco = coco_class()
    coco.dataset = annotations
    with quiet():
        coco.createIndex()
    return coco


def load_unfiltered(coco_class: type, annotations: dict[str, Any]) -> Any:
    """Do as :func:`load_annotations` where all annotations are always asked for.

    To find those of given images and categories takes longer than to match them.
    """
    return load_annotations(_unfiltered(coco_class), annotations)


@cache
def _unfiltered(coco_class: Any) -> type:
    class Unfiltered(coco_class):
        def getAnnIds(self, *_: Any, **__: Any) -> list[int]:  # noqa: N802
            return list(self.anns)

    return Unfiltered


def mask_areas(masks: Sequence[Any]) -> NDArray[np.float64]:
    """Return the areas of run-length codes in square pixels, shape ``(n,)``."""
    parts = [
        coco_mask.area(masks[start : start + _MASKS_AT_ONCE])
        for start in range(0, len(masks), _MASKS_AT_ONCE)
    ]
    return np.concatenate([np.zeros(0), *parts])


def box_sizes(corners: ArrayLike) -> NDArray[np.float64]:
    """Return predicted boxes as left, top, width and height, shape ``(n, 4)``.

    In double precision, the size is the exact difference of the corners (left, top, right
    and bottom in pixels), which float32 would round.
    """
    boxes = np.array(corners, dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes


def overlaps(detections: Any, annotations: Any, crowd: ArrayLike) -> NDArray[np.float64]:
    """Return the IoU of detections with annotations, shape ``(n, m)``.

    With a crowd it is the share of the detection that lies in the crowd.

    Args:
        detections: Boxes ``(n, 4)`` (left, top, width, height), or n run-length codes.
        annotations: Boxes ``(m, 4)``, or m run-length codes.
        crowd: Whether an annotation is a crowd, shape ``(m,)``.
    """
    shape = len(detections), len(annotations)
    if 0 in shape:
        return np.zeros(shape)
    flags = np.asarray(crowd, dtype=np.uint8).tolist()
    return np.asarray(coco_mask.iou(detections, annotations, flags), dtype=np.float64)


def quiet() -> contextlib.AbstractContextManager[io.StringIO]:
    """Drop what packages print, or keep it for the log."""
    return contextlib.redirect_stdout(io.StringIO())


class PlainEval(COCOeval):
    """pycocotools' evaluation."""

    def match(self) -> Matches:
        """Match detections and annotations of one class, or of all without classes."""
        self.evaluate()
        keys = 'dtMatches', 'dtIgnore', 'gtIgnore'
        num_images, num_thresholds = len(self.params.imgIds), len(self.params.iouThrs)
        return matches_of_images(self.evalImgs, num_images, keys, num_thresholds)
