"""Compute LVIS's box and mask metrics, AP by frequency of the class.

The numbers, keys and written JSON are those of MMDetection's ``LVISMetric`` with an
annotation file. The differences:

- a label means its class by name, and only the dataset's classes count;
- ``bbox_AP`` and ``segm_AP`` come first, so that ``save_best='auto'`` picks one;
- a model without any detections is scored like any other: zeros;
- classwise rows belong to their class in any order of category ids;
- ``iou_thrs`` and ``proposal_nums``, which affect ``proposal_fast`` only, are refused
  without it.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray
from terminaltables import AsciiTable

from .classwise import mean_of_defined
from .coco import check_names, fast_recall, means_first, thresholds_of
from .detections import prepare_predictions
from .ground_truth import GroundTruth, Prediction
from .groups.jobs import Spread, one_by_one
from .groups.lvis_scorer import LvisScorer
from .groups.scoring import ClassScoring

PROPOSAL_NUMS = (100, 300, 1000)
_PRECISION_ITEMS = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')
_RECALL_ITEMS = ('AR@300', 'ARs@300', 'ARm@300', 'ARl@300')
ITEMS = (*_PRECISION_ITEMS, *_RECALL_ITEMS)
_KINDS = {'bbox': 'bbox', 'segm': 'segm', 'proposal': 'bbox'}


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
    spread: Spread = one_by_one,
) -> dict[str, float]:
    """Score predictions as ``LVISMetric`` does.

    Args:
        gt: The annotations, with ``federation``.
        predictions: One per image, in the order of ``gt.img_ids``.
        classes: Class names: label i of a prediction means ``classes[i]``.
        metrics: As for :func:`evaluate_coco`, but ``proposal`` reports the recall by
            class, as in MMDetection.
        classwise: As for :func:`evaluate_coco`.
        proposal_nums: Maximum numbers of detections per image in ``proposal_fast``; the
            others use 300.
        iou_thrs: IoU thresholds of ``proposal_fast``; the others use 0.5 to 0.95.
        metric_items: Which items to report, such as ``APr`` or ``AR@300``. Defaults to
            the nine precisions for ``bbox`` and ``segm`` and the four recalls for
            ``proposal``.
        format_only: As for :func:`evaluate_coco`.
        outfile_prefix: As for :func:`evaluate_coco`.
        logger: As for :func:`evaluate_coco`.
        spread: As for :func:`evaluate_coco`.

    Returns:
        Numbers by name: ``bbox_AP``, ..., ``<class>_precision``, ``AR@300``, ....
        Without ground truth, an item is -1 and a class NaN. Empty with
        ``format_only``.

    Raises:
        KeyError: If a metric or a metric item is unknown.
        ValueError: If a class is not in the ground truth, if a label has no class, if
            ``segm`` lacks predicted or stored masks, if ``federation`` is not set, or if
            an option has no effect.
        ImportError: If the package ``lvis`` is not installed.
    """
    log = 'current' if logger is None else logger
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    check_lvis_options(metrics, metric_items, proposal_nums, iou_thrs)
    if gt.federation is None:
        raise ValueError(
            'LVIS needs to know which classes were searched for in each image, but the '
            'ground truth has no federation; read it too'
        )
    found = prepare_predictions(
        gt, predictions, classes, metrics, format_only, outfile_prefix, log
    )
    if format_only:
        return {}

    names = gt.categories_of_classes(classes)
    labels = gt.labels_of_classes(classes)
    nothing = np.zeros(0, dtype=np.int64)
    categories = gt.to_coco(nothing, nothing, labels.tolist())['categories']
    kinds = list(dict.fromkeys(_KINDS[each] for each in metrics if each in _KINDS))
    scorers = tuple(LvisScorer(kind, categories) for kind in kinds)
    scoring = ClassScoring(gt, found, labels, scorers)
    jobs = scoring.jobs()
    done = spread(scoring, jobs)
    results: dict[str, float] = {}
    evaluations: dict[str, Any] = {}
    for metric in metrics:
        print_log(f'Evaluating {metric}...', logger=log)
        if metric == 'proposal_fast':
            every = np.ones(len(gt.labels), dtype=bool)
            nums, thresholds = list(proposal_nums), thresholds_of(iou_thrs)
            results.update(fast_recall(gt, found, nums, thresholds, every, log))
            continue
        kind = _KINDS[metric]
        if kind not in evaluations:
            number = kinds.index(kind)
            evaluations[kind] = scoring.summarize(number, jobs, done, log)
        evaluation = evaluations[kind]
        usual = _RECALL_ITEMS if metric == 'proposal' else _PRECISION_ITEMS
        prefix = '' if metric == 'proposal' else f'{metric}_'
        for item, value in evaluation.get_results().items():
            if item in (usual if metric_items is None else metric_items):
                results[f'{prefix}{item}'] = float(f'{float(value):.3f}')
        if classwise and metric != 'proposal':
            precisions, table = _by_class(evaluation, names)
            results.update(precisions)
            print_log(f'\n{table}', logger=log)
    return means_first(results, 'AP')


def check_lvis_options(
    metrics: Sequence[str],
    metric_items: Sequence[str] | None,
    proposal_nums: Sequence[int],
    iou_thrs: Any,
) -> None:
    """Refuse options of :func:`evaluate_lvis` that are unknown or have no effect.

    Raises:
        KeyError: If a metric or an item is unknown.
        ValueError: If an option has no effect on any of the metrics.
    """
    check_names(metrics, metric_items, ITEMS)
    if iou_thrs is not None:
        ineffective = f'iou_thrs={iou_thrs!r}'
    elif tuple(proposal_nums) != PROPOSAL_NUMS:
        ineffective = f'proposal_nums={tuple(proposal_nums)!r}'
    else:
        return
    if 'proposal_fast' not in metrics:
        raise ValueError(
            f'{ineffective} affects only the metric proposal_fast of LVIS: 300 '
            'detections per image and thresholds from 0.5 to 0.95 are fixed; leave it out'
        )


def _by_class(evaluation: Any, classes: dict[int, str]) -> tuple[dict[str, float], str]:
    # Shape (thresholds, recalls, categories, areas).
    precision = evaluation.eval['precision'][..., 0]
    column = {cat_id: k for k, cat_id in enumerate(evaluation.params.cat_ids)}
    results, cells = {}, []
    for cat_id, name in classes.items():
        value = mean_of_defined(precision[:, :, column[cat_id]], otherwise=math.nan)
        results[f'{name}_precision'] = round(value, 3)
        cells += [name, f'{value:0.3f}']
    width = min(6, len(cells))
    columns = [cells[start::width] for start in range(width)]
    table = [['category', 'AP'] * (width // 2), *itertools.zip_longest(*columns)]
    return results, AsciiTable(table).table
