"""Find the rows of a class, and the best of an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class RowsByLabel:
    """Rows of instances by their stored label, 4 bytes for each.

    Args:
        label_of: Stored label of each label.
        labels: Label of each instance, shape ``(N,)``.
        num_labels: Number of stored labels.
        kept: Rows that are taken, in ascending order. Defaults to all.
    """

    def __init__(
        self,
        label_of: NDArray[np.integer],
        labels: NDArray[np.integer],
        num_labels: int,
        kept: NDArray[np.integer] | None = None,
    ) -> None:
        # Small integers are sorted in less time and memory.
        small = label_of.astype(np.int16 if num_labels < 1 << 15 else np.int32)
        stored = small[labels if kept is None else labels[kept]]
        rows: NDArray[Any] = np.argsort(stored, kind='stable')
        if kept is not None:
            rows = kept[rows]
        self._rows = rows.astype(np.int32 if len(labels) < 1 << 31 else np.int64)
        self._ends = np.cumsum(np.bincount(stored, minlength=num_labels))

    def of(self, label: int) -> NDArray[np.integer]:
        """Return the rows of a stored label, in ascending order."""
        start = self._ends[label - 1] if label else 0
        return self._rows[start : self._ends[label]]


def best_of_images(
    offsets: NDArray[np.int64], scores: NDArray[Any], most: int | None
) -> NDArray[np.int64]:
    """Return the rows of the best detections of each image, in ascending order.

    ``most`` of each, None for all; of equal ones, the first count.
    """
    kept = np.ones(int(offsets[-1]), dtype=bool)
    if most is not None:
        for index in np.flatnonzero(np.diff(offsets) > most).tolist():
            start, stop = offsets[index : index + 2].tolist()
            ranked = np.argsort(-scores[start:stop], kind='stable')
            kept[start + ranked[most:]] = False
    return np.flatnonzero(kept)
