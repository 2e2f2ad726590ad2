"""An open lake under a key that names it in image paths.

The path of an image, ``deeplake://<key>/<row>/<name>.jpg``, goes through the
stock pipeline, into predictions and to the metric. The key names the lake
within a process and is the same in every process that opens the same state of
the same lake with the same columns.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .annotations import AnnotationTable, read_annotations
from .columns import Columns
from .masks import MaskColumn
from .opening import Pin
from .source import LakeSource
from .spec import LakeSpec

if TYPE_CHECKING:
    from .images import ImageReader

PREFIX = 'deeplake'
_SIGNATURES = (
    b'\xff\xd8\xff',  # JPEG
    b'\x89PNG\r\n\x1a\n',
    b'BM',
    b'GIF8',
    b'RIFF',  # WebP
    b'II*\x00',  # TIFF
    b'MM\x00*',
    b'\x00\x00\x00\x0cjP',  # JPEG 2000
    b'\xff\x4f\xff\x51',
)

_open_lakes: weakref.WeakValueDictionary[str, Lake] = weakref.WeakValueDictionary()


class Lake:
    """A pinned lake with its columns: what dataset, backend and metric share.

    Get one by :func:`open_lake`, so that a process has one for each key.

    Args:
        source: Reads the pinned state.
        columns: The columns that play the roles.

    Attributes:
        masks: The column of masks, ``None`` if there is none.
    """

    def __init__(self, source: LakeSource, columns: Columns) -> None:
        self.source = source
        self.columns = columns
        self.key = _key(source, columns)
        masks = columns.of('gt_masks')
        self.masks = None if masks is None else MaskColumn(source, masks)
        self._reader: Callable[[], ImageReader | None] = _no_reader

    @property
    def name(self) -> str:
        """The lake in the words of a message."""
        return self.source.name

    def annotations(self, rows: NDArray[np.int64] | None) -> AnnotationTable:
        """Annotations of rows, ``None`` for all; see :func:`read_annotations`."""
        return read_annotations(self.source, self.columns, rows)

    def numbers(
        self, what: str, rows: NDArray[np.int64], is_expression: bool
    ) -> NDArray[np.float64]:
        """A number for each row.

        Args:
            what: Name of a column, or a TQL expression.
            rows: Row numbers, shape ``(R,)``.
            is_expression: Whether ``what`` is an expression.

        Raises:
            ValueError: If there is no such column, the expression is wrong, or a row
                has no single number.
        """
        values = self.source.computed(what if is_expression else f'"{what}"', rows)
        try:
            return np.array([float(value) for value in values])
        except (TypeError, ValueError) as error:
            raise ValueError(
                f'{self.name}: {what!r} gives no single number for each row: '
                f'{values[0]!r}'
            ) from error

    def image_path(self, row: int, name: str) -> str:
        """Path under which the stock pipeline asks for a row's image.

        Args:
            row: Row number.
            name: File name with an image's extension; tools write their results
                under it.
        """
        return f'{PREFIX}://{self.key}/{row}/{name}'

    @property
    def reader(self) -> ImageReader | None:
        """The reader by which images come, if any."""
        return self._reader()

    def read_through(self, reader: ImageReader) -> None:
        """Gets images from now on by a dataset's reader, while that lives.

        Args:
            reader: Reads rows of this lake.
        """
        # Two datasets may show one lake; each reads ahead by a plan of its own.
        self._reader = weakref.ref(reader)

    def image_bytes(self, row: int) -> bytes:
        """The encoded image of a row, as it was stored.

        Raises:
            ValueError: If it cannot be read, or what is stored is no image.
        """
        column = self.columns.img
        reader = self.reader
        if reader is None:
            content = self.source.image_bytes(column, row)
        else:
            content = reader.image_bytes(row)
        if not content.startswith(_SIGNATURES):
            raise ValueError(
                f'{self.name}, column {column!r}, row {row}: {len(content)} bytes that '
                f'begin with {content[:8]!r} are no image (JPEG, PNG, BMP, GIF, WebP, '
                'TIFF or JPEG 2000); correct or delete the row, or leave it out by '
                'deeplake_query'
            )
        return content

    def __reduce__(self) -> tuple[Any, ...]:
        return open_lake, (self.source.spec, self.source.pin, self.columns)

    def __deepcopy__(self, memo: dict[int, Any]) -> Lake:
        return self


def open_lake(spec: LakeSpec, pin: Pin, columns: Columns) -> Lake:
    """The lake of this process for a pin and columns; the handle opens on first use."""
    lake = Lake(LakeSource(spec, pin), columns)
    return _open_lakes.setdefault(lake.key, lake)


def find_lake(path: str) -> tuple[Lake, int]:
    """The lake and the row that an image path names.

    Args:
        path: ``deeplake://<key>/<row>/<name>``.

    Raises:
        ValueError: If it is no such path.
        KeyError: If this process has no such lake open.
    """
    scheme, mark, rest = str(path).partition('://')
    key, _, tail = rest.partition('/')
    row, _, _ = tail.partition('/')
    if scheme != PREFIX or not mark or not row.isdigit():
        raise ValueError(
            f'{path!r} is no path of a lake image ({PREFIX}://<key>/<row>/<name>); only '
            'DeepLakeDataset makes such paths'
        )
    lake = _open_lakes.get(key)
    if lake is None:
        opened = ', '.join(lake.name for lake in _open_lakes.values()) or 'none'
        raise KeyError(
            f'{path}: the lake with the key {key} is not open in this process; open: '
            f'{opened}. Build the DeepLakeDataset that it comes from first; if these are '
            'stored predictions, pin deeplake_commit_id to the version that they were '
            'made on'
        )
    return lake, int(row)


def _no_reader() -> None:
    return None


def _key(source: LakeSource, columns: Columns) -> str:
    # Without credentials and query: both may differ between processes that mean
    # the same rows, and rows are numbered in the lake, not in the query.
    parts = (source.spec.path, source.pin, columns)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
