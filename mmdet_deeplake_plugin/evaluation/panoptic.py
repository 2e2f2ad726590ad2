"""Compute PQ, SQ and RQ of things and stuff, equal to ``CocoPanopticMetric``'s.

A predicted and a true segment of one class match if they share more than half of their
union. Pixels that are void in the ground truth, or belong to a crowd of the class, are
not counted as mistakes. The areas of true segments are the stored ones, not numbers of
pixels.

A predicted map is reduced to numbers of shared pixels at once, so it need not be kept;
the rest only needs the list of segments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.logging import MMLogger, print_log
from numpy.typing import NDArray
from terminaltables import AsciiTable

from ..structures.seg_maps import MOST_IDS, VOID, occurrences
from .ground_truth import GroundTruth

INSTANCE_OFFSET = 1000  # as in mmdet: a pixel is label + 1000 * number of the instance
_HEADER = ['', 'PQ', 'SQ', 'RQ', 'categories']


@dataclass(frozen=True, eq=False)
class PanopticPrediction:
    """Predicted segments of one image, and their overlap with the true ones.

    Attributes:
        ids: Ids of the predicted segments, shape ``(K,)``, ascending.
        labels: Their class indices, shape ``(K,)``.
        areas: Their numbers of pixels, shape ``(K,)``.
        pairs: True id, predicted id and number of pixels with both, shape ``(P, 3)``,
            ascending by the ids; id 0 is void.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    areas: NDArray[np.int64]
    pairs: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SegmentMatches:
    """Matches of the ``K`` predicted and the ``M`` true segments of an image.

    Attributes:
        annotation_of: True segment that each predicted one matches, -1 for none, shape
            ``(K,)``.
        ious: IoU of predicted and true segments without pixels that are void in the
            truth, 0 with crowds, shape ``(K, M)``.
        excused: Whether more than half of a predicted segment is void in the truth or
            lies in a crowd of its class, so that it counts only if it matches, shape
            ``(K,)``.
    """

    annotation_of: NDArray[np.int64]
    ious: NDArray[np.float64]
    excused: NDArray[np.bool_]


def predicted_ids(
    pixels: NDArray[Any], num_classes: int, ignore_index: int | None
) -> NDArray[np.int64]:
    """Return the ids of a predicted map, void where nothing is predicted.

    Args:
        pixels: Label + 1000 * number of the instance, shape ``(H, W)``.
        num_classes: Number of classes; as a label, it means void.
        ignore_index: Another label that means void.
    """
    ids = pixels.astype(np.int64)
    labels = ids % INSTANCE_OFFSET
    ids[(labels == num_classes) | (labels == ignore_index)] = VOID
    return ids


