"""Score metrics class by class: the instances of a job, and how results are joined."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...utils.ragged import indices_of_ranges
from ..backends.coco import box_sizes, mask_areas
from ..ground_truth import GroundTruth
from .jobs import Job, divide
from .matches import Curves, Matches
from .packed import PackedPredictions


class Scorer(Protocol):
    """A package's evaluation of one metric."""

    @property
    def kind(self) -> str:
        """What overlaps: ``'bbox'`` or ``'segm'``."""

    @property
    def by_class(self) -> bool:
        """Whether classes are scored one by one."""

    @property
    def most_of_image(self) -> int | None:
        """Number of detections of an image that are scored, of all classes together."""

    @property
    def area_of_masks(self) -> bool:
        """Whether the area of a detection with a mask is that of the mask."""

    def curves(self, truth: dict[str, Any], detections: list[dict[str, Any]]) -> Curves:
        """Score instances of one class, or of all."""

    def match(self, truth: dict[str, Any], detections: list[dict[str, Any]]) -> Matches:
        """Match the instances of a part of the images."""

    def join(self, parts: list[Matches]) -> Curves:
        """Score what was matched in all parts, in the order of ids; takes them out."""

    def shape(self, num_classes: int) -> tuple[int, ...]:
        """Return the shape of the precision of all classes, ``(T, R, K, A, M)``."""

    def summarize(
        self,
        precision: NDArray[np.float64],
        recall: NDArray[np.float64],
        logger: logging.Logger | str,
    ) -> Any:
        """Return the package's finished evaluation, and log the summary."""


