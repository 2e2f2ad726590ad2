"""LVIS's box and mask metrics: ground truth and predictions to AP by frequency.

The numbers, keys and written JSON are those of MMDetection's ``LVISMetric`` with an
annotation file. The differences:

- a label means its class by name, and only the classes of the dataset count;
- ``bbox_AP`` and ``segm_AP`` come first, so that ``save_best='auto'`` picks one;
- no detections at all are scored like any other result: zeros;
- classwise rows belong to their class in any order of category ids;
- ``iou_thrs`` and ``proposal_nums``, which there change ``proposal_fast`` alone, are
  refused where they would change nothing.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray
from terminaltables import AsciiTable

from .backends.lvis import load_lvis, load_lvis_results, run_lvis
from .coco import fast_recall, thresholds_of
from .detections import (
    check_predicted_masks,
    check_stored_masks,
    detections_by_kind,
    write_detections,
)
from .ground_truth import GroundTruth, Prediction

METRICS = ('bbox', 'segm', 'proposal', 'proposal_fast')
PROPOSAL_NUMS = (100, 300, 1000)
_PRECISION_ITEMS = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')
_RECALL_ITEMS = ('AR@300', 'ARs@300', 'ARm@300', 'ARl@300')


def evaluate_lvis(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    metrics: str | Sequence[str] = 'bbox',
    *,
    classwise: bool = False,
    proposal_nums: Sequence[int] = PROPOSAL_NUMS,
    iou_thrs: float | Sequence[float] | NDArray[np.float64] | None = None,
    metric_items: Sequence[str] | None = None,
    format_only: bool = False,
    outfile_prefix: str | None = None,
    logger: logging.Logger | str | None = None,
) -> dict[str, float]:
    """Score predictions as ``LVISMetric`` does.

    Args:
        gt: The annotations, with ``federation``.
        predictions: One per image, in the order of ``gt.img_ids``.
        classes: Class names: label i of a prediction means ``classes[i]``.
        metrics: ``bbox``, ``segm``, ``proposal``, ``proposal_fast`` or a list of them.
            ``proposal`` gives the recall by class, as in MMDetection.
        classwise: Whether ``bbox`` and ``segm`` also report ``<class>_precision``.
        proposal_nums: How many detections may count in ``proposal_fast``; the others
            take 300 an image.
        iou_thrs: IoU thresholds of ``proposal_fast``; the others take 0.5 to 0.95.
        metric_items: Which items to report, such as ``APr`` or ``AR@300``. Defaults to
            the nine precisions for ``bbox`` and ``segm`` and the four recalls for
            ``proposal``.
        format_only: Whether to write the predictions without scoring them.
        outfile_prefix: The predictions are written to ``<outfile_prefix>.bbox.json``
            and, if they have masks, ``<outfile_prefix>.segm.json``.
        logger: Where tables go, see ``mmengine.logging.print_log``.

    Returns:
        Numbers by name: ``bbox_AP``, ..., ``<class>_precision``, ``AR@300``, .... An
        item without any ground truth is -1, a class without any NaN.

    Raises:
        KeyError: If a metric or a metric item is unknown.
        ValueError: If a class is not in the ground truth, if a label has no class, if
            ``segm`` lacks masks of either side, or if options do not fit together.
        ImportError: If the package ``lvis`` is not installed.
    """
    log = 'current' if logger is None else logger
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    check_lvis_options(metrics, metric_items, proposal_nums, iou_thrs)
    if gt.federation is None:
        raise ValueError(
            'LVIS is scored with what is known of each image; read it with the ground '
            'truth (federation)'
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

    names = dict(zip(gt.category_ids, gt.category_names))
    rows = {i: names[i] for i in gt.category_ids if i in set(category_of_label)}
    lvis_gt = load_lvis(gt.to_coco())
    results: dict[str, float] = {}
    for metric in metrics:
        print_log(f'Evaluating {metric}...', logger=log)
        if metric == 'proposal_fast':
            every = np.ones(len(gt.labels), dtype=bool)
            nums, thresholds = list(proposal_nums), thresholds_of(iou_thrs)
            results.update(fast_recall(gt, predictions, nums, thresholds, every, log))
            continue
        kind = 'segm' if metric == 'segm' else 'bbox'
        # Loading adds keys to detections, which another metric shall not meet.
        found = load_lvis_results(
            lvis_gt, [dict(one) for one in detections.get(kind, [])]
        )
        evaluation = run_lvis(lvis_gt, found, kind, list(rows), log)
        usual = _RECALL_ITEMS if metric == 'proposal' else _PRECISION_ITEMS
        prefix = '' if metric == 'proposal' else f'{metric}_'
        for item, value in evaluation.get_results().items():
            if item in (usual if metric_items is None else metric_items):
                results[f'{prefix}{item}'] = float(f'{float(value):.3f}')
        if classwise and metric != 'proposal':
            precisions, table = _by_class(evaluation, rows)
            results.update(precisions)
            print_log(f'\n{table}', logger=log)
    first = [name for name in ('bbox_AP', 'segm_AP') if name in results]
    return {name: results[name] for name in [*first, *results]}


def check_lvis_options(
    metrics: Sequence[str],
    metric_items: Sequence[str] | None,
    proposal_nums: Sequence[int],
    iou_thrs: Any,
) -> None:
    """Refuses what is unknown, or would change nothing.

    Args:
        metrics: As for :func:`evaluate_lvis`, as the others.
        metric_items: Items.
        proposal_nums: Numbers of detections.
        iou_thrs: Thresholds.

    Raises:
        KeyError: If a metric or an item is unknown.
        ValueError: If an option has no effect on any of the metrics.
    """
    for metric in metrics:
        if metric not in METRICS:
            raise KeyError(f'unknown metric {metric!r}: write one of {_quoted(METRICS)}')
    items = (*_PRECISION_ITEMS, *_RECALL_ITEMS)
    for item in metric_items or ():
        if item not in items:
            raise KeyError(
                f'unknown metric item {item!r}: write some of {_quoted(items)}'
            )
    if 'proposal_fast' in metrics:
        return
    given: dict[str, Any] = {}
    if iou_thrs is not None:
        given['iou_thrs'] = iou_thrs
    if tuple(proposal_nums) != PROPOSAL_NUMS:
        given['proposal_nums'] = tuple(proposal_nums)
    for key, value in given.items():
        raise ValueError(
            f'{key}={value!r} changes nothing in LVIS but the metric proposal_fast: 300 '
            'detections an image and thresholds from 0.5 to 0.95 are fixed; leave it out'
        )


def _by_class(evaluation: Any, classes: dict[int, str]) -> tuple[dict[str, float], str]:
    # Shape (thresholds, recalls, categories, areas).
    precision = evaluation.eval['precision'][..., 0]
    column = {cat_id: k for k, cat_id in enumerate(evaluation.params.cat_ids)}
    results, cells = {}, []
    for cat_id, name in classes.items():
        known = precision[:, :, column[cat_id]]
        known = known[known > -1]
        value = float(np.mean(known)) if known.size else float('nan')
        results[f'{name}_precision'] = round(value, 3)
        cells += [name, f'{value:0.3f}']
    width = min(6, len(cells))
    columns = [cells[start::width] for start in range(width)]
    table = [['category', 'AP'] * (width // 2), *itertools.zip_longest(*columns)]
    return results, AsciiTable(table).table


def _quoted(names: Sequence[str]) -> str:
    return ', '.join(repr(name) for name in names)
