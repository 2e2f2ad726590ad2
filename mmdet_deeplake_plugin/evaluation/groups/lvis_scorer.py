"""Score the instances of one class by LVIS's evaluation."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends.lvis import evaluation_of, log_summary, quiet
from .matches import Matches, matches_of_images
from .scorer import Scorer


class LvisScorer(Scorer):
    """LVIS's evaluation of a metric.

    Args:
        kind: What overlaps: ``'bbox'`` or ``'segm'``.
        categories: Those of an annotation file that are scored.
    """

    by_class = True
    max_dets = (None,)
    most_of_image = 300  # fixed by the package, over all classes
    area_of_masks = False  # as MMDetection's detections with masks
    is_federated = True

    def __init__(self, kind: str, categories: list[dict[str, Any]]) -> None:
        self.kind, self._categories = kind, categories
        self.category_ids = tuple(category['id'] for category in categories)
        parameters = self._without_instances().params
        self.thresholds, self.recalls = parameters.iou_thrs, parameters.rec_thrs
        self.areas = np.asarray(parameters.area_rng, dtype=np.float64)

    def match(self, truth: dict[str, Any], detections: list[dict[str, Any]]) -> Matches:
        """Match instances by the package."""
        evaluation = evaluation_of(truth, detections, self.kind)
        with quiet():
            evaluation.evaluate()
        keys = 'dt_matches', 'dt_ignore', 'gt_ignore'
        num_images = len(evaluation.params.img_ids)
        return matches_of_images(
            evaluation.eval_imgs, num_images, keys, len(self.thresholds)
        )

    def summarize(
        self,
        precision: NDArray[np.float64],
        recall: NDArray[np.float64],
        logger: logging.Logger | str,
    ) -> Any:
        """Return a finished ``LVISEval``."""
        evaluation = self._without_instances()
        evaluation.freq_groups = evaluation._prepare_freq_group()
        evaluation.eval = {'precision': precision[..., 0], 'recall': recall[..., 0]}
        log_summary(evaluation, logger)
        return evaluation

    def _without_instances(self) -> Any:
        nothing = {'images': [], 'annotations': [], 'categories': self._categories}
        return evaluation_of(nothing, [], self.kind)
