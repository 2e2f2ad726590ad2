"""What a package's evaluation has to provide."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .matches import Matches


class Scorer(ABC):
    """A package's evaluation of one metric.

    Attributes:
        kind: What overlaps: ``'bbox'`` or ``'segm'``.
        by_class: Whether classes are scored one by one, or all at once.
        category_ids: Ids of the categories; without classes, their order decides between
            ties.
        thresholds: IoU thresholds, shape ``(T,)``.
        recalls: Recalls at which precision is wanted, ascending, shape ``(R,)``.
        areas: Least and greatest area of each range in square pixels, shape ``(A, 2)``.
        max_dets: ``M`` numbers of detections of an image and class that count, ascending;
            None for all.
        most_of_image: Number of detections of an image that are scored, of all classes
            together; None for all.
        area_of_masks: Whether the area of a detection with a mask is that of the mask.
        is_federated: Whether only some classes were searched for in an image, as in LVIS.
            Its package also leaves out what has no area.
    """

    kind: str
    by_class: bool
    category_ids: tuple[int, ...]
    thresholds: NDArray[np.float64]
    recalls: NDArray[np.float64]
    areas: NDArray[np.float64]
    max_dets: Sequence[int | None]
    most_of_image: int | None
    area_of_masks: bool
    is_federated: bool

    @abstractmethod
    def match(self, truth: dict[str, Any], detections: list[dict[str, Any]]) -> Matches:
        """Match the instances of some images, each of which has annotations.

        Args:
            truth: Content of an annotation file with those of one class, or of all.
            detections: Content of a result file with ``id``, ``area`` and ``iscrowd``.
        """

    @abstractmethod
    def summarize(
        self,
        precision: NDArray[np.float64],
        recall: NDArray[np.float64],
        logger: logging.Logger | str,
    ) -> Any:
        """Return the package's finished evaluation, and log the summary that it prints.

        Args:
            precision: Shape ``(T, R, K, A, M)``, ``K`` classes in the order of their ids.
            recall: Shape ``(T, K, A, M)``.
            logger: Logger for the summary.
        """
