"""Check predictions, and write them as COCO's result files."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.fileio import get_file_backend
from mmengine.fileio.backends import LocalBackend
from mmengine.logging import print_log
from numpy.typing import NDArray

from .backends.coco import box_sizes
from .ground_truth import GroundTruth, Prediction
from .groups.packed import PackedPredictions, pack

_IMAGES_AT_ONCE = 500


def prepare_predictions(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    metrics: Sequence[str],
    format_only: bool,
    outfile_prefix: str | None,
    log: logging.Logger | str,
) -> PackedPredictions:
    """Check predictions, and write them if asked to.

    For the arguments see :func:`.evaluate_coco` (``log`` is its ``logger``): with the
    metric ``segm`` both sides need masks, but with ``format_only`` stored ones are not
    needed.

    Raises:
        ValueError: If a class is not in the ground truth, if a label has no class, or if
            ``segm`` lacks masks.
    """
    packed = pack(predictions)
    if not packed.is_sound(gt.widths, gt.heights, len(classes)):
        gt.check_predictions(predictions, classes)
        for index in packed.odd:
            raise ValueError(
                f'the prediction for image {gt.img_ids[index]!r} must have one number '
                'per box in scores, labels and mask_scores, shape (N,), and a mask per '
                'box, if any; correct what the model returns'
            )
    stored_labels = gt.labels_of_classes(classes)
    if 'segm' in metrics:
        _check_predicted_masks(gt, packed)
    if outfile_prefix is not None:
        category_ids = [gt.category_ids[label] for label in stored_labels]
        kinds = ('bbox', 'segm') if packed.with_masks.any() else ('bbox',)
        for kind in kinds:
            path = f'{outfile_prefix}.{kind}.json'
            _write(path, _detections(gt.img_ids, packed, category_ids, kind))
            print_log(f'Predictions are written to {path}', logger=log)
    if 'segm' in metrics and not format_only:
        _check_stored_masks(gt, stored_labels)
    return packed


def _check_predicted_masks(gt: GroundTruth, predictions: PackedPredictions) -> None:
    lacking = ~predictions.with_masks & (np.diff(predictions.offsets) > 0)
    for index in np.flatnonzero(lacking)[:1].tolist():
        raise ValueError(
            "metric 'segm' compares masks, but the model predicts none (image "
            f"{gt.img_ids[index]!r}); write metric='bbox', or use a model with a mask "
            'head'
        )


def _check_stored_masks(gt: GroundTruth, stored_labels: NDArray[np.int64]) -> None:
    rows = np.flatnonzero(np.isin(gt.labels, stored_labels))
    for row, index in zip(rows.tolist(), gt.images_of(rows).tolist()):
        mask = gt.segmentations and gt.segmentations[row]
        number = row - int(gt.offsets[index])
        img_id = gt.img_ids[index]
        if isinstance(mask, list) and mask and len(mask[0]) <= 4:
            # pycocotools would take it for a box and fail.
            raise ValueError(
                f"metric 'segm' compares masks, but instance {number} of image "
                f'{img_id!r} ({gt.file_names[index]!r}) is stored with a polygon of '
                f'{len(mask[0])} numbers, {mask[0]}: a polygon needs at least 3 '
                "points, [x, y, x, y, x, y]; correct it, or write metric='bbox'"
            )
        if not mask:
            raise ValueError(
                f"metric 'segm' compares masks, but instance {number} of image "
                f"{img_id!r} is stored without one; write metric='bbox', or store "
                'its mask'
            )


def _detections(
    img_ids: Sequence[Any],
    predictions: PackedPredictions,
    category_ids: Sequence[int],
    kind: str,
) -> Iterator[list[dict[str, Any]]]:
    """Yield the content of a result file, for some images at a time."""
    count = len(predictions)
    for start in range(0, count, _IMAGES_AT_ONCE):
        part = predictions.rows(start, min(start + _IMAGES_AT_ONCE, count))
        rows = np.arange(part.start, part.stop)
        masks = predictions.masks(rows.tolist()) if kind == 'segm' else []
        images = predictions.images_of(rows)
        detections: list[dict[str, Any]] = [
            {
                'image_id': img_ids[image],
                'bbox': box,
                'score': score,
                'category_id': category_ids[label],
            }
            for image, box, score, label in zip(
                images.tolist(),
                box_sizes(predictions.bboxes[part]).tolist(),
                np.asarray(predictions.scores_of(kind)[part], dtype=np.float64).tolist(),
                predictions.labels[part].tolist(),
            )
        ]
        with_mask = predictions.with_masks[images].tolist()
        for detection, mask, has_mask in zip(detections, masks, with_mask):
            if has_mask:
                detection['segmentation'] = mask
        yield detections


def _write(path: str, parts: Iterator[list[dict[str, Any]]]) -> None:
    """Write lists as one list of JSON, without holding all of it where that can be."""
    texts = (text for text in (json.dumps(part)[1:-1] for part in parts) if text)
    backend = get_file_backend(path)
    if not isinstance(backend, LocalBackend):
        backend.put_text(f'[{", ".join(texts)}]', path)
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    draft = f'{path}.part'
    try:
        with open(draft, 'w', encoding='utf-8') as file:
            file.write('[')
            for number, text in enumerate(texts):
                file.write(f', {text}' if number else text)
            file.write(']')
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
