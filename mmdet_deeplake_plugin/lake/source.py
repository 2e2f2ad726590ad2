"""One handle of a pinned lake in each process, opened when it is first used."""

from __future__ import annotations

import os
import threading
from typing import Any

import mmcv
import numpy as np
from numpy.typing import NDArray

from .errors import first_line, listed
from .opening import Pin, column_names, open_at
from .spec import LakeSpec
from .values import read_values

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

        Raises:
            FileNotFoundError, PermissionError, ConnectionError, ValueError: If
                the lake cannot be opened in the pinned state.
        """
        if self._process != os.getpid():
            _inherited.append(self._handle)
            self._handle, self._process = None, os.getpid()
        with self._opening:  # threads that read ahead must share one
            if self._handle is None:
                self._handle = open_at(self.spec, self.pin)
        return self._handle

    def values(self, column: str, rows: NDArray[np.int64]) -> list[Any]:
        """Values of a column.

        Args:
            column: Name of the column; none that holds images.
            rows: Row numbers, shape ``(R,)``.

        Returns:
            One value a row, in the order of ``rows``.
        """
        return read_values(self.handle, column, rows)

    def computed(self, expression: str, rows: NDArray[np.int64]) -> list[Any]:
        """Values of a TQL expression.

        Args:
            expression: What stands behind ``SELECT``.
            rows: Row numbers, shape ``(R,)``.

        Raises:
            ValueError: If Deep Lake does not understand it.
        """
        try:
            view = self.handle.query(f'SELECT {expression} AS computed')
            return read_values(view, 'computed', rows)
        except (RuntimeError, KeyError) as error:
            raise ValueError(
                f'{self.name}: cannot compute {expression}: {first_line(error)}; '
                f'columns: {listed(column_names(self.handle))}'
            ) from error

    def shapes(self, column: str, rows: NDArray[np.int64]) -> list[Any]:
        """Stored shapes of images, without reading their bytes.

        Args:
            column: Name of the image column.
            rows: Row numbers, shape ``(R,)``.

        Returns:
            One ``(H, W, C)`` a row; a single number where Deep Lake does not
            know the image format.
        """
        view = self.handle.query(f'SELECT shape("{column}") AS shape')
        return read_values(view, 'shape', rows)

    def image_bytes(self, column: str, row: int) -> bytes:
        """The encoded image of a row, as it was stored.

        Args:
            column: Name of the image column.
            row: Row number of the pinned state.

        Raises:
            ValueError: If the row cannot be read, or holds no bytes; names lake,
                column, row and cause.
        """
        try:
            content = self.handle[column].get_bytes(row)
        except Exception as error:
            raise ValueError(
                f'{self.name}, column {column!r}, row {row}: cannot read the image: '
                f'{first_line(error)}'
            ) from error
        return content

    def images_bytes(self, column: str, rows: slice | list[int]) -> list[bytes]:
        """The encoded images of several rows, read at one time.

        Args:
            column: Name of the image column.
            rows: A slice of rows, best that of a stored chunk, or row numbers.

        Raises:
            ValueError: If they cannot be read; names lake, column, rows and cause.
        """
        handle = self.handle
        try:
            images = handle[column]
            if isinstance(rows, slice) and rows.stop - rows.start == 1:
                return [images.get_bytes(rows.start)]
            return list(images.get_bytes(rows))
        except Exception as error:
            if isinstance(rows, slice):
                which = f'{rows.start} to {rows.stop - 1}'
            else:
                which = listed(map(str, rows))
            raise ValueError(
                f'{self.name}, column {column!r}, rows {which}: cannot read the images: '
                f'{first_line(error)}'
            ) from error

    def decoded_shape(self, column: str, row: int) -> NDArray[np.int64]:
        """Shape ``(H, W, C)`` of a row's image, found by decoding it.

        Raises:
            ValueError: If the bytes are no image.
        """
        content = self.image_bytes(column, row)
        # OpenCV raises for no bytes at all, and gives None for wrong ones.
        image = mmcv.imfrombytes(content) if content else None
        if image is None:
            raise ValueError(
                f'{self.name}, column {column!r}, row {row}: the bytes are no image that '
                'OpenCV decodes; correct or delete the row, or leave it out by '
                'deeplake_query'
            )
        return np.asarray(image.shape, dtype=np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {'spec': self.spec, 'pin': self.pin}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any]) -> LakeSource:
        return self  # nothing in it changes, and a second handle would be a waste
