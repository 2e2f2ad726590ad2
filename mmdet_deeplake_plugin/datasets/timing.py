"""Measure the time of loaders, transforms and collation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from mmengine.dataset import Compose

from ..utils.counters import ReadCounters


def timed_pipeline(pipeline: Compose, data_info: dict, counters: ReadCounters) -> Any:
    """Run a pipeline on a sample, and add the seconds of its transforms to counters."""
    waited, loading = counters.value('storage'), 0.0
    data: Any = data_info
    began = last = perf_counter()
    for transform in pipeline.transforms:
        data = transform(data)
        now = perf_counter()
        if type(transform).__name__.startswith('LoadImage'):
            loading += now - last
        last = now
        if data is None:
            break
    waited = counters.value('storage') - waited
    counters.add(
        samples=1,
        decode=max(loading - waited, 0.0),
        transforms=max(last - began - max(loading, waited), 0.0),
    )
    return data


@dataclass
class TimedCollate:
    """Collate function whose seconds are added to counters."""

    collate: Callable[[list[Any]], Any]
    counters: ReadCounters

    def __call__(self, samples: list[Any]) -> Any:
        """Collate samples into a batch."""
        began = perf_counter()
        batch = self.collate(samples)
        self.counters.add(collate=perf_counter() - began)
        return batch
