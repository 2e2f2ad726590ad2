"""Compute the average precision of each class from a finished COCO evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from terminaltables import AsciiTable

_HEADER = ['category', 'mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l']


def classwise_precision(
    evaluation: Any, classes: Mapping[int, str]
) -> tuple[dict[str, float], str]:
    """Return the precision of each class, at the largest number of detections.

    Args:
        evaluation: A ``COCOeval`` after ``accumulate()``.
        classes: Class name by category id, in the order of the rows.

    Returns:
        Precisions by ``<class>_precision``, rounded to three digits, NaN for a class
        without ground truth; and a table for the log, whose columns mAP_50 and mAP_75
        are NaN if that threshold was not evaluated.
    """
    # Shape (thresholds, recalls, categories, areas, detections).
    precision = evaluation.eval['precision'][..., -1]
    thresholds = np.asarray(evaluation.params.iouThrs)
    # COCOeval sorts the categories, so their order here is not that of the rows.
    column = {cat_id: k for k, cat_id in enumerate(evaluation.params.catIds)}

    results = {}
    table: list[list[str]] = [_HEADER]
    for cat_id, name in classes.items():
        every_area = precision[:, :, column[cat_id]]
        whole = every_area[..., 0]
        values = [
            _mean(whole),
            _mean(whole[thresholds == 0.5]),
            _mean(whole[thresholds == 0.75]),
            *(_mean(every_area[..., area]) for area in (1, 2, 3)),
        ]
        results[f'{name}_precision'] = float(values[0])
        table.append([name, *(str(value) for value in values)])
    return results, AsciiTable(table).table


def mean_precision(evaluation: Any) -> float:
    """Return the mean precision of all classes, at the largest number of detections.

    Args:
        evaluation: A ``COCOeval`` after ``accumulate()``.

    Returns:
        The mean, -1 without any ground truth.
    """
    precision = evaluation.eval['precision'][..., 0, -1]
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else -1.0


def group_precision(
    evaluation: Any, classes: Mapping[int, str], groups: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Return the precision of groups of classes, at the largest number of detections.

    Args:
        evaluation: A ``COCOeval`` after ``accumulate()``.
        classes: Class name by category id.
        groups: Name of a group -> its classes.

    Returns:
        ``<group>_ap``, and ``<group>_ap50`` at the first threshold; -1 for a group
        without ground truth.
    """
    precision, ids = evaluation.eval['precision'], evaluation.params.catIds
    results = {}
    for name, members in groups.items():
        chosen = [k for k, cat_id in enumerate(ids) if classes[cat_id] in members]
        # The order of the values, which decides the last digit, is that of OVCocoMetric.
        for key, values in (
            (f'{name}_ap', precision[:, :, chosen, 0, -1]),
            (f'{name}_ap50', precision[0, :, chosen, 0, -1]),
        ):
            defined = values[values > -1]
            results[key] = float(np.mean(defined)) if defined.size else -1.0
    return results


def _mean(precision: NDArray[np.float64]) -> np.float64:
    # COCOeval writes -1 where it has no ground truth.
    defined = precision[precision > -1]
    return np.round(defined.mean(), 3) if defined.size else np.float64('nan')
