"""Score the instances of one class, or proposals, by COCO's evaluation."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends.coco import backend_classes, load_unfiltered, quiet, summarize
from .curves import Curves, curves_of
from .matches import Matches
from .ranking import Ranking


@dataclass(frozen=True, eq=False)
class CocoScorer:
    """COCO's evaluation of a metric.

    Attributes:
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
    max_dets: tuple[int, ...]
    backend: str
    category_ids: tuple[int, ...]

    most_of_image = None
    area_of_masks = True
    is_federated = False

    @property
    def most(self) -> int:
        """Number of detections of an image that are matched."""
        return max(self.max_dets)

    @property
    def areas(self) -> NDArray[np.float64]:
        """Least and greatest area of each range in square pixels, shape ``(A, 2)``."""
        return np.asarray(self.parameters().areaRng, dtype=np.float64)

    def match(self, truth: dict[str, Any], detections: list[dict[str, Any]]) -> Matches:
        """Match instances.

        Args:
            truth: Content of an annotation file with those of one class, or of all.
            detections: Content of a result file with ``id``, ``area`` and ``iscrowd``.
        """
        evaluation = self._evaluation(truth, detections)
        with quiet():
            matches: Matches = evaluation.match()
        del evaluation.params.__deepcopy__  # a cycle, which nobody collects meanwhile
        return matches

    def curves(
        self, ranking: Ranking, matches: Matches, exempt: NDArray[np.bool_]
    ) -> Curves:
        """Compute precision and recall, see :func:`.curves_of`."""
        recalls, max_dets = self.parameters().recThrs, sorted(self.max_dets)
        return curves_of(
            ranking, matches, exempt, len(self.thresholds), recalls, max_dets
        )

    def parameters(self) -> Any:
        """Return the parameters of pycocotools."""
        parameters = backend_classes('pycocotools')[1](iouType=self.kind).params
        self._set(parameters)
        return parameters

    def shape(self, num_classes: int) -> tuple[int, ...]:
        """Return the shape of the precision of all classes, ``(T, R, K, A, M)``."""
        found = self.parameters()
        count = num_classes if self.by_class else 1
        areas, dets = len(found.areaRng), len(found.maxDets)
        return len(found.iouThrs), len(found.recThrs), count, areas, dets

    def summarize(
        self,
        precision: NDArray[np.float64],
        recall: NDArray[np.float64],
        logger: logging.Logger | str,
    ) -> Any:
        """Return a finished ``COCOeval``, and log the summary that it prints.

        Args:
            precision: Shape ``(T, R, K, A, M)``, classes in the order of their ids.
            recall: Shape ``(T, K, A, M)``.
            logger: Logger for the summary.
        """
        parameters = self.parameters()
        ids = sorted(set(self.category_ids))
        parameters.catIds = ids if self.by_class else [-1]
        return summarize(self.kind, parameters, precision, recall, logger)

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
        parameters.maxDets = sorted(self.max_dets)
        parameters.iouThrs = self.thresholds
        parameters.useCats = int(self.by_class)
        # Packages keep a deep copy, of each id of an image too, and do not change it.
        parameters.__deepcopy__ = lambda _: copy.copy(parameters)
