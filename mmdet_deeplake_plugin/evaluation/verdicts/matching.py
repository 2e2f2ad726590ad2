"""Match the predictions of an image with its annotations, as COCO's evaluation does.

The matches, and what is ignored, are those of ``COCOeval.evalImgs`` of pycocotools for
the same data, at every threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# COCO compares with at most this, so that a threshold of 1 can be reached.
_HIGHEST_THRESHOLD = 1 - 1e-10


@dataclass(frozen=True, eq=False)
class Matches:
    """Matches of ``n`` predictions and ``m`` annotations of an image at ``T`` thresholds.

    Attributes:
        annotation_of: Annotation that each prediction matches, -1 for none, shape
            ``(T, n)``.
        ignored: Whether a prediction counts neither as right nor as wrong, shape
            ``(T, n)``.
        prediction_of: Prediction that each annotation matches, -1 for none, shape
            ``(T, m)``; of a crowd, which may match several, the last one.
        scored: Whether a prediction is among the best ``max_dets`` of its class, shape
            ``(n,)``. Others do not match anything.
    """

    annotation_of: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    prediction_of: NDArray[np.int64]
    scored: NDArray[np.bool_]


def match_image(
    ious: NDArray[np.float64],
    scores: NDArray[np.floating],
    labels: NDArray[np.integer],
    outside: NDArray[np.bool_],
    annotation_labels: NDArray[np.integer],
    annotation_ignored: NDArray[np.bool_],
    crowd: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
    max_dets: int,
) -> Matches:
    """Match the predictions of an image, class by class, the highest score first.

    A prediction takes the annotation with which it overlaps most among those that are
    free; of equal ones the last. One that is ignored is taken only if no other reaches
    the threshold. Crowds can be taken any number of times.

    Args:
        ious: Overlap of each prediction with each annotation, shape ``(n, m)``; with a
            crowd, the share of the prediction that lies in it.
        scores: Confidences, shape ``(n,)``; equal ones count in the order of the array.
        labels: Classes of the predictions, shape ``(n,)``.
        outside: Whether the area of a prediction is outside of the range of areas, shape
            ``(n,)``: without a match it is ignored.
        annotation_labels: Classes of the annotations, shape ``(m,)``.
        annotation_ignored: Which annotations are ignored, crowds among them, shape
            ``(m,)``.
        crowd: Which annotations are crowds, shape ``(m,)``.
        thresholds: IoU from which on a prediction matches, shape ``(T,)``.
        max_dets: Number of predictions per class that count.
    """
    count, num_annotations = ious.shape
    shape = len(thresholds), count
    annotation_of = np.full(shape, -1, dtype=np.int64)
    prediction_of = np.full((len(thresholds), num_annotations), -1, dtype=np.int64)
    scored = np.zeros(count, dtype=bool)
    ranked = np.argsort(-np.asarray(scores, dtype=np.float64), kind='stable')
    ranked_labels = labels[ranked]
    among_best = _among_best(ranked_labels, max_dets)
    scored[ranked[among_best]] = True
    for label in np.unique(annotation_labels):
        chosen = ranked[among_best & (ranked_labels == label)]
        if not len(chosen):
            continue
        of_class = annotation_labels == label
        # From the last one on, as argmax finds the first of equal ones.
        groups = [
            np.flatnonzero(of_class & ~annotation_ignored)[::-1],
            np.flatnonzero(of_class & annotation_ignored)[::-1],
        ]
        highest = ious[np.ix_(chosen, np.flatnonzero(of_class))].max(axis=1)
        for number, threshold in enumerate(thresholds.tolist()):
            least = min(threshold, _HIGHEST_THRESHOLD)
            taken = prediction_of[number]
            for prediction in chosen[highest >= least].tolist():
                for group in groups:
                    free = group[(taken[group] < 0) | crowd[group]]
                    if not len(free):
                        continue
                    best = free[ious[prediction, free].argmax()]
                    if ious[prediction, best] >= least:
                        annotation_of[number, prediction] = best
                        taken[best] = prediction
                        break
    matched = annotation_of >= 0
    ignored = matched & np.append(annotation_ignored, False)[annotation_of]
    return Matches(
        annotation_of, ignored | (~matched & outside & scored), prediction_of, scored
    )


def _among_best(ranked_labels: NDArray[np.integer], max_dets: int) -> NDArray[np.bool_]:
    """Return whether each of the ranked predictions is among the best of its class."""
    count = len(ranked_labels)
    if count <= max_dets:
        return np.ones(count, dtype=bool)
    by_class = np.argsort(ranked_labels, kind='stable')
    grouped = ranked_labels[by_class]
    among_best = np.zeros(count, dtype=bool)
    # Position in the class: that in the group less that of the group's first.
    among_best[by_class] = np.arange(count) - np.searchsorted(grouped, grouped) < max_dets
    return among_best
