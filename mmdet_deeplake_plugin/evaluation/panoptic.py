"""Panoptic quality, equal to ``CocoPanopticMetric``'s: PQ, SQ, RQ of things and stuff.

A predicted and a true segment of one class match if they share more than half of their
union. Pixels that are void in the ground truth, or a crowd of the class, count against
nobody. Areas of true segments are those that are stored, not those of their pixels.

What is found in an image is reduced to numbers of shared pixels at once, so a map lives
no longer than its image; the rest needs the list of segments alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from mmengine.logging import MMLogger, print_log
from numpy.typing import NDArray
from terminaltables import AsciiTable

from ..structures.seg_maps import MOST_IDS, VOID, occurrences
from .ground_truth import GroundTruth

INSTANCE_OFFSET = 1000  # of mmdet: a pixel holds label + 1000 * number of the instance
_TP, _FP, _FN = 0, 1, 2
_HEADER = ['', 'PQ', 'SQ', 'RQ', 'categories']


class PanopticPrediction(NamedTuple):
    """What the model found in one image, and how it lies over the ground truth.

    Attributes:
        ids: Ids of the predicted segments, shape ``(K,)``, ascending.
        labels: Their class indices, shape ``(K,)``.
        areas: Their numbers of pixels, shape ``(K,)``.
        pairs: True id, predicted id, number of pixels that have both, shape ``(P, 3)``,
            ascending by the ids; 0 is void.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    areas: NDArray[np.int64]
    pairs: NDArray[np.int64]


@dataclass(frozen=True)
class Quality:
    """Panoptic quality, averaged over some classes.

    Attributes:
        pq: Panoptic quality, 0 to 1.
        sq: Segmentation quality.
        rq: Recognition quality.
        classes: Number of classes that occur.
    """

    pq: float
    sq: float
    rq: float
    classes: int = 1


def predicted_ids(
    pixels: NDArray[Any], num_classes: int, ignore_index: int | None
) -> NDArray[np.int64]:
    """The ids of a predicted map, with void where the model says nothing.

    Args:
        pixels: Label + 1000 * number of the instance, shape ``(H, W)``.
        num_classes: Number of classes, which as a label means void.
        ignore_index: Label that means void too.
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
    """Reduces a predicted map to numbers.

    Args:
        pixels: As in :func:`predicted_ids`.
        truth: Ids of the true segments, shape ``(H, W)``; ``None`` if nothing is to be
            compared.
        num_classes: As there.
        ignore_index: As there.

    Raises:
        ValueError: If the maps differ in size, or a label is no class.
    """
    named = occurrences(pixels.astype(np.int64))[0]
    labels = named % INSTANCE_OFFSET
    named = named[(labels != num_classes) & (labels != ignore_index)]
    labels = named % INSTANCE_OFFSET
    if labels.max(initial=0) > num_classes:
        raise ValueError(
            f'the model predicts label {labels.max()}, but the dataset has '
            f'{num_classes} classes: set num_things_classes and num_stuff_classes in the '
            "model's head(s)"
        )
    ids = predicted_ids(pixels, num_classes, ignore_index)
    found, counts = occurrences(ids)
    areas = counts[np.searchsorted(found, named)]
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
    return PanopticPrediction(named, labels, areas, pairs)


def evaluate_panoptic(
    truth: GroundTruth,
    predictions: Sequence[PanopticPrediction],
    classes: Sequence[str],
    things: Sequence[bool],
    classwise: bool = False,
    logger: MMLogger | str | None = None,
) -> dict[str, float]:
    """Scores predictions.

    Args:
        truth: Ground truth with ``segment_ids``.
        predictions: One per image, in its order.
        classes: Class names in the order of the predicted labels.
        things: Whether each category of the ground truth is a thing.
        classwise: Whether to log the numbers of each class.
        logger: Where the tables go.

    Returns:
        ``PQ``, ``SQ``, ``RQ`` in percent; with ``_th`` of things, with ``_st`` of stuff.
        NaN where there are no such classes.

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
        'Things': [one for one, thing in zip(single, things) if thing],
        'Stuff': [one for one, thing in zip(single, things) if not thing],
    }
    averages = {name: _mean(found) for name, found in chosen.items()}
    print_log(f'Panoptic Evaluation Results:\n{_table(averages)}', logger)
    if classwise:
        by_class = {name: single[i] for name, i in zip(classes, category_of)}
        print_log(f'Classwise Panoptic Evaluation Results:\n{_table(by_class)}', logger)
    return {
        f'{key}{suffix}': 100 * getattr(averages[name], key.lower())
        for name, suffix in (('All', ''), ('Things', '_th'), ('Stuff', '_st'))
        for key in ('PQ', 'SQ', 'RQ')
    }


