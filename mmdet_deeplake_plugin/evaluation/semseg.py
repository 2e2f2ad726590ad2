"""Compute mIoU, mDice and mFscore of semantic maps, equal to ``SemSegMetric``'s.

Sums and ratios are in single precision, as in ``SemSegMetric``, so that digits agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import MMLogger, print_log
from numpy.typing import NDArray
from terminaltables import AsciiTable

METRICS = ('mIoU', 'mDice', 'mFscore')
IGNORED = 255  # default label of pixels that do not count

# Numbers of pixels per class: correctly predicted, predicted, true.
_RIGHT, _PREDICTED, _TRUE = 0, 1, 2


def count_pixels(
    predicted: NDArray[Any], truth: NDArray[Any], num_classes: int, ignore_index: int
) -> NDArray[np.int64]:
    """Count correct, predicted and true pixels of an image, shape ``(3, num_classes)``.

    Args:
        predicted: Predicted labels, shape ``(H, W)``.
        truth: True labels, shape ``(H, W)``.
        num_classes: Number of classes; labels beyond are not counted.
        ignore_index: True label of pixels that do not count.

    Raises:
        ValueError: If the maps differ in size.
    """
    if predicted.shape != truth.shape:
        raise ValueError(
            f'the model predicts {predicted.shape[0]} x {predicted.shape[1]} pixels '
            f'(height x width), but the map of the ground truth has {truth.shape[0]} x '
            f'{truth.shape[1]}; predictions must have the size of the stored image'
        )
    counts = truth != ignore_index
    predicted, truth = predicted[counts], truth[counts]
    parts = (predicted[predicted == truth], predicted, truth)
    return np.stack([_histogram(part, num_classes) for part in parts])


def reduce_zero(labels: NDArray[Any]) -> NDArray[Any]:
    """Remove the background, 0, as ``LoadAnnotations(reduce_zero_label=True)`` does.

    Labels from 1 on are less by 1; the background becomes 255.
    """
    background = (labels == 0) | (labels == IGNORED)
    return np.where(background, IGNORED, labels.astype(np.int64) - 1)


def evaluate_semseg(
    counts: Sequence[NDArray[np.int64]],
    classes: Sequence[str],
    metrics: Sequence[str],
    beta: float = 1,
    logger: MMLogger | str | None = None,
) -> dict[str, float]:
    """Score what :func:`count_pixels` returned.

    Args:
        counts: One per image.
        classes: Class names in the order of the labels.
        metrics: Some of :data:`METRICS`.
        beta: Weight of recall in the F-score.
        logger: Logger for the table of classes.

    Returns:
        Percentages, rounded to two digits: ``aAcc``; ``mIoU`` and ``mAcc``; ``mDice``
        and ``mAcc``; ``mFscore``, ``mPrecision`` and ``mRecall``. Classes that do not
        occur are left out of the means.
    """
    total = np.zeros((3, len(classes)), dtype=np.float32)
    union = np.zeros(len(classes), dtype=np.float32)
    for each in counts:
        part = each.astype(np.float32)
        total += part
        union += part[_PREDICTED] + part[_TRUE] - part[_RIGHT]
    right, predicted, true = total
    with np.errstate(divide='ignore', invalid='ignore'):
        recall = right / true
        ratios = {'aAcc': recall}
        for metric in metrics:
            if metric == 'mIoU':
                ratios.update(IoU=right / union, Acc=recall)
            elif metric == 'mDice':
                ratios.update(Dice=2 * right / (predicted + true), Acc=recall)
            else:
                precision = right / predicted
                weighted = (beta**2 * precision) + recall
                score = (1 + beta**2) * (precision * recall) / weighted
                ratios.update(Fscore=score, Precision=precision, Recall=recall)
    _log_classes(ratios, classes, logger)
    return {
        key if key == 'aAcc' else f'm{key}': np.round(_mean(values) * 100, 2)
        for key, values in ratios.items()
    }


def _histogram(labels: NDArray[Any], num_classes: int) -> NDArray[np.int64]:
    inside = labels[(labels >= 0) & (labels < num_classes)].astype(np.int64)
    return np.bincount(inside, minlength=num_classes)


def _mean(values: NDArray[np.float32]) -> Any:
    return np.float32('nan') if np.isnan(values).all() else np.nanmean(values)


def _log_classes(
    ratios: dict[str, NDArray[np.float32]],
    classes: Sequence[str],
    logger: MMLogger | str | None,
) -> None:
    columns = {key: np.round(v * 100, 2) for key, v in ratios.items() if key != 'aAcc'}
    rows = [
        [name, *(str(values[index]) for values in columns.values())]
        for index, name in enumerate(classes)
    ]
    table = AsciiTable([['Class', *columns], *rows]).table
    print_log(f'per class results:\n{table}', logger)
