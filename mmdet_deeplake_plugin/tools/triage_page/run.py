"""Read the predictions of some rows, and the annotations beside them, as flat arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...evaluation import FATES, VERDICTS, GroundTruth, Prediction, Rules
from ...evaluation.verdicts.errors import (
    CLASSIFICATION,
    LOCALISATION,
    annotations_behind,
)
from ...evaluation.verdicts.judge import MISSED, overlaps_of_image
from ...lake import Lake, StoredPredictions
from ...metrics.ground_truth import GroundTruthReader
from ...structures.masks import unpack_segmentations
from ...utils.ragged import offsets_of
from .._cli import with_progress

# What the page says beside what is stored.
PAGE_VERDICTS = (*VERDICTS, 'not judged')
PAGE_FATES = (*FATES, 'mistaken', 'not judged')
MISTAKEN = len(FATES)


@dataclass(frozen=True, eq=False)
class Run:
    """Predictions of ``R`` images, ``n`` in all, and what became of them.

    Args:
        stored: Where they come from.
        rules: How they were judged.
        offsets: Index of each image's first prediction, shape ``(R + 1,)``.
        boxes: Left, top, right, bottom in pixels, shape ``(n, 4)``.
        labels: Labels of the lake's classes, shape ``(n,)``.
        scores: Confidences, shape ``(n,)``.
        verdicts: Numbers of :data:`PAGE_VERDICTS`, shape ``(n,)``.
        errors: Numbers of ``ERRORS``, shape ``(n,)``.
        ious: IoU with the matched annotation, else with the nearest, shape ``(n,)``.
        matches: Matched annotation in the image, -1 for none, shape ``(n,)``.
        about: Annotation in the image that a prediction is about, see
            :func:`.annotations_behind`, shape ``(n,)``.
        fates: Numbers of :data:`PAGE_FATES`, one per annotation: ``missed`` as TIDE
            counts it, and ``mistaken`` for what was not found, but has a badly located or
            wrongly classified prediction.
        is_judged: Whether the lake has annotations.
        is_predicted: Which images have predictions, shape ``(R,)``.
    """

    stored: StoredPredictions
    rules: Rules
    offsets: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int32]
    scores: NDArray[np.float32]
    verdicts: NDArray[np.int32]
    errors: NDArray[np.int32]
    ious: NDArray[np.float32]
    matches: NDArray[np.int32]
    about: NDArray[np.int32]
    fates: NDArray[np.int32]
    is_judged: bool
    is_predicted: NDArray[np.bool_]

    @property
    def images(self) -> NDArray[np.int64]:
        """Number of the image of each prediction, shape ``(n,)``."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def part(self, index: int) -> slice:
        """Return the predictions of an image."""
        return slice(*self.offsets[index : index + 2].tolist())


def read_annotations(
    lake: Lake, stored: StoredPredictions, rows: NDArray[np.int64]
) -> GroundTruth:
    """Read the annotations of rows, shape ``(R,)``, with masks if those were compared."""
    if not lake.columns.class_names and stored.class_names:
        lake = lake.with_class_names(stored.class_names)
    compares_masks = rules_of(stored).iou_type == 'segm'
    reader = GroundTruthReader(with_masks=compares_masks, with_stuff=True)
    return reader.read({lake: rows.tolist()})


def rules_of(stored: StoredPredictions) -> Rules:
    """Return the rules by which predictions were judged."""
    known = {field.name for field in fields(Rules)}
    kept = stored.provenance.get('rules', {})
    values = {key: value for key, value in kept.items() if key in known}
    if values.get('area_range') is not None:
        values['area_range'] = tuple(values['area_range'])
    return Rules(**values)


