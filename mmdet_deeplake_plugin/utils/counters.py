"""Count what reading and preparing samples costs, over all worker processes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

from .shared_by_copies import SharedByCopies

FIELDS = (
    'samples',  # samples that passed the pipeline
    'storage',  # seconds that pipelines waited for bytes
    'decode',  # seconds in image loaders, except waiting for storage
    'transforms',  # seconds in all other transforms
    'collate',  # seconds in the collate function
    'chunks',  # chunks that were read as a whole
    'requests',  # reads of any kind
    'bytes',  # bytes of images that were read
    'needed',  # bytes that pipelines requested
)
_COLUMN = {field: column for column, field in enumerate(FIELDS)}
_ROWS = 129  # the main process and up to 128 workers; more share the last row


class ReadCounters(SharedByCopies):
    """One number per field of ``FIELDS``, summed over all processes that share it.

    Workers write and the main process reads. Each worker has a row of its own, so
    workers need no lock.
    """

    _shared_from_now_on = False

    def __init__(self) -> None:
        self._values = torch.zeros((_ROWS, len(FIELDS)), dtype=torch.float64)
        self._array: NDArray[np.float64] | None = None
        if self._shared_from_now_on:
            self.share()

    @classmethod
    def shared_from_now_on(cls) -> None:
        """Share all counters that are created later."""
        # The iteration-based loop starts its workers before any hook is called.
        cls._shared_from_now_on = True

    def share(self) -> None:
        """Move the counters to memory that is shared with processes started later."""
        self._values.share_memory_()
        self._array = None  # it is elsewhere now

    @property
    def is_shared(self) -> bool:
        """Whether the counters are in shared memory."""
        return self._values.is_shared()

    def add(self, **amounts: float) -> None:
        """Add amounts to fields of this process."""
        row = self._row()
        for field, amount in amounts.items():
            row[_COLUMN[field]] += amount

    def value(self, field: str) -> float:
        """Return a field of this process."""
        return float(self._row()[_COLUMN[field]])

    def totals(self) -> dict[str, float]:
        """Return for each field the sum over all processes."""
        return dict(zip(FIELDS, self._values.sum(dim=0).tolist()))

    def _row(self) -> NDArray[np.float64]:
        worker = get_worker_info()
        row = 0 if worker is None else min(worker.id + 1, _ROWS - 1)
        if self._array is None:
            self._array = self._values.numpy()
        return self._array[row]

    def __getstate__(self) -> dict[str, object]:
        return {'_values': self._values, '_array': None}