class Rows:
    """Rows of instances by label.

    Args:
        rows: Rows in ascending order.
        labels: Stored label of each, shape ``(len(rows),)``.
        num_labels: Number of stored labels.
    """

    def __init__(
        self, rows: NDArray[np.int64], labels: NDArray[np.int64], num_labels: int
    ) -> None:
        self._rows, self._labels, self._num_labels = rows, labels, num_labels

    @cached_property
    def _by_label(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.argsort(self._labels, kind='stable')
        ends = np.searchsorted(self._labels[order], np.arange(self._num_labels + 1))
        return self._rows[order], ends

    def of(self, label: int | None) -> NDArray[np.int64]:
        """Return the rows of a label, or all."""
        if label is None:
            return self._rows
        rows, ends = self._by_label
        return rows[ends[label] : ends[label + 1]]

    def inside(
        self, offsets: NDArray[np.int64], images: NDArray[np.int64], label: int | None
    ) -> NDArray[np.int64]:
        """Return the rows of a label, or all, in some images.

        Args:
            offsets: Where the rows of each image start.
            images: Numbers of the images.
            label: Stored label; None for all.
        """
        rows = indices_of_ranges(offsets[images], np.diff(offsets)[images])
        places = np.searchsorted(self._rows, rows)
        places[places == len(self._rows)] = 0
        chosen = self._rows[places] == rows if len(self._rows) else rows < 0
        if label is not None:
            chosen[chosen] = self._labels[places[chosen]] == label
        return rows[chosen]


@dataclass(eq=False)
class ClassScoring:
    """Ground truth, predictions, and the metrics that are to be scored.

    Args:
        gt: The annotations.
        predictions: One per image of ``gt``.
        label_of: Stored label of each predicted label. Others are not scored.
        scorers: Evaluations of the metrics.
    """

    gt: GroundTruth
    predictions: PackedPredictions
    label_of: NDArray[np.int64]
    scorers: tuple[Scorer, ...]

    def __post_init__(self) -> None:
        self._found: dict[tuple[str, int | None], Rows] = {}

    def jobs(self) -> list[Job]:
        """Return all jobs. Of a class without annotations, nothing can be scored."""
        jobs: list[Job] = []
        for metric, scorer in enumerate(self.scorers):
            found = self._rows_of(scorer)
            for label in sorted(self.label_of.tolist()) if scorer.by_class else [None]:
                true = self._true.of(label)
                if len(true):
                    places = (
                        self._places[self.predictions.images_of(found.of(label))],
                        self._places[self.gt.images_of(true)],
                    )
                    jobs += divide(metric, label, np.concatenate(places), len(self.gt))
        return jobs

    def run(self, job: Job) -> Curves | Matches:
        """Score the instances of a job, or match them if it is a part of the images."""
        scorer = self.scorers[job.metric]
        found, true = self._rows_of(scorer), self._true
        if job.images is None:
            found_rows, true_rows = found.of(job.label), true.of(job.label)
        else:
            part = self._in_order[slice(*job.images)]
            found_rows = found.inside(self.predictions.offsets, part, job.label)
            true_rows = true.inside(self.gt.offsets, part, job.label)
        found_in = self.predictions.images_of(found_rows)
        true_in = self.gt.images_of(true_rows)
        # Images without anything of the class change nothing, but cost memory and time.
        images = np.union1d(found_in, true_in)
        labels = self.label_of.tolist() if job.label is None else [job.label]
        truth = self.gt.to_coco(images, true_rows, labels)
        detections = self.detections(
            found_rows, found_in, scorer.kind, scorer.area_of_masks
        )
        score = scorer.curves if job.images is None else scorer.match
        return score(truth, detections)

    def summarize(
        self,
        metric: int,
        jobs: Sequence[Job],
        results: list[Any],
        logger: logging.Logger | str,
    ) -> Any:
        """Join the results of a metric, and return the package's finished evaluation.

        Args:
            metric: Number of the metric.
            jobs: All jobs.
            results: Their results; those of the metric are taken out.
            logger: Logger for the summary.
        """
        scorer = self.scorers[metric]
        shape = scorer.shape(len(self.label_of))
        precision, recall = np.full(shape, -1.0), np.full((shape[0], *shape[2:]), -1.0)
        parts: dict[int | None, list[Any]] = {}
        for number, job in enumerate(jobs):
            if job.metric == metric:
                parts.setdefault(job.label, []).append(results[number])
                results[number] = None  # large ones are not kept for the next metric
        # Packages list classes in the order of their ids.
        ids = self.gt.category_ids
        order = sorted(self.label_of.tolist(), key=lambda label: ids[label])
        for label, found in parts.items():
            curves = found[0] if isinstance(found[0], Curves) else scorer.join(found)
            column = 0 if label is None else order.index(label)
            precision[:, :, column] = curves.precision
            recall[:, column] = curves.recall
        return scorer.summarize(precision, recall, logger)

    def detections(
        self,
        rows: NDArray[np.int64],
        image_of: NDArray[np.int64],
        kind: str,
        area_of_masks: bool = True,
    ) -> list[dict[str, Any]]:
        """Return detections in COCO's form, as ``loadRes`` completes them.

        Args:
            rows: Their rows.
            image_of: Number of the image of each.
            kind: ``'bbox'``, or ``'segm'`` for masks and their scores.
            area_of_masks: Whether ``area`` is that of the mask, if there is one.
        """
        predictions, img_ids, category_ids = (
            self.predictions,
            self.gt.img_ids,
            self.gt.category_ids,
        )
        boxes = box_sizes(predictions.bboxes[rows])
        scores = np.asarray(predictions.scores_of(kind)[rows], dtype=np.float64)
        labels = self.label_of[predictions.labels[rows]]
        masks = predictions.masks(rows.tolist()) if kind == 'segm' else []
        areas = boxes[:, 2] * boxes[:, 3]
        if masks and area_of_masks:
            areas = mask_areas(masks)
        detections: list[dict[str, Any]] = [
            {
                'id': number,
                'image_id': img_ids[image],
                'category_id': category_ids[label],
                'bbox': box,
                'area': area,
                'score': score,
                'iscrowd': 0,
            }
            for number, (image, label, box, area, score) in enumerate(
                zip(
                    image_of.tolist(),
                    labels.tolist(),
                    boxes.tolist(),
                    areas.tolist(),
                    scores.tolist(),
                ),
                start=1,
            )
        ]
        for detection, mask in zip(detections, masks):
            detection['segmentation'] = mask
        return detections

    @cached_property
    def _in_order(self) -> NDArray[np.int64]:
        """Images in the order of their ids, which decides between equal scores."""
        ids = self.gt.img_ids
        return np.array(sorted(range(len(ids)), key=lambda index: ids[index]))

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Place of each image in that order."""
        return np.argsort(self._in_order)

    @cached_property
    def _true(self) -> Rows:
        """Annotations of the classes."""
        rows = np.flatnonzero(np.isin(self.gt.labels, self.label_of))
        return Rows(rows, self.gt.labels[rows], len(self.gt.category_ids))

    def _rows_of(self, scorer: Scorer) -> Rows:
        """Return the detections that a scorer scores."""
        key = scorer.kind, scorer.most_of_image
        if key not in self._found:
            scores = self.predictions.scores_of(scorer.kind)
            rows = best_of_images(self.predictions.offsets, scores, scorer.most_of_image)
            labels = self.label_of[self.predictions.labels[rows]]
            self._found[key] = Rows(rows, labels, len(self.gt.category_ids))
        return self._found[key]


def best_of_images(
    offsets: NDArray[np.int64], scores: NDArray[Any], most: int | None
) -> NDArray[np.int64]:
    """Return the rows of the best detections of each image, in ascending order.

    Args:
        offsets: Where the detections of each image start, shape ``(M + 1,)``.
        scores: Confidences, shape ``(N,)``.
        most: Number of detections of an image; None to take all. Of equal ones, the
            first count.
    """
    kept = np.ones(int(offsets[-1]), dtype=bool)
    if most is not None:
        for index in np.flatnonzero(np.diff(offsets) > most).tolist():
            start, stop = offsets[index : index + 2].tolist()
            ranked = np.argsort(-scores[start:stop], kind='stable')
            kept[start + ranked[most:]] = False
    return np.flatnonzero(kept)