def read_run(
    stored: StoredPredictions,
    gt: GroundTruth,
    rows: NDArray[np.int64],
    progress: bool = False,
) -> Run:
    """Read the predictions of rows, shape ``(R,)``, and find what they are about.

    Raises:
        ValueError: If the stored columns do not fit the annotations.
    """
    values = stored.values('boxes', rows)
    none = np.zeros((0, 4), np.float32)
    boxes = [none if each is None else each.reshape(-1, 4) for each in values]
    counts = np.array([len(each) for each in boxes], dtype=np.int64)
    is_judged = stored.has('verdict')

    def flat(column: str, dtype: Any, absent: int = 0) -> NDArray[Any]:
        if not stored.has(column):
            return np.full(int(counts.sum()), absent, dtype=dtype)
        values = [each for each in stored.values(column, rows) if each is not None]
        return np.concatenate([np.zeros(0, dtype), *values]).astype(dtype)

    run = Run(
        stored=stored,
        rules=rules_of(stored),
        offsets=offsets_of(counts),
        boxes=np.concatenate([none, *boxes]),
        labels=flat('labels', np.int32),
        scores=flat('scores', np.float32),
        verdicts=flat('verdict', np.int32, len(PAGE_VERDICTS) - 1),
        errors=flat('error', np.int32),
        ious=flat('iou', np.float32),
        matches=flat('match', np.int32, -1),
        about=np.full(int(counts.sum()), -1, dtype=np.int32),
        fates=_fates(stored, gt, rows),
        is_judged=is_judged,
        is_predicted=np.array([each is not None for each in values], dtype=bool),
    )
    if is_judged:
        _find_causes(run, gt, rows, progress)
    return run


def overlaps_of(
    run: Run, gt: GroundTruth, rows: NDArray[np.int64]
) -> Callable[[int], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return a function: number of an image -> :func:`.overlaps_of_image` of it."""
    masks: list[list[Any] | None] = [None] * len(rows)
    if run.rules.iou_type == 'segm':
        texts = run.stored.values('masks', rows)
        masks = [unpack_segmentations(text) if text else [] for text in texts]

    def overlaps(index: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        part = run.part(index)
        boxes, scores, labels = run.boxes[part], run.scores[part], run.labels[part]
        prediction = Prediction(boxes, scores, labels, masks[index])
        return overlaps_of_image(gt, index, prediction, run.rules.iou_type)

    return overlaps


def _fates(
    stored: StoredPredictions, gt: GroundTruth, rows: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Return what became of each annotation; of images without predictions, nothing."""
    fates = np.full(len(gt.labels), PAGE_FATES.index('not judged'), dtype=np.int32)
    judged = stored.values('gt_fate', rows) if stored.has('verdict') else []
    for index, values in enumerate(judged):
        if values is None:
            continue
        part = gt.instances(index)
        if len(values) != part.stop - part.start:
            where = stored.source.where(f'{stored.name}/gt_fate', int(rows[index]))
            raise ValueError(
                f'{where}: there must be one value per annotation, found {len(values)} '
                f'for {part.stop - part.start}; name the columns of annotations that '
                'were evaluated, or predict again'
            )
        fates[part] = values
    return fates


def _find_causes(
    run: Run, gt: GroundTruth, rows: NDArray[np.int64], progress: bool
) -> None:
    """Fill in ``about``, and tell what was mistaken from what was missed."""
    overlaps = overlaps_of(run, gt, rows)
    indices = range(len(gt))
    for index in with_progress(indices, len(gt), 'reading predictions', progress):
        part, annotations = run.part(index), gt.instances(index)
        matches, errors = run.matches[part], run.errors[part]
        if not errors.any():
            run.about[part] = matches
            continue
        ious, _ = overlaps(index)
        fates = run.fates[annotations]
        ious = ious * (fates != FATES.index('ignored'))
        same_class = run.labels[part][:, None] == gt.labels[annotations][None]
        about = annotations_behind(ious, same_class, matches, errors)
        run.about[part] = about
        mistaken = about[np.isin(errors, (CLASSIFICATION, LOCALISATION))]
        mistaken = mistaken[mistaken >= 0]
        fates[mistaken[fates[mistaken] == MISSED]] = MISTAKEN
