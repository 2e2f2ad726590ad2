"""Compute COCO's box and mask metrics, mAP and recall.

The numbers, keys and written JSON are those of MMDetection's ``CocoMetric``
with an annotation file. The differences:

- a label means its class by name, whatever the order of the categories;
- ``bbox_mAP`` and ``segm_mAP`` come first, so that ``save_best='auto'`` picks one;
- a model without any detections is scored like any other: zeros;
- ``iou_thrs`` may be a float or a list, also together with ``classwise``;
- classwise rows belong to their class in any order of category ids;
- ``proposal_fast`` leaves out what is marked ``ignore`` at any position among the
  metrics (stock forgets the marks once another metric has run).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from ..utils.messages import comma_joined
from .backends.coco import backend_classes
from .backends.mmdet import print_recall_summary
from .classwise import classwise_precision, group_precision, mean_precision
from .detections import prepare_predictions
from .ground_truth import GroundTruth, Prediction
from .groups.coco_scorer import CocoScorer
from .groups.jobs import Spread, one_by_one
from .groups.packed import PackedPredictions
from .groups.scoring import ClassScoring
from .recall import proposal_recall

METRICS = ('bbox', 'segm', 'proposal', 'proposal_fast')

# As in MMDetection, the names of the recalls do not depend on proposal_nums.
_PRECISION_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
_PROPOSAL_ITEMS = ('AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000')
ITEMS = (*_PRECISION_ITEMS, *_PROPOSAL_ITEMS)  # in the order of COCOeval.stats


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
    groups: Mapping[str, Sequence[str]] | None = None,
    logger: logging.Logger | str | None = None,
    spread: Spread = one_by_one,
) -> dict[str, float]:
    """Score predictions as ``CocoMetric`` does.

    Args:
        gt: The annotations.
        predictions: One per image, in the order of ``gt.img_ids``.
        classes: Class names: label i of a prediction means ``classes[i]``.
        metrics: Some of ``bbox`` (precision and recall per class), ``segm`` (the
            same by the overlap of masks), ``proposal`` (recall regardless of the
            class) and ``proposal_fast`` (the same with simpler matching). Defaults to
            ``bbox``.
        classwise: Whether ``bbox`` and ``segm`` also report ``<class>_precision``
            (with both, that of the later one) and log a table of classes. Defaults to
            False.
        proposal_nums: Maximum numbers of detections per image. ``bbox``, ``segm`` and
            ``proposal`` need three numbers, and report precision at 100 detections.
            With one number, ``bbox`` and ``segm`` report precision at that many, as
            ``CocoMetric(use_mp_eval=True)`` does (V3Det: 300). Defaults to (100, 300,
            1000).
        iou_thrs: IoU thresholds. Defaults to 0.5 to 0.95 in steps of 0.05.
        metric_items: Which items of COCO's summary to report, such as
            ``mAP_50`` or ``AR@100``. Defaults to the six precisions for
            ``bbox`` and ``segm`` and the six recalls for ``proposal``.
        format_only: Whether to write the predictions without scoring them.
            Defaults to False.
        outfile_prefix: The predictions are written in COCO's format to
            ``<outfile_prefix>.bbox.json`` and, if they have masks,
            ``<outfile_prefix>.segm.json``. Defaults to None: they are not written.
        sort_categories: Whether classes are listed by category id instead of in stored
            order. Defaults to False.
        backend: Implementation of COCO's evaluation for ``bbox``, ``segm`` and
            ``proposal``: ``pycocotools`` or ``faster_coco_eval``, with the same digits.
            Defaults to ``pycocotools``.
        groups: Groups of classes, whose ``<group>_ap`` and ``<group>_ap50`` ``bbox`` and
            ``segm`` report too (with both, those of the later one).
        logger: Logger for the tables, see ``mmengine.logging.print_log``. Defaults to
            None: the current logger.
        spread: Runs the jobs, each of which scores a class. Defaults to one after the
            other.

    Returns:
        Numbers by name: ``bbox_mAP``, ..., ``<class>_precision``, ``AR@100``, ....
        Without ground truth, an item is -1 and a class NaN. Empty with
        ``format_only``.

    Raises:
        KeyError: If a metric, a metric item or the backend is unknown.
        ImportError: If the package of the backend is not installed.
        ValueError: If a class is not in the ground truth, if a label has no
            class, if ``segm`` lacks predicted or stored masks, or if options contradict
            each other.
    """
    log = 'current' if logger is None else logger
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    proposal_nums = list(proposal_nums)
    thresholds = thresholds_of(iou_thrs)
    check_names(metrics, metric_items, ITEMS)
    check_proposal_nums(metrics, metric_items, proposal_nums)
    if format_only and outfile_prefix is None:
        raise ValueError(
            'format_only=True only writes the predictions, which needs outfile_prefix, '
            "but it is not set; add outfile_prefix='path/of/results'"
        )
    backend_classes(backend)
    by_class = [metric for metric in metrics if metric in ('bbox', 'segm')]
    is_single = len(proposal_nums) == 1
    if by_class and 100 not in proposal_nums and not is_single:
        print_log(
            f'proposal_nums={proposal_nums} lacks 100: COCO reports {by_class[0]}_mAP at '
            '100 detections per image, so it will be -1',
            logger=log,
            level=logging.WARNING,
        )
    found = prepare_predictions(
        gt, predictions, classes, metrics, format_only, outfile_prefix, log
    )
    if format_only:
        return {}
    gt = _with_small_ids(gt)
    names = gt.categories_of_classes(classes)
    if sort_categories:
        names = dict(sorted(names.items()))
    metrics = list(dict.fromkeys(metrics))
    scored = [metric for metric in metrics if metric != 'proposal_fast']
    scoring = ClassScoring(
        gt,
        found,
        gt.labels_of_classes(classes),
        tuple(
            CocoScorer(
                kind='segm' if metric == 'segm' else 'bbox',
                by_class=metric != 'proposal',
                thresholds=thresholds,
                # COCO's summary needs three; all but one of its lines use the last.
                max_dets=tuple([1, 1, *proposal_nums][-3:]),
                backend=backend,
                category_ids=tuple(names),
            )
            for metric in scored
        ),
    )
    jobs = scoring.jobs()
    done = spread(scoring, jobs)

    results: dict[str, float] = {}
    for metric in metrics:
        print_log(f'Evaluating {metric}...', logger=log)
        if metric == 'proposal_fast':
            counted = ~(gt.crowd | gt.excluded)
            results.update(
                fast_recall(gt, found, proposal_nums, thresholds, counted, log)
            )
            continue
        evaluation = scoring.summarize(scored.index(metric), jobs, done, log)
        if is_single:
            evaluation.stats[ITEMS.index('mAP')] = mean_precision(evaluation)
        stats = dict(zip(ITEMS, evaluation.stats))
        if metric == 'proposal':
            for item in _PROPOSAL_ITEMS if metric_items is None else metric_items:
                results[item] = float(f'{stats[item]:.3f}')
            continue
        for item in _PRECISION_ITEMS if metric_items is None else metric_items:
            results[f'{metric}_{item}'] = float(round(stats[item], 3))
        if classwise:
            precisions, table = classwise_precision(evaluation, names)
            results.update(precisions)
            print_log(f'\n{table}', logger=log)
        results.update(group_precision(evaluation, names, groups or {}))
        summary = ' '.join(f'{value:.3f}' for value in evaluation.stats[:6])
        print_log(f'{metric}_mAP_copypaste: {summary}', logger=log)
    return means_first(results, 'mAP')


def thresholds_of(
    iou_thrs: float | Sequence[float] | NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return IoU thresholds as an array, by default 0.5 to 0.95 in steps of 0.05.

    Raises:
        ValueError: If there are none.
    """
    if iou_thrs is None:
        # linspace, not arange: COCOeval finds 0.5 and 0.75 by equality.
        return np.linspace(0.5, 0.95, 10)
    thresholds = np.atleast_1d(np.asarray(iou_thrs, dtype=np.float64))
    if thresholds.ndim != 1 or thresholds.size == 0:
        raise ValueError(
            'iou_thrs must be a number or a list of numbers, such as [0.5, 0.75], got '
            f'{iou_thrs!r}'
        )
    return thresholds


