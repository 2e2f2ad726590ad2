"""Compare two runs on the same images: image by image, and by average precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...evaluation import COUNTS, FATES, VERDICTS, GroundTruth
from ...evaluation.verdicts.average_precision import (
    Ranking,
    compare_rankings,
    rank_classes,
)
from ...evaluation.verdicts.matching import match_image
from .._cli import with_progress
from .curves import count_positives, number, plain, rankings_of
from .run import PAGE_FATES, Run, overlaps_of

CHANGES = ('better', 'worse', 'changed', 'same', 'not compared')
DRAWS = 1000
_DRAWS_AT_ONCE = 50
# Areas in square pixels, as COCO has them; all objects come first.
SIZES = {
    'small': (0.0, 32.0**2),
    'medium': (32.0**2, 96.0**2),
    'large': (96.0**2, 1e10),
}
Numbers = Mapping[str, Sequence[Any]]


def compare_runs(
    this: Run,
    other: Run,
    gt: GroundTruth,
    rows: NDArray[np.int64],
    numbers: tuple[Numbers, Numbers],
    progress: bool = False,
) -> dict[str, Any]:
    """Compare the run of the page with another one.

    Args:
        this: The run of the page.
        other: The other one.
        gt: The annotations of the rows.
        rows: Row numbers, shape ``(R,)``.
        numbers: Numbers of the images in each run.
        progress: Whether to draw progress bars on stderr.

    Returns:
        What the page shows: ``changes`` (names), ``change`` of each image, ``numbers``
        (differences), and ``table`` of average precisions.
    """
    both = this.is_predicted & other.is_predicted
    own = [
        {short for short, column in run.stored.numbers().items() if column != short}
        for run in (this, other)
    ]
    shared = [key for key in numbers[0] if key in own[0] & own[1]]
    return {
        'changes': CHANGES,
        'change': _changes(numbers, both).tolist(),
        'numbers': {
            key: [_difference(*pair) for pair in zip(numbers[0][key], numbers[1][key])]
            for key in shared
        },
        'table': _table(this, other, gt, rows, both, progress),
        'draws': DRAWS,
    }


def _changes(
    numbers: tuple[Numbers, Numbers], both: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the number in :data:`CHANGES` of each image."""
    one, two = (
        np.array([each[key] for key in ('f1', *COUNTS)], dtype=np.float64)
        for each in numbers
    )
    conditions = {
        'not compared': ~both,
        'better': one[0] > two[0],
        'worse': one[0] < two[0],
        'same': (one == two).all(axis=0),
    }
    kinds = [CHANGES.index(name) for name in conditions]
    return np.select(list(conditions.values()), kinds, CHANGES.index('changed'))


def _difference(one: Any, two: Any) -> Any:
    return None if one is None or two is None else number(one - two)


def _table(
    this: Run,
    other: Run,
    gt: GroundTruth,
    rows: NDArray[np.int64],
    both: NDArray[np.bool_],
    progress: bool,
) -> list[dict[str, Any]]:
    one, two = (rankings_by_size(run, gt, rows, progress) for run in (this, other))
    table = []
    for size in one:
        first, second = (
            [_of_images(each, both) for each in by[size]] for by in (one, two)
        )
        parts = [_DRAWS_AT_ONCE] * (DRAWS // _DRAWS_AT_ONCE)
        text = f'comparing {size} objects'
        turns = with_progress(parts, len(parts), text, progress)
        for cls, found in enumerate(compare_rankings(first, second, turns), start=-1):
            if found.positives or cls < 0:
                table.append({'cls': cls, 'size': size, **plain(vars(found))})
    return table


def _of_images(ranking: Ranking, chosen: NDArray[np.bool_]) -> Ranking:
    """Return a ranking on some of the images, which are numbered anew."""
    kept, number_of = chosen[ranking.images], np.cumsum(chosen) - 1
    return Ranking(
        ranking.scores[kept],
        ranking.right[kept],
        number_of[ranking.images[kept]],
        ranking.positives[chosen],
    )


def rankings_by_size(
    run: Run, gt: GroundTruth, rows: NDArray[np.int64], progress: bool = False
) -> dict[str, list[Ranking]]:
    """Rank the predictions of each class in rows, shape ``(R,)``, for objects by size.

    All sizes come first, then each of :data:`SIZES`.
    For a size, annotations outside of its range of areas are ignored, and so are
    predictions outside of it that match nothing, as COCO does it; so predictions are
    matched again. What was ignored when the run was judged stays ignored.
    """
    shape = len(SIZES), len(run.scores)
    right, wrong = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    known = ~np.isin(run.fates, (FATES.index('ignored'), PAGE_FATES.index('not judged')))
    low, high = np.array(list(SIZES.values())).T[:, :, None]
    fits = known & (gt.areas >= low) & (gt.areas <= high)
    unclear = (run.verdicts == VERDICTS.index('ignored')) & (run.matches < 0)
    overlaps = overlaps_of(run, gt, rows)
    indices = with_progress(range(len(gt)), len(gt), 'matching by size', progress)
    for index in indices:
        part, annotations = run.part(index), gt.instances(index)
        ious, areas = overlaps(index)
        outside = (areas < low) | (areas > high) | unclear[part]
        for size in range(len(SIZES)):
            matches = match_image(
                ious,
                run.scores[part],
                run.labels[part],
                outside[size],
                gt.labels[annotations],
                ~fits[size, annotations],
                gt.crowd[annotations],
                np.array([run.rules.iou_thr]),
                run.rules.max_dets,
            )
            counted = matches.scored & ~matches.ignored[0]
            right[size, part] = counted & (matches.annotation_of[0] >= 0)
            wrong[size, part] = counted & (matches.annotation_of[0] < 0)
    ranked = {'all': rankings_of(run, gt)}
    for name, hits, misses, counts in zip(SIZES, right, wrong, fits):
        positives = count_positives(gt, counts)
        ranked[name] = rank_classes(
            run.images, run.labels, run.scores, hits, misses, positives
        )
    return ranked
