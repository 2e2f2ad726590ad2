"""Score the instances of one class by LVIS's evaluation."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..backends.lvis import area_ranges, evaluation_of, matches_of, summarize_lvis
from .curves import Curves, curves_of
from .matches import Matches
from .ranking import Ranking


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
    is_federated: ClassVar[bool] = True
    most: ClassVar[None] = None

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Ids of the categories."""
        return tuple(category['id'] for category in self.categories)

    @property
    def areas(self) -> NDArray[np.float64]:
        """Least and greatest area of each range in square pixels, shape ``(A, 2)``."""
        return np.asarray(area_ranges(self.kind), dtype=np.float64)

    def match(self, truth: dict[str, Any], detections: list[dict[str, Any]]) -> Matches:
        """Match instances.

        Args:
            truth: Content of an annotation file with those of one class.
            detections: Content of a result file with ``id`` and ``area``.
        """
        return matches_of(evaluation_of(truth, detections, self.kind))

    def curves(
        self, ranking: Ranking, matches: Matches, exempt: NDArray[np.bool_]
    ) -> Curves:
        """Compute precision and recall, see :func:`.curves_of`."""
        num_thresholds, num_recalls, *_ = self.shape(1)
        recalls = np.linspace(0, 1, num_recalls)
        return curves_of(ranking, matches, exempt, num_thresholds, recalls, [None])

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
