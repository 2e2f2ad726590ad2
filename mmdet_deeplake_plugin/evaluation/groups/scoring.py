"""Score metrics class by class, and join what was scored."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ground_truth import GroundTruth
from .curves import Curves, curves_of
from .instances import Instances
from .jobs import Job, divide
from .matches import Matches, join_matches
from .packed import PackedPredictions
from .ranking import Ranking
from .scorer import Scorer


@dataclass(eq=False)
class ClassScoring:
    """Ground truth, predictions, and the metrics that are to be scored.

    Packages match the detections of images that have annotations of the class. Those of
    other images can match nothing, and are only counted.

    Args:
        gt: The annotations.
        predictions: One per image of ``gt``.
        label_of: Stored label of each predicted label. Others are not scored.
        scorers: Evaluations of the metrics.
    """

    gt: GroundTruth
    predictions: PackedPredictions
    label_of: NDArray[np.int64]
    scorers: tuple[Scorer, ...]

    def __post_init__(self) -> None:
        self.instances = Instances(
            self.gt,
            self.predictions,
            self.label_of,
            with_area=any(scorer.is_federated for scorer in self.scorers),
        )

    def jobs(self) -> list[Job]:
        """Return all jobs. Of a class without annotations, nothing can be scored."""
        jobs: list[Job] = []
        for metric, scorer in enumerate(self.scorers):
            for label in sorted(self.label_of.tolist()) if scorer.by_class else [None]:
                counts = self.instances.counts(scorer, label)
                if counts is not None:
                    jobs += divide(metric, label, counts)
        return jobs

    def run(self, job: Job) -> Curves | Matches:
        """Score the instances of a job, or match them if it is a part of the images."""
        scorer = self.scorers[job.metric]
        ranking = self.instances.ranking(scorer, job.label, job.images)
        matches = scorer.match(
            *self.instances.contents(scorer, ranking, job.label, job.images)
        )
        if job.images is not None:
            return matches
        return self._curves(scorer, matches, job.label, ranking)

    def summarize(
        self,
        metric: int,
        jobs: Sequence[Job],
        results: list[Any],
        logger: logging.Logger | str,
    ) -> Any:
        """Join the results of a metric, and return the package's finished evaluation.

        Args:
            metric: Number of the metric.
            jobs: All jobs.
            results: Their results; those of the metric are taken out.
            logger: As for :meth:`.Scorer.summarize`.
        """
        scorer = self.scorers[metric]
        parts: dict[int | None, list[Any]] = {}
        for number, job in enumerate(jobs):
            if job.metric == metric:
                parts.setdefault(job.label, []).append(results[number])
                results[number] = None  # large ones are not kept for the next metric
        curves: dict[int | None, Curves] = {}
        for label, found in parts.items():
            if not isinstance(found[0], Curves):
                matches = join_matches(found)
                found.clear()  # they take as much again
                found.append(self._curves(scorer, matches, label))
            curves[label] = found.pop()
        precision, recall = self._joined(scorer, curves)
        return scorer.summarize(precision, recall, logger)

    def _joined(
        self, scorer: Scorer, curves: dict[int | None, Curves]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return precision and recall of all classes, in the order of their ids."""
        num_thresholds, most = len(scorer.thresholds), len(scorer.max_dets)
        shape = len(self.label_of) if scorer.by_class else 1, len(scorer.areas)
        # Where all numbers of detections give the same, it is held once.
        held = max((each.precision.shape[-1] for each in curves.values()), default=1)
        precision = np.full((num_thresholds, len(scorer.recalls), *shape, held), -1.0)
        recall = np.full((num_thresholds, *shape, held), -1.0)
        ids = self.gt.category_ids
        order = sorted(self.label_of.tolist(), key=lambda label: ids[label])
        for label in list(curves):
            column = 0 if label is None else order.index(label)
            precision[:, :, column] = curves[label].precision
            recall[:, column] = curves.pop(label).recall
        return (
            np.broadcast_to(precision, (*precision.shape[:-1], most)),
            np.broadcast_to(recall, (*recall.shape[:-1], most)),
        )

    def _curves(
        self,
        scorer: Scorer,
        matches: Matches,
        label: int | None,
        ranking: Ranking | None = None,
    ) -> Curves:
        """Join what was matched with the detections that can match nothing."""
        if ranking is None:
            ranking = self.instances.ranking(scorer, label)
        exempt = self.instances.exempt(scorer, ranking, label)
        thresholds, recalls, max_dets = scorer.thresholds, scorer.recalls, scorer.max_dets
        return curves_of(ranking, matches, exempt, len(thresholds), recalls, max_dets)
