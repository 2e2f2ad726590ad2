"""Find the detections and annotations of a class, in all images or some of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...utils.blocks import blocks
from ...utils.ragged import indices_of_ranges
from ..backends.coco import box_sizes, mask_areas
from ..federation import Federation, images_by_category
from ..ground_truth import GroundTruth
from .by_label import RowsByLabel, best_of_images
from .packed import PackedPredictions
from .ranking import Ranking, rank
from .scorer import Scorer

Part = tuple[int, int]


@dataclass(eq=False)
class Instances:
    """The instances of each class.

    The place of an image is that in the order of the ids, which decides between equal
    scores. A label is a stored one, or None for all that are scored; a part of the images
    is the first place and the end, or None for all.

    Args:
        gt: The annotations.
        predictions: One per image of ``gt``.
        label_of: Stored label of each predicted label. Others are not scored.
        with_area: Whether annotations without an area are left out.
    """

    gt: GroundTruth
    predictions: PackedPredictions
    label_of: NDArray[np.int64]
    with_area: bool
    _found: dict[tuple[str, int] | None, RowsByLabel] = field(
        default_factory=dict, init=False
    )

    def counts(self, scorer: Scorer, label: int | None) -> NDArray[np.int64] | None:
        """Return how many instances of a class are matched, by place of the image.

        None without annotations, where nothing can match.
        """
        true = self._places[self.gt.images_of(self._true_rows(label))]
        if not len(true):
            return None
        found = self._found_counts(scorer, label) * self._with_truth(label)
        return found + np.bincount(true, minlength=len(found))

    def ranking(
        self, scorer: Scorer, label: int | None, part: Part | None = None
    ) -> Ranking:
        """Rank the detections of a class, or those that can match in a part."""
        rows = self._found_rows(scorer, label, part)
        places = self._places[self.predictions.images_of(rows)]
        with_truth = self._with_truth(label)
        if part is not None:
            start, stop = part
            kept = with_truth[places] & (start <= places) & (places < stop)
        elif scorer.is_federated and label is not None:
            kept = (with_truth | self._listed('negatives', label))[places]
        else:
            kept = None
        if kept is not None:
            rows, places = rows[kept], places[kept]
        classes = None
        if label is None:
            place = {number: n for n, number in enumerate(scorer.category_ids)}
            ids = [self.gt.category_ids[stored] for stored in self.label_of.tolist()]
            order = np.array([place[number] for number in ids], dtype=np.int32)
            classes = order[self.predictions.labels[rows]]
        scores = self.predictions.scores_of(scorer.kind)[rows]
        return rank(rows, scores, places, with_truth, scorer.max_dets[-1], classes)

    def contents(
        self, scorer: Scorer, ranking: Ranking, label: int | None, part: Part | None
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return what is matched: content of an annotation file, and of a result file."""
        true_rows = self._true_rows(label)
        if part is not None:
            places = self._places[self.gt.images_of(true_rows)]
            start, stop = part
            true_rows = true_rows[(start <= places) & (places < stop)]
        # Other images change nothing, but cost memory and time.
        images = np.unique(self.gt.images_of(true_rows))
        labels = self.label_of.tolist() if label is None else [label]
        rows = ranking.rows[ranking.with_truth]
        image_of = self.predictions.images_of(rows)
        found = self.detections(rows, image_of, scorer.kind, scorer.area_of_masks)
        return self.gt.to_coco(images, true_rows, labels), found

    def exempt(
        self, scorer: Scorer, ranking: Ranking, label: int | None
    ) -> NDArray[np.bool_]:
        """Return which detections that match nothing do not count, shape ``(A, K)``.

        For the ``A`` ranges of areas of the scorer, and the ``K`` detections in images
        without annotations.
        """
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
            exempt |= self._listed('not_exhaustive', label)[places]
        return exempt

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
            kind: As in :class:`.Scorer`; ``'segm'`` is for masks and their scores.
            area_of_masks: As in :class:`.Scorer`.
        """
        predictions, gt = self.predictions, self.gt
        boxes = box_sizes(predictions.bboxes[rows])
        scores = np.asarray(predictions.scores_of(kind)[rows], dtype=np.float64)
        labels = self.label_of[predictions.labels[rows]]
        masks = predictions.masks(rows.tolist()) if kind == 'segm' else []
        areas = mask_areas(masks) if masks and area_of_masks else _areas(boxes)
        detections: list[dict[str, Any]] = [
            {
                'id': number,
                'image_id': gt.img_ids[image],
                'category_id': gt.category_ids[label],
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

    def _found_rows(
        self, scorer: Scorer, label: int | None, part: Part | None
    ) -> NDArray[np.integer]:
        """Return the detections of a class; without classes those of a part."""
        if label is not None:
            return self._found_by_label(scorer).of(label)
        if part is None:
            return np.arange(self.predictions.offsets[-1], dtype=np.int32)
        images, offsets = self._in_order[slice(*part)], self.predictions.offsets
        return indices_of_ranges(offsets[images], np.diff(offsets)[images])

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

    def _listed(self, key: str, label: int) -> NDArray[np.bool_]:
        """Return which images list a class in a key of the federation, by their place."""
        images = self._listing[key].get(self.gt.category_ids[label])
        listed = np.zeros(len(self.gt), dtype=bool)
        if images is not None:
            listed[self._places[images]] = True
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
        if self.with_area:
            kept = np.flatnonzero(self.gt.areas > 0)
        return RowsByLabel(np.arange(num_labels), self.gt.labels, num_labels, kept)

    @cached_property
    def _listing(self) -> dict[str, dict[int, NDArray[np.int64]]]:
        """For each key of the federation, the images that list a category, by its id."""
        federation = self.gt.federation or Federation([], [], ())
        return {
            'negatives': images_by_category(federation.negatives),
            'not_exhaustive': images_by_category(federation.not_exhaustive),
        }


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the areas of boxes, shape ``(n, 4)``, of left, top, width and height."""
    areas: NDArray[np.float64] = boxes[:, 2] * boxes[:, 3]
    return areas
