"""The package ``faster-coco-eval`` with the digits of pycocotools.

It matches as pycocotools does, in C++, but differs in three places, which are set
right here and in ``coco.py``:

- its summary states the precision at the largest number of detections, where
  pycocotools has 100: pycocotools' own summary is used;
- image ids must be whole numbers that a double holds: images are numbered, in the
  order in which pycocotools would sort their ids;
- it divides by ``tp + fp``, pycocotools by ``tp + fp`` and a rounding unit more,
  which makes a difference where only the best detection of a class is right: there
  pycocotools says 0.9999999999999998.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

INSTALL = "pip install 'mmdet_deeplake_plugin[faster]', or pip install faster-coco-eval"
_ONE_OF_ONE = 1 / (1 + np.spacing(1))


@cache
def faster_classes() -> tuple[type, type]:
    """``COCO`` and ``COCOeval`` of the package.

    Raises:
        ImportError: If it is not installed; says how to.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise ImportError(
            "backend='faster_coco_eval' needs the package faster-coco-eval, which is "
            f"not installed: {INSTALL}; or write backend='pycocotools'"
        ) from error

    class FasterEval(COCOeval_faster):
        """Evaluates in C++, and sums up as pycocotools does."""

        summarize = COCOeval.summarize

        def accumulate(self) -> None:
            """Gathers precision and recall."""
            super().accumulate()
            found, wanted = self.eval['precision'], _counted(self)
            self.eval['precision'] = as_pycocotools(found, wanted, self.params.recThrs)

    return COCO, FasterEval


def as_pycocotools(
    precision: NDArray[np.float64],
    num_gt: NDArray[np.int64],
    recalls: Sequence[float] | NDArray[np.float64],
) -> NDArray[np.float64]:
    """Precision with the rounding unit that pycocotools adds to the divisor.

    It changes a quotient of 1/1 only, so the first point of a curve whose second
    detection is wrong. Where there are more than 100 annotations of a class, no recall
    threshold tells the first detection from the second, and the value stays.

    Args:
        precision: Shape ``(thresholds, recalls, categories, areas, detections)``.
        num_gt: Number of annotations that count, shape ``(categories, areas)``.
        recalls: Recall thresholds, rising.

    Returns:
        The precision, of the same shape.
    """
    wanted = np.maximum(num_gt, 1)
    first = np.searchsorted(recalls, 1 / wanted, side='right')
    second = np.searchsorted(recalls, 2 / wanted, side='right')
    is_told = (first < second) | (wanted == 1)
    is_one = precision == 1
    alone = is_one.sum(axis=1) == np.where(is_told, first, -1)[None, :, :, None]
    return np.where(is_one & alone[:, None], _ONE_OF_ONE, precision)


def _counted(evaluation: Any) -> NDArray[np.int64]:
    """Number of annotations by category and range of areas."""
    params = evaluation.params
    column = {
        cat_id: k if params.useCats else 0 for k, cat_id in enumerate(params.catIds)
    }
    images, ranges = set(params.imgIds), np.asarray(params.areaRng, dtype=np.float64)
    counts = np.zeros((len(column) if params.useCats else 1, len(ranges)), dtype=np.int64)
    for annotation in evaluation.cocoGt.anns.values():
        k = column.get(annotation['category_id'])
        if k is None or annotation['image_id'] not in images or annotation['iscrowd']:
            continue
        area = annotation['area']
        counts[k] += (ranges[:, 0] <= area) & (area <= ranges[:, 1])
    return counts
