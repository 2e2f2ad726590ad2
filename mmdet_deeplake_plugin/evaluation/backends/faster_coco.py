"""Match with ``faster-coco-eval``, as pycocotools does.

It matches in C++. Two points in which it differs do not matter here: its ids must be
integers that a double can hold, so images and categories are numbered in the order in
which pycocotools would sort their ids, and annotations from 1; and its precision lacks
the rounding unit that pycocotools adds to the divisor, so that curves are computed in
:mod:`~..groups.curves`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...utils.ragged import offsets_of
from ..groups.matches import Matches, packed_matches

INSTALL = "pip install 'mmdet_deeplake_plugin[faster]', or pip install faster-coco-eval"


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
        """Matches in C++."""

        def match(self) -> Matches:
            """Match detections and annotations of one class, or of all."""
            self.separate_eval = True
            self.evaluate()
            return _matches(self._evalImgs_cpp, self.params)

    return COCO, FasterEval


def _matches(evaluations: Sequence[Any], params: Any) -> Matches:
    """Unpack what the package matched, for each range of areas and image.

    Only pickles can be read: matches, those of annotations, scores, which annotations do
    not count, which detections do not count.
    """
    states = [each.__getstate__() for each in evaluations]
    num_images = len(params.imgIds)
    ranges = [
        states[start : start + num_images] for start in range(0, len(states), num_images)
    ]
    counts = np.array([len(state[2]) for state in ranges[0]], dtype=np.int64)
    thresholds = np.arange(len(params.iouThrs))[:, None]
    # Of an image, the flags of all its detections at one threshold follow each other.
    starts = np.repeat(offsets_of(counts)[:-1], counts)
    width = np.repeat(counts, counts)
    places = starts * (len(thresholds) - 1) + np.arange(len(starts)) + thresholds * width

    def table(lists: Iterable[Sequence[int]]) -> NDArray[np.bool_]:
        return np.fromiter(chain.from_iterable(lists), dtype=bool)[places]

    return packed_matches(
        [table(state[0] for state in images) for images in ranges],
        [table(state[4] for state in images) for images in ranges],
        [sum(state[3].count(0) for state in images) for images in ranges],
    )
