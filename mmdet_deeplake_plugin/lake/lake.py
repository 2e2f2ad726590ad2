"""An open lake under a key that names it in image paths.

The path of an image, ``deeplake://<key>/<row>/<name>.jpg``, goes through the
stock pipeline, into predictions and to the metric. The key names the lake
within a process and is the same in every process that opens the same state of
the same lake with the same columns.
"""

from __future__ import annotations

import hashlib
import re
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..structures.image_check import BrokenImageError
from .columns.annotations import AnnotationTable, read_annotations
from .columns.mapping import Columns
from .columns.masks import MaskColumn
from .columns.proposals import ProposalColumns
from .columns.seg_maps import SegMapColumn
from .connection.opening import Pin
from .connection.source import LakeSource
from .connection.spec import LakeSpec

if TYPE_CHECKING:
    from .images.reader import ImageReader

PREFIX = 'deeplake'
REMEDY = (
    'correct or delete the row, or leave it out by deeplake_query or '
    "on_broken_image='skip'"
)
_BLANK = re.compile(r'\w+://[^/]*/[^/]*/blank-(\d+)x(\d+)/')
_SEG_MAP = re.compile(r'\w+://[^/]*/[^/]*/seg-map-(\d+)x(\d+)/')

_open_lakes: weakref.WeakValueDictionary[str, Lake] = weakref.WeakValueDictionary()


class Lake:
    """A pinned lake with its columns: what dataset, backend and metric share.

    Get one by :func:`open_lake`, so that a process has one for each key.

    Args:
        source: Reads the pinned state.
        columns: The columns that play the roles.

    Attributes:
        masks: The column of masks, ``None`` if there is none.
        proposals: The columns of proposals, ``None`` if there are none.
        seg_maps: The column of segmentation maps, ``None`` if there is none.
    """

    def __init__(self, source: LakeSource, columns: Columns) -> None:
        self.source = source
        self.columns = columns
        self.key = _key(source, columns)
        masks = columns.of('gt_masks')
        self.masks = None if masks is None else MaskColumn(source, masks)
        boxes, scores = columns.of('proposals'), columns.of('proposal_scores')
        self.proposals = None if boxes is None else ProposalColumns(source, boxes, scores)
        maps = columns.of('gt_seg_map')
        panoptic = columns.is_panoptic
        self.seg_maps = None if maps is None else SegMapColumn(source, maps, panoptic)
        self._reader: Callable[[], ImageReader | None] = _no_reader

    @property
    def name(self) -> str:
        """The lake in the words of a message."""
        return self.source.name

    def annotations(self, rows: NDArray[np.int64] | None) -> AnnotationTable:
        """Annotations of rows, ``None`` for all; see :func:`read_annotations`."""
        return read_annotations(self.source, self.columns, rows)

    def verify_chunk_files(self) -> None:
        """Lets images and maps on a local disk be read without Deep Lake."""
        self.source.verify_chunk_files(self.columns.img)
        if self.seg_maps is not None:
            self.source.verify_chunk_files(self.seg_maps.column)

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

    def blank_path(self, row: int, name: str, width: int, height: int) -> str:
        """Path of a black image that stands for a row's broken one in a test.

        Args:
            row: Row number.
            name: File name as in :meth:`image_path`.
            width: In pixels.
            height: In pixels.
        """
        return self.image_path(row, f'blank-{width}x{height}/{name}')

    def seg_map_path(self, row: int, name: str, width: int, height: int) -> str | None:
        """Path under which the stock pipeline asks for a row's segmentation map.

        Args:
            row: Row number.
            name: File name of the image.
            width: Width of the image in pixels, which the map must have.
            height: Height of the image in pixels.

        Returns:
            ``None`` if the lake has no maps.
        """
        if self.seg_maps is None:
            return None
        stem = name.rpartition('.')[0]
        return self.image_path(row, f'seg-map-{width}x{height}/{stem}.png')

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
        """The encoded image of a row, whole as far as its ends tell.

        Raises:
            BrokenImageError: If no whole image is stored.
            LakeReadError: If it cannot be read.
        """
        reader = self.reader
        try:
            if reader is None:
                content = self.source.image_bytes(self.columns.img, row)
            else:
                content = reader.image_bytes(row)
        except BrokenImageError as error:
            raise self.broken_image(row, error) from error
        return content

    def broken_image(self, row: int, cause: object) -> BrokenImageError:
        """The error that a row's image cannot be used.

        Args:
            row: Row number.
            cause: What is wrong with it.
        """
        return BrokenImageError(
            f'{self.name}, column {self.columns.img!r}, row {row}: {cause}; {REMEDY}'
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _find_or_open, (self.source.spec, self.source.pin, self.columns)

    def __deepcopy__(self, memo: dict[int, Any]) -> Lake:
        return self


def open_lake(spec: LakeSpec, pin: Pin, columns: Columns) -> Lake:
    """The lake of this process for a pin and columns; the handle opens on first use.

    A lake that is open already is shared, and read from now on with these credentials
    and timeouts.
    """
    lake = _find_or_open(spec, pin, columns)
    lake.source.read_with(spec.credentials, spec.timeouts)
    return lake


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


def blank_size(path: str) -> tuple[int, int] | None:
    """Width and height of the black image that a path names; ``None`` for others."""
    return _size_in(path, _BLANK)


def seg_map_size(path: str) -> tuple[int, int] | None:
    """Width and height that the map must have that a path names; ``None`` for others."""
    return _size_in(path, _SEG_MAP)


def _size_in(path: str, pattern: re.Pattern[str]) -> tuple[int, int] | None:
    found = pattern.match(str(path))
    return (int(found[1]), int(found[2])) if found else None


def _find_or_open(spec: LakeSpec, pin: Pin, columns: Columns) -> Lake:
    # A pickle on a disk holds no literal secret, so it changes no open lake's.
    lake = Lake(LakeSource(spec, pin), columns)
    return _open_lakes.setdefault(lake.key, lake)


def _no_reader() -> None:
    return None


def _key(source: LakeSource, columns: Columns) -> str:
    # Without credentials and query: both may differ between processes that mean
    # the same rows, and rows are numbered in the lake, not in the query.
    parts = (source.spec.path, source.pin, columns)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
