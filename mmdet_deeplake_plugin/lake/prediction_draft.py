"""Columns of predictions on a branch, from the first value to the commit, and back.

Until its commit no reader sees a draft. It can be taken back before and after, so that
either all lakes of an evaluation get their predictions, or none does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import deeplake.types as types
import numpy as np
from numpy.typing import NDArray

from .branch import SIGNATURE, LakeBranch, assign, lost_handles
from .columns import names
from .connection.fork_safety import call_with_deadline

WITHOUT = 'deeplake_credentials that may write, or leave DeepLakePredictions out'
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


class PredictionDraft:
    """Columns of predictions on a branch.

    Args:
        target: The branch.
        name: Name of the predictions.
        dataset: The lake, open for writing.
        is_new: Whether the branch is to be made.
        rows_in_lake: Row in the lake of each row of a saved view, ``None`` for others.

    Attributes:
        where: Branch and lake in messages.
    """

    def __init__(
        self,
        target: LakeBranch,
        name: str,
        dataset: Any,
        is_new: bool,
        rows_in_lake: NDArray[np.int64] | None,
    ) -> None:
        self.where = target.where
        self._branch, self._name = target, name
        self._dataset, self._is_new, self._rows_in_lake = dataset, is_new, rows_in_lake
        self._target: Any = None
        self._columns: tuple[str, ...] = ()
        self._provenance: Mapping[str, Any] = {}
        self._last: Block = np.zeros(0, dtype=np.int64), {}
        self._is_made = self._is_committed = self._is_lost = False

    def fill(
        self,
        columns: Mapping[str, PredictionColumn],
        blocks: Iterable[Block],
        provenance: Mapping[str, Any],
    ) -> None:
        """Write the values of columns; see :meth:`.PredictionBranch.write`.

        Raises:
            OSError: If the storage fails.
        """
        self._columns, self._provenance = tuple(columns), provenance
        if self._is_new:
            with self._noticed():
                self._branch.make(self._dataset)
            self._is_made = True
        with self._storage('cannot add columns to it'):
            self._target = self._dataset.branches[self._branch.branch].open()
            self._add(columns)
        for rows, values in blocks:
            rows = rows if self._rows_in_lake is None else self._rows_in_lake[rows]
            with self._storage('cannot write to it'):
                for column in columns:
                    assign(self._target[self._full(column)], rows, values[column])
            self._last = rows, values

    def commit(self) -> None:
        """Make the columns visible, and read the last row again.

        Raises:
            OSError: If the storage fails, or has lost what it confirmed.
        """
        with self._storage('cannot commit to it'):
            self._target.commit(
                f'{MESSAGE}{self._name} ({SIGNATURE}): {_brief(self._provenance)}'
            )
        self._is_committed = True
        rows, values = self._last
        if len(rows):
            last = {self._full(column): values[column][-1] for column in self._columns}
            self._branch.verify(int(rows[-1]), last)

    def take_back(self) -> bool:
        """Take back what was written, and the branch if it was made.

        Returns:
            Whether the lake now reads as before. A branch that could not be deleted has
            no columns; the next try takes it over.
        """
        if not self._is_lost:
            seconds = self._branch.source.spec.timeouts.read_timeout
            try:
                call_with_deadline(self._undo, seconds)
                return True
            except Exception:  # of any type, depending on the storage
                self._is_lost = True
        lost_handles.append((self._target, self._dataset))
        return not self._is_committed

    def _undo(self) -> None:
        if self._target is not None and not self._is_committed:
            self._target.rollback()
        if self._is_made:
            self._dataset.branches[self._branch.branch].delete()
        elif self._is_committed:
            for column in self._columns:
                self._target.remove_column(self._full(column))
            self._target.commit(f'{MESSAGE}{self._name} ({SIGNATURE}): taken back')

    def _add(self, columns: Mapping[str, PredictionColumn]) -> None:
        for short, column in columns.items():
            full = self._full(short)
            self._target.add_column(full, types.Nullable(KINDS[column.kind]))
            metadata = self._target[full].metadata
            metadata[names.PREDICTIONS] = self._name
            if column.class_names:
                metadata[names.CLASS_NAMES] = list(column.class_names)
            if column.kind == 'boxes':
                metadata[names.PROVENANCE] = json.dumps(self._provenance, sort_keys=True)

    def _full(self, column: str) -> str:
        return f'{self._name}/{column}'

    @contextmanager
    def _storage(self, what: str) -> Iterator[None]:
        with self._noticed(), self._branch.storage(what):
            yield

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        """Remember that the storage failed."""
        try:
            yield
        except OSError:
            self._is_lost = True
            raise


def _brief(provenance: Mapping[str, Any]) -> str:
    parts = [f'{key} {value}' for key, value in provenance.items() if _is_plain(value)]
    return ', '.join(parts)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int)) and value != ''
