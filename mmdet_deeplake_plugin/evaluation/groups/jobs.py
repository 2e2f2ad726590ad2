"""Divide an evaluation into jobs of a bounded size, and deal them to ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# Detections and annotations that a job matches. pycocotools takes up to 5 KB for each.
MOST_INSTANCES = 20_000


@dataclass(frozen=True)
class Job:
    """Instances that are scored at once.

    Attributes:
        metric: Number of the metric.
        label: Stored label of the class; None for all classes.
        images: First image and end of the part that is matched, in the order of the ids;
            None to score all images.
        weight: Number of detections and annotations that are matched.
    """

    metric: int
    label: int | None
    images: tuple[int, int] | None
    weight: int


class Task(Protocol):
    """What the jobs of an evaluation are run by; it can be pickled."""

    def run(self, job: Job) -> Any:
        """Return the result of a job, which can be pickled."""


Spread = Callable[[Task, Sequence[Job]], list[Any]]


def one_by_one(task: Task, jobs: Sequence[Job]) -> list[Any]:
    """Run jobs in this process, and return their results in the order of the jobs."""
    return [task.run(job) for job in jobs]


def divide(
    metric: int, label: int | None, counts: NDArray[np.int64], most: int | None = None
) -> list[Job]:
    """Return the jobs of a class, or of proposals: one, or one for a part of the images.

    A part holds one image at least.

    Args:
        metric: As in :class:`Job`.
        label: As in :class:`Job`.
        counts: Number of detections and annotations of each image that are matched, in
            the order of the ids of images.
        most: Number of instances beyond which images are divided. Defaults to
            ``MOST_INSTANCES``.
    """
    most = MOST_INSTANCES if most is None else most
    ends = np.cumsum(counts)
    total = int(counts.sum())
    if total <= most:
        return [Job(metric, label, None, total)]
    starts = np.searchsorted(ends, np.arange(0, total, most), side='right')
    bounds = [0, *np.unique(starts[1:]).tolist(), len(counts)]
    weights = np.diff(np.concatenate([[0], ends])[bounds]).tolist()
    return [
        Job(metric, label, (start, stop), weight)
        for start, stop, weight in zip(bounds, bounds[1:], weights)
        if weight
    ]


def deal(weights: Sequence[int], count: int) -> list[list[int]]:
    """Deal jobs to ranks: the largest first, each to the rank that has least to do.

    Returns the numbers of the jobs of each rank, the same for equal arguments.

    Examples:
        >>> deal([1, 5, 2, 3], 2)
        [[1], [0, 2, 3]]
    """
    loads = [0] * count
    hands: list[list[int]] = [[] for _ in range(count)]
    for number in sorted(range(len(weights)), key=lambda number: -weights[number]):
        rank = loads.index(min(loads))
        # Even a class with a single box takes some time.
        loads[rank] += weights[number] + 20
        hands[rank].append(number)
    return [sorted(hand) for hand in hands]
