"""Turn predictions, and what became of them, into the columns that are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..evaluation import (
    COUNTS,
    ERRORS,
    FATES,
    SCORES,
    VERDICTS,
    GroundTruth,
    Judgement,
    PanopticPrediction,
    Prediction,
    Rules,
    judge_image,
    judge_segments,
    scores_of,
)
from ..lake import Lake, PredictionColumn
from ..structures.masks import pack_segmentations

_ROWS_AT_ONCE = 256
_COUNT, _NUMBER = PredictionColumn('count'), PredictionColumn('number')
_INTEGERS, _NUMBERS = PredictionColumn('integers'), PredictionColumn('numbers')
_TEXT = PredictionColumn('text')


def columns_of(
    lake: Lake, predictions: Sequence[Prediction]
) -> dict[str, PredictionColumn]:
    """Return the columns of predictions on a lake, those of verdicts if it has labels."""
    columns = {
        'boxes': PredictionColumn('boxes'),
        'labels': PredictionColumn('labels', lake.columns.class_names),
        'scores': _NUMBERS,
    }
    if any(each.masks is not None for each in predictions):
        columns['masks'] = _TEXT
    if has_labels(lake):
        columns.update(
            verdict=PredictionColumn('labels', VERDICTS),
            match=_INTEGERS,
            iou=_NUMBERS,
            error=PredictionColumn('labels', ERRORS),
            gt_fate=PredictionColumn('labels', FATES),
            gt_iou=_NUMBERS,
            gt_digest=_TEXT,
            **dict.fromkeys(COUNTS, _COUNT),
            **dict.fromkeys(SCORES, _NUMBER),
        )
    return columns


def has_labels(lake: Lake) -> bool:
    """Return whether a lake has boxes to judge predictions by."""
    return lake.columns.of('gt_bboxes') is not None


@dataclass(eq=False)
class Blocks:
    """The values of the columns, for some rows at a time.

    Args:
        lake: The lake.
        rows: Row numbers in ascending order.
        predictions: One per row.
        gt: The annotations of these rows.
        classes: Class names: label i of a prediction means ``classes[i]``.
        rules: How to judge.
        losses: Loss of each row's image; without any the column is not written.
        segments: One per row if panoptic segments are judged; ``None`` for instances.

    Attributes:
        sums: Sums over the images of what is counted, complete after the last block.

    Raises:
        ValueError: If predictions are damaged, or a label has no class.
    """

    lake: Lake
    rows: Sequence[int]
    predictions: Sequence[Prediction]
    gt: GroundTruth
    classes: Sequence[str]
    rules: Rules
    losses: Sequence[float | None]
    segments: Sequence[PanopticPrediction] | None = None

    def __post_init__(self) -> None:
        """Check the predictions, and choose the columns."""
        self.gt.check_predictions(self.predictions, self.classes)
        self.columns = columns_of(self.lake, self.predictions)
        if len(self.losses) and None not in self.losses:
            self.columns['loss'] = _NUMBER
        self.sums: Counter[str] = Counter()
        self._label_of = self.gt.labels_of_classes(self.classes)
        self._is_judged = has_labels(self.lake)

    def __iter__(self) -> Iterator[tuple[Any, Mapping[str, list[Any]]]]:
        """Yield row numbers and the values of each column."""
        for start in range(0, len(self.rows), _ROWS_AT_ONCE):
            stop = min(start + _ROWS_AT_ONCE, len(self.rows))
            of_rows = [self._values_of(index) for index in range(start, stop)]
            yield (
                np.array(self.rows[start:stop], dtype=np.int64),
                {name: [values[name] for values in of_rows] for name in self.columns},
            )

    def _values_of(self, index: int) -> dict[str, Any]:
        prediction = self.predictions[index]
        values: dict[str, Any] = {
            'boxes': np.asarray(prediction.bboxes, dtype=np.float32).reshape(-1, 4),
            'labels': self._label_of[prediction.labels].astype(np.int32),
            'scores': scores_of(prediction, self.rules.iou_type).astype(np.float32),
            'loss': self.losses[index],
        }
        if 'masks' in self.columns:
            values['masks'] = pack_segmentations(list(prediction.masks or []))
        if self._is_judged:
            judged = self._judge(index)
            self.sums.update({name: int(judged.numbers[name]) for name in COUNTS})
            values.update(
                verdict=judged.verdicts.astype(np.int32),
                match=judged.matches.astype(np.int32),
                iou=judged.ious.astype(np.float32),
                error=judged.errors.astype(np.int32),
                gt_fate=judged.fates.astype(np.int32),
                gt_iou=judged.best_ious.astype(np.float32),
                gt_digest=self.gt.digest_of(index),
                **judged.numbers,
            )
        return values

    def _judge(self, index: int) -> Judgement:
        gt, label_of, rules = self.gt, self._label_of, self.rules
        if self.segments is None:
            return judge_image(gt, index, self.predictions[index], label_of, rules)
        segments, background_thr = self.segments[index], rules.background_thr
        return judge_segments(gt, index, segments, label_of, background_thr)
