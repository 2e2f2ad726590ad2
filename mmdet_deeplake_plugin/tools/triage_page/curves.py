"""Precision and recall of each class on the images of the page."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...evaluation import FATES, VERDICTS, GroundTruth
from ...evaluation.verdicts.average_precision import Ranking, mean_average, rank_classes
from .run import PAGE_FATES, Run


def rankings_of(run: Run, gt: GroundTruth) -> list[Ranking]:
    """Rank the predictions of each class by the verdicts that are stored."""
    counts = ~np.isin(run.fates, (FATES.index('ignored'), PAGE_FATES.index('not judged')))
    return rank_classes(
        run.images,
        run.labels,
        run.scores,
        run.verdicts == VERDICTS.index('right'),
        run.verdicts == VERDICTS.index('wrong'),
        count_positives(gt, counts),
    )


def count_positives(gt: GroundTruth, counts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count what is to be found of each class in each image, shape ``(C, M)``.

    Args:
        gt: The annotations.
        counts: Which of them count, shape ``(N,)``.
    """
    positives = np.zeros((len(gt.category_names), len(gt)), dtype=np.int64)
    rows = np.flatnonzero(counts)
    np.add.at(positives, (gt.labels[rows], gt.images_of(rows)), 1)
    return positives


def curves_of(run: Run, gt: GroundTruth) -> list[dict[str, Any]]:
    """Return average precision and curve of all classes together, then of each.

    Returns:
        Dicts with ``ap``, ``positives``, ``precision`` and ``score`` at 101 recalls.
        ``ap`` is None without anything to find; the mean has no ``score``.
    """
    rankings = rankings_of(run, gt)
    drawn = [ranking.curve() for ranking in rankings]
    curves = [
        {
            'ap': number(precision.mean()),
            'positives': int(ranking.positives.sum()),
            'precision': rounded(precision),
            'score': scores.tolist(),
        }
        for ranking, (precision, scores) in zip(rankings, drawn)
    ]
    means = mean_average(np.array([precision for precision, _ in drawn]).T)
    averages = np.array([ranking.average() for ranking in rankings])
    mean = {
        'ap': number(mean_average(averages)),
        'positives': sum(curve['positives'] for curve in curves),
        'precision': rounded(means),
    }
    return [mean, *curves]


def number(value: Any) -> float | None:
    """Return a number for JSON, None for NaN and infinity."""
    return float(value) if np.isfinite(value) else None


def plain(value: Any) -> Any:
    """Return a value of JSON without NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return number(value) if isinstance(value, float) else value


def rounded(values: NDArray[np.float64]) -> list[float] | None:
    """Return numbers with four digits, None if they are NaN."""
    return None if np.isnan(values).any() else np.round(values, 4).tolist()
