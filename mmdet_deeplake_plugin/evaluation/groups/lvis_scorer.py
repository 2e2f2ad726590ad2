"""Score the instances of one class by LVIS's evaluation."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..backends.lvis import evaluation_of, matches_of, quiet, summarize_lvis
from .matches import Curves, Matches, curves_of_matches, join_matches


@dataclass(frozen=True, eq=False)
class LvisScorer:
    """LVIS's evaluation of a metric.

    Attributes:
        kind: What overlaps: ``'bbox'`` or ``'segm'``.
        categories: Those of an annotation file that are scored.
    """

    kind: str
    categories: list[dict[str, Any]]

    by_class: ClassVar[bool] = True
    most_of_image: ClassVar[int] = 300  # fixed by the package, over all classes
    area_of_masks: ClassVar[bool] = False  # as MMDetection's detections with masks

    def curves(self, truth: dict[str, Any], detections: list[dict[str, Any]]) -> Curves:
        """Score instances.

        Args:
            truth: Content of an annotation file with those of one class.
            detections: Content of a result file with ``id`` and ``area``.
        """
        evaluation = evaluation_of(truth, detections, self.kind)
        with quiet():
            evaluation.evaluate()
            evaluation.accumulate()
        return Curves(
            evaluation.eval['precision'][:, :, 0, :, None],
            evaluation.eval['recall'][:, 0, :, None],
        )

    def match(self, truth: dict[str, Any], detections: list[dict[str, Any]]) -> Matches:
        """Match the instances of a part of the images, see :meth:`curves`."""
        return matches_of(evaluation_of(truth, detections, self.kind))

    def join(self, parts: list[Matches]) -> Curves:
        """Score what was matched in all parts of the images, which are taken out."""
        num_thresholds, num_recalls, *_ = self.shape(1)
        recalls = np.linspace(0, 1, num_recalls)
        joined = join_matches(parts)
        parts.clear()  # they take as much again
        return curves_of_matches(joined, num_thresholds, recalls, [None])

    def shape(self, num_classes: int) -> tuple[int, ...]:
        """Return the shape of the precision of all classes, ``(T, R, K, A, 1)``."""
        return 10, 101, num_classes, 4, 1

    def summarize(
        self,
        precision: NDArray[np.float64],
        recall: NDArray[np.float64],
        logger: logging.Logger | str,
    ) -> Any:
        """Return a finished ``LVISEval``, and log the summary that it prints.

        Args:
            precision: Shape ``(T, R, K, A, 1)``, classes in the order of their ids.
            recall: Shape ``(T, K, A, 1)``.
            logger: Logger for the summary.
        """
        arrays = precision[..., 0], recall[..., 0]
        return summarize_lvis(self.categories, self.kind, *arrays, logger)
