"""Judge the predictions of one image, its annotations, and the image as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...structures.masks import as_run_length
from ..backends.coco import box_sizes, mask_areas, overlaps
from ..ground_truth import GroundTruth, Prediction
from .errors import BACKGROUND, CLASSIFICATION, ERRORS, LOCALISATION, error_types
from .matching import match_image

# In the order of the numbers that stand for them.
VERDICTS = ('wrong', 'right', 'ignored', 'not scored')
FATES = ('missed', 'found', 'ignored')
WRONG, RIGHT, IGNORED, NOT_SCORED = range(len(VERDICTS))
MISSED, FOUND = range(2)
_ALL_AREAS = (0.0, 1e10)  # as in COCO: a box that is inside out is ignored
IOU_TYPES = ('bbox', 'segm')
COUNTS = ('tp', 'fp', 'fn', *ERRORS[1:], 'missed')
SCORES = ('f1', 'label_quality')


@dataclass(frozen=True)
class Rules:
    """How to judge.

    Args:
        iou_thr: IoU from which on a prediction matches an annotation.
        score_thr: Score from which on a prediction counts in errors and numbers.
        background_thr: IoU up to which a wrong prediction is on the background.
        max_dets: Number of predictions of an image and class that are scored.
        area_range: Least and greatest area in square pixels of what counts; ``None`` for
            all.
        iou_type: What overlaps: ``'bbox'`` or ``'segm'`` (masks).
    """

    iou_thr: float = 0.5
    score_thr: float = 0.3
    background_thr: float = 0.1
    max_dets: int = 100
    area_range: tuple[float, float] | None = None
    iou_type: str = 'bbox'


@dataclass(frozen=True, eq=False)
class Judgement:
    """What became of the ``n`` predictions and the ``m`` annotations of an image.

    Attributes:
        verdicts: Numbers of :data:`VERDICTS`, shape ``(n,)``.
        matches: Number of the matched annotation in its image, -1 for none, shape
            ``(n,)``.
        ious: IoU with the matched annotation, else the highest with any that counts,
            shape ``(n,)``.
        errors: Numbers of :data:`ERRORS`, shape ``(n,)``; ``none`` for what is not wrong,
            or has a score below ``score_thr``.
        fates: Numbers of :data:`FATES`, shape ``(m,)``: whether a prediction with a score
            of at least ``score_thr`` matches.
        best_ious: Highest IoU with such a prediction of the same class, shape ``(m,)``.
        numbers: The numbers of the image by the names in :data:`COUNTS` and
            :data:`SCORES`.
    """

    verdicts: NDArray[np.uint8]
    matches: NDArray[np.int64]
    ious: NDArray[np.float64]
    errors: NDArray[np.uint8]
    fates: NDArray[np.uint8]
    best_ious: NDArray[np.float64]
    numbers: dict[str, float]


def judge_image(
    gt: GroundTruth,
    index: int,
    prediction: Prediction,
    label_of: NDArray[np.int64],
    rules: Rules,
) -> Judgement:
    """Judge the predictions of one image.

    Args:
        gt: The annotations; with ``rules.iou_type='segm'``, with masks. With a
            ``federation``, as LVIS has it, predictions without a match count only if
            their class was searched for everywhere in the image.
        index: Number of the image in ``gt``.
        prediction: What the model found in it, checked by
            :meth:`.GroundTruth.check_predictions`.
        label_of: Label in ``gt`` of each predicted label. Annotations of other labels do
            not count.
        rules: How to judge.

    Raises:
        ValueError: If masks are compared, but one of the sides has none.
    """
    part = gt.instances(index)
    annotation_labels, crowd = gt.labels[part], gt.crowd[part]
    labels = label_of[prediction.labels]
    scores = scores_of(prediction, rules.iou_type)
    ious, areas = overlaps_of_image(gt, index, prediction, rules.iou_type)
    outside = _outside(areas, gt, rules) | _unverified(gt, index, labels)
    ignored = (
        crowd
        | _outside(gt.areas[part], gt, rules)
        | ~np.isin(annotation_labels, label_of)
    )
    matches = match_image(
        ious,
        scores,
        labels,
        outside,
        annotation_labels,
        ignored,
        crowd,
        np.array([rules.iou_thr]),
        rules.max_dets,
    )
    annotation_of, is_ignored = matches.annotation_of[0], matches.ignored[0]
    verdicts = np.select(
        [~matches.scored, is_ignored, annotation_of >= 0],
        [NOT_SCORED, IGNORED, RIGHT],
        WRONG,
    ).astype(np.uint8)
    # Matching goes by score, so predictions below the threshold change no other match.
    is_counted = (verdicts == WRONG) | (verdicts == RIGHT)
    counted = (scores >= rules.score_thr) & is_counted
    return conclude(
        verdicts,
        annotation_of,
        ious,
        labels[:, None] == annotation_labels[None],
        scores,
        counted,
        ignored,
        rules,
    )


def conclude(
    verdicts: NDArray[np.uint8],
    annotation_of: NDArray[np.int64],
    ious: NDArray[np.float64],
    same_class: NDArray[np.bool_],
    scores: NDArray[np.float64],
    counted: NDArray[np.bool_],
    ignored: NDArray[np.bool_],
    rules: Rules,
) -> Judgement:
    """Judge an image whose predictions are matched with its annotations.

    Args:
        verdicts: Numbers of :data:`VERDICTS`, shape ``(n,)``.
        annotation_of: Annotation that each prediction matches, -1 for none, shape
            ``(n,)``.
        ious: Overlap of each prediction with each annotation, shape ``(n, m)``.
        same_class: Whether their classes are equal, shape ``(n, m)``.
        scores: Confidences, shape ``(n,)``.
        counted: Which right and wrong predictions count in errors, fates and numbers,
            shape ``(n,)``.
        ignored: Which annotations do not count, shape ``(m,)``.
        rules: The IoU from which on a prediction matches, and that of the background.
    """
    counting, matched = np.flatnonzero(~ignored), annotation_of >= 0
    found = np.zeros(len(ignored), dtype=bool)
    found[annotation_of[counted & matched]] = True
    errors = np.zeros(len(verdicts), dtype=np.uint8)
    errors[counted], missed = error_types(
        ious[counted][:, counting],
        same_class[counted][:, counting],
        verdicts[counted] == RIGHT,
        found[counting],
        rules.iou_thr,
        rules.background_thr,
    )
    best = ious[:, counting].max(axis=1, initial=0.0)
    best[matched] = ious[matched, annotation_of[matched]]
    confident = np.where(same_class & counted[:, None], ious, 0.0)
    numbers = _numbers(verdicts[counted], errors, missed, found[counting])
    numbers['label_quality'] = label_quality(errors, scores, best)
    fates = np.where(ignored, FATES.index('ignored'), np.where(found, FOUND, MISSED))
    return Judgement(
        verdicts=verdicts,
        matches=annotation_of,
        ious=best,
        errors=errors,
        fates=fates.astype(np.uint8),
        best_ious=confident.max(axis=0, initial=0.0),
        numbers=numbers,
    )


def scores_of(prediction: Prediction, iou_type: str) -> NDArray[np.float64]:
    """Return the scores by which predictions are ranked: of boxes, or of masks."""
    scores = prediction.scores
    if iou_type == 'segm' and prediction.mask_scores is not None:
        scores = prediction.mask_scores
    return np.asarray(scores, dtype=np.float64)


def label_quality(
    errors: NDArray[np.uint8], scores: NDArray[np.float64], ious: NDArray[np.float64]
) -> float:
    """Score from 0 to 1 how well the annotations of an image agree with confident errors.

    The geometric mean of three scores, each the lowest of its kind, 1 without one:
    ``1 - score`` of a prediction on the background (an object that was overlooked),
    ``1 - score`` of one with another class (classes that were swapped), and
    ``1 - score * (1 - IoU)`` of one that is badly located. This is how ObjectLab pools
    (U. Tkachenko et al., ObjectLab: Automated Diagnosis of Mislabeled Images in Object
    Detection Data, 2023, arXiv:2309.00832), with TIDE's types for the kinds and IoU for
    the similarity.

    Args:
        errors: Numbers of :data:`ERRORS`, shape ``(n,)``.
        scores: Confidences, shape ``(n,)``.
        ious: IoU of each prediction with the nearest annotation, shape ``(n,)``.

    Examples:
        >>> label_quality(np.array([BACKGROUND]), np.array([0.875]), np.array([0.0]))
        0.5
    """
    kinds = (
        1 - scores[errors == BACKGROUND],
        1 - scores[errors == CLASSIFICATION],
        1 - (scores * (1 - ious))[errors == LOCALISATION],
    )
    product = np.prod([kind.min(initial=1.0) for kind in kinds])
    return float(max(product, 0.0) ** (1 / 3))


def _numbers(
    verdicts: NDArray[np.uint8],
    errors: NDArray[np.uint8],
    missed: NDArray[np.bool_],
    found: NDArray[np.bool_],
) -> dict[str, float]:
    tp = int((verdicts == RIGHT).sum())
    fp, fn = len(verdicts) - tp, int((~found).sum())
    of_kind = np.bincount(errors, minlength=len(ERRORS))[1:].tolist()
    values = (tp, fp, fn, *of_kind, int(missed.sum()))
    # Nothing to find and nothing found: nothing is wrong.
    return dict(
        zip(COUNTS, values), f1=2 * tp / (2 * tp + fp + fn) if sum(values) else 1.0
    )


def _outside(
    areas: NDArray[np.float64], gt: GroundTruth, rules: Rules
) -> NDArray[np.bool_]:
    least, most = rules.area_range or _ALL_AREAS
    outside = (areas < least) | (areas > most)
    # The package of LVIS leaves out what has no area.
    return outside if gt.federation is None else outside | (areas <= 0)


def _unverified(
    gt: GroundTruth, index: int, labels: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return whether more objects of a label than LVIS annotated may be in an image."""
    if gt.federation is None:
        return np.zeros(len(labels), dtype=bool)
    ids = np.array(gt.category_ids, dtype=np.int64)[labels]
    present = np.isin(labels, gt.labels[gt.instances(index)])
    absent = np.isin(ids, gt.federation.negatives[index])
    partly = np.isin(ids, gt.federation.not_exhaustive[index])
    return partly | ~(present | absent)


