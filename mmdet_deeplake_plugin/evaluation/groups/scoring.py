"""Score metrics class by class: the instances of a job, and how results are joined."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...utils.blocks import blocks
from ...utils.ragged import indices_of_ranges
from ..backends.coco import box_sizes, mask_areas
from ..federation import images_by_category
from ..ground_truth import GroundTruth
from .by_label import RowsByLabel, best_of_images
from .curves import Curves
from .jobs import Job, divide
from .matches import Matches, join_matches
from .packed import PackedPredictions
from .ranking import Ranking, rank


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


@dataclass(eq=False)
class ClassScoring:
    """Ground truth, predictions, and the metrics that are to be scored.

    Packages match the detections of images that have annotations of the class. Those of
    other images can match nothing, and are only counted.

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
        self._found: dict[tuple[str, int] | None, RowsByLabel] = {}

    def jobs(self) -> list[Job]:
        """Return all jobs. Of a class without annotations, nothing can be scored."""
        jobs: list[Job] = []
        for metric, scorer in enumerate(self.scorers):
            for label in sorted(self.label_of.tolist()) if scorer.by_class else [None]:
                true = self._places[self.gt.images_of(self._true_rows(label))]
                if len(true):
                    counts = self._found_counts(scorer, label)
                    counts *= self._with_truth(label)
                    counts += np.bincount(true, minlength=len(counts))
                    jobs += divide(metric, label, counts)
        return jobs

    def run(self, job: Job) -> Curves | Matches:
        """Score the instances of a job, or match them if it is a part of the images."""
        scorer = self.scorers[job.metric]
        ranking = self._ranking(scorer, job.label, job.images)
        matches = self._match(scorer, ranking, job)
        if job.images is not None:
            return matches
        return self._curves(scorer, matches, job.label, ranking)

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
        parts: dict[int | None, list[Any]] = {}
        for number, job in enumerate(jobs):
            if job.metric == metric:
                parts.setdefault(job.label, []).append(results[number])
                results[number] = None  # large ones are not kept for the next metric
        curves: dict[int | None, Curves] = {}
        for label, found in parts.items():
            if not isinstance(found[0], Curves):
                matches = join_matches(found)
                found.clear()  # they take as much again
                found.append(self._curves(scorer, matches, label))
            (curves[label],) = found
        precision, recall = self._joined(scorer, curves)
        return scorer.summarize(precision, recall, logger)

    def _joined(
        self, scorer: Scorer, curves: dict[int | None, Curves]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return precision and recall of all classes, in the order of their ids."""
        *shape, most = scorer.shape(len(self.label_of))
        # Where all numbers of detections give the same, it is held once.
        held = max((each.precision.shape[-1] for each in curves.values()), default=1)
        precision = np.full((*shape, held), -1.0)
        recall = np.full((shape[0], *shape[2:], held), -1.0)
        ids = self.gt.category_ids
        order = sorted(self.label_of.tolist(), key=lambda label: ids[label])
        for label in list(curves):
            column = 0 if label is None else order.index(label)
            precision[:, :, column] = curves[label].precision
            recall[:, column] = curves.pop(label).recall
        return (
            np.broadcast_to(precision, (*shape, most)),
            np.broadcast_to(recall, (*recall.shape[:-1], most)),
        )

    def detections(
        self,
        rows: NDArray[np.integer],
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
        areas = mask_areas(masks) if masks and area_of_masks else _areas(boxes)
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

    def _ranking(
        self, scorer: Scorer, label: int | None, images: tuple[int, int] | None = None
    ) -> Ranking:
        """Rank the detections of a class, or those that can match in some images."""
        rows = self._found_rows(scorer, label, images)
        places = self._places[self.predictions.images_of(rows)]
        with_truth = self._with_truth(label)
        if images is not None:
            start, stop = images
            kept = with_truth[places] & (start <= places) & (places < stop)
        elif scorer.is_federated and label is not None:
            kept = with_truth[places] | self._listed(self._negatives, label)[places]
        else:
            kept = None
        if kept is not None:
            rows, places = rows[kept], places[kept]
        classes = None
        if label is None:
            order = np.argsort(
                np.argsort(np.asarray(self.gt.category_ids)[self.label_of])
            )
            classes = order[self.predictions.labels[rows]]
        scores = self.predictions.scores_of(scorer.kind)[rows]
        return rank(rows, scores, places, with_truth, scorer.most, classes)

    def _match(self, scorer: Scorer, ranking: Ranking, job: Job) -> Matches:
        true_rows = self._true_rows(job.label)
        if job.images is not None:
            places = self._places[self.gt.images_of(true_rows)]
            start, stop = job.images
            true_rows = true_rows[(start <= places) & (places < stop)]
        labels = self.label_of.tolist() if job.label is None else [job.label]
        images = np.unique(self.gt.images_of(true_rows))
        truth = self.gt.to_coco(images, true_rows, labels)
        rows = ranking.rows[ranking.with_truth]
        image_of = self.predictions.images_of(rows)
        return scorer.match(
            truth, self.detections(rows, image_of, scorer.kind, scorer.area_of_masks)
        )

    def _curves(
        self,
        scorer: Scorer,
        matches: Matches,
        label: int | None,
        ranking: Ranking | None = None,
    ) -> Curves:
        """Join what was matched with the detections that can match nothing."""
        if ranking is None:
            ranking = self._ranking(scorer, label)
        rows = ranking.rows[~ranking.with_truth]
        areas = np.zeros(len(rows))
        for part in blocks(len(rows)):
            masks = (
                self.predictions.masks(rows[part].tolist())
                if scorer.kind == 'segm' and scorer.area_of_masks
                else []
            )
            areas[part] = (
                mask_areas(masks)
                if masks
                else _areas(box_sizes(self.predictions.bboxes[rows[part]]))
            )
        exempt = np.stack([(areas < low) | (areas > high) for low, high in scorer.areas])
        if scorer.is_federated and label is not None:
            places = self._places[self.predictions.images_of(rows)]
            exempt |= self._listed(self._not_exhaustive, label)[places]
        return scorer.curves(ranking, matches, exempt)

    def _found_rows(
        self, scorer: Scorer, label: int | None, images: tuple[int, int] | None
    ) -> NDArray[np.integer]:
        """Return the detections of a class; without classes those of some images."""
        if label is not None:
            return self._found_by_label(scorer).of(label)
        if images is None:
            return np.arange(self.predictions.offsets[-1], dtype=np.int32)
        part, offsets = self._in_order[slice(*images)], self.predictions.offsets
        return indices_of_ranges(offsets[part], np.diff(offsets)[part])

    def _found_counts(self, scorer: Scorer, label: int | None) -> NDArray[np.int64]:
        """Return the number of detections of a class by place of the image."""
        if label is None:
            return np.diff(self.predictions.offsets)[self._in_order]
        rows = self._found_by_label(scorer).of(label)
        places = self._places[self.predictions.images_of(rows)]
        return np.bincount(places, minlength=len(self.gt))

    def _found_by_label(self, scorer: Scorer) -> RowsByLabel:
        """Return the detections that a scorer scores."""
        most, kept = scorer.most_of_image, None
        key = None if most is None else (scorer.kind, most)
        if key not in self._found:
            if most is not None:
                scores = self.predictions.scores_of(scorer.kind)
                kept = best_of_images(self.predictions.offsets, scores, most)
                if scorer.is_federated:
                    boxes = box_sizes(self.predictions.bboxes[kept])
                    kept = kept[_areas(boxes) > 0]
            labels = self.predictions.labels
            self._found[key] = RowsByLabel(
                self.label_of, labels, len(self.gt.category_ids), kept
            )
        return self._found[key]

    def _true_rows(self, label: int | None) -> NDArray[np.integer]:
        """Return the annotations of a class, or those of all that are scored."""
        if label is None:
            return np.flatnonzero(np.isin(self.gt.labels, self.label_of))
        return self._true.of(label)

    def _with_truth(self, label: int | None) -> NDArray[np.bool_]:
        """Return which images have annotations of a class, or any, by their place."""
        with_truth = np.zeros(len(self.gt), dtype=bool)
        with_truth[self._places[self.gt.images_of(self._true_rows(label))]] = True
        return with_truth

    def _listed(
        self, images: dict[int, NDArray[np.int64]], label: int
    ) -> NDArray[np.bool_]:
        """Return which images list a class, by their place."""
        listed = np.zeros(len(self.gt), dtype=bool)
        listed[self._places[images.get(self.gt.category_ids[label], [])]] = True
        return listed

    @cached_property
    def _in_order(self) -> NDArray[np.int64]:
        """Images in the order of their ids, which decides between equal scores."""
        ids = self.gt.img_ids
        return np.array(sorted(range(len(ids)), key=lambda index: ids[index]))

    @cached_property
    def _places(self) -> NDArray[np.int32]:
        """Place of each image in that order."""
        return np.argsort(self._in_order).astype(np.int32)

    @cached_property
    def _true(self) -> RowsByLabel:
        """Annotations by class."""
        num_labels, kept = len(self.gt.category_ids), None
        if any(scorer.is_federated for scorer in self.scorers):
            kept = np.flatnonzero(self.gt.areas > 0)
        return RowsByLabel(np.arange(num_labels), self.gt.labels, num_labels, kept)

    @cached_property
    def _negatives(self) -> dict[int, NDArray[np.int64]]:
        """Images in which a class is known to be absent, by its id."""
        return images_by_category(
            self.gt.federation.negatives if self.gt.federation else []
        )

    @cached_property
    def _not_exhaustive(self) -> dict[int, NDArray[np.int64]]:
        """Images in which a class is annotated in parts, by its id."""
        federation = self.gt.federation
        return images_by_category(federation.not_exhaustive if federation else [])


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the areas of boxes, shape ``(n, 4)``, of left, top, width and height."""
    areas: NDArray[np.float64] = boxes[:, 2] * boxes[:, 3]
    return areas