def check_names(
    metrics: Sequence[str],
    metric_items: Sequence[str] | None,
    known_items: Collection[str],
) -> None:
    """Refuse unknown metrics and metric items.

    Raises:
        KeyError: If a name is unknown.
    """
    for what, names, known in (
        ('metric', metrics, METRICS),
        ('metric item', metric_items or (), known_items),
    ):
        for name in names:
            if name not in known:
                raise KeyError(
                    f'unknown {what} {name!r}: write one of '
                    f'{comma_joined(map(repr, known))}'
                )


def _with_small_ids(gt: GroundTruth) -> GroundTruth:
    """Number images and categories from 1, in the order of their ids.

    Packages hold ids as doubles, or in arrays of NumPy, which do not keep every text and
    every integer.
    """
    images, categories = (
        {each: number for number, each in enumerate(sorted(ids), start=1)}
        for ids in (gt.img_ids, gt.category_ids)
    )
    return replace(
        gt,
        img_ids=[images[img_id] for img_id in gt.img_ids],
        category_ids=tuple(categories[cat_id] for cat_id in gt.category_ids),
    )


def check_proposal_nums(
    metrics: Sequence[str],
    metric_items: Sequence[str] | None,
    proposal_nums: Sequence[int],
) -> None:
    """Refuse numbers of detections with which the metrics do not work.

    Raises:
        ValueError: If there are not three, or one for precisions.
    """
    needs_three = set(metrics) - {'proposal_fast'}
    items = set(metric_items or ())
    one_will_do = 'proposal' not in metrics and items <= set(_PRECISION_ITEMS)
    if needs_three and len(proposal_nums) not in ((1, 3) if one_will_do else (3,)):
        raise ValueError(
            'proposal_nums must be three numbers, such as (100, 300, 1000), for the '
            'metrics bbox, segm and proposal, or one number for the precisions of bbox '
            f'and segm, got {proposal_nums!r}; write proposal_nums=(100, 300, 1000)'
        )


