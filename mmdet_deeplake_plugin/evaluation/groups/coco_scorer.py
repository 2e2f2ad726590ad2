"""Score the instances of one class, or proposals, by COCO's evaluation."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from ..backends.coco import backend_classes, load_unfiltered, quiet
from .matches import Matches
from .scorer import Scorer


@dataclass(eq=False)
class CocoScorer(Scorer):
    """COCO's evaluation of a metric.

    Args:
        kind: What overlaps: ``'bbox'`` or ``'segm'``.
        by_class: Whether classes matter; if not, the instances of all are scored at once.
        thresholds: IoU thresholds, shape ``(T,)``.
        max_dets: Numbers of detections of an image that are scored, shape ``(M,)``.
        backend: Implementation, see :func:`.backend_classes`.
        category_ids: Ids of the categories, in the order that decides between equal
            scores of different classes in proposals.
    """

    kind: str
    by_class: bool
    thresholds: NDArray[np.float64]
    max_dets: Sequence[int]
    backend: str
    category_ids: tuple[int, ...]

    most_of_image = None
    area_of_masks = True
    is_federated = False

    def __post_init__(self) -> None:
        """Take the rest from the parameters of pycocotools."""
        self.max_dets = sorted(self.max_dets)
        usual = backend_classes('pycocotools')[1](iouType=self.kind).params
        self.recalls = usual.recThrs
        self.areas = np.asarray(usual.areaRng, dtype=np.float64)

    def match(self, truth: dict[str, Any], detections: list[dict[str, Any]]) -> Matches:
        """Match instances by the backend."""
        evaluation = self._evaluation(truth, detections)
        with quiet():
            matches: Matches = evaluation.match()
        del evaluation.params.__deepcopy__  # a cycle, which nobody collects meanwhile
        return matches

    def summarize(
        self,
        precision: NDArray[np.float64],
        recall: NDArray[np.float64],
        logger: logging.Logger | str,
    ) -> Any:
        """Return a finished ``COCOeval`` of pycocotools."""
        evaluation = backend_classes('pycocotools')[1](iouType=self.kind)
        self._set(evaluation.params)
        ids = sorted(set(self.category_ids))
        evaluation.params.catIds = ids if self.by_class else [-1]
        evaluation.eval = {'precision': precision, 'recall': recall}
        with quiet() as table:
            evaluation.summarize()
        print_log('\n' + table.getvalue().rstrip('\n'), logger=logger)
        return evaluation

    def _evaluation(self, truth: dict[str, Any], detections: list[dict[str, Any]]) -> Any:
        coco_class, eval_class = backend_classes(self.backend)
        coco_gt = load_unfiltered(coco_class, truth)
        found = load_unfiltered(coco_class, {**truth, 'annotations': detections})
        evaluation = eval_class(coco_gt, found, self.kind)
        self._set(evaluation.params)
        evaluation.params.imgIds = [image['id'] for image in truth['images']]
        present = {category['id'] for category in truth['categories']}
        evaluation.params.catIds = [each for each in self.category_ids if each in present]
        return evaluation

    def _set(self, parameters: Any) -> None:
        parameters.maxDets = self.max_dets
        parameters.iouThrs = self.thresholds
        parameters.useCats = int(self.by_class)
        # Packages keep a deep copy, of each id of an image too, and do not change it.
        parameters.__deepcopy__ = lambda _: copy.copy(parameters)
