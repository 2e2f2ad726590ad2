"""Say what is wrong with a prediction that matches nothing: the error types of TIDE.

D. Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors, ECCV
2020. On the same matches, the counts are those of the authors' package ``tidecv``, which
also counts the predictions that lie in crowds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# In the order of the numbers that stand for them.
ERRORS = (
    'none',
    'classification',
    'localisation',
    'both',
    'duplicate',
    'background',
)
NONE, CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, BACKGROUND = range(len(ERRORS))


def error_types(
    ious: NDArray[np.float64],
    same_class: NDArray[np.bool_],
    matched: NDArray[np.bool_],
    found: NDArray[np.bool_],
    iou_thr: float,
    background_thr: float,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Name the error of each prediction of an image, and the annotations it missed.

    Of a prediction without a match, with the highest IoU with an annotation

    - ``localisation``: of its class, from ``background_thr`` to ``iou_thr``;
    - ``classification``: else, of another class, at least ``iou_thr``;
    - ``duplicate``: else, of its class, at least ``iou_thr``: another one has matched it;
    - ``background``: else, of any class, at most ``background_thr``;
    - ``both``: else, a wrong class and a bad box.

    Args:
        ious: Overlap of each prediction with each annotation that counts, shape
            ``(n, m)``.
        same_class: Whether their classes are equal, shape ``(n, m)``.
        matched: Which predictions match an annotation, shape ``(n,)``.
        found: Which annotations are matched, shape ``(m,)``.
        iou_thr: IoU from which on a prediction matches.
        background_thr: IoU up to which a prediction is on the background.

    Returns:
        Numbers of :data:`ERRORS`, shape ``(n,)``; and whether an annotation was missed,
        shape ``(m,)``: it was not found, nor is it the annotation that a wrong prediction
        with the error ``localisation`` or ``classification`` would have matched.
    """
    wrong = ~matched
    if not ious.shape[1]:
        return np.where(wrong, BACKGROUND, NONE).astype(np.uint8), ~found
    own, others = ious * same_class, ious * ~same_class
    nearest, nearest_other = own.argmax(axis=1), others.argmax(axis=1)
    best = own.max(axis=1)
    conditions = [
        (best > 0) & (background_thr <= best) & (best <= iou_thr),
        others.max(axis=1) >= iou_thr,
        (own * found).max(axis=1) >= iou_thr,
        ious.max(axis=1) <= background_thr,
    ]
    kinds = [LOCALISATION, CLASSIFICATION, DUPLICATE, BACKGROUND]
    errors = np.where(wrong, np.select(conditions, kinds, BOTH), NONE).astype(np.uint8)
    missed = ~found
    missed[nearest[errors == LOCALISATION]] = False
    missed[nearest_other[errors == CLASSIFICATION]] = False
    return errors, missed


def annotations_behind(
    ious: NDArray[np.float64],
    same_class: NDArray[np.bool_],
    matches: NDArray[np.integer],
    errors: NDArray[np.integer],
) -> NDArray[np.int64]:
    """Return the annotation that each prediction of an image is about.

    Args:
        ious: Overlap of each prediction with each annotation, 0 for those that do not
            count, shape ``(n, m)``.
        same_class: Whether their classes are equal, shape ``(n, m)``.
        matches: The matched annotation, -1 for none, shape ``(n,)``.
        errors: Numbers of :data:`ERRORS`, shape ``(n,)``.

    Returns:
        The match; else, for a wrong class the nearest annotation of another class, for a
        bad location or a duplicate that of the same class, for both the nearest one. -1
        for predictions on the background and those without an error; shape ``(n,)``.
    """
    about = np.asarray(matches, dtype=np.int64).copy()
    if not ious.shape[1]:
        return about
    for kinds, overlap in (
        ((CLASSIFICATION,), ious * ~same_class),
        ((LOCALISATION, DUPLICATE), ious * same_class),
        ((BOTH,), ious),
    ):
        chosen = np.isin(errors, kinds) & (about < 0) & (overlap.max(axis=1) > 0)
        about[chosen] = overlap[chosen].argmax(axis=1)
    return about
