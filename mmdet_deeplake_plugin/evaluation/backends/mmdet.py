"""Functions of MMDetection that do not know its sample dicts, without loose ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.pool import Pool
from typing import Any

import numpy as np
import torch
from mmdet.evaluation import bbox_overlaps, eval_map, print_recall_summary
from mmdet.evaluation.functional import mean_ap, recall
from mmdet.evaluation.metrics import CrowdHumanMetric, OpenImagesMetric
from mmdet.evaluation.metrics.crowdhuman_metric import PERSON_CLASSES, Image
from mmengine.fileio import load
from numpy.typing import NDArray

from ..ground_truth import Prediction

__all__ = [
    'CrowdHumanScores',
    'OpenImagesScores',
    'bbox_overlaps',
    'mean_average_precision',
    'print_recall_summary',
    'recalls_of_overlaps',
]


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


class OpenImagesScores:
    """What ``OpenImagesMetric`` makes of images, one after the other.

    Args:
        classes: Class names.
        relations: Whether an instance of class i is one of class j, shape ``(C, C)``.
        get_supercategory: As in ``OpenImagesMetric``.
        filter_labels: As in ``OpenImagesMetric``.
    """

    def __init__(
        self,
        classes: Sequence[str],
        relations: NDArray[np.float64],
        get_supercategory: bool,
        filter_labels: bool,
    ) -> None:
        self._classes = tuple(classes)
        self._metric = OpenImagesMetric(
            get_supercategory=get_supercategory, filter_labels=filter_labels
        )
        self._metric.dataset_meta = {'classes': classes, 'RELATION_MATRIX': relations}

    def add(
        self,
        boxes: NDArray[np.float64],
        labels: NDArray[np.int64],
        group_of: NDArray[np.bool_],
        image_labels: NDArray[np.int64] | None,
        prediction: Prediction,
    ) -> None:
        """Add an image.

        Args:
            boxes: Corners of the annotations in pixels, shape ``(N, 4)``.
            labels: Their labels, shape ``(N,)``.
            group_of: Whether they stand for groups, shape ``(N,)``.
            image_labels: Labels that were verified; ``None`` if that is unknown.
            prediction: What the model found.
        """
        parts = zip(boxes.tolist(), labels.tolist(), group_of.tolist())
        found = {
            key: torch.from_numpy(np.asarray(getattr(prediction, key)))
            for key in ('bboxes', 'scores', 'labels')
        }
        sample = {
            'instances': [
                {'bbox': box, 'bbox_label': label, 'is_group_of': is_group}
                for box, label, is_group in parts
            ],
            'image_level_labels': image_labels,
            'pred_instances': found,
        }
        self._metric.process({}, [sample])

    def mean_average_precision(
        self, iou_thr: float, ioa_thr: float, logger: Any
    ) -> float:
        """Return the mean over all classes that have annotations."""
        truths, found = zip(*self._metric.results)
        mean: float = mean_average_precision(
            found,
            truths,
            iou_thr=iou_thr,
            ioa_thr=ioa_thr,
            dataset=self._classes,  # names for the table; stock has its own 601 or 500
            logger=logger,
            use_group_of=True,
        )
        return mean


def recalls_of_overlaps(
    overlaps: NDArray[np.object_],
    proposal_nums: Sequence[int],
    iou_thrs: Sequence[float] | NDArray[np.float64],
) -> NDArray[np.float64]:
    """Match boxes and proposals greedily, and return the recalls.

    Args:
        overlaps: Per image, the IoU of its boxes with its proposals, best first.
        proposal_nums: Maximum numbers of proposals per image.
        iou_thrs: IoU thresholds.

    Returns:
        Array of shape ``(len(proposal_nums), len(iou_thrs))``.
    """
    recalls: NDArray[np.float64] = recall._recalls(
        overlaps, np.asarray(proposal_nums), np.asarray(iou_thrs, dtype=np.float64)
    )
    return recalls


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
