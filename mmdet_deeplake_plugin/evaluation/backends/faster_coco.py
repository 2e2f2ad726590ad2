"""Give ``faster-coco-eval`` the digits of pycocotools.

It matches as pycocotools does, in C++, but differs in three points, which are corrected
here and in ``coco.py``:

- its summary reports the precision at the largest number of detections, pycocotools' at
  100: pycocotools' own summary is used;
- ids must be integers that a double can hold: images and categories are numbered, in the
  order in which pycocotools would sort their ids, and annotations from 1;
- it divides by ``tp + fp``, pycocotools by ``tp + fp`` plus a rounding unit, which makes
  a difference where only the best detection of a class is correct: pycocotools then
  returns 0.9999999999999998.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

from ..groups.matches import Matches, matches_of_images

INSTALL = "pip install 'mmdet_deeplake_plugin[faster]', or pip install faster-coco-eval"
_ONE_OF_ONE = 1 / (1 + np.spacing(1))


@cache
def faster_classes() -> tuple[type, type]:
    """Return ``COCO`` and ``COCOeval`` of the package.

    Raises:
        ImportError: If it is not installed; the message says how to install it.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise ImportError(
            "backend='faster_coco_eval' needs the package faster-coco-eval, which is "
            f"not installed: {INSTALL}; or write backend='pycocotools'"
        ) from error

    class FasterEval(COCOeval_faster):
        """Evaluates in C++, and summarizes as pycocotools does."""

        summarize = COCOeval.summarize

        def accumulate(self) -> None:
            """Accumulate precision and recall."""
            super().accumulate()
            self.eval['precision'] = as_pycocotools(
                self.eval['precision'], _count_annotations(self), self.params.recThrs
            )

        def match(self) -> Matches:
            """Match detections and annotations of one class, or of all."""
            self.separate_eval = True
            self.evaluate()
            return _matches(self._evalImgs_cpp, self.params)

    return COCO, FasterEval


def as_pycocotools(
    precision: NDArray[np.float64],
    num_gt: NDArray[np.int64],
    recalls: Sequence[float] | NDArray[np.float64],
) -> NDArray[np.float64]:
    """Apply the rounding unit that pycocotools adds to the divisor of a precision.

    It only changes a quotient of 1/1, so the first point of a curve whose second
    detection is wrong. If a class has more than 100 annotations, the recall thresholds
    cannot separate the first detection from the second, and the value stays.

    Args:
        precision: Shape ``(thresholds, recalls, categories, areas, detections)``.
        num_gt: Number of annotations that count, shape ``(categories, areas)``.
        recalls: Recall thresholds, ascending.

    Returns:
        The precision, of the same shape.
    """
    total = np.maximum(num_gt, 1)
    first = np.searchsorted(recalls, 1 / total, side='right')
    second = np.searchsorted(recalls, 2 / total, side='right')
    is_separate = (first < second) | (total == 1)
    is_one = precision == 1
    alone = is_one.sum(axis=1) == np.where(is_separate, first, -1)[None, :, :, None]
    return np.where(is_one & alone[:, None], _ONE_OF_ONE, precision)


def _matches(evaluations: Sequence[Any], params: Any) -> Matches:
    """Unpack what the package matched.

    Args:
        evaluations: One for each range of areas and image. Only their pickles can be
            read: matches, those of annotations, scores, which annotations do not count,
            which detections do not count.
        params: Parameters of the evaluation.
    """
    states = [each.__getstate__() for each in evaluations]
    count, num_images = len(params.iouThrs), len(params.imgIds)
    ranges = [
        states[start : start + num_images] for start in range(0, len(states), num_images)
    ]

    def tables(position: int) -> list[list[NDArray[np.bool_]]]:
        return [
            [np.array(state[position], dtype=bool).reshape(count, -1) for state in images]
            for images in ranges
        ]

    return matches_of_images(
        tables(0),
        tables(4),
        [[state[3] for state in images] for images in ranges],
        count,
    )


def _count_annotations(evaluation: Any) -> NDArray[np.int64]:
    """Count the annotations by category and range of areas."""
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
