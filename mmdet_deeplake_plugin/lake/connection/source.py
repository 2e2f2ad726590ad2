"""Read a pinned lake through one handle per process, opened at its first use."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...utils.messages import comma_joined, first_line
from ...utils.shared_by_copies import SharedByCopies
from .credentials import Credentials
from .failures import is_unreachable
from .json_values import is_json, parse_json, split_key
from .opening import column_names, open_at
from .retry import retry_read
from .spec import LakeSpec, Pin, ReadTimeouts
from .text_lists import is_text_list, read_text_lists
from .values import read_values

T = TypeVar('T')

# Handles inherited by a fork are kept, but not used: destroying one would shut down
# threads and connections that belong to the parent.
_inherited: list[Any] = []


@dataclass(eq=False, repr=False)
class OpenHandle:
    """A handle, with the age of the credentials that opened it.

    Args:
        handle: A read-only Deep Lake dataset or view, ``None`` until it is opened.
        age: Age of the credentials, see :meth:`.Credentials.age`.
        lock: Held while a thread opens the lake.
    """

    handle: Any = None
    age: tuple[int, ...] = ()
    lock: threading.Lock = field(default_factory=threading.Lock)


class LakeSource(SharedByCopies):
    """The columns of a lake in the state of a pin.

    Handles are never pickled: a pickle contains the spec and the pin, and each forked or
    spawned process opens its own handle.

    Args:
        spec: The lake.
        pin: The state of the lake.
        opened: A handle of that state, if it is already open.

    Attributes:
        name: Name of the lake in messages.
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
        """The read-only dataset or view of this process.

        Use it only for what is in memory, such as the schema; the methods that read data
        retry.

        Raises:
            FileNotFoundError, ValueError: If the pinned state does not exist.
            LakeReadError: If it cannot be opened.
        """
        if self._opened.handle is not None and self._process == os.getpid():
            return self._opened.handle
        return self.read('opening it', lambda handle: handle)

    def read(self, what: str, task: Callable[[Any], T]) -> T:
        """Read, and retry after a failure, see :func:`.retry.retry_read`.

        Args:
            what: What is read, for messages.
            task: The read; takes the handle.

        Raises:
            FileNotFoundError, ValueError: If the pinned state does not exist, or the task
                raises it.
            LakeReadError: If all attempts fail; the message contains the lake, ``what``,
                the cause and the number of attempts.
        """
        used: list[OpenHandle] = []

        def attempt() -> T:
            used.append(self._current())
            return task(self._open(used[-1]))

        return retry_read(
            self.spec, f'{self.name}, {what}', attempt, lambda: self._forget(used[-1:])
        )

    def read_with(self, credentials: Credentials, timeouts: ReadTimeouts) -> None:
        """Replace credentials and timeouts for all following reads.

        If the credentials differ from the current ones, the next read opens the lake
        again.
        """
        if credentials != self.spec.credentials:
            self._current()  # do not destroy a handle inherited by a fork
            self._opened = OpenHandle()
        self.spec = replace(self.spec, credentials=credentials, timeouts=timeouts)

    def type_of(self, column: str) -> Any:
        """Return the Deep Lake type of a column, also of one that is named with a key."""
        return self.handle.schema[split_key(column, column_names(self.handle))[0]].dtype

    def values(
        self, column: str, rows: NDArray[np.int64], from_json: bool = False
    ) -> list[Any]:
        """Read the values of a column, or of a key of a column of JSON.

        Args:
            column: Name of the column, possibly with a key (``annotations.bbox``); not an
                image column.
            rows: Row numbers, shape ``(R,)``.
            from_json: Whether text is JSON, if the column stores text.

        Raises:
            ValueError: If a value that must be JSON is not.

        Returns:
            One value per row, in the order of ``rows``.
        """
        name, key = split_key(column, column_names(self.handle))
        if is_text_list(self.type_of(name)):
            return self.read(
                f'column {column!r}',
                lambda handle: read_text_lists(self.spec, self.pin, name, rows),
            )
        values = self.read(
            f'column {column!r}', lambda handle: read_values(handle, name, rows)
        )
        if key or (from_json and is_json(self.type_of(name))):
            for index, value in enumerate(values):
                try:
                    values[index] = parse_json(value, key)
                except ValueError as error:
                    where = self.where(column, int(rows[index]))
                    raise ValueError(f'{where}: {error}; correct the row') from error
        return values

    def computed(self, expression: str, rows: NDArray[np.int64]) -> list[Any]:
        """Compute a TQL expression (what follows ``SELECT``) for rows.

        Raises:
            ValueError: If Deep Lake cannot evaluate the expression.

        Returns:
            One value per row, in the order of ``rows``.
        """

        def compute(handle: Any) -> list[Any]:
            try:
                view = handle.query(f'SELECT {expression} AS computed')
                return read_values(view, 'computed', rows)
            except (RuntimeError, KeyError) as error:
                if is_unreachable(error):
                    raise
                raise ValueError(
                    f'{self.name}: cannot compute {expression}: {first_line(error)}; '
                    f'columns: {comma_joined(column_names(handle))}'
                ) from error

        return self.read(f'{expression!r}', compute)

    def where(self, column: str | None, row: int | None = None) -> str:
        """Name lake, column and row, or the whole column, for an error message."""
        place = '' if row is None else f', row {row}'
        return f'{self.name}, column {column!r}{place}'

    def reopen(self) -> None:
        """Drop the handle; the next read opens a new one."""
        self._forget([self._opened])

    def _current(self) -> OpenHandle:
        if self._process != os.getpid():
            _inherited.append(self._opened)
            self._opened, self._process = OpenHandle(), os.getpid()
        opened = self._opened
        if opened.handle is not None and self.spec.is_remote:
            # Use renewed credentials before the old ones are rejected.
            if opened.age != self.spec.credentials.age():
                self._opened = opened = OpenHandle()
        return opened

    def _open(self, opened: OpenHandle) -> Any:
        with opened.lock:  # threads that read ahead share the handle
            if opened.handle is None:
                age = self.spec.credentials.age()
                opened.handle, opened.age = open_at(self.spec, self.pin), age
            return opened.handle

    def _forget(self, used: list[OpenHandle]) -> None:
        # Without its lock, which a call that hangs may hold. Of several threads that
        # failed with one handle, the first replaces it and the others do nothing.
        if used and used[0] is self._opened:
            self._opened = OpenHandle()

    def __reduce__(self) -> tuple[Any, ...]:
        return LakeSource, (self.spec, self.pin)
