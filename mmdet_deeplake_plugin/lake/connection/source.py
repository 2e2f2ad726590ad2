"""One handle of a pinned lake per process, opened when it is first used."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...utils.messages import comma_joined, first_line
from ...utils.shared_by_copies import SharedByCopies
from .credentials import Credentials
from .opening import column_names, open_at
from .retry import retry_read
from .spec import LakeSpec, Pin, ReadTimeouts
from .values import read_values

T = TypeVar('T')

# A handle that a fork inherited is kept, unused: what it would shut down when it
# is destroyed (threads, connections) lives in the parent.
_inherited: list[Any] = []


class OpenHandle:
    """A handle with the age of the credentials that opened it.

    Attributes:
        lock: Held while it is opened by whoever needs it first.
        handle: A read-only Deep Lake dataset or view, ``None`` until it is opened.
        age: Age of the credentials, see :meth:`.Credentials.age`.
    """

    def __init__(self, handle: Any = None, age: tuple[int, ...] = ()) -> None:
        self.lock = threading.Lock()
        self.handle = handle
        self.age = age


class LakeSource(SharedByCopies):
    """Reads columns of a lake in the state of a pin.

    Handles never travel: a pickle holds the spec and the pin, a forked or
    spawned process opens its own.

    Args:
        spec: Which lake.
        pin: Which state of it.
        opened: A handle of that state, if one is open already.

    Attributes:
        name: The lake in the words of a message.
    """

    def __init__(
        self, spec: LakeSpec, pin: Pin, opened: OpenHandle | None = None
    ) -> None:
        self.spec = spec
        self.pin = pin
        where = '@'.join(part for part in (spec.path, pin.branch) if part)
        view = f', view {pin.tag}' if pin.tag else ''
        self.name = f'lake {where} (version {pin.version or "newest"}{view})'
        self._process = os.getpid()
        self._opened = opened or OpenHandle()

    @property
    def num_rows(self) -> int:
        """Number of rows of the pinned state."""
        return self.pin.num_rows

    @property
    def handle(self) -> Any:
        """This process's own read-only dataset or view.

        For what lies in memory, such as its schema; data are read by the methods, which
        try again.

        Raises:
            FileNotFoundError, ValueError: If the lake is not there in the pinned state.
            LakeReadError: If it cannot be opened.
        """
        if self._opened.handle is not None and self._process == os.getpid():
            return self._opened.handle
        return self.read('opening it', lambda handle: handle)

    def read(self, what: str, task: Callable[[Any], T]) -> T:
        """Reads, and tries again after a failure, see :func:`.retry.retry_read`.

        Args:
            what: Words for what is read.
            task: The read; takes the handle.

        Raises:
            FileNotFoundError, ValueError: If the lake is not there in the pinned state,
                or the task raises it.
            LakeReadError: If it fails in the end; names lake, what, cause and attempts.
        """
        used: list[OpenHandle] = []

        def attempt() -> T:
            used.append(self._current())
            return task(self._open(used[-1]))

        return retry_read(
            self.spec, f'{self.name}, {what}', attempt, lambda: self._forget(used[-1:])
        )

    def read_with(self, credentials: Credentials, timeouts: ReadTimeouts) -> None:
        """Reads from now on with other credentials and timeouts.

        Args:
            credentials: What opens the lake from the next opening on; others than
                before let the handle go.
            timeouts: How long reads may take.
        """
        if credentials != self.spec.credentials:
            self._current()  # keeps a handle that a fork inherited from being destroyed
            self._opened = OpenHandle()
        self.spec = replace(self.spec, credentials=credentials, timeouts=timeouts)

    def type_of(self, column: str) -> Any:
        """Deep Lake's type of a column."""
        return self.handle.schema[column].dtype

    def values(self, column: str, rows: NDArray[np.int64]) -> list[Any]:
        """Values of a column.

        Args:
            column: Name of the column; none that holds images.
            rows: Row numbers, shape ``(R,)``.

        Returns:
            One value a row, in the order of ``rows``.
        """
        return self.read(
            f'column {column!r}', lambda handle: read_values(handle, column, rows)
        )

    def computed(self, expression: str, rows: NDArray[np.int64]) -> list[Any]:
        """Values of a TQL expression.

        Args:
            expression: What stands behind ``SELECT``.
            rows: Row numbers, shape ``(R,)``.

        Raises:
            ValueError: If Deep Lake does not understand it.
        """

        def compute(handle: Any) -> list[Any]:
            try:
                view = handle.query(f'SELECT {expression} AS computed')
                return read_values(view, 'computed', rows)
            except (RuntimeError, KeyError) as error:
                raise ValueError(
                    f'{self.name}: cannot compute {expression}: {first_line(error)}; '
                    f'columns: {comma_joined(column_names(handle))}'
                ) from error

        return self.read(f'{expression!r}', compute)

    def where(self, column: str | None, row: int | None = None) -> str:
        """Name lake, column and row in the words of an error message.

        Args:
            column: Name of the column.
            row: Row number, if the message is about one.
        """
        place = '' if row is None else f', row {row}'
        return f'{self.name}, column {column!r}{place}'

    def reopen(self) -> None:
        """Let the handle go; the next read opens another one."""
        self._forget([self._opened])

    def _current(self) -> OpenHandle:
        if self._process != os.getpid():
            _inherited.append(self._opened)
            self._opened, self._process = OpenHandle(), os.getpid()
        opened = self._opened
        if opened.handle is not None and self.spec.is_remote:
            # Renewed credentials are used before the old ones are refused.
            if opened.age != self.spec.credentials.age():
                self._opened = opened = OpenHandle()
        return opened

    def _open(self, opened: OpenHandle) -> Any:
        with opened.lock:  # threads that read ahead share one handle
            if opened.handle is None:
                age = self.spec.credentials.age()
                opened.handle, opened.age = open_at(self.spec, self.pin), age
            return opened.handle

    def _forget(self, used: list[OpenHandle]) -> None:
        # Not by its lock, which a call that hangs may hold. Others that failed with
        # the same handle find a new one here, and leave it.
        if used and used[0] is self._opened:
            self._opened = OpenHandle()

    def __getstate__(self) -> dict[str, Any]:
        return {'spec': self.spec, 'pin': self.pin}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
