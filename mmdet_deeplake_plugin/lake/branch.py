"""Write to a branch of a lake in one commit, or leave the lake as it was.

The branch that was read stays as it is. Until the commit no reader sees what is written.
After a failure the branch is deleted if it was new; what a process that was killed or has
lost its storage before the commit leaves is a branch without changes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import deeplake
import numpy as np
from numpy.typing import NDArray

from ..utils.messages import first_line
from ..version import __version__
from .connection.failures import is_access_denied
from .connection.fork_safety import call_with_deadline
from .connection.opening import open_branch
from .connection.redaction import redact
from .connection.source import LakeSource
from .connection.spec import LakeSpec

SIGNATURE = f'mmdet_deeplake_plugin {__version__}'
_PROBE = 'mmdet_deeplake_plugin_may_write'

# What Deep Lake says, after 5 seconds, of a lock on object storage that another process
# holds, or one that has died held less than 30 seconds ago.
_CONTENDED, _LONGEST_LOCK = 'lock contended', 60.0

# Handles whose storage failed: without it, one waits for locks when it is destroyed.
lost_handles: list[Any] = []


class LakeBranch:
    """A branch of a lake that is written to.

    Args:
        source: The lake that was read.
        branch: Name of the branch.
        what: What is written, for messages, such as ``'predictions'``.
        again: What to do if the lake is another one by now, for messages.
        without: What to do without access, for messages.
    """

    def __init__(
        self, source: LakeSource, branch: str, what: str, again: str, without: str
    ) -> None:
        self.source, self.branch = source, branch
        self.where = f'branch {branch!r} of {source.name}'
        self._what, self._again, self._without = what, again, without

    def open(self) -> tuple[Any, bool]:
        """Open the lake for writing, once it is known that it can be written to.

        Returns:
            The lake, on the branch that was read if the branch to write to is new; and
            whether it is new.

        Raises:
            PermissionError: If the storage refuses to write.
            OSError: If it fails for another reason.
            ValueError: If the lake cannot be written to, or is another one by now.
        """
        spec, pin = self.source.spec, self.source.pin
        if pin.is_v3:
            raise ValueError(
                f'{self.source.name} is in the format of Deep Lake 3, which cannot be '
                'written to; convert it with deeplake.convert'
            )
        if self.branch == 'main':
            raise ValueError(
                f"branch='main' must not be used for {self._what}, which belong on a "
                "branch of their own; write another name, such as branch='runs/NAME'"
            )
        with self.storage('must be writable'):
            arguments = spec.credentials.resolve()
            probe_writing(spec, arguments)
            dataset: Any = deeplake.open(spec.address, **arguments)
            branches = list(dataset.branches.names())
        if dataset.id != pin.lake_id:
            raise ValueError(
                f'{self.source.name} was written anew since it was opened; {self._again}'
            )
        if self.branch in branches:
            return dataset, False
        # On another branch than main the version is looked up there.
        with self.storage('cannot open the one that was read'):
            return dataset.branches[pin.branch].open(), True

    @contextmanager
    def writing(self, dataset: Any, is_new: bool) -> Iterator[Any]:
        """Yield the branch, open for writing; undo what was not committed if it fails.

        Args:
            dataset: The lake, see :meth:`open`.
            is_new: Whether the branch is to be made.
        """
        target: Any = None
        try:
            if is_new:
                self.make(dataset)
            with self.storage('cannot open it'):
                target = dataset.branches[self.branch].open()
            yield target
        except OSError:
            # Without its storage, a handle waits for locks when it cleans up or is
            # destroyed. The branch has no changes, and the next try takes it over.
            lost_handles.append(target)
            raise
        except BaseException:
            self._take_back(dataset, target, is_new)
            raise

    def make(self, dataset: Any) -> None:
        """Make the branch, once the lock of a process that was killed has lapsed.

        Args:
            dataset: The lake, see :meth:`open`.
        """
        deadline = time.monotonic() + _LONGEST_LOCK
        with self.storage('cannot make it'):
            while True:
                try:
                    dataset.branch(self.branch, self.source.pin.version)
                    return
                except Exception as error:
                    if _CONTENDED not in str(error) or time.monotonic() > deadline:
                        raise

    def _take_back(self, dataset: Any, target: Any, is_new: bool) -> None:
        def undo() -> None:
            if target is not None:
                target.rollback()
            if is_new:
                dataset.branches[self.branch].delete()

        try:
            call_with_deadline(undo, self.source.spec.timeouts.read_timeout)
        except Exception:  # of any type, depending on the storage
            lost_handles.append((target, dataset))

    def commit(self, target: Any, message: str) -> None:
        """Commit what was written.

        Args:
            target: The branch, see :meth:`writing`.
            message: Message of the commit.
        """
        with self.storage('cannot commit to it'):
            target.commit(message)

    def verify(self, row: int, values: Mapping[str, Any]) -> None:
        """Read a row again: a full disk does not always make itself known.

        Args:
            row: Number of the row.
            values: What was written to it: column to value.

        Raises:
            OSError: If it reads otherwise.
        """
        head = open_branch(self.source.spec, self.branch)
        for column, value in values.items():
            found = head[column][row]
            if not (_are_nan(found, value) or np.array_equal(found, value)):
                raise OSError(
                    f'{self.where}: row {row} of column {column!r} is not what was '
                    f'written (is the disk full?); make space, and {self._again}'
                )

    def storage(self, what: str) -> AbstractContextManager[None]:
        """Turn Deep Lake's errors into ``OSError``, see :func:`storage_errors`.

        Args:
            what: What fails, as it follows the name of the branch.
        """
        return storage_errors(self.source, self.where, what, self._without)


@contextmanager
def storage_errors(
    source: LakeSource, where: str, what: str, without: str
) -> Iterator[None]:
    """Turn Deep Lake's errors into ``OSError``, without secrets.

    Args:
        source: The lake.
        where: Branch and lake, for messages.
        what: What must be, or cannot be done.
        without: What to write without access.
    """
    try:
        yield
    except Exception as error:
        cause = redact(first_line(error), source.spec.credentials.secrets())
        if is_access_denied(error) or 'denied' in cause.lower():
            raise PermissionError(
                f'{where} {what}, but the storage refused: {cause}; write {without}; '
                'the lake reads as before'
            ) from None
        raise OSError(f'{where} {what}: {cause}; the lake reads as before') from None


def _are_nan(*values: Any) -> bool:
    found = [np.asarray(each) for each in values]
    return all(each.dtype.kind == 'f' and each.ndim == 0 for each in found) and all(
        map(np.isnan, found)
    )


def assign(column: Any, rows: NDArray[np.int64], values: list[Any]) -> None:
    """Write values to rows of an open column, adjacent ones at once.

    Args:
        column: Column of a dataset that is open for writing.
        rows: Row numbers, shape ``(K,)``.
        values: K values.
    """
    order = np.argsort(rows, kind='stable')
    rows = rows[order]
    for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
        if len(part):
            first = int(rows[part[0]])
            column[first : first + len(part)] = [values[order[each]] for each in part]


def check_name(key: str, value: Any, is_branch: bool, example: str) -> None:
    """Refuse what cannot be the name of a branch, or of what is written.

    Args:
        key: What the name is, for messages.
        value: The name.
        is_branch: Whether it may have slashes.
        example: What to write.

    Raises:
        ValueError: If it is empty, or has other characters than letters, digits and
            ``_-.`` (and slashes).
    """
    others = '_-./' if is_branch else '_-.'
    fits = isinstance(value, str) and value.strip('/') == value and value
    if not fits or not all(each.isalnum() or each in others for each in value):
        raise ValueError(
            f'{key} must be of letters, digits and {others}, got {value!r}; '
            f'write {example}'
        )


def probe_writing(spec: LakeSpec, arguments: Mapping[str, Any]) -> None:
    """Raise an error if a lake cannot be written to.

    Args:
        spec: The lake.
        arguments: How it is opened: its credentials, resolved.
    """
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
