"""The images of one column of a lake, as encoded bytes: by row, by list, by chunk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...structures.image_check import BrokenImageError, check_image, is_whole
from ...utils.messages import comma_joined, first_line
from ...utils.shared_by_copies import SharedByCopies
from ..connection.retry import LakeReadError
from ..connection.source import LakeSource
from ..connection.values import read_values
from .chunk_files import ChunkFiles
from .chunk_map import ChunkMap, map_chunks
from .encoded import ENCODED, read_image, storage_of

_IMAGE_REMEDY = (
    'correct or delete the row, or leave it out by deeplake_query or '
    "on_broken_image='skip'"
)


class ImageColumn(SharedByCopies):
    """Reads encoded images of a column; sister of ``MaskColumn`` and ``SegMapColumn``.

    On a local disk, rows are read from the chunk files themselves where their layout is
    known, see :class:`~.chunk_files.ChunkFiles`.

    Args:
        source: Reads the lake.
        name: Name of the column.
        remedy: What to do about a broken image, in the words of an error message.
    """

    def __init__(
        self, source: LakeSource, name: str, remedy: str = _IMAGE_REMEDY
    ) -> None:
        self.source = source
        self.name = name
        self._remedy = remedy
        self._files: ChunkFiles | None = None
        self._looked_for_files = False

    @cached_property
    def storage(self) -> str:
        """How the column stores images, see :func:`~.encoded.storage_of`."""
        return storage_of(self.source.type_of(self.name))

    @property
    def is_remote(self) -> bool:
        """Whether a read goes over a network."""
        return self.source.spec.is_remote

    @cached_property
    def chunks(self) -> ChunkMap:
        """Which rows lie in which stored chunk."""
        return self.source.read(
            f'column {self.name!r}', lambda handle: map_chunks(handle, self.name)
        )

    def shapes(self, rows: NDArray[np.int64]) -> list[Any]:
        """Read stored shapes of images, without their bytes.

        Args:
            rows: Row numbers, shape ``(R,)``.

        Returns:
            One ``(H, W, C)`` per row; a single number where Deep Lake does not know the
            image format.
        """

        def measure(handle: Any) -> list[Any]:
            view = handle.query(f'SELECT shape("{self.name}") AS shape')
            return read_values(view, 'shape', rows)

        return self.source.read(
            f'column {self.name!r}, the shapes of its images', measure
        )

    def read_row(self, row: int) -> bytes:
        """Read the encoded image of a row, whole as far as its ends tell.

        Args:
            row: Row number of the pinned state.

        Raises:
            BrokenImageError: If the row does not hold a whole image; names lake, column,
                row and cause.
            LakeReadError: If it cannot be read; likewise.
        """
        known = self.read_known((row,)).get(row)
        if known is not None and is_whole(known):
            return known
        try:
            return self.source.read(
                f'column {self.name!r}, row {row}',
                lambda handle: self._read_whole(handle, row),
            )
        except BrokenImageError as error:
            raise self.broken(row, error) from error

    def read_rows(self, rows: slice | list[int]) -> list[bytes]:
        """Read the stored bytes of several rows at once; they may be cut short.

        Where a stored chunk is missing or truncated, all are empty: which of the rows
        are affected, :meth:`read_row` finds out.

        Args:
            rows: A slice of rows, best that of a stored chunk, or row numbers.

        Raises:
            LakeReadError: If they cannot be read; names lake, column, rows and cause.
        """
        if isinstance(rows, slice):
            numbers = list(range(rows.start, rows.stop))
            which = f'rows {rows.start} to {rows.stop - 1}'
        else:
            numbers = rows
            which = f'rows {comma_joined(map(str, rows))}'

        def read_all(handle: Any) -> list[bytes]:
            def by_deep_lake() -> list[bytes]:
                if isinstance(rows, slice) and len(numbers) == 1:
                    return [bytes(handle[self.name].get_bytes(rows.start))]
                return [bytes(image) for image in handle[self.name].get_bytes(rows)]

            files = self._chunk_files(handle)
            if files and files.find_truncated(numbers):
                return [b''] * len(numbers)
            try:
                return files.read(numbers, by_deep_lake) if files else by_deep_lake()
            except KeyError:
                self.source.reopen()  # the next read by this handle might crash
                return [b''] * len(numbers)

        known = self.read_known(numbers)
        if all(row in known for row in numbers):
            return [known[row] for row in numbers]
        return self.source.read(f'column {self.name!r}, {which}', read_all)

    def read_known(self, rows: Iterable[int]) -> dict[int, bytes]:
        """Read those rows whose place on a local disk is known; they may be cut short.

        Args:
            rows: Row numbers.

        Returns:
            Row -> bytes.
        """
        return self._files.read_known(rows) if self._files else {}

    def verify_chunk_files(self) -> None:
        """Let a column on a local disk be read without Deep Lake, in forks as well.

        A process that never opens Deep Lake has none of its threads and caches. A column
        that does not hold the bytes of images is left alone.
        """

        def verify(handle: Any) -> None:
            files = self._chunk_files(handle)
            if files:
                files.compare_some(
                    lambda row: read_image(
                        handle, self.name, row, self.source.spec.credentials
                    )
                )

        if not self.is_remote:
            # An error is raised when the row is asked for.
            with contextlib.suppress(LakeReadError, BrokenImageError):
                self.source.read(f'column {self.name!r}, some rows', verify)

    def broken(self, row: int, cause: object) -> BrokenImageError:
        """Make the error that the image of a row cannot be used.

        Args:
            row: Row number.
            cause: What is wrong with it.
        """
        return BrokenImageError(
            f'{self.source.where(self.name, row)}: {cause}', self._remedy
        )

    def _read_whole(self, handle: Any, row: int) -> bytes:
        def by_deep_lake() -> list[bytes]:
            return [read_image(handle, self.name, row, self.source.spec.credentials)]

        files = self._chunk_files(handle)
        truncated = files.find_truncated([row]) if files else ''
        if truncated:
            raise BrokenImageError(f'its chunk file {truncated}')
        try:
            (content,) = files.read([row], by_deep_lake) if files else by_deep_lake()
        except KeyError as error:
            raise BrokenImageError(
                f'its stored chunk is missing ({first_line(error)})'
            ) from None
        check_image(content)
        return content

    def _chunk_files(self, handle: Any) -> ChunkFiles | None:
        """The files of a column on a local disk that holds the bytes of images."""
        if not self._looked_for_files:
            self._looked_for_files = True
            path = self.source.spec.path
            is_local = '://' not in path or path.startswith('file://')
            has_bytes = storage_of(handle.schema[self.name].dtype) == ENCODED
            # The rows of a saved view lie anywhere.
            if is_local and has_bytes and not self.source.pin.tag:
                folder = Path(path.removeprefix('file://'))
                self._files = ChunkFiles(handle, folder, self.name)
        return self._files

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageColumn, (self.source, self.name, self._remedy)
