"""Read the encoded images of one column by row, by list of rows, or by chunk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...structures.image_check import BrokenImageError, check_image, is_whole
from ...utils.messages import comma_joined, first_line
from ...utils.shared_by_copies import SharedByCopies
from ..connection.objects import ObjectReader
from ..connection.retry import LakeReadError
from ..connection.source import LakeSource
from ..connection.values import read_values
from .chunk_files import ChunkFiles
from .chunk_map import ChunkMap, map_chunks
from .chunk_objects import ChunkObjects
from .datafiles import DataFiles, list_datafiles
from .encoded import ENCODED, read_image, storage_of

_IMAGE_REMEDY = (
    'correct or delete the row, or leave it out with deeplake_query or '
    "on_broken_image='skip'"
)


class ImageColumn(SharedByCopies):
    """A column of encoded images; the counterpart of ``MaskColumn`` and ``SegMapColumn``.

    On a local disk, rows are read directly from the chunk files if their layout is
    known, see :class:`~.chunk_files.ChunkFiles`.

    Args:
        source: Source that reads the lake.
        name: Name of the column.
        remedy: What users should do about a broken image, for error messages.
    """

    def __init__(
        self, source: LakeSource, name: str, remedy: str = _IMAGE_REMEDY
    ) -> None:
        self.source = source
        self.name = name
        self._remedy = remedy
        self._files: ChunkFiles | None = None
        self._objects: ChunkObjects | None = None

    @cached_property
    def storage(self) -> str:
        """Storage kind of the images, see :func:`~.encoded.storage_of`."""
        return storage_of(self.source.type_of(self.name))

    @property
    def is_remote(self) -> bool:
        """Whether reads go over a network."""
        return self.source.spec.is_remote

    @cached_property
    def chunks(self) -> ChunkMap:
        """Map of rows to stored chunks."""
        return self.source.read(
            f'column {self.name!r}', lambda handle: map_chunks(handle, self.name)
        )

    def shapes(self, rows: NDArray[np.int64]) -> list[Any]:
        """Read the stored shapes of the images of rows without their bytes.

        Returns:
            One ``(H, W, C)`` per row; a single number if Deep Lake does not know the
            image format.
        """

        def measure(handle: Any) -> list[Any]:
            view = handle.query(f'SELECT shape("{self.name}") AS shape')
            return read_values(view, 'shape', rows)

        return self.source.read(
            f'column {self.name!r}, the shapes of its images', measure
        )

    def read_row(self, row: int) -> bytes:
        """Read the encoded image of a row and check that its start and end are complete.

        Raises:
            BrokenImageError: If the row does not hold a complete image; the message has
                lake, column, row and cause.
            LakeReadError: If reading fails; the message has the same parts.
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
        """Read the stored bytes of several rows at once; images may be truncated.

        If a stored chunk is missing or truncated, empty bytes are returned for all rows;
        :meth:`read_row` then finds the rows that are affected.

        Args:
            rows: Row numbers, or a slice, ideally the rows of one stored chunk.

        Raises:
            LakeReadError: If reading fails; the message has lake, column, rows and
                cause.
        """
        if isinstance(rows, slice):
            numbers = list(range(rows.start, rows.stop))
            which = f'rows {rows.start} to {rows.stop - 1}'
        else:
            numbers = rows
            which = f'rows {comma_joined(map(str, rows))}'

        def read_all(handle: Any) -> list[bytes]:
            files = self._chunk_files(handle)
            if files.find_truncated(numbers):
                return [b''] * len(numbers)
            try:
                if isinstance(rows, slice) and len(numbers) == 1:
                    images = [bytes(handle[self.name].get_bytes(rows.start))]
                else:
                    images = [bytes(image) for image in handle[self.name].get_bytes(rows)]
            except KeyError:
                self.source.reopen()  # the next read with this handle might crash
                return [b''] * len(numbers)
            files.compare(numbers, images)
            return images

        known = self.read_known(numbers)
        if all(row in known for row in numbers):
            return [known[row] for row in numbers]
        return self.source.read(f'column {self.name!r}, {which}', read_all)

    def read_known(self, rows: Iterable[int]) -> dict[int, bytes]:
        """Read the rows whose position on a local disk is known; they may be truncated.

        Returns:
            Row number -> bytes, without the rows whose position is unknown.
        """
        return self._files.read_known(rows) if self._files else {}

    def read_chunk(self, chunk: int) -> list[bytes]:
        """Read the images of a chunk, without opening the lake where that is possible.

        Raises:
            LakeReadError: As :meth:`read_rows` raises it.
        """
        first, stop = self.chunks.rows(chunk)
        images = None
        if self._objects is not None:
            what = f'column {self.name!r}, rows {first} to {stop - 1}'
            images = self._objects.read(what, first, stop)
        return self.read_rows(slice(first, stop)) if images is None else images

    def verify_chunk_objects(self) -> None:
        """Allow reading chunks on object storage without Deep Lake, also in workers.

        Workers then need one round trip to their first chunk instead of six, as they do
        not open the lake. Does nothing where rows are not stored in whole chunks.
        """
        source = self.source
        can_read = ObjectReader.can_read(source) and self.storage == ENCODED
        if self._objects is not None or not can_read or not self.chunks.stored:
            return

        def verify(handle: Any) -> ChunkObjects | None:
            files = list_datafiles(handle, self.name)
            objects = ChunkObjects(ObjectReader(source), files)
            agree = objects.agree(0, lambda: self._by_deep_lake(handle, 0))
            return objects if agree else None

        # The error is raised again when the row is read.
        with contextlib.suppress(LakeReadError, BrokenImageError):
            self._objects = source.read(f'column {self.name!r}, row 0', verify)

    def verify_chunk_files(self) -> None:
        """Allow reading a local column without Deep Lake, also in forked processes.

        A process that never opens Deep Lake has none of its threads and caches. Does
        nothing for columns that do not store encoded images.
        """

        def verify(handle: Any) -> None:
            files = self._chunk_files(handle)
            files.compare_some(partial(self._by_deep_lake, handle))

        if not self.is_remote:
            # The error is raised again when the row is read.
            with contextlib.suppress(LakeReadError, BrokenImageError):
                self.source.read(f'column {self.name!r}, some rows', verify)

    def broken(self, row: int, cause: object) -> BrokenImageError:
        """Build the error for a row whose image cannot be used."""
        return BrokenImageError(
            f'{self.source.where(self.name, row)}: {cause}', self._remedy
        )

    def _by_deep_lake(self, handle: Any, row: int) -> bytes:
        return read_image(handle, self.name, row, self.source.spec.credentials)

    def _read_whole(self, handle: Any, row: int) -> bytes:
        files = self._chunk_files(handle)
        truncated = files.find_truncated([row])
        if truncated:
            raise BrokenImageError(f'its chunk file {truncated}')
        try:
            content = self._by_deep_lake(handle, row)
        except KeyError as error:
            raise BrokenImageError(
                f'its stored chunk is missing ({first_line(error)})'
            ) from None
        files.compare([row], [content])
        check_image(content)
        return content

    def _chunk_files(self, handle: Any) -> ChunkFiles:
        """Return the chunk files: none unless the column is local and stores files."""
        if self._files is None:
            path = self.source.spec.path
            is_local = '://' not in path
            has_bytes = storage_of(handle.schema[self.name].dtype) == ENCODED
            files = DataFiles([], [], [], [])
            # The rows of a saved view can lie in any file.
            if is_local and has_bytes and not self.source.pin.tag:
                files = list_datafiles(handle, self.name)
            self._files = ChunkFiles(Path(path), files)
        return self._files

    def __reduce__(self) -> tuple[Any, ...]:
        # What a spawned worker would have to open the lake for.
        known = ('storage', 'chunks', '_objects')
        state = {name: self.__dict__[name] for name in known if name in self.__dict__}
        return ImageColumn, (self.source, self.name, self._remedy), state
