"""Divide an evaluation into jobs of a bounded size, and deal them to ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# Detections and annotations of a job. pycocotools takes up to 5 KB for each.
MOST_INSTANCES = 100_000


@dataclass(frozen=True)
class Job:
    """Instances that are scored at once.

    Attributes:
        metric: Number of the metric.
        label: Stored label of the class; None for all classes.
        images: First image and end of the part that is matched, in the order of the ids;
            None to score all images.
        weight: Number of detections and annotations.
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
    """Run jobs in this process, one after the other.

    Args:
        task: Runs a job.
        jobs: The jobs.

    Returns:
        Their results, in the order of the jobs.
    """
    return [task.run(job) for job in jobs]


def divide(
    metric: int,
    label: int | None,
    places: NDArray[np.int64],
    num_images: int,
    most: int | None = None,
) -> list[Job]:
    """Return the jobs of a class, or of proposals: one, or one for a part of the images.

    Args:
        metric: Number of the metric.
        label: Stored label of the class; None for all.
        places: Place of the image of each detection and annotation, in the order of the
            ids of images.
        num_images: Number of images.
        most: Number of instances beyond which images are divided. A part holds one image
            at least. Defaults to ``MOST_INSTANCES``.
    """
    most = MOST_INSTANCES if most is None else most
    if len(places) <= most:
        return [Job(metric, label, None, len(places))]
    ordered = np.sort(places)
    bounds = np.unique([0, *ordered[most::most].tolist(), num_images]).tolist()
    ends = np.searchsorted(ordered, bounds).tolist()
    return [
        Job(metric, label, (start, stop), last - first)
        for start, stop, first, last in zip(bounds, bounds[1:], ends, ends[1:])
        if first < last
    ]


def deal(weights: Sequence[int], count: int) -> list[list[int]]:
    """Deal jobs to ranks: the largest first, each to the rank that has least to do.

    Args:
        weights: How much each job is.
        count: Number of ranks.

    Returns:
        Numbers of jobs for each rank, in ascending order. The same for equal arguments.

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
