"""One handle of a pinned lake in each process, opened when it is first used."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...structures.image_check import BrokenImageError, check_image, is_whole
from ...utils.messages import comma_joined, first_line
from ..images.chunk_files import ChunkFiles
from ..images.chunk_map import ChunkMap, map_chunks
from ..images.encoded import ENCODED, read_image, storage_of
from .credentials import Credentials
from .opening import Pin, column_names, open_at
from .retry import LakeReadError, ReadTimeouts, retry_read
from .spec import LakeSpec
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

    Attributes:
        name: The lake in the words of a message.
    """

    def __init__(self, spec: LakeSpec, pin: Pin) -> None:
        self.spec = spec
        self.pin = pin
        where = '@'.join(part for part in (spec.path, pin.branch) if part)
        view = f', view {pin.tag}' if pin.tag else ''
        self.name = f'lake {where} (version {pin.version or "newest"}{view})'
        self._process = os.getpid()
        self._opened = _Opened()
        self._files: dict[str, ChunkFiles | None] = {}

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
        used: list[_Opened] = []

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
            self._opened = _Opened()
        self.spec = replace(self.spec, credentials=credentials, timeouts=timeouts)

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
                    f'columns: {comma_joined(column_names(handle))}'
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
            def by_deep_lake() -> list[bytes]:
                return [read_image(handle, column, row, self.spec.credentials)]

            files = self._chunk_files(handle, column)
            lost = files.find_truncated([row]) if files else ''
            if lost:
                raise BrokenImageError(f'its chunk file {lost}')
            try:
                images = files.read([row], by_deep_lake) if files else by_deep_lake()
            except KeyError as error:
                raise BrokenImageError(
                    f'its stored chunk is gone ({first_line(error)})'
                ) from None
            check_image(images[0])
            return images[0]

        known = self.known_images(column, (row,)).get(row)
        if known is not None and is_whole(known):
            return known
        return self.read(f'column {column!r}, row {row}', whole)

    def images_bytes(self, column: str, rows: slice | list[int]) -> list[bytes]:
        """The stored bytes of several rows, read at one time; they may be cut short.

        Where a stored chunk is gone or cut, all are empty: read by itself, a row tells.

        Args:
            column: Name of a column that holds the bytes of images.
            rows: A slice of rows, best that of a stored chunk, or row numbers.

        Raises:
            LakeReadError: If they cannot be read; names lake, column, rows and cause.
        """

        def all_of_them(handle: Any) -> list[bytes]:
            def by_deep_lake() -> list[bytes]:
                if isinstance(rows, slice) and len(numbers) == 1:
                    return [bytes(handle[column].get_bytes(rows.start))]
                return [bytes(content) for content in handle[column].get_bytes(rows)]

            files = self._chunk_files(handle, column)
            if files and files.find_truncated(numbers):
                return [b''] * len(numbers)
            try:
                return files.read(numbers, by_deep_lake) if files else by_deep_lake()
            except KeyError:
                self._forget([self._opened])  # whose next read might crash
                return [b''] * len(numbers)

        if isinstance(rows, slice):
            numbers = list(range(rows.start, rows.stop))
            which = f'rows {rows.start} to {rows.stop - 1}'
        else:
            numbers = rows
            which = f'rows {comma_joined(map(str, rows))}'
        known = self.known_images(column, numbers)
        if all(row in known for row in numbers):
            return [known[row] for row in numbers]
        return self.read(f'column {column!r}, {which}', all_of_them)

    def known_images(self, column: str, rows: Iterable[int]) -> dict[int, bytes]:
        """The stored bytes of those rows that lie where it is known on a local disk.

        They may be cut short.

        Args:
            column: Name of the column.
            rows: Row numbers.

        Returns:
            Row -> bytes; see :class:`.chunk_files.ChunkFiles`.
        """
        files = self._files.get(column)
        return files.read_known(rows) if files else {}

    def verify_chunk_files(self, column: str) -> None:
        """Lets a column on a local disk be read without Deep Lake, forks included.

        A process that never opens Deep Lake has none of its threads and caches.

        Args:
            column: Name of the column; any other than one of images' bytes is left alone.
        """

        def compare(handle: Any) -> None:
            files = self._chunk_files(handle, column)
            if files:
                files.compare_some(
                    lambda row: read_image(handle, column, row, self.spec.credentials)
                )

        if not self.spec.is_remote:
            # Told when the row is asked for.
            with contextlib.suppress(LakeReadError, BrokenImageError):
                self.read(f'column {column!r}, some rows', compare)

    def _chunk_files(self, handle: Any, column: str) -> ChunkFiles | None:
        """The files of a column on a local disk that holds the bytes of images."""
        files, path = self._files, self.spec.path
        if column not in files:
            files[column] = None
            is_local = '://' not in path or path.startswith('file://')
            # The rows of a saved view lie anywhere.
            has_bytes = storage_of(handle.schema[column].dtype) == ENCODED
            if is_local and has_bytes and not self.pin.tag:
                folder = Path(path.removeprefix('file://'))
                files[column] = ChunkFiles(handle, folder, column)
        return files[column]

    def _current(self) -> _Opened:
        if self._process != os.getpid():
            _inherited.append(self._opened)
            self._opened, self._process = _Opened(), os.getpid()
        opened = self._opened
        if opened.handle is not None and self.spec.is_remote:
            # Renewed credentials are used before the old ones are refused.
            if opened.age != self.spec.credentials.age():
                self._opened = opened = _Opened()
        return opened

    def _open(self, opened: _Opened) -> Any:
        with opened.lock:  # threads that read ahead share one handle
            if opened.handle is None:
                age = self.spec.credentials.age()
                opened.handle, opened.age = open_at(self.spec, self.pin), age
            return opened.handle

    def _forget(self, used: list[_Opened]) -> None:
        # Not by its lock, which a call that hangs may hold. Others that failed with
        # the same handle find a new one here, and leave it.
        if used and used[0] is self._opened:
            self._opened = _Opened()

    def __getstate__(self) -> dict[str, Any]:
        return {'spec': self.spec, 'pin': self.pin}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any]) -> LakeSource:
        return self  # nothing in it changes, and a second handle would be a waste


class _Opened:
    """One handle, which the first who needs it opens.

    Attributes:
        lock: Held while it is opened.
        handle: The handle, ``None`` before.
        age: Age of the credentials that it was opened with.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.handle: Any = None
        self.age: tuple[int, ...] = ()
