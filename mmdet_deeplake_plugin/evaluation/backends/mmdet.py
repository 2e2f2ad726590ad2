"""Let functions and metrics of MMDetection score what was not read from a file.

The numbers are theirs, so they equal those of the stock metrics by construction. Some
metrics came with MMDetection 3.3, so their classes are looked up when they are needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from multiprocessing.pool import Pool
from typing import Any

import numpy as np
import torch
from mmdet.evaluation import bbox_overlaps, eval_map, functional, print_recall_summary
from mmdet.evaluation import metrics as stock
from mmdet.evaluation.functional import mean_ap
from mmdet.evaluation.metrics import CrowdHumanMetric
from mmdet.evaluation.metrics.crowdhuman_metric import PERSON_CLASSES, Image
from mmengine.fileio import load
from numpy.typing import NDArray

from ..ground_truth import Prediction

__all__ = [
    'CrowdHumanScores',
    'bbox_overlaps',
    'functional',
    'mean_average_precision',
    'print_recall_summary',
    'stock_class',
    'stock_metric',
    'tensors_of',
]


def stock_class(name: str) -> Any:
    """Return a class of metrics of MMDetection by its name.

    Raises:
        ImportError: If the installed MMDetection does not have it.
    """
    kind = getattr(stock, name, None)
    if kind is None:
        raise ImportError(f'{name} needs a newer MMDetection: pip install mmdet==3.3.0')
    return kind


def stock_metric(name: str, **attributes: Any) -> Any:
    """Return a metric without running its constructor, which reads files.

    Args:
        name: Name of its class.
        attributes: What its constructor would have set.
    """
    metric = object.__new__(stock_class(name))
    vars(metric).update(attributes)
    return metric


def tensors_of(prediction: Prediction, *keys: str) -> dict[str, torch.Tensor]:
    """Return some arrays of a prediction as tensors."""
    return {key: torch.from_numpy(np.asarray(getattr(prediction, key))) for key in keys}


class CrowdHumanScores(CrowdHumanMetric):
    """``CrowdHumanMetric`` of annotations that are given, without worker processes.

    Args:
        annotations: Id of an image -> boxes of its persons and whether they count, as
            rows of left, top, right, bottom in pixels and 1, or -1 if ignored, shape
            ``(N, 5)``. In the order of the results to score.
        options: Keys of ``CrowdHumanMetric``.
    """

    def __init__(
        self, annotations: Mapping[Any, NDArray[np.float64]], **options: Any
    ) -> None:
        super().__init__(ann_file='', **options)
        self.annotations = annotations

    def load_eval_samples(self, result_file: str) -> dict[str, Image]:
        """Pair the annotations and what ``results2json`` wrote, clipped to the image."""
        samples = {}
        for record in load(result_file):
            image = Image(self.eval_mode)
            image.load(record, 'box', None, PERSON_CLASSES, False)
            # Stock cannot load an image without annotations.
            image.gt_boxes = self.annotations[record['ID']].copy()
            image.gt_num = len(image.gt_boxes)
            image.ign_num = int((image.gt_boxes[:, -1] == -1).sum())
            image.clip_all_boader()
            samples[record['ID']] = image
        return samples

    def eval_ji(self, samples: dict[str, Image]) -> float:
        """Return the best Jaccard index over ten thresholds of the score.

        Stock starts ten processes for each. They would be forked from a process with
        open lakes.
        """
        ratios = []
        for step in range(10):
            results = _Queue()
            self.compute_ji_with_ignore(results, samples, 1e-1 * step)
            ratios.append(self.gather(results)[1])
        return max(ratios)


class _Queue(list):
    """A list that is filled like a queue."""

    put_nowait = list.append


def mean_average_precision(*args: Any, **kwargs: Any) -> Any:
    """Return the first result of ``eval_map``, which takes these arguments."""
    with _pools_ended():
        return eval_map(*args, **kwargs)[0]


@contextlib.contextmanager
def _pools_ended() -> Iterator[None]:
    """End the worker processes that ``eval_map`` starts.

    It closes its pool and drops it without waiting. A pool is ended by the thread that
    drops the last reference; if that is the thread that hands out the tasks, it waits
    for itself, and the workers live as long as this process.
    """
    pools: list[Pool] = []
    make = mean_ap.Pool

    def make_and_keep(*args: Any) -> Pool:
        pools.append(make(*args))
        return pools[-1]

    mean_ap.Pool = make_and_keep
    try:
        yield
    finally:
        mean_ap.Pool = make
        for pool in pools:
            pool.terminate()
            pool.join()
