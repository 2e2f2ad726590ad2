"""Counters of reading and preparing samples: workers write, the main process reads."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from .shared_by_copies import SharedByCopies

FIELDS = (
    'samples',  # that passed the pipeline
    'storage',  # seconds in which a pipeline waited for bytes
    'decode',  # seconds in image loaders, without waiting for storage
    'transforms',  # seconds in all other transforms
    'collate',  # seconds
    'chunks',  # chunks read whole
    'requests',  # reads of any kind
    'bytes',  # of images that were read
    'needed',  # bytes that a pipeline asked for
)
_PLACE = {field: place for place, field in enumerate(FIELDS)}
_SLOTS = 129


class ReadCounters(SharedByCopies):
    """Sums a value for each of ``FIELDS``, over all processes that share it.

    Each worker has a line of its own, so that none waits for another.
    """

    _shared_from_now_on = False

    def __init__(self) -> None:
        self._values = torch.zeros((_SLOTS, len(FIELDS)), dtype=torch.float64)
        self._lines: NDArray[np.float64] | None = None
        if self._shared_from_now_on:
            self.share()

    @classmethod
    def shared_from_now_on(cls) -> None:
        """Shares all meters that are made later.

        The iteration-based loop starts its workers while it is built, before it
        calls any hook.
        """
        cls._shared_from_now_on = True

    def share(self) -> None:
        """Moves the counters to memory that processes started later share."""
        self._values.share_memory_()
        self._lines = None  # they lie elsewhere now

    @property
    def is_shared(self) -> bool:
        """Whether somebody is going to read the sums over all processes."""
        return self._values.is_shared()

    def add(self, **amounts: float) -> None:
        """Adds to fields of this process's line."""
        line = self._line()
        for field, amount in amounts.items():
            line[_PLACE[field]] += amount

    def value(self, field: str) -> float:
        """A field of this process's line."""
        return float(self._line()[_PLACE[field]])

    def totals(self) -> dict[str, float]:
        """Field -> sum over all processes."""
        return dict(zip(FIELDS, self._values.sum(dim=0).tolist()))

    def _line(self) -> NDArray[np.float64]:
        worker = get_worker_info()
        slot = 0 if worker is None else min(worker.id + 1, _SLOTS - 1)
        if self._lines is None:
            self._lines = self._values.numpy()
        return self._lines[slot]

    def __getstate__(self) -> dict[str, object]:
        return {'_values': self._values, '_lines': None}
