"""Compute the average precision of classes from a ``COCOeval`` after ``accumulate()``.

Precisions are those at the largest number of detections.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from terminaltables import AsciiTable

_HEADER = ['category', 'mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l']


def classwise_precision(
    evaluation: Any, classes: Mapping[int, str]
) -> tuple[dict[str, float], str]:
    """Return the precision of each class by category id, and a table in their order.

    Precisions are rounded to three digits, NaN for a class without ground truth, and in
    the table for mAP_50 and mAP_75 if that threshold was not evaluated.
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
        parts = [
            *(whole, whole[thresholds == 0.5], whole[thresholds == 0.75]),
            *(every_area[..., area] for area in (1, 2, 3)),
        ]
        values = [
            float(np.round(mean_of_defined(part, otherwise=math.nan), 3))
            for part in parts
        ]
        results[f'{name}_precision'] = values[0]
        table.append([name, *map(str, values)])
    return results, AsciiTable(table).table


def mean_precision(evaluation: Any) -> float:
    """Return the mean precision of all classes, -1 without any ground truth."""
    return mean_of_defined(evaluation.eval['precision'][..., 0, -1], otherwise=-1.0)


def group_precision(
    evaluation: Any, classes: Mapping[int, str], groups: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Return ``<group>_ap``, and ``<group>_ap50`` at the first threshold, of groups.

    ``classes`` are names by category id. Without ground truth, a group has -1.
    """
    precision, ids = evaluation.eval['precision'], evaluation.params.catIds
    results = {}
    for name, members in groups.items():
        chosen = [k for k, cat_id in enumerate(ids) if classes[cat_id] in members]
        # The order of the values, which decides the last digit, is that of OVCocoMetric.
        results[f'{name}_ap'] = mean_of_defined(
            precision[:, :, chosen, 0, -1], otherwise=-1.0
        )
        results[f'{name}_ap50'] = mean_of_defined(
            precision[0, :, chosen, 0, -1], otherwise=-1.0
        )
    return results


def mean_of_defined(precision: NDArray[np.float64], otherwise: float) -> float:
    """Return the mean, without -1, which packages write where nothing is to be found."""
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else otherwise
