"""Columns of predictions on a branch, from the first value to the commit, and back.

Until its commit no reader sees a draft. It can be taken back before and after, so that
either all lakes of an evaluation get their predictions, or none does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import deeplake.types as types
import numpy as np
from numpy.typing import NDArray

from .branch import SIGNATURE, Draft, LakeBranch, assign
from .columns import names

MESSAGE = 'Predictions of '  # with which each commit of this module begins
KINDS: dict[str, Any] = {
    'boxes': types.BoundingBox(dtype='float32', format='ltrb', bbox_type='pixel'),
    'labels': types.ClassLabel(types.Array('int32', 1)),
    'numbers': types.Array('float32', 1),
    'integers': types.Array('int32', 1),
    'text': types.Text(),
    'count': types.Int32(),
    'number': types.Float64(),
}

Block = tuple[NDArray[np.int64], Mapping[str, list[Any]]]


@dataclass(frozen=True)
class PredictionColumn:
    """A column to write.

    Args:
        kind: One of :data:`KINDS`. ``boxes`` are left, top, right, bottom in pixels.
        class_names: Names of the ``labels``.
    """

    kind: str
    class_names: tuple[str, ...] = ()


class PredictionDraft(Draft):
    """Columns of predictions on a branch.

    Args:
        branch, dataset, is_new: As in :class:`.Draft`.
        name: Name of the predictions.
        rows_in_lake: Row in the lake of each row of a saved view, ``None`` for others.
    """

    def __init__(
        self,
        branch: LakeBranch,
        name: str,
        dataset: Any,
        is_new: bool,
        rows_in_lake: NDArray[np.int64] | None,
    ) -> None:
        super().__init__(branch, dataset, is_new)
        self._name, self._rows_in_lake = name, rows_in_lake
        self._columns: tuple[str, ...] = ()
        self._provenance: Mapping[str, Any] = {}
        self._last: Block = np.zeros(0, dtype=np.int64), {}

    def fill(
        self,
        columns: Mapping[str, PredictionColumn],
        blocks: Iterable[Block],
        provenance: Mapping[str, Any],
    ) -> None:
        """Write the values of columns, see :class:`.PredictionWrite`."""
        self._columns, self._provenance = tuple(columns), provenance
        self.open()
        with self.storage('cannot add columns to it'):
            self._add(columns)
        for rows, values in blocks:
            rows = rows if self._rows_in_lake is None else self._rows_in_lake[rows]
            with self.storage('cannot write to it'):
                for column in columns:
                    assign(self.target[self._full(column)], rows, values[column])
            self._last = rows, values

    def finish(self) -> None:
        """Make the columns visible, and read the last row again.

        Raises:
            OSError: If the storage fails, or has lost what it confirmed.
        """
        self.commit(self._message(_brief(self._provenance)))
        rows, values = self._last
        if len(rows):
            last = {self._full(column): values[column][-1] for column in self._columns}
            self.branch.verify(int(rows[-1]), last)

    def _undo_commit(self) -> None:
        for column in self._columns:
            self.target.remove_column(self._full(column))
        self.target.commit(self._message('taken back'))

    def _message(self, text: str) -> str:
        return f'{MESSAGE}{self._name} ({SIGNATURE}): {text}'

    def _add(self, columns: Mapping[str, PredictionColumn]) -> None:
        for short, column in columns.items():
            full = self._full(short)
            self.target.add_column(full, types.Nullable(KINDS[column.kind]))
            metadata = self.target[full].metadata
            metadata[names.PREDICTIONS] = self._name
            if column.class_names:
                metadata[names.CLASS_NAMES] = list(column.class_names)
            if column.kind == 'boxes':
                metadata[names.PROVENANCE] = json.dumps(self._provenance, sort_keys=True)

    def _full(self, column: str) -> str:
        return f'{self._name}/{column}'


def _brief(provenance: Mapping[str, Any]) -> str:
    parts = [
        f'{key} {value}'
        for key, value in provenance.items()
        if isinstance(value, (str, int)) and value != ''
    ]
    return ', '.join(parts)
