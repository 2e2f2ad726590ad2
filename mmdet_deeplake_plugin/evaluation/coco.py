"""COCO's box and mask metrics: ground truth and predictions to mAP and recall.

The numbers, keys and written JSON are those of MMDetection's ``CocoMetric``
with an annotation file. The differences:

- a label means its class by name, whatever the order of the categories;
- ``bbox_mAP`` and ``segm_mAP`` come first, so that ``save_best='auto'`` picks one;
- no detections at all are scored like any other result: zeros;
- ``iou_thrs`` may be a float or a list, also together with ``classwise``;
- classwise rows belong to their class in any order of category ids;
- ``proposal_fast`` leaves out what is marked ``ignore`` wherever it stands
  among the metrics (stock forgets the marks once another metric has run).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from mmdet.evaluation import print_recall_summary
from mmengine.logging import print_log
from numpy.typing import NDArray

from .backends.coco import (
    backend_classes,
    image_numbers,
    load_annotations,
    load_detections,
    run,
)
from .classwise import classwise_precision, mean_precision
from .detections import (
    check_predicted_masks,
    check_stored_masks,
    detections_by_kind,
    write_detections,
)
from .ground_truth import GroundTruth, Prediction
from .recall import proposal_recall

METRICS = ('bbox', 'segm', 'proposal', 'proposal_fast')

# Where COCOeval.stats holds each item. The names of the recalls are fixed,
# whatever proposal_nums says, as in MMDetection.
_STATS = {
    'mAP': 0,
    'mAP_50': 1,
    'mAP_75': 2,
    'mAP_s': 3,
    'mAP_m': 4,
    'mAP_l': 5,
    'AR@100': 6,
    'AR@300': 7,
    'AR@1000': 8,
    'AR_s@1000': 9,
    'AR_m@1000': 10,
    'AR_l@1000': 11,
}
_PRECISION_ITEMS = tuple(_STATS)[:6]
_PROPOSAL_ITEMS = tuple(_STATS)[6:]


def evaluate_coco(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    metrics: str | Sequence[str] = 'bbox',
    *,
    classwise: bool = False,
    proposal_nums: Sequence[int] = (100, 300, 1000),
    iou_thrs: float | Sequence[float] | NDArray[np.float64] | None = None,
    metric_items: Sequence[str] | None = None,
    format_only: bool = False,
    outfile_prefix: str | None = None,
    sort_categories: bool = False,
    backend: str = 'pycocotools',
    logger: logging.Logger | str | None = None,
) -> dict[str, float]:
    """Score predictions as ``CocoMetric`` does.

    Args:
        gt: The annotations.
        predictions: One per image, in the order of ``gt.img_ids``.
        classes: Class names: label i of a prediction means ``classes[i]``.
        metrics: Some of ``bbox`` (precision and recall per class), ``segm`` (the
            same by the overlap of masks), ``proposal`` (recall whatever the class)
            and ``proposal_fast`` (the same with a simpler matching). Defaults to
            ``bbox``.
        classwise: Whether ``bbox`` and ``segm`` also report ``<class>_precision``
            (with both, the later one's) and log a table of classes. Defaults to
            False.
        proposal_nums: How many detections of an image may count. ``bbox``, ``segm``
            and ``proposal`` need three numbers, and report precision at most 100
            detections. With one number ``bbox`` and ``segm`` report precision at
            that many, as ``CocoMetric(use_mp_eval=True)`` does (V3Det: 300).
            Defaults to (100, 300, 1000).
        iou_thrs: IoU thresholds. Defaults to 0.5 to 0.95 in steps of 0.05.
        metric_items: Which items of COCO's summary to report, such as
            ``mAP_50`` or ``AR@100``. Defaults to the six precisions for
            ``bbox`` and ``segm`` and the six recalls for ``proposal``.
        format_only: Whether to write the predictions without scoring them.
            Defaults to False.
        outfile_prefix: The predictions are written in COCO's format to
            ``<outfile_prefix>.bbox.json`` and, if they have masks,
            ``<outfile_prefix>.segm.json``. Defaults to None: nowhere.
        sort_categories: Whether classes are listed by category id instead of
            in stored order. Defaults to False.
        backend: Which implementation of COCO's evaluation computes ``bbox``,
            ``segm`` and ``proposal``, with the same digits: ``pycocotools`` or
            ``faster_coco_eval``. Defaults to the former.
        logger: Where tables go, see ``mmengine.logging.print_log``. Defaults
            to None: the current logger.

    Returns:
        Numbers by name: ``bbox_mAP``, ..., ``<class>_precision``, ``AR@100``,
        .... An item without any ground truth is -1, a class without any NaN.
        Empty with ``format_only``.

    Raises:
        KeyError: If a metric, a metric item or the backend is unknown.
        ImportError: If the package of the backend is not installed.
        ValueError: If a class is not in the ground truth, if a label has no
            class, if ``segm`` lacks masks of either side, or if options do not fit
            together.
    """
    log = 'current' if logger is None else logger
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    proposal_nums = list(proposal_nums)
    thresholds = thresholds_of(iou_thrs)
    _check_options(metrics, metric_items, proposal_nums, format_only, outfile_prefix)
    coco_class, eval_class = backend_classes(backend)
    by_class = [metric for metric in metrics if metric in ('bbox', 'segm')]
    is_single = len(proposal_nums) == 1
    if by_class and 100 not in proposal_nums and not is_single:
        print_log(
            f'proposal_nums={proposal_nums} lacks 100: COCO states {by_class[0]}_mAP for '
            '100 detections an image, so it will be -1',
            logger=log,
            level=logging.WARNING,
        )
    gt.check_predictions(predictions, classes)
    stored_labels = gt.labels_of_classes(classes)

    category_of_label = [gt.category_ids[label] for label in stored_labels]
    if 'segm' in metrics:
        check_predicted_masks(gt, predictions)
    compared = metrics if outfile_prefix is None else None  # files hold all
    detections = detections_by_kind(gt, predictions, category_of_label, compared)
    if outfile_prefix is not None:
        write_detections(detections, outfile_prefix, log)
    if format_only:
        return {}
    if 'segm' in metrics:
        check_stored_masks(gt, stored_labels)
    if backend != 'pycocotools':  # only that takes ids that are text, or very large
        numbers = image_numbers(gt.img_ids)
        gt = replace(gt, img_ids=[numbers[img_id] for img_id in gt.img_ids])
        for content in detections.values():
            for detection in content:
                detection['image_id'] = numbers[detection['image_id']]

    # The order of the categories decides between equal scores in `proposal`.
    wanted = set(category_of_label)
    listed = sorted(gt.category_ids) if sort_categories else gt.category_ids
    cat_ids = [cat_id for cat_id in listed if cat_id in wanted]
    names = dict(zip(gt.category_ids, gt.category_names))

    results: dict[str, float] = {}
    coco_gt: Any = None
    loaded: dict[str, Any] = {}
    for metric in metrics:
        print_log(f'Evaluating {metric}...', logger=log)
        if metric == 'proposal_fast':
            counted = ~(gt.crowd | gt.excluded)
            results.update(
                fast_recall(gt, predictions, proposal_nums, thresholds, counted, log)
            )
            continue
        kind = 'segm' if metric == 'segm' else 'bbox'
        if coco_gt is None:
            coco_gt = load_annotations(coco_class, gt.to_coco())
        if kind not in loaded:
            loaded[kind] = load_detections(coco_gt, detections.get(kind, []))
        evaluation = eval_class(coco_gt, loaded[kind], kind)
        evaluation.params.imgIds = gt.img_ids
        evaluation.params.catIds = cat_ids
        # COCO's summary wants three; all but one of its lines look at the last.
        evaluation.params.maxDets = [1, 1, *proposal_nums][-3:]
        evaluation.params.iouThrs = thresholds
        evaluation.params.useCats = int(metric != 'proposal')
        run(evaluation, log)
        if is_single:
            evaluation.stats[_STATS['mAP']] = mean_precision(evaluation)
        if metric == 'proposal':
            for item in _PROPOSAL_ITEMS if metric_items is None else metric_items:
                results[item] = float(f'{evaluation.stats[_STATS[item]]:.3f}')
            continue
        for item in _PRECISION_ITEMS if metric_items is None else metric_items:
            results[f'{metric}_{item}'] = float(round(evaluation.stats[_STATS[item]], 3))
        if classwise:
            rows = {cat_id: names[cat_id] for cat_id in cat_ids}
            precisions, table = classwise_precision(evaluation, rows)
            results.update(precisions)
            print_log(f'\n{table}', logger=log)
        summary = ' '.join(f'{value:.3f}' for value in evaluation.stats[:6])
        print_log(f'{metric}_mAP_copypaste: {summary}', logger=log)
    return _mean_first(results)


def thresholds_of(
    iou_thrs: float | Sequence[float] | NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """IoU thresholds as an array, 0.5 to 0.95 in steps of 0.05 by default.

    Args:
        iou_thrs: A number, numbers, or ``None``.

    Raises:
        ValueError: If there are none.
    """
    if iou_thrs is None:
        # linspace, not arange: COCOeval looks 0.5 and 0.75 up by equality.
        return np.linspace(0.5, 0.95, 10)
    thresholds = np.atleast_1d(np.asarray(iou_thrs, dtype=np.float64))
    if thresholds.ndim != 1 or thresholds.size == 0:
        raise ValueError(
            f'iou_thrs={iou_thrs!r}: give a number or a list of numbers, such as '
            '[0.5, 0.75]'
        )
    return thresholds


def _check_options(
    metrics: list[str],
    metric_items: Sequence[str] | None,
    proposal_nums: list[int],
    format_only: bool,
    outfile_prefix: str | None,
) -> None:
    for metric in metrics:
        if metric not in METRICS:
            raise KeyError(f'unknown metric {metric!r}: write one of {_quoted(METRICS)}')
    for item in metric_items or ():
        if item not in _STATS:
            raise KeyError(
                f'unknown metric item {item!r}: write some of {_quoted(_STATS)}'
            )
    needs_three = set(metrics) - {'proposal_fast'}
    one_will_do = 'proposal' not in metrics and set(metric_items or ()) <= {
        *_PRECISION_ITEMS
    }
    if needs_three and len(proposal_nums) not in ((1, 3) if one_will_do else (3,)):
        raise ValueError(
            f'proposal_nums={proposal_nums}: the metrics bbox, segm and proposal need '
            'three numbers, such as (100, 300, 1000); for the precisions of bbox and '
            'segm one will do'
        )
    if format_only and outfile_prefix is None:
        raise ValueError(
            'format_only=True only writes the predictions, but outfile_prefix is '
            "not set: add outfile_prefix='path/of/results'"
        )


def fast_recall(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    proposal_nums: list[int],
    thresholds: NDArray[np.float64],
    counted: NDArray[np.bool_],
    log: logging.Logger | str,
) -> dict[str, float]:
    """The metric ``proposal_fast``: recall of boxes, whatever their class.

    Args:
        gt: The annotations.
        predictions: One per image, in the order of ``gt.img_ids``.
        proposal_nums: How many detections of an image may count, in rising order.
        thresholds: IoU thresholds.
        counted: Which boxes are to be found, shape ``(N,)``.
        log: Where the tables go.

    Returns:
        ``AR@<number>`` -> recall, the mean over the thresholds.
    """
    boxes = [
        gt.boxes_xyxy[rows][counted[rows]]
        for rows in (gt.instances(index) for index in range(len(gt)))
    ]
    proposals = [np.asarray(found.bboxes).reshape(-1, 4) for found in predictions]
    recalls = proposal_recall(boxes, proposals, proposal_nums, thresholds)
    print_recall_summary(recalls, proposal_nums, thresholds, logger=log)
    average = recalls.mean(axis=1).tolist()
    results = {f'AR@{num}': recall for num, recall in zip(proposal_nums, average)}
    lines = [f'\n{name}\t{recall:.4f}' for name, recall in results.items()]
    print_log(''.join(lines), logger=log)
    return results


def _mean_first(results: dict[str, float]) -> dict[str, float]:
    first = [name for name in ('bbox_mAP', 'segm_mAP') if name in results]
    return {name: results[name] for name in [*first, *results]}


def _quoted(names: Iterable[str]) -> str:
    return ', '.join(repr(name) for name in names)
