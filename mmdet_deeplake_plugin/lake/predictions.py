"""Write predictions as columns on a branch of the lake that they were made on.

See ``branch.py`` for how. What a process that was killed leaves is a branch without
columns, which the next try takes over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import deeplake.types as types
import numpy as np
from numpy.typing import NDArray

from .branch import SIGNATURE, LakeBranch, assign, check_name
from .columns import names
from .connection.opening import column_names, open_branch, open_version
from .connection.resolve import select_rows
from .connection.resolve_object import same_rows
from .connection.source import LakeSource

_MESSAGE = 'Predictions of '  # with which each commit of this module begins
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


class PredictionBranch:
    """The branch of a lake that predictions are written to.

    Args:
        source: The lake that was evaluated.
        branch: Name of the branch.
        name: Name of the predictions: their columns are ``<name>/boxes`` and so on.
    """

    def __init__(self, source: LakeSource, branch: str, name: str) -> None:
        self.source, self.branch, self.name = source, branch, name
        self._target = LakeBranch(
            source,
            branch,
            what='predictions',
            again='predict again',
            without='deeplake_credentials that may write, or leave DeepLakePredictions '
            'out',
        )

    def check(self) -> None:
        """Refuse what cannot be written, before the work begins.

        Raises:
            PermissionError: If the storage refuses to write.
            OSError: If it fails for another reason.
            ValueError: If the branch exists and is not one of predictions of this
                version, the name is taken, or the lake cannot be written to.
        """
        self._open()

    def write(
        self,
        columns: Mapping[str, PredictionColumn],
        blocks: Iterable[Block],
        provenance: Mapping[str, Any],
    ) -> None:
        """Write columns in one commit.

        Args:
            columns: The columns, by what follows ``<name>/``.
            blocks: Row numbers, ascending, shape ``(K,)``, and K values of each column.
                Rows that do not come are null.
            provenance: What is to be known of the predictions; plain values. It is stored
                with the boxes.

        Raises:
            ValueError, PermissionError: As :meth:`check`.
            OSError: If the storage fails; the lake then reads as before, unless it has
                lost what it confirmed.
        """
        dataset, is_new = self._open()
        rows_in_lake = self._rows_of_view()
        with self._target.writing(dataset, is_new) as target:
            with self._target.storage('cannot add columns to it'):
                self._add(target, columns, provenance)
            rows: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
            values: Mapping[str, list[Any]] = {}
            for rows, values in blocks:
                rows = rows if rows_in_lake is None else rows_in_lake[rows]
                with self._target.storage('cannot write to it'):
                    for column in columns:
                        assign(target[self._full(column)], rows, values[column])
            message = f'{_MESSAGE}{self.name} ({SIGNATURE}): {_brief(provenance)}'
            self._target.commit(target, message)
            if len(rows):
                last = {self._full(column): values[column][-1] for column in columns}
                self._target.verify(int(rows[-1]), last)

    def _full(self, column: str) -> str:
        return f'{self.name}/{column}'

    def _add(
        self,
        target: Any,
        columns: Mapping[str, PredictionColumn],
        provenance: Mapping[str, Any],
    ) -> None:
        for short, column in columns.items():
            full = self._full(short)
            target.add_column(full, types.Nullable(KINDS[column.kind]))
            metadata = target[full].metadata
            metadata[names.PREDICTIONS] = self.name
            if column.class_names:
                metadata[names.CLASS_NAMES] = list(column.class_names)
            if column.kind == 'boxes':
                metadata[names.PROVENANCE] = json.dumps(provenance, sort_keys=True)

    def _open(self) -> tuple[Any, bool]:
        """Return the lake, open for writing, and whether the branch is new."""
        pin = self.source.pin
        dataset, is_new = self._target.open()
        if is_new:
            return dataset, True
        with self._target.storage('cannot open it'):
            found = dataset.branches[self.branch]
            base, own = found.base, dataset.branches[pin.branch].id
            head = found.open()
            versions = [(each.id, str(each.message)) for each in head.history]
        self._check_branch(base == (own, pin.version), versions)
        taken = [each for each in column_names(head) if each.startswith(f'{self.name}/')]
        if taken:
            raise ValueError(
                f'{self._target.where}: the name {self.name!r} is taken by its columns '
                f'({taken[0]}, …); write another name=, or another branch='
            )
        return dataset, False

    def _check_branch(self, is_base: bool, versions: list[tuple[str, str]]) -> None:
        pin = self.source.pin
        if self.branch == pin.branch:
            if pin.version == versions[-1][0]:
                return
            problem = f'its newest version is {versions[-1][0]}'
        elif not is_base:
            problem = 'it was not made from the version that was evaluated'
        elif all(message.startswith(_MESSAGE) for _, message in versions[1:]):
            return
        else:
            problem = f'it has other changes ({versions[-1][1]!r})'
        raise ValueError(
            f'{self._target.where} exists, and {problem}, so its rows may be others; '
            'write another branch=, or delete it'
        )

    def _rows_of_view(self) -> NDArray[np.int64] | None:
        """Return the row in the lake of each row of a saved view, ``None`` for others."""
        spec, pin = self.source.spec, self.source.pin
        if not pin.tag:
            return None
        view = self.source.handle
        head = open_branch(spec, pin.branch)
        query = head.tags[pin.tag].query
        handle = open_version(head, spec, pin.version)
        rows = select_rows(handle, [query], spec)
        if not same_rows(view, handle, rows):
            raise ValueError(
                f'the view {pin.tag!r} of {spec.path} must have rows that its query '
                f'{query!r} finds again, but it found others; predict on the lake instead'
            )
        return rows


def check_prediction_name(key: str, value: Any) -> None:
    """Refuse what cannot be the name of predictions or of a branch.

    Args:
        key: ``'name'`` or ``'branch'``.
        value: Its value; ``None`` for the default.

    Raises:
        ValueError: If it is empty, or has other signs than letters, digits and ``_-.``; a
            branch may have slashes too.
    """
    example = f'{key}={"runs/" if key == "branch" else ""}rtmdet_tiny'
    if value is not None:
        check_name(f'{key} of DeepLakePredictions', value, key == 'branch', example)


def _brief(provenance: Mapping[str, Any]) -> str:
    parts = [f'{key} {value}' for key, value in provenance.items() if _is_plain(value)]
    return ', '.join(parts)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int)) and value != ''
