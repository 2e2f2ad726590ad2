"""One handle of a pinned lake in each process, opened when it is first used."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .chunks import ChunkMap, map_chunks
from .errors import first_line, listed
from .image_check import check_image
from .opening import Pin, column_names, open_at
from .patience import persist
from .spec import LakeSpec
from .stored_images import read_image
from .values import read_values

T = TypeVar('T')

# A handle that a fork inherited is kept, unused: what it would shut down when it
# is destroyed (threads, connections) lives in the parent.
_inherited: list[Any] = []


class LakeSource:
    """Reads columns and image bytes of a lake in the state of a pin.

    Handles never travel: a pickle holds the spec and the pin, a forked or
    spawned process opens its own.

    Args:
        spec: Which lake.
        pin: Which state of it.
    """

    def __init__(self, spec: LakeSpec, pin: Pin) -> None:
        self.spec = spec
        self.pin = pin
        self._handle: Any = None
        self._process = os.getpid()
        self._opening = threading.Lock()
        self._age: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The lake in the words of a message."""
        where = '@'.join(part for part in (self.spec.path, self.pin.branch) if part)
        view = f', view {self.pin.tag}' if self.pin.tag else ''
        return f'lake {where} (version {self.pin.version or "newest"}{view})'

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
        if self._handle is not None and self._process == os.getpid():
            return self._handle
        return self.read('opening it', lambda handle: handle)

    def read(self, what: str, task: Callable[[Any], T]) -> T:
        """Reads with patience, see :func:`.patience.persist`.

        Args:
            what: Words for what is read.
            task: The read; takes the handle.

        Raises:
            FileNotFoundError, ValueError: If the lake is not there in the pinned state,
                or the task raises it.
            LakeReadError: If it fails in the end; names lake, what, cause and attempts.
        """
        return persist(
            self.spec,
            f'{self.name}, {what}',
            lambda: task(self._current()),
            self._forget,
        )

    def type_of(self, column: str) -> Any:
        """Deep Lake's type of a column."""
        return self.handle.schema[column].dtype

    def chunks(self, column: str) -> ChunkMap:
        """Which rows lie in which stored chunk of a column."""
        return self.read(f'column {column!r}', lambda handle: map_chunks(handle, column))

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
                    f'columns: {listed(column_names(handle))}'
                ) from error

        return self.read(f'{expression!r}', compute)

    def shapes(self, column: str, rows: NDArray[np.int64]) -> list[Any]:
        """Stored shapes of images, without reading their bytes.

        Args:
            column: Name of the image column.
            rows: Row numbers, shape ``(R,)``.

        Returns:
            One ``(H, W, C)`` a row; a single number where Deep Lake does not
            know the image format.
        """

        def measure(handle: Any) -> list[Any]:
            view = handle.query(f'SELECT shape("{column}") AS shape')
            return read_values(view, 'shape', rows)

        return self.read(f'column {column!r}, the shapes of its images', measure)

    def image_bytes(self, column: str, row: int) -> bytes:
        """The encoded image of a row, see :func:`.stored_images.read_image`.

        Args:
            column: Name of the image column.
            row: Row number of the pinned state.

        Raises:
            BrokenImageError: If the row holds no whole image, as far as its ends tell.
            LakeReadError: If it cannot be read; names lake, column, row and cause.
        """

        def whole(handle: Any) -> bytes:
            content = read_image(handle, column, row, self.spec.credentials)
            check_image(content)
            return content

        return self.read(f'column {column!r}, row {row}', whole)

    def images_bytes(self, column: str, rows: slice | list[int]) -> list[bytes]:
        """The stored bytes of several rows, read at one time; they may be cut short.

        Args:
            column: Name of a column that holds the bytes of images.
            rows: A slice of rows, best that of a stored chunk, or row numbers.

        Raises:
            LakeReadError: If they cannot be read; names lake, column, rows and cause.
        """

        def all_of_them(handle: Any) -> list[bytes]:
            if isinstance(rows, slice) and rows.stop - rows.start == 1:
                return [bytes(handle[column].get_bytes(rows.start))]
            return [bytes(content) for content in handle[column].get_bytes(rows)]

        if isinstance(rows, slice):
            which = f'rows {rows.start} to {rows.stop - 1}'
        else:
            which = f'rows {listed(map(str, rows))}'
        return self.read(f'column {column!r}, {which}', all_of_them)

    def _current(self) -> Any:
        if self._process != os.getpid():
            _inherited.append(self._handle)
            self._handle, self._process = None, os.getpid()
            self._opening = threading.Lock()
        with self._opening:  # threads that read ahead must share one
            age = self.spec.credentials.age()
            if self._handle is None or age != self._age:
                # Renewed credentials are used before the old ones are refused.
                self._handle, self._age = open_at(self.spec, self.pin), age
            return self._handle

    def _forget(self) -> None:
        with self._opening:
            self._handle = None

    def __getstate__(self) -> dict[str, Any]:
        return {'spec': self.spec, 'pin': self.pin}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any]) -> LakeSource:
        return self  # nothing in it changes, and a second handle would be a waste
