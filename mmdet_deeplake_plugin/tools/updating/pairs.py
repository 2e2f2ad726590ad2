"""Find out which stored annotation each corrected one was: pure, COCO's dicts in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...evaluation.backends.coco import overlaps

NEW = -1
_LEAST_IOU = 0.5

Annotation = dict[str, Any]


def pair_by_id(
    stored: Sequence[Annotation], corrected: Sequence[Annotation]
) -> NDArray[np.int64]:
    """Return the number of the stored annotation with the id of each corrected one.

    Args:
        stored: Annotations of an image in the lake.
        corrected: Those of the file.

    Returns:
        Numbers of shape ``(len(corrected),)``; ``NEW`` for other ids.
    """
    numbers = {annotation['id']: number for number, annotation in enumerate(stored)}
    return np.array([numbers.get(each['id'], NEW) for each in corrected], dtype=np.int64)


def pair_by_place(
    stored: Sequence[Annotation], corrected: Sequence[Annotation], tolerance: float
) -> NDArray[np.int64]:
    """Pair annotations by their boxes and classes, for files with ids of their own.

    The best pairs come first: the same box and class, the same box, an IoU of 0.5 or more
    in the same class, the same in another class; of equal ones the first in order.

    Args:
        stored: Annotations of an image in the lake, with ``bbox`` and ``label``.
        corrected: Those of the file.
        tolerance: Pixels by which numbers of the same box may differ.

    Returns:
        As :func:`pair_by_id`.
    """
    numbers = np.full(len(corrected), NEW, dtype=np.int64)
    if not stored or not corrected:
        return numbers
    old, new = (
        np.array([each['bbox'] for each in part], dtype=np.float64)
        for part in (stored, corrected)
    )
    labels = [np.array([each['label'] for each in part]) for part in (stored, corrected)]
    ious = overlaps(old, new, np.zeros(len(new)))
    is_same = np.abs(old[:, None] - new[None]).max(axis=2) <= tolerance
    has_class = labels[0][:, None] == labels[1][None]
    ranks = np.where(is_same, 4.0 + 2 * has_class, ious + 2 * has_class)
    ranks[~is_same & (ious < _LEAST_IOU)] = -1
    for place in np.argsort(-ranks, axis=None, kind='stable').tolist():
        one, other = divmod(place, len(corrected))
        if ranks[one, other] < 0:
            break
        if numbers[other] == NEW and one not in numbers:
            numbers[other] = one
    return numbers