def fast_recall(
    gt: GroundTruth,
    predictions: PackedPredictions,
    proposal_nums: list[int],
    thresholds: NDArray[np.float64],
    counted: NDArray[np.bool_],
    log: logging.Logger | str,
) -> dict[str, float]:
    """Compute ``proposal_fast``, the recall of boxes regardless of their class.

    Args:
        gt: The annotations.
        predictions: One per image, in the order of ``gt.img_ids``.
        proposal_nums: As for :func:`evaluate_coco`, in ascending order.
        thresholds: IoU thresholds.
        counted: Which boxes count, shape ``(N,)``.
        log: Logger for the tables.

    Returns:
        Recalls by ``AR@<number>``, each the mean over the thresholds.
    """
    boxes = [
        gt.boxes_xyxy[rows][counted[rows]]
        for rows in (gt.instances(index) for index in range(len(gt)))
    ]
    proposals = [
        predictions.bboxes[predictions.rows(index, index + 1)] for index in range(len(gt))
    ]
    recalls = proposal_recall(boxes, proposals, proposal_nums, thresholds)
    print_recall_summary(recalls, proposal_nums, thresholds, logger=log)
    average = recalls.mean(axis=1).tolist()
    results = {f'AR@{num}': recall for num, recall in zip(proposal_nums, average)}
    lines = [f'\n{name}\t{recall:.4f}' for name, recall in results.items()]
    print_log(''.join(lines), logger=log)
    return results


def means_first(results: Mapping[str, float], item: str) -> dict[str, float]:
    """Move the means, ``mAP`` or ``AP``, to the front, for ``save_best='auto'``."""
    first = [name for name in (f'bbox_{item}', f'segm_{item}') if name in results]
    return {name: results[name] for name in [*first, *results]}