def overlaps_of_image(
    gt: GroundTruth, index: int, prediction: Prediction, iou_type: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the overlaps in an image, and the areas of the predictions.

    Args:
        gt: The annotations; with masks, if those are compared.
        index: Number of the image in ``gt``.
        prediction: What the model found in it.
        iou_type: What overlaps: ``'bbox'`` or ``'segm'`` (masks).

    Returns:
        IoU of predictions and annotations, shape ``(n, m)``, with a crowd the share of
        the prediction; areas in square pixels, shape ``(n,)``.

    Raises:
        ValueError: If masks are compared, but one of the sides has none.
    """
    part = gt.instances(index)
    crowd = gt.crowd[part]
    if iou_type == 'bbox':
        boxes = box_sizes(prediction.bboxes)
        return overlaps(boxes, gt.boxes_xywh[part], crowd), boxes[:, 2] * boxes[:, 3]
    where = f'image {gt.img_ids[index]!r} ({gt.file_names[index]!r})'
    if prediction.masks is None and len(prediction.labels):
        raise ValueError(
            f"iou_type='segm' compares masks, but the model predicts none ({where}); "
            "write iou_type='bbox', or use a model with a mask head"
        )
    masks: list[Any] = prediction.masks or []
    size = int(gt.heights[index]), int(gt.widths[index])
    stored = [None] * len(crowd) if gt.segmentations is None else gt.segmentations[part]
    if not all(stored):
        raise ValueError(
            f"iou_type='segm' compares masks, but instance {stored.index(None)} of "
            f"{where} is stored without one; write iou_type='bbox', or store its mask"
        )
    codes = [as_run_length(mask, *size) for mask in stored]
    return overlaps(masks, codes, crowd), mask_areas(masks)
