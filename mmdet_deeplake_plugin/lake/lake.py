"""An open lake under a key that names it in image paths, and the registry of these.

The path of an image (see ``paths.py``) goes through the stock pipeline, into predictions
and to the metric. The key names the lake within a process and is the same in every
process that opens the same state of the same lake with the same columns.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.shared_by_copies import SharedByCopies
from .columns.annotations import AnnotationTable, read_annotations
from .columns.mapping import Columns
from .columns.masks import MaskColumn
from .columns.proposals import ProposalColumns
from .columns.seg_maps import SegMapColumn
from .connection.source import LakeSource
from .connection.spec import LakeSpec, Pin
from .images.column import ImageColumn
from .images.reader import ImageReader
from .paths import LakePath

_open_lakes: weakref.WeakValueDictionary[str, Lake] = weakref.WeakValueDictionary()


class Lake(SharedByCopies):
    """A pinned lake with its columns: what dataset, backend and metric share.

    Get one by :func:`share_lake`, so that a process has one for each key.

    Args:
        source: Reads the pinned state.
        columns: The columns that play the roles.

    Attributes:
        images: The column of images.
        masks: The column of masks, ``None`` if there is none.
        proposals: The columns of proposals, ``None`` if there are none.
        seg_maps: The column of segmentation maps, ``None`` if there is none.
    """

    def __init__(self, source: LakeSource, columns: Columns) -> None:
        self.source = source
        self.columns = columns
        self.key = _key(source, columns)
        self.images = ImageColumn(source, columns.img)
        masks = columns.of('gt_masks')
        self.masks = None if masks is None else MaskColumn(source, masks)
        boxes, scores = columns.of('proposals'), columns.of('proposal_scores')
        self.proposals = None if boxes is None else ProposalColumns(source, boxes, scores)
        maps = columns.of('gt_seg_map')
        panoptic = columns.is_panoptic
        self.seg_maps = None if maps is None else SegMapColumn(source, maps, panoptic)
        self._own_reader = ImageReader(self.images)
        self._reader: Callable[[], ImageReader | None] = lambda: None

    @property
    def name(self) -> str:
        """The lake in the words of a message."""
        return self.source.name

    def annotations(self, rows: NDArray[np.int64] | None) -> AnnotationTable:
        """Annotations of rows, ``None`` for all; see :func:`read_annotations`."""
        return read_annotations(self.images, self.columns, rows)

    def verify_chunk_files(self) -> None:
        """Let images and maps on a local disk be read without Deep Lake."""
        self.images.verify_chunk_files()
        if self.seg_maps is not None:
            self.seg_maps.images.verify_chunk_files()

    def with_class_names(self, names: tuple[str, ...]) -> Lake:
        """Return the same lake with names for its labels, where it stores none.

        Args:
            names: Name of each label.
        """
        ids = tuple(range(len(names)))
        columns = replace(self.columns, class_names=names, category_ids=ids)
        return share_lake(self.source, columns)

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
        return LakePath(self.key, row).with_name(name)

    def blank_path(self, row: int, name: str, width: int, height: int) -> str:
        """Path of a black image that stands for a row's broken one in a test.

        Args:
            row: Row number.
            name: File name as in :meth:`image_path`.
            width: In pixels.
            height: In pixels.
        """
        return LakePath(self.key, row, 'blank', (width, height)).with_name(name)

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
        path = LakePath(self.key, row, 'seg-map', (width, height))
        return path.with_name(f'{stem}.png')

    @property
    def reader(self) -> ImageReader:
        """The reader by which images come: that of a dataset, or the lake's own."""
        return self._reader() or self._own_reader

    def read_through(self, reader: ImageReader) -> None:
        """Gets images from now on by a dataset's reader, while that lives.

        Args:
            reader: Reads rows of this lake.
        """
        # Two datasets may show one lake; each reads ahead by a plan of its own.
        self._reader = weakref.ref(reader)

    def __reduce__(self) -> tuple[Any, ...]:
        return _find_or_open, (self.source.spec, self.source.pin, self.columns)


def share_lake(source: LakeSource, columns: Columns) -> Lake:
    """Return the lake of this process for a source and columns.

    A lake that is open already is shared, and read from now on with the credentials and
    timeouts of this source.

    Args:
        source: Reads the pinned state.
        columns: The columns that play the roles.
    """
    lake = Lake(source, columns)
    lake = _open_lakes.setdefault(lake.key, lake)
    lake.source.read_with(source.spec.credentials, source.spec.timeouts)
    return lake


def find_lake(path: str) -> tuple[Lake, int]:
    """Find the lake that a path names.

    Args:
        path: ``deeplake://<key>/<row>/<name>``.

    Raises:
        ValueError: If it is no such path.
        KeyError: If this process has no such lake open.

    Returns:
        The lake and the row number.
    """
    parsed = LakePath.parse(path)
    lake = _open_lakes.get(parsed.key)
    if lake is None:
        opened = ', '.join(lake.name for lake in _open_lakes.values()) or 'none'
        raise KeyError(
            f'{path}: the lake with the key {parsed.key} is not open in this process; open: '
            f'{opened}. Build the DeepLakeDataset that it comes from first; if these are '
            'stored predictions, pin deeplake_commit_id to the version that they were '
            'made on'
        )
    return lake, parsed.row


def _find_or_open(spec: LakeSpec, pin: Pin, columns: Columns) -> Lake:
    # A pickle on a disk holds no literal secret, so it changes no open lake's.
    lake = Lake(LakeSource(spec, pin), columns)
    return _open_lakes.setdefault(lake.key, lake)


def _key(source: LakeSource, columns: Columns) -> str:
    # Without credentials and query: both may differ between processes that mean
    # the same rows, and rows are numbered in the lake, not in the query.
    parts = (source.spec.path, source.pin, columns)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
