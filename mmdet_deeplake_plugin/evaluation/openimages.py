"""Compute OpenImages' mean average precision: hierarchy, verified labels, group-of."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from .backends.mmdet import mean_average_precision, stock_class, tensors_of
from .ground_truth import GroundTruth, Prediction
from .voc import mean_over

METRICS = ('mAP',)


def evaluate_openimages(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    metric: str = 'mAP',
    *,
    iou_thrs: float | Sequence[float] | None = None,
    ioa_thrs: float | Sequence[float] = 0.5,
    use_group_of: bool = True,
    get_supercategory: bool = True,
    filter_labels: bool = True,
    logger: logging.Logger | str | None = None,
) -> dict[str, float]:
    """Score predictions as ``OpenImagesMetric`` does.

    As in stock, this forks worker processes if there are several images, so no read may
    be in flight. The difference: ``use_group_of=False`` works.

    Args:
        gt: The annotations, with ``open_images``.
        predictions: One per image, in the order of ``gt.img_ids``.
        classes: Class names: label i of a prediction means ``classes[i]``.
        metric: ``mAP``.
        iou_thrs: IoU threshold or thresholds. Defaults to 0.5.
        ioa_thrs: Share of a prediction that must lie in a group-of box: one number, or
            one per threshold. Defaults to 0.5.
        use_group_of: Whether group-of boxes stand for groups. Defaults to True.
        get_supercategory: Whether boxes count for the classes above theirs too. Defaults
            to True.
        filter_labels: Whether predictions of classes that were not verified in an image
            are left out. Defaults to True.
        logger: See ``mmengine.logging.print_log``. Defaults to None: the current logger.

    Returns:
        ``mAP``, and rounded to 3 digits ``AP50``, ….

    Raises:
        ValueError: If predictions do not fit the annotations, or the numbers of
            thresholds differ.
    """
    gt.check_predictions(predictions, classes)
    ious = np.atleast_1d(0.5 if iou_thrs is None else iou_thrs).tolist()
    ioas = np.atleast_1d(ioa_thrs).tolist()
    if len(ioas) not in (1, len(ious)):
        raise ValueError(
            f'ioa_thrs must be one number or {len(ious)}, one for each of iou_thrs, got '
            f'{len(ioas)}'
        )
    extra = gt.open_images
    if extra is None:
        raise ValueError('the ground truth must have open_images, got None')
    old = gt.labels_of_classes(classes)
    new = np.full(len(gt.category_names), -1, np.int64)
    new[old] = np.arange(len(classes))
    relations = np.zeros((len(classes), len(classes)))
    for label, stored in enumerate(old.tolist()):
        above = new[np.array(extra.relations[stored], np.int64)]
        relations[label, above[above >= 0]] = 1
    stock = stock_class('OpenImagesMetric')(
        get_supercategory=get_supercategory, filter_labels=filter_labels
    )
    stock.dataset_meta = {'classes': classes, 'RELATION_MATRIX': relations}
    labels = new[gt.labels]
    for index, prediction in enumerate(predictions):
        rows = np.arange(*gt.offsets[index : index + 2])
        rows = rows[labels[rows] >= 0]
        verified = None
        if extra.image_labels is not None:
            verified = new[extra.image_labels[index]]
            verified = verified[verified >= 0]
        instances = zip(
            gt.boxes_xyxy[rows].tolist(),
            labels[rows].tolist(),
            (extra.group_of[rows] & use_group_of).tolist(),
        )
        sample = {
            'instances': [
                {'bbox': box, 'bbox_label': label, 'is_group_of': is_group}
                for box, label, is_group in instances
            ],
            'image_level_labels': verified,
            'pred_instances': tensors_of(prediction, 'bboxes', 'scores', 'labels'),
        }
        stock.process({}, [sample])
    truths, found = zip(*stock.results)
    values = [
        mean_average_precision(
            found,
            truths,
            iou_thr=iou,
            ioa_thr=ioa,
            dataset=tuple(classes),  # names for the table; stock has its own 601 or 500
            logger='current' if logger is None else logger,
            use_group_of=True,
        )
        for iou, ioa in zip(ious, ioas * (len(ious) // len(ioas)))
    ]
    return mean_over(ious, values)
