"""Hold ground truth and predictions as flat arrays, which every metric here takes.

Both know neither Deep Lake nor MMDetection's sample dicts.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.messages import comma_joined
from .federation import Federation, OpenImagesKeys
from .prediction_checks import check_boxes, check_finite, check_masks

ARRAYS: dict[str, tuple[type, tuple[int, ...]]] = {
    'widths': (np.int64, ()),
    'heights': (np.int64, ()),
    'offsets': (np.int64, ()),
    'boxes_xywh': (np.float64, (4,)),
    'boxes_xyxy': (np.float64, (4,)),
    'labels': (np.int64, ()),
    'areas': (np.float64, ()),
    'crowd': (np.bool_, ()),
    'excluded': (np.bool_, ()),
}
_PER_IMAGE = ('widths', 'heights', 'file_names')
_PER_INSTANCE = ('boxes_xywh', 'boxes_xyxy', 'areas', 'crowd', 'excluded')
_OPTIONAL = ('segmentations', 'segment_ids')


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model found in one image.

    Not a tuple: MMEngine's evaluator would walk through all its contents.

    Attributes:
        bboxes: Boxes, shape ``(n, 4)``, float32, xyxy in pixels of the
            original image.
        scores: Confidences, shape ``(n,)``, float32.
        labels: Class indices, shape ``(n,)``, int64.
        masks: n run-length codes of the original image's size, with ``counts`` as
            text; None if the model does not predict masks.
        mask_scores: Confidences of the masks, shape ``(n,)``, float32; None if they
            equal ``scores``.
    """

    bboxes: NDArray[Any]
    scores: NDArray[Any]
    labels: NDArray[Any]
    masks: list[dict[str, Any]] | None = None
    mask_scores: NDArray[Any] | None = None


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The annotations of M images with N instances, in stored order.

    Sequences are converted to the types below. The instances of image i are
    the rows ``offsets[i]:offsets[i + 1]`` of the arrays of length N.

    Attributes:
        img_ids: M unique ids, all int or all str.
        widths: Image widths in pixels, shape ``(M,)``, int64.
        heights: Image heights in pixels, shape ``(M,)``, int64.
        file_names: M names.
        offsets: Where each image's instances start, shape ``(M + 1,)``, int64.
        boxes_xywh: Top-left corner and size in pixels, shape ``(N, 4)``,
            float64, exactly as stored.
        boxes_xyxy: Two corners in pixels, shape ``(N, 4)``, float64.
        labels: Index into ``category_names``, shape ``(N,)``, int64.
        category_names: Unique class names in stored order.
        category_ids: Unique category ids, one per name.
        areas: Areas in square pixels, shape ``(N,)``, float64. They need not
            be width times height: COCO stores the area of the mask.
        crowd: COCO's ``iscrowd`` or VOC's ``difficult``, shape ``(N,)``, bool.
        excluded: COCO's ``ignore`` field, shape ``(N,)``, bool. As in stock
            MMDetection, only the metric ``proposal_fast`` respects it.
        segmentations: N polygons or run-length codes as in COCO files, None for an
            instance without a mask; None if masks were not read.
        federation: LVIS's keys of images and categories; None if they were not read.
        segment_ids: Ids of panoptic segments in the map of their image, shape ``(N,)``,
            int64; None if the ground truth is not panoptic.
        open_images: What OpenImages says beside boxes; None if it was not read.

    Raises:
        ValueError: If it has no images, if ids or names repeat, if ids mix int and
            str, or if lengths, shapes, offsets or labels contradict each other.
    """

    img_ids: list[int] | list[str]
    widths: NDArray[np.int64]
    heights: NDArray[np.int64]
    file_names: list[str]
    offsets: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    boxes_xyxy: NDArray[np.float64]
    labels: NDArray[np.int64]
    category_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    excluded: NDArray[np.bool_]
    segmentations: list[Any] | None = None
    federation: Federation | None = None
    segment_ids: NDArray[np.int64] | None = None
    open_images: OpenImagesKeys | None = None

    def __post_init__(self) -> None:
        """Convert every field to its type and check that they fit together."""
        self._convert()
        self._check_images()
        self._check_categories()
        self._check_instances()

    def _convert(self) -> None:
        converted: dict[str, Any] = {
            'img_ids': [str(i) if isinstance(i, str) else int(i) for i in self.img_ids],
            'file_names': [str(name) for name in self.file_names],
            'category_names': tuple(str(name) for name in self.category_names),
            'category_ids': tuple(int(i) for i in self.category_ids),
        }
        for name, (dtype, tail) in ARRAYS.items():
            array: NDArray[Any] = np.asarray(getattr(self, name), dtype=dtype)
            if array.size == 0:
                array = array.reshape((0, *tail))
            if array.shape[1:] != tail or array.ndim != 1 + len(tail):
                shape = 'shape (N, 4)' if tail else 'one dimension'
                raise ValueError(f'{name} must have {shape}, got shape {array.shape}')
            converted[name] = array
        for name, value in converted.items():
            object.__setattr__(self, name, value)

    def _check_images(self) -> None:
        if not self.img_ids:
            raise ValueError('the ground truth must have at least one image, got none')
        kinds = sorted({type(i).__name__ for i in self.img_ids})
        if len(kinds) > 1:
            # numpy would sort such a list as strings, and pycocotools would then
            # not find any image under its id.
            raise ValueError(
                f'img_ids must be all int or all str, but mix {comma_joined(kinds)}'
            )
        _check_unique('img_ids', self.img_ids)
        for name in _PER_IMAGE:
            _check_length(name, getattr(self, name), len(self), 'image')
        _check_length('offsets', self.offsets, len(self) + 1, 'image plus one')

    def _check_categories(self) -> None:
        _check_unique('category_names', self.category_names)
        _check_unique('category_ids', self.category_ids)
        count = len(self.category_names)
        _check_length('category_ids', self.category_ids, count, 'category name')

    def _check_instances(self) -> None:
        count = len(self.labels)
        for name in (*_PER_INSTANCE, *_OPTIONAL):
            values = getattr(self, name)
            if values is not None:
                _check_length(name, values, count, 'label')
        fits = self.offsets[0] == 0 and self.offsets[-1] == count
        if not fits or np.any(np.diff(self.offsets) < 0):
            raise ValueError(
                'offsets must rise from 0 to the number of instances '
                f'({count}), but run from {self.offsets[0]} to {self.offsets[-1]}'
            )
        classes = len(self.category_names)
        outside = self.labels[(self.labels < 0) | (self.labels >= classes)]
        if outside.size:
            raise ValueError(
                f'labels must be from 0 to {classes - 1}, the {classes} categories '
                f'({_shortened(self.category_names)}), got {outside[0]}'
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.img_ids)

    def instances(self, index: int) -> slice:
        """Return the rows of the instances of image ``index``."""
        return slice(int(self.offsets[index]), int(self.offsets[index + 1]))

    def digest_of(self, index: int) -> str:
        """Return a digest of all that predictions in image ``index`` are judged by.

        It is that of boxes, labels, areas, crowds, and of masks if they were read.
        """
        part, digest = self.instances(index), hashlib.blake2b(digest_size=16)
        for values in (self.boxes_xywh, self.labels, self.areas, self.crowd):
            digest.update(values[part].tobytes())
        if self.segmentations is not None:
            digest.update(json.dumps(self.segmentations[part]).encode())
        return digest.hexdigest()

    def labels_of_classes(self, classes: Sequence[str]) -> NDArray[np.int64]:
        """Return the stored labels of the dataset's classes, matched by name.

        Args:
            classes: Class names in the order of the model's labels.

        Returns:
            Array of shape ``(len(classes),)``: item i is the index of
            ``classes[i]`` in ``category_names``.

        Raises:
            ValueError: If a class is not among the categories, or repeats.
        """
        _check_unique('classes', classes)
        index = {name: i for i, name in enumerate(self.category_names)}
        unknown = [name for name in classes if name not in index]
        if unknown:
            raise ValueError(
                f'classes {_shortened(unknown)} are not in the ground truth, which '
                f'has {_shortened(self.category_names)}; write the classes in '
                'metainfo=dict(classes=...) as they are stored'
            )
        return np.array([index[name] for name in classes], dtype=np.int64)

    def categories_of_classes(self, classes: Sequence[str]) -> dict[int, str]:
        """Return names by category id of the dataset's classes, in stored order."""
        chosen = set(classes)
        pairs = zip(self.category_ids, self.category_names)
        return {cat_id: name for cat_id, name in pairs if name in chosen}

    def check_predictions(
        self, predictions: Sequence[Prediction], classes: Sequence[str] | None = None
    ) -> None:
        """Check that predictions can be scored against this ground truth.

        Args:
            predictions: One per image, in the order of ``img_ids``.
            classes: Class names in the order of the predicted labels. Defaults to None:
                labels mean something else.

        Raises:
            ValueError: If the number of predictions is not the number of images, if
                the arrays of a prediction differ in length, if a box or score is not
                finite, if a mask has not the size of its image, or if a label has no
                class.
        """
        if len(predictions) != len(self):
            raise ValueError(
                'there must be one prediction per image, in the order of img_ids: found '
                f'{len(predictions)} predictions for {len(self)} images'
            )
        for index, prediction in enumerate(predictions):
            where = f'image {self.img_ids[index]!r} ({self.file_names[index]!r})'
            lengths = {k: len(v) for k, v in vars(prediction).items() if v is not None}
            if len(set(lengths.values())) > 1:
                raise ValueError(
                    f'{where}: {comma_joined(lengths)} must be equally long, '
                    f'but have the lengths {comma_joined(map(str, lengths.values()))}'
                )
            check_boxes(where, prediction.bboxes, prediction.labels)
            check_finite(
                where,
                bboxes=prediction.bboxes,
                scores=prediction.scores,
                mask_scores=prediction.mask_scores,
            )
            size = int(self.widths[index]), int(self.heights[index])
            check_masks(where, prediction.masks or (), *size)
            if classes is None:
                continue
            labels = np.asarray(prediction.labels)
            outside = labels[(labels < 0) | (labels >= len(classes))]
            if outside.size:
                raise ValueError(
                    f'the model predicts label {outside.max()}, but the dataset '
                    f'has {len(classes)} classes ({_shortened(classes)}): set '
                    f"num_classes={len(classes)} in the model's head(s) ({where})"
                )

    def images_of(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the number of the image of each instance."""
        return np.searchsorted(self.offsets, rows, side='right') - 1

    def to_coco(
        self,
        images: NDArray[np.int64] | None = None,
        rows: NDArray[np.integer] | None = None,
        labels: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Return the same annotations as the content of a COCO file.

        Args:
            images: Numbers of the images to take. Defaults to all.
            rows: Numbers of the instances to take, in images that are taken. Defaults to
                all.
            labels: Indices of the categories to take. Defaults to all.

        Returns:
            Dict with ``info``, ``images``, ``annotations`` and ``categories``, of plain
            Python values. Annotation ids are 1 to N in stored order, since pycocotools
            mistakes a match with id 0 for a miss. Only instances with a mask have a
            ``segmentation``; images and categories have LVIS's keys if ``federation``
            is set.
        """
        if rows is None:
            rows = np.arange(len(self.labels))
        numbers = list(range(len(self))) if images is None else images.tolist()
        chosen = range(len(self.category_ids)) if labels is None else labels
        columns = zip(
            (rows + 1).tolist(),
            self.images_of(rows).tolist(),
            self.labels[rows].tolist(),
            self.boxes_xywh[rows].tolist(),
            self.areas[rows].tolist(),
            self.crowd[rows].tolist(),
            self.excluded[rows].tolist(),
        )
        annotations: list[dict[str, Any]] = [
            {
                'id': number,
                'image_id': self.img_ids[image],
                'category_id': self.category_ids[label],
                'bbox': box,
                'area': area,
                'iscrowd': int(crowd),
                'ignore': int(excluded),
            }
            for number, image, label, box, area, crowd, excluded in columns
        ]
        for row, annotation in zip(rows.tolist(), annotations):
            if self.segmentations is not None and self.segmentations[row] is not None:
                annotation['segmentation'] = self.segmentations[row]
        listed: list[dict[str, Any]] = [
            {
                'id': self.img_ids[number],
                'width': width,
                'height': height,
                'file_name': self.file_names[number],
            }
            for number, width, height in zip(
                numbers, self.widths[numbers].tolist(), self.heights[numbers].tolist()
            )
        ]
        categories: list[dict[str, Any]] = [
            {'id': self.category_ids[label], 'name': self.category_names[label]}
            for label in chosen
        ]
        if self.federation is not None:
            for number, image in zip(numbers, listed):
                image['neg_category_ids'] = self.federation.negatives[number]
                image['not_exhaustive_category_ids'] = self.federation.not_exhaustive[
                    number
                ]
            for label, category in zip(chosen, categories):
                category['frequency'] = self.federation.frequencies[label]
        return {
            'info': {},
            'images': listed,
            'annotations': annotations,
            'categories': categories,
        }


def _shortened(names: Sequence[Any], limit: int = 10) -> str:
    shown = comma_joined(map(repr, names[:limit]))
    return f'{shown}, ...' if len(names) > limit else shown


def _check_unique(what: str, values: Sequence[Any]) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise ValueError(f'{what} must be unique, but repeat {_shortened(repeated)}')


def _check_length(what: str, values: Any, count: int, of_what: str) -> None:
    if len(values) != count:
        raise ValueError(
            f'{what} must have {count} entries, one per {of_what}, got {len(values)}'
        )
