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
from typing import Any, NamedTuple

import deeplake
import numpy as np
from numpy.typing import NDArray

from ..utils.messages import first_line
from ..utils.values import wrong
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
_lost_handles: list[Any] = []


class History(NamedTuple):
    """What a branch has that exists already.

    Attributes:
        head: The branch, open.
        is_base: Whether it was made from the version that was read.
        versions: Id and message of each version, the first one first.
    """

    head: Any
    is_base: bool
    versions: list[tuple[str, str]]


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

    def open(self) -> tuple[Any, History | None]:
        """Open the lake for writing, once it is known that it can be written to.

        Returns:
            The lake, on the branch that was read if the branch to write to is new; and
            what that branch has, ``None`` if it is new.

        Raises:
            PermissionError, OSError: If the storage refuses to write, or fails.
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
            dataset = open_for_writing(spec)
            branches = list(dataset.branches.names())
        if dataset.id != pin.lake_id:
            raise ValueError(
                f'{self.source.name} was written anew since it was opened; {self._again}'
            )
        if self.branch not in branches:
            # On another branch than main the version is looked up there.
            with self.storage('cannot open the one that was read'):
                return dataset.branches[pin.branch].open(), None
        with self.storage('cannot open it'):
            found, own = dataset.branches[self.branch], dataset.branches[pin.branch].id
            head = found.open()
            versions = [(str(each.id), str(each.message)) for each in head.history]
            return dataset, History(head, found.base == (own, pin.version), versions)

    def make(self, dataset: Any) -> None:
        """Make the branch, once the lock of a process that was killed has lapsed."""
        deadline = time.monotonic() + _LONGEST_LOCK
        with self.storage('cannot make it'):
            while True:
                try:
                    dataset.branch(self.branch, self.source.pin.version)
                    return
                except Exception as error:
                    if _CONTENDED not in str(error) or time.monotonic() > deadline:
                        raise

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
        """Turn Deep Lake's errors into ``OSError``: the branch ``what``."""
        end = '; the lake reads as before'
        return storage_errors(
            self.source, f'{self.where} {what}', 'but', f'write {self._without}', end
        )


class Draft:
    """What is written to a branch, up to its commit, and how it is taken back.

    Without its storage, a handle waits for locks when it cleans up or is destroyed. So
    after an ``OSError`` the handles are kept; the branch has no changes then, and the
    next try takes it over.

    Args:
        branch: The branch.
        dataset: The lake, see :meth:`LakeBranch.open`.
        is_new: Whether the branch is to be made.

    Attributes:
        target: The branch, open for writing, ``None`` before :meth:`open`.
    """

    def __init__(self, branch: LakeBranch, dataset: Any, is_new: bool) -> None:
        self.target: Any = None
        self.branch = branch
        self._dataset, self._is_new = dataset, is_new
        self._is_made = self._is_lost = self.is_committed = False

    def open(self) -> None:
        """Make the branch if it is new, and open it."""
        with self._noticed():
            if self._is_new:
                self.branch.make(self._dataset)
                self._is_made = True
        with self.storage('cannot open it'):
            self.target = self._dataset.branches[self.branch.branch].open()

    def commit(self, message: str) -> None:
        """Make what was written visible."""
        with self.storage('cannot commit to it'):
            self.target.commit(message)
        self.is_committed = True

    def take_back(self) -> bool:
        """Take back what was written, and the branch if it was made.

        Returns:
            Whether the lake now reads as before; what corrections committed to a branch
            that existed stays.
        """
        if not self._is_lost:
            seconds = self.branch.source.spec.timeouts.read_timeout
            try:
                call_with_deadline(self._undo, seconds)
                return True
            except Exception:  # of any type, depending on the storage
                self._is_lost = True
        _lost_handles.append((self.target, self._dataset))
        return not self.is_committed

    def _undo(self) -> None:
        if self.target is not None and not self.is_committed:
            self.target.rollback()
        if self._is_made:
            self._dataset.branches[self.branch.branch].delete()
        elif self.is_committed:
            self._undo_commit()

    def _undo_commit(self) -> None:
        """Undo what was committed to a branch of others."""

    @contextmanager
    def storage(self, what: str) -> Iterator[None]:
        """As :meth:`LakeBranch.storage`."""
        with self._noticed(), self.branch.storage(what):
            yield

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        """Remember that the storage failed."""
        try:
            yield
        except OSError:
            self._is_lost = True
            raise


@contextmanager
def storage_errors(
    source: LakeSource, what: str, but: str, remedy: str, end: str = ''
) -> Iterator[None]:
    """Turn Deep Lake's errors into ``OSError``, without secrets.

    Args:
        source: The lake.
        what: What must be, or cannot be done.
        but: Word between that and "the storage refused".
        remedy: What to do without access.
        end: End of each message.
    """
    try:
        yield
    except Exception as error:
        cause = redact(first_line(error), source.spec.credentials.secrets())
        if is_access_denied(error) or 'denied' in cause.lower():
            raise PermissionError(
                f'{what}, {but} the storage refused: {cause}; {remedy}{end}'
            ) from None
        raise OSError(f'{what}: {cause}{end}') from None


def _are_nan(*values: Any) -> bool:
    found = [np.asarray(each) for each in values]
    return all(each.dtype.kind == 'f' and each.ndim == 0 for each in found) and all(
        map(np.isnan, found)
    )


def assign(column: Any, rows: NDArray[np.int64], values: list[Any]) -> None:
    """Write K values to rows of an open column, adjacent ones at once."""
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
        value: The name: letters, digits and ``_-.``.
        is_branch: Whether it may have slashes too.
        example: What to write.

    Raises:
        ValueError: If it is empty, or has other characters.
    """
    others = '_-./' if is_branch else '_-.'
    fits = isinstance(value, str) and value.strip('/') == value and value
    if not fits or not all(each.isalnum() or each in others for each in value):
        raise wrong(key, f'of letters, digits and {others}', value, example)


def open_for_writing(spec: LakeSpec) -> Any:
    """Open a lake for writing; raise an error if it cannot be written to."""
    arguments = spec.credentials.resolve()
    if spec.is_remote:
        writer = deeplake.storage.Writer(spec.address, **arguments)

        def write_and_remove() -> None:
            writer.set_async(_PROBE, b'').result()
            writer.remove(_PROBE)

        call_with_deadline(write_and_remove, spec.timeouts.read_timeout)
    elif not spec.path.startswith('mem://'):
        # On a local disk, Deep Lake's writer says nothing if it fails.
        for folder in (spec.path, os.path.join(spec.path, '_deeplake_log')):
            if not os.access(folder, os.W_OK):
                raise PermissionError(f'{folder} is read-only for this user')
    return deeplake.open(spec.address, **arguments)
