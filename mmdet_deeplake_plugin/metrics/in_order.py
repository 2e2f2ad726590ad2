"""Score results in the order of the dataset, whatever order they came in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric, Evaluator
from numpy.typing import NDArray

from .collected import SelectedResults
from .metric import DeepLakeMetric
from .predictions import DeepLakePredictions
from .ranks import SharedErrors

# Whose metrics are known to keep a result for each sample, and to look at all at the end.
_KNOWN = ('mmdet', 'mmdet_deeplake_plugin', 'mmengine')
_KNOWN_WAYS = tuple(
    metric.evaluate for metric in (BaseMetric, DeepLakeMetric, DeepLakePredictions)
)


class InDatasetOrder(SharedErrors):
    """A metric whose results are put back into the order of the dataset.

    The metric processes batches as they come, and computes its numbers, or writes its
    file, from the collected results of all ranks: one for each sample, in the order of
    the dataset, as if they had come in it. If there is not one for each sample, their
    order has no meaning, and they are left as they are.

    Args:
        metric: The metric; see :func:`can_be_put_in_order`.
        order: Position in the epoch -> sample, shape ``(N,)``.
    """

    def __init__(self, metric: BaseMetric, order: NDArray[np.integer]) -> None:
        # Not that of BaseMetric, which warns of a metric without prefix once more.
        self.metric = metric
        self.collect_device = metric.collect_device
        self.collect_dir = metric.collect_dir
        self.prefix = metric.prefix
        self._positions = np.argsort(order, kind='stable').tolist()

    @property
    def results(self) -> list[Any]:
        """Results of the metric on this rank."""
        return self.metric.results

    @property
    def dataset_meta(self) -> dict | None:
        """``metainfo`` of the dataset."""
        return self.metric.dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        """Hand ``metainfo`` on to the metric."""
        self.metric.dataset_meta = dataset_meta

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Let the metric process a batch."""
        self.metric.process(data_batch, data_samples)

    def evaluate(self, size: int) -> dict:
        """Let the metric compute its numbers, on all ranks if it can."""
        if isinstance(self.metric, DeepLakeMetric):
            if self.metric.format.of_videos:  # which put frames in order themselves
                return self.metric.evaluate(size)
            if self.metric.is_shared:
                return self.metric.evaluate_in_order(size, self._positions)
        if isinstance(self.metric, DeepLakePredictions):
            if self.metric.is_idle:
                return {}
            self.metric.finish()
        return super().evaluate(size)

    def compute(self, results: Sequence[Any]) -> dict:
        """Let the metric compute its numbers from results in the order they came in."""
        if len(results) == len(self._positions):
            results = (
                results[self._positions]
                if isinstance(results, SelectedResults)
                else [results[position] for position in self._positions]
            )
        return self.metric.compute_metrics(results)


def can_be_put_in_order(evaluator: Any) -> bool:
    """Return whether :class:`InDatasetOrder` suits all metrics of an evaluator.

    Not so for evaluators and metrics that collect results in a way of their own, such as
    ``MultiDatasetsEvaluator``, nor for metrics of other packages, which may count the
    batches that they see.
    """
    return type(evaluator) is Evaluator and all(
        isinstance(metric, BaseMetric)
        and type(metric).evaluate in _KNOWN_WAYS
        and type(metric).__module__.partition('.')[0] in _KNOWN
        for metric in evaluator.metrics
    )