def _match(
    truth: GroundTruth,
    index: int,
    prediction: PanopticPrediction,
    category_of: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Numbers of matches and mistakes of an image by category, and sums of IoUs."""
    counts = np.zeros((len(truth.category_names), 3), dtype=np.int64)
    shared = np.zeros(len(truth.category_names))
    part = truth.instances(index)
    if truth.segment_ids is None:
        raise ValueError('the ground truth holds no segment_ids')
    true_ids = truth.segment_ids[part].tolist()
    category = dict(zip(true_ids, truth.labels[part].tolist()))
    area = dict(zip(true_ids, truth.areas[part].tolist()))
    crowd = dict(zip(true_ids, truth.crowd[part].tolist()))
    pred_category = dict(
        zip(prediction.ids.tolist(), category_of[prediction.labels].tolist())
    )
    pred_area = dict(zip(prediction.ids.tolist(), prediction.areas.tolist()))
    pixels = {(true, pred): count for true, pred, count in prediction.pairs.tolist()}
    matched = set()
    matched_preds = set()
    for (true, pred), count in pixels.items():
        if true not in category:
            if true != VOID:
                raise ValueError(
                    f'image {truth.img_ids[index]!r}: the map holds segment {true}, '
                    'which segment_ids of the row do not list; correct either'
                )
            continue
        if pred not in pred_category or crowd[true]:
            continue
        if category[true] != pred_category[pred]:
            continue
        union = pred_area[pred] + area[true] - count - pixels.get((VOID, pred), 0)
        iou = count / union
        if iou > 0.5:
            counts[category[true], _TP] += 1
            shared[category[true]] += iou
            matched.add(true)
            matched_preds.add(pred)
    crowd_of = {}
    for true in true_ids:
        if crowd[true]:
            crowd_of[category[true]] = true
        elif true not in matched:
            counts[category[true], _FN] += 1
    for pred, label in pred_category.items():
        if pred in matched_preds:
            continue
        excused = pixels.get((VOID, pred), 0)
        if label in crowd_of:
            excused += pixels.get((crowd_of[label], pred), 0)
        if excused / pred_area[pred] <= 0.5:
            counts[label, _FP] += 1
    return counts, shared


def _quality(counts: NDArray[np.int64], overlap: float) -> Quality | None:
    """Quality of one class; ``None`` if it does not occur."""
    tp, fp, fn = counts.tolist()
    if tp + fp + fn == 0:
        return None
    weight = tp + 0.5 * fp + 0.5 * fn
    sq = float(overlap) / tp if tp else 0.0
    return Quality(pq=float(overlap) / weight, sq=sq, rq=tp / weight)


def _mean(found: Sequence[Quality | None]) -> Quality:
    present = [one for one in found if one is not None]
    if not present:
        return Quality(float('nan'), float('nan'), float('nan'), 0)
    n = len(present)
    return Quality(
        sum(one.pq for one in present) / n,
        sum(one.sq for one in present) / n,
        sum(one.rq for one in present) / n,
        n,
    )


def _table(rows: dict[str, Any]) -> str:
    zero = Quality(0.0, 0.0, 0.0, 0)
    lines = [
        [name, *(f'{100 * value:.3f}' for value in (q.pq, q.sq, q.rq)), q.classes]
        for name, q in ((name, quality or zero) for name, quality in rows.items())
    ]
    return str(AsciiTable([_HEADER, *lines]).table)