def describe(
    pixels: NDArray[Any],
    truth: NDArray[Any] | None,
    num_classes: int,
    ignore_index: int | None = None,
) -> PanopticPrediction:
    """Reduce a predicted map to its segments and their overlap with the true ones.

    Args:
        pixels: As in :func:`predicted_ids`.
        truth: Ids of the true segments, shape ``(H, W)``; ``None`` to compare nothing.
        num_classes: As in :func:`predicted_ids`.
        ignore_index: As in :func:`predicted_ids`.

    Raises:
        ValueError: If the maps differ in size, or a label is not a class.
    """
    segments = occurrences(pixels.astype(np.int64))[0]
    labels = segments % INSTANCE_OFFSET
    segments = segments[(labels != num_classes) & (labels != ignore_index)]
    labels = segments % INSTANCE_OFFSET
    if labels.max(initial=0) > num_classes:
        raise ValueError(
            f'the model predicts label {labels.max()}, but the dataset has '
            f'{num_classes} classes: set num_things_classes and num_stuff_classes in the '
            "model's head(s)"
        )
    ids = predicted_ids(pixels, num_classes, ignore_index)
    present, counts = occurrences(ids)
    areas = counts[np.searchsorted(present, segments)]
    pairs = np.zeros((0, 3), dtype=np.int64)
    if truth is not None:
        if truth.shape != ids.shape:
            raise ValueError(
                f'the model predicts {ids.shape[0]} x {ids.shape[1]} pixels (height x '
                f'width), but the map of the ground truth has {truth.shape[0]} x '
                f'{truth.shape[1]}; predictions must have the size of the stored image'
            )
        both, counts = occurrences(truth.astype(np.int64) * MOST_IDS + ids)
        pairs = np.stack([both // MOST_IDS, both % MOST_IDS, counts], axis=1)
    return PanopticPrediction(segments, labels, areas, pairs)


def evaluate_panoptic(
    truth: GroundTruth,
    predictions: Sequence[PanopticPrediction],
    classes: Sequence[str],
    things: Sequence[bool],
    classwise: bool = False,
    logger: MMLogger | str | None = None,
) -> dict[str, float]:
    """Score predicted segments.

    Args:
        truth: Ground truth with ``segment_ids``.
        predictions: One per image, in its order.
        classes: Class names in the order of the predicted labels.
        things: Whether each category of the ground truth is a thing.
        classwise: Whether to log the numbers of each class.
        logger: Logger for the tables.

    Returns:
        ``PQ``, ``SQ``, ``RQ`` in percent, of all classes and, with the suffixes ``_th``
        and ``_st``, of things and stuff. NaN if none of the classes occurs.

    Raises:
        ValueError: If a map holds a segment that the ground truth does not list.
    """
    category_of = truth.labels_of_classes(classes)
    counts = np.zeros((len(truth.category_names), 3), dtype=np.int64)
    overlaps = np.zeros(len(truth.category_names))
    for index, prediction in enumerate(predictions):
        matched, shared = _match(truth, index, prediction, category_of)
        counts += matched
        overlaps += shared  # image by image, as sums of floats depend on the order
    single = [_quality(*pair) for pair in zip(counts, overlaps)]
    chosen = {
        'All': single,
        'Things': [quality for quality, thing in zip(single, things) if thing],
        'Stuff': [quality for quality, thing in zip(single, things) if not thing],
    }
    averages = {name: _mean(qualities) for name, qualities in chosen.items()}
    print_log(f'Panoptic Evaluation Results:\n{_table(averages)}', logger)
    if classwise:
        absent = np.zeros(3), 0
        by_class = {
            name: absent if single[i] is None else (single[i], 1)
            for name, i in zip(classes, category_of)
        }
        print_log(f'Classwise Panoptic Evaluation Results:\n{_table(by_class)}', logger)
    return {
        f'{key}{suffix}': value
        for name, suffix in (('All', ''), ('Things', '_th'), ('Stuff', '_st'))
        for key, value in zip(('PQ', 'SQ', 'RQ'), (100 * averages[name][0]).tolist())
    }


def match_segments(
    truth: GroundTruth,
    index: int,
    prediction: PanopticPrediction,
    label_of: NDArray[np.int64],
) -> SegmentMatches:
    """Match the predicted segments of an image with the true ones.

    Args:
        truth: Ground truth with ``segment_ids``.
        index: Number of the image in it.
        prediction: The predicted segments.
        label_of: Label in the ground truth of each predicted label.

    Raises:
        ValueError: If the map holds a segment that the ground truth does not list, or
            ``segment_ids`` were not read.
    """
    part = truth.instances(index)
    if truth.segment_ids is None:
        raise ValueError(
            'panoptic quality needs segment_ids, but the ground truth has none; read '
            'them too'
        )
    true_ids, pred_ids = truth.segment_ids[part].tolist(), prediction.ids.tolist()
    row_of = {segment: row for row, segment in enumerate(pred_ids)}
    column_of = {segment: column for column, segment in enumerate(true_ids)}
    labels, pred_labels = truth.labels[part], label_of[prediction.labels]
    crowd, areas = truth.crowd[part], truth.areas[part].tolist()
    pred_areas = prediction.areas.tolist()
    pixels = {(true, pred): count for true, pred, count in prediction.pairs.tolist()}
    ious = np.zeros((len(pred_ids), len(true_ids)))
    for (true, pred), count in pixels.items():
        if true not in column_of:
            if true != VOID:
                raise ValueError(
                    f'image {truth.img_ids[index]!r}: the map holds segment {true}, '
                    'which segment_ids of the row do not list; correct one of them'
                )
            continue
        column = column_of[true]
        if pred not in row_of or crowd[column]:
            continue
        row = row_of[pred]
        union = pred_areas[row] + areas[column] - count - pixels.get((VOID, pred), 0)
        ious[row, column] = count / union if union else 1.0
    rows, columns = np.nonzero((ious > 0.5) & (pred_labels[:, None] == labels[None]))
    annotation_of = np.full(len(pred_ids), -1, dtype=np.int64)
    annotation_of[rows] = columns
    crowd_of = {labels[column]: true_ids[column] for column in np.flatnonzero(crowd)}
    excused = [
        pixels.get((VOID, pred), 0) + pixels.get((crowd_of.get(label, -1), pred), 0)
        for pred, label in zip(pred_ids, pred_labels)
    ]
    excused_share = np.array(excused, dtype=np.int64) / prediction.areas
    return SegmentMatches(annotation_of, ious, excused_share > 0.5)


def _match(
    truth: GroundTruth,
    index: int,
    prediction: PanopticPrediction,
    category_of: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Count TP, FP and FN of an image by category, and sum up IoUs."""
    shared = np.zeros(len(truth.category_names))
    matches = match_segments(truth, index, prediction, category_of)
    part, matched = truth.instances(index), matches.annotation_of
    labels, pred_labels = truth.labels[part], category_of[prediction.labels]
    right = np.flatnonzero(matched >= 0)
    if truth.segment_ids is not None:
        # In the order of the true ids, as sums of floats depend on it.
        true_ids = truth.segment_ids[part][matched[right]]
        right = right[np.argsort(true_ids, kind='stable')]
    for pred in right:
        shared[pred_labels[pred]] += matches.ious[pred, matched[pred]]
    missed = ~truth.crowd[part] & ~np.isin(np.arange(len(labels)), matched)
    wrong = (matched < 0) & ~matches.excused
    outcomes = pred_labels[right], pred_labels[wrong], labels[missed]
    counts = [np.bincount(found, minlength=len(shared)) for found in outcomes]
    return np.stack(counts, axis=1), shared


def _quality(counts: NDArray[np.int64], overlap: float) -> NDArray[np.float64] | None:
    """Return panoptic, segmentation and recognition quality of one class, 0 to 1.

    ``None`` if the class does not occur.
    """
    tp, fp, fn = counts.tolist()
    if tp + fp + fn == 0:
        return None
    weight = tp + 0.5 * fp + 0.5 * fn
    return np.array([overlap / weight, overlap / tp if tp else 0.0, tp / weight])


def _mean(
    qualities: Sequence[NDArray[np.float64] | None],
) -> tuple[NDArray[np.float64], int]:
    """Return the mean of the classes that occur, and their number."""
    present = [quality for quality in qualities if quality is not None]
    if not present:
        return np.full(3, np.nan), 0
    return sum(present, np.zeros(3)) / len(present), len(present)


def _table(rows: Mapping[str, tuple[NDArray[np.float64], int]]) -> str:
    lines = [
        [name, *(f'{100 * value:.3f}' for value in quality), count]
        for name, (quality, count) in rows.items()
    ]
    return str(AsciiTable([_HEADER, *lines]).table)
