"""What a package's evaluation has to provide."""

from __future__ import annotations

import logging
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .curves import Curves
from .matches import Matches
from .ranking import Ranking


class Scorer(Protocol):
    """A package's evaluation of one metric."""

    @property
    def kind(self) -> str:
        """What overlaps: ``'bbox'`` or ``'segm'``."""

    @property
    def by_class(self) -> bool:
        """Whether classes are scored one by one."""

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Ids of the categories; without classes, their order decides between ties."""

    @property
    def most_of_image(self) -> int | None:
        """Number of detections of an image that are scored, of all classes together."""

    @property
    def most(self) -> int | None:
        """Number of detections of an image that are matched, of the class."""

    @property
    def area_of_masks(self) -> bool:
        """Whether the area of a detection with a mask is that of the mask."""

    @property
    def is_federated(self) -> bool:
        """Whether only some classes were searched for in an image, as in LVIS.

        Its package also leaves out what has no area.
        """

    @property
    def areas(self) -> NDArray[np.float64]:
        """Least and greatest area of each range in square pixels, shape ``(A, 2)``."""

    def match(self, truth: dict[str, Any], detections: list[dict[str, Any]]) -> Matches:
        """Match the instances of some images, each of which has annotations."""

    def curves(
        self, ranking: Ranking, matches: Matches, exempt: NDArray[np.bool_]
    ) -> Curves:
        """Compute precision and recall, see :func:`.curves_of`."""

    def shape(self, num_classes: int) -> tuple[int, ...]:
        """Return the shape of the precision of all classes, ``(T, R, K, A, M)``."""

    def summarize(
        self,
        precision: NDArray[np.float64],
        recall: NDArray[np.float64],
        logger: logging.Logger | str,
    ) -> Any:
        """Return the package's finished evaluation, and log the summary."""
