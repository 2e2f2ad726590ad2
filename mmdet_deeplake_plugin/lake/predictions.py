"""Write predictions as columns on a branch of the lake that they were made on.

The branch that was evaluated stays as it is. Columns get one commit at the end; until
then no reader sees them. After a failure the branch is deleted if it was new; what a
process that was killed or has lost its storage leaves is a branch without columns, which
the next try takes over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import deeplake
import deeplake.types as types
import numpy as np
from numpy.typing import NDArray

from ..utils.messages import first_line
from ..version import __version__
from .columns import names
from .connection.failures import is_access_denied
from .connection.fork_safety import call_with_deadline
from .connection.opening import column_names, open_branch, open_version
from .connection.redaction import redact
from .connection.resolve import select_rows
from .connection.resolve_object import same_rows
from .connection.source import LakeSource
from .connection.spec import LakeSpec

SIGNATURE = f'mmdet_deeplake_plugin {__version__}'
_MESSAGE = 'Predictions of '  # with which each commit of this module begins
_PROBE = 'mmdet_deeplake_plugin_may_write'
KINDS: dict[str, Any] = {
    'boxes': types.BoundingBox(dtype='float32', format='ltrb', bbox_type='pixel'),
    'labels': types.ClassLabel(types.Array('int32', 1)),
    'numbers': types.Array('float32', 1),
    'integers': types.Array('int32', 1),
    'text': types.Text(),
    'count': types.Int32(),
    'number': types.Float64(),
}

# Handles whose storage failed.
_failed: list[Any] = []

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
        self._where = f'branch {branch!r} of {source.name}'

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
        if is_new:
            with self._storage('cannot make it'):
                dataset.branch(self.branch, self.source.pin.version)
        target: Any = None
        try:
            with self._storage('cannot add columns to it'):
                target = dataset.branches[self.branch].open()
                self._add(target, columns, provenance)
            rows: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
            values: Mapping[str, list[Any]] = {}
            for rows, values in blocks:
                rows = rows if rows_in_lake is None else rows_in_lake[rows]
                with self._storage('cannot write to it'):
                    for column in columns:
                        _assign(target[self._full(column)], rows, values[column])
            with self._storage('cannot commit to it'):
                target.commit(
                    f'{_MESSAGE}{self.name} ({SIGNATURE}): {_brief(provenance)}'
                )
            self._verify(columns, rows, values)
        except OSError:
            # Without its storage, a handle waits for locks when it cleans up or is
            # destroyed. The branch has no columns, and the next try takes it over.
            _failed.append(target)
            raise
        except BaseException:
            if target is not None:
                target.rollback()
            if is_new:
                dataset.branches[self.branch].delete()
            raise

    def _verify(
        self,
        columns: Mapping[str, PredictionColumn],
        rows: NDArray[np.int64],
        values: Mapping[str, list[Any]],
    ) -> None:
        """Read the last row again: a full disk does not always make itself known."""
        head = open_branch(self.source.spec, self.branch)
        for column in columns if len(rows) else ():
            found = head[self._full(column)][int(rows[-1])]
            if not np.array_equal(found, values[column][-1]):
                raise OSError(
                    f'{self._where}: row {rows[-1]} of column {self._full(column)!r} is '
                    'not what was written (is the disk full?); delete the branch'
                )

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
        spec, pin = self.source.spec, self.source.pin
        if pin.is_v3:
            raise ValueError(
                f'{self.source.name} is in the format of Deep Lake 3, which cannot be '
                'written to; convert it with deeplake.convert'
            )
        if self.branch == 'main':
            raise ValueError(
                "branch='main' must not be used for predictions, as that branch stays as "
                "it is; write branch='runs/NAME', or leave it out"
            )
        with self._storage('must be writable'):
            arguments = spec.credentials.resolve()
            probe_writing(spec, arguments)
            dataset: Any = deeplake.open(spec.address, **arguments)
            branches = list(dataset.branches.names())
        if dataset.id != pin.lake_id:
            raise ValueError(
                f'{self.source.name} was written anew since it was opened; predict again'
            )
        if self.branch not in branches:
            # On another branch than main the version is looked up there.
            with self._storage('cannot open the evaluated one'):
                evaluated = dataset.branches[pin.branch].open()
            return evaluated, True
        with self._storage('cannot open it'):
            found = dataset.branches[self.branch]
            base, own = found.base, dataset.branches[pin.branch].id
            head = found.open()
            versions = [(each.id, str(each.message)) for each in head.history]
        self._check_branch(base == (own, pin.version), versions)
        taken = [each for each in column_names(head) if each.startswith(f'{self.name}/')]
        if taken:
            raise ValueError(
                f'{self._where}: the name {self.name!r} is taken by its columns '
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
            f'{self._where} exists, and {problem}, so its rows may be others; write '
            'another branch=, or delete it'
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

    @contextmanager
    def _storage(self, what: str) -> Iterator[None]:
        """Turn Deep Lake's errors into ``OSError``, without secrets."""
        try:
            yield
        except Exception as error:
            cause = redact(first_line(error), self.source.spec.credentials.secrets())
            if is_access_denied(error) or 'denied' in cause.lower():
                raise PermissionError(
                    f'{self._where} {what}, but the storage refused: {cause}; write '
                    'deeplake_credentials that may write, or leave DeepLakePredictions '
                    'out'
                ) from None
            raise OSError(
                f'{self._where} {what}: {cause}; the lake reads as before'
            ) from None


def probe_writing(spec: LakeSpec, arguments: Mapping[str, Any]) -> None:
    """Raise an error if a lake cannot be written to."""
    if spec.path.startswith('mem://'):
        return
    if spec.is_remote:
        writer = deeplake.storage.Writer(spec.address, **arguments)

        def write_and_remove() -> None:
            writer.set_async(_PROBE, b'').result()
            writer.remove(_PROBE)

        call_with_deadline(write_and_remove, spec.timeouts.read_timeout)
        return
    # On a local disk, Deep Lake's writer says nothing if it fails.
    for folder in (spec.path, os.path.join(spec.path, '_deeplake_log')):
        if not os.access(folder, os.W_OK):
            raise PermissionError(f'{folder} is read-only for this user')


def check_prediction_name(key: str, value: Any) -> None:
    """Refuse what cannot be the name of predictions or of a branch.

    Args:
        key: ``'name'`` or ``'branch'``.
        value: Its value; ``None`` for the default.

    Raises:
        ValueError: If it is empty, or has other signs than letters, digits and ``_-.``; a
            branch may have slashes too.
    """
    if value is None:
        return
    signs = '_-./' if key == 'branch' else '_-.'
    fits = isinstance(value, str) and value.strip('/') == value and value
    if not fits or not all(each.isalnum() or each in signs for each in value):
        raise ValueError(
            f'{key} of DeepLakePredictions must be of letters, digits and {signs}, got '
            f'{value!r}; write {key}={"runs/" if key == "branch" else ""}rtmdet_tiny'
        )


def _assign(column: Any, rows: NDArray[np.int64], values: list[Any]) -> None:
    """Write values to rows, adjacent ones at once."""
    order = np.argsort(rows, kind='stable')
    rows = rows[order]
    for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
        if len(part):
            first = int(rows[part[0]])
            column[first : first + len(part)] = [values[order[each]] for each in part]


def _brief(provenance: Mapping[str, Any]) -> str:
    parts = [f'{key} {value}' for key, value in provenance.items() if _is_plain(value)]
    return ', '.join(parts)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int)) and value != ''
