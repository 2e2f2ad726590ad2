"""Compute average precision from verdicts, and how far chance moves a difference of two.

Precision is that of COCO: interpolated, at 101 recalls, of predictions that are ranked by
their score; equal scores count in the order of the images. On the same verdicts, the
numbers are those of ``COCOeval.accumulate`` of pycocotools, digit for digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RECALLS = np.linspace(0.0, 1.0, 101)
_INTERVAL = (2.5, 97.5)  # percentiles
_VALUES_AT_ONCE = 2_000_000


@dataclass(frozen=True, eq=False)
class Ranking:
    """The predictions of one class that count, the highest score first.

    Args:
        scores: Confidences, shape ``(n,)``.
        right: Whether a prediction matches an annotation, shape ``(n,)``.
        images: Number of the image of each prediction, shape ``(n,)``.
        positives: Number of annotations to find in each image, shape ``(M,)``.
    """

    scores: NDArray[np.floating]
    right: NDArray[np.bool_]
    images: NDArray[np.int64]
    positives: NDArray[np.int64]

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return precision and least score at each of :data:`RECALLS`.

        Returns:
            Two arrays of shape ``(101,)``: precisions, 0 at recalls that are not
            reached, NaN if there is nothing to find; and scores, 0 where the recall is
            not reached.
        """
        (reached,), (precision,) = self._interpolated(self._once)
        return precision, np.append(self.scores.astype(np.float64), 0.0)[reached]

    def average(self) -> float:
        """Return the average precision, NaN if there is nothing to find."""
        return float(self.averages(self._once)[0])

    @property
    def _once(self) -> NDArray[np.int64]:
        return np.ones((1, len(self.positives)), dtype=np.int64)

    def averages(self, weights: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the average precision of several sets of the images.

        Args:
            weights: How often each image stands in each set, shape ``(D, M)``.

        Returns:
            Average precisions of shape ``(D,)``, NaN if there is nothing to find.
        """
        at_once = max(_VALUES_AT_ONCE // max(len(self.images), 1), 1)
        return np.concatenate(
            [
                self._interpolated(weights[start : start + at_once])[1].mean(axis=1)
                for start in range(0, len(weights), at_once)
            ]
        )

    def without_tail(self) -> Ranking:
        """Return the same without what follows the last right one; no AP changes."""
        right = np.flatnonzero(self.right)
        stop = int(right[-1]) + 1 if len(right) else 0
        return Ranking(
            self.scores[:stop], self.right[:stop], self.images[:stop], self.positives
        )

    def _interpolated(
        self, weights: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return where each recall is reached, and the precision, ``(D, 101)`` each."""
        totals = weights @ self.positives
        counts = weights[:, self.images].astype(np.float64)
        found = np.cumsum(counts * self.right, axis=1)
        wrong = np.cumsum(counts * ~self.right, axis=1)
        precision = found / (wrong + found + np.spacing(1))
        highest = np.zeros((len(weights), len(self.images) + 1))
        highest[:, :-1] = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        shape = len(weights), len(RECALLS)
        reached = np.full(shape, len(self.images), dtype=np.int64)
        precisions = np.full(shape, np.nan)
        for row in np.flatnonzero(totals).tolist():
            recalls = found[row] / totals[row]
            reached[row] = np.searchsorted(recalls, RECALLS, side='left')
            precisions[row] = highest[row, reached[row]]
        return reached, precisions


def rank_classes(
    images: NDArray[np.int64],
    labels: NDArray[np.integer],
    scores: NDArray[np.floating],
    right: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
    positives: NDArray[np.int64],
) -> list[Ranking]:
    """Rank the predictions of each class.

    Args:
        images: Number of the image of each prediction, ascending, shape ``(n,)``.
        labels: Classes, shape ``(n,)``.
        scores: Confidences, shape ``(n,)``.
        right: Which predictions match an annotation, shape ``(n,)``.
        wrong: Which do not; those that are neither do not count. Shape ``(n,)``.
        positives: Number of annotations to find of each class in each image, shape
            ``(C, M)``.

    Returns:
        A ranking for each class.
    """
    counted = np.flatnonzero(right | wrong)
    order = counted[np.argsort(-scores[counted], kind='stable')]
    ranked = labels[order]
    by_class = (order[ranked == label] for label in range(len(positives)))
    return [
        Ranking(scores[chosen], right[chosen], images[chosen], to_find)
        for chosen, to_find in zip(by_class, positives)
    ]


def mean_average(averages: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the classes with something to find; NaN without any.

    Args:
        averages: Average precisions, shape ``(…, C)``.
    """
    counts = (~np.isnan(averages)).sum(axis=-1)
    return np.where(counts, np.nansum(averages, axis=-1) / np.maximum(counts, 1), np.nan)


@dataclass(frozen=True)
class Difference:
    """Two average precisions, and how far apart they are.

    Args:
        this: Of the first model; NaN if there is nothing to find.
        other: Of the second one.
        low: Lower end of the interval that holds 95 % of the differences
            ``this - other`` over sets of images that are drawn from the given ones.
        high: Upper end of it.
        positives: Number of annotations to find.
        images: Number of images that have some. With few, the interval says little.
    """

    this: float
    other: float
    low: float
    high: float
    positives: int
    images: int


def compare_rankings(
    this: Sequence[Ranking], other: Sequence[Ranking], draws: Iterable[int], seed: int = 0
) -> list[Difference]:
    """Compare two models on the same images, with a bootstrap over the images.

    The interval is that of percentiles (B. Efron, R. Tibshirani, An Introduction to the
    Bootstrap, 1993). In each draw, both models are scored on the same images.

    Args:
        this: Rankings of the first model, one per class.
        other: Those of the second one, with the same positives.
        draws: Numbers of draws to make at once, such as ten times 100.
        seed: Seed of the draws.

    Returns:
        The difference of the means over the classes, then that of each class.
    """
    num_images, generator = len(this[0].positives), np.random.default_rng(seed)
    rankings = [each.without_tail() for each in (*this, *other)]

    def averages(weights: NDArray[np.integer]) -> NDArray[np.float64]:
        # In the shape (D, C, 2).
        found = [ranking.averages(weights) for ranking in rankings]
        return np.array(found).reshape(2, len(this), len(weights)).T

    drawn = [averages(_draw_images(num_images, count, generator)) for count in draws]
    whole = averages(np.ones((1, num_images), dtype=np.int64))
    given, each = _with_mean(whole)[0].tolist(), _with_mean(np.concatenate(drawn))
    positives = np.array([ranking.positives for ranking in this])
    positives = np.concatenate([positives.sum(axis=0, keepdims=True), positives])
    return [
        Difference(
            one,
            two,
            *_interval(each[:, index]),
            int(positives[index].sum()),
            int((positives[index] > 0).sum()),
        )
        for index, (one, two) in enumerate(given)
    ]


def _draw_images(
    num_images: int, count: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return how often each image is drawn with replacement, ``count`` times."""
    drawn = [generator.integers(0, num_images, num_images) for _ in range(count)]
    return np.array([np.bincount(each, minlength=num_images) for each in drawn])


def _with_mean(averages: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put the mean over classes before them, shape ``(B, C, 2)`` to ``(B, C + 1, 2)``."""
    means = mean_average(averages.swapaxes(1, 2))
    return np.concatenate([means[:, None], averages], axis=1)


def _interval(pairs: NDArray[np.float64]) -> tuple[float, float]:
    differences = pairs[:, 0] - pairs[:, 1]
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        return float('nan'), float('nan')
    low, high = np.percentile(differences, _INTERVAL)
    return float(low), float(high)
