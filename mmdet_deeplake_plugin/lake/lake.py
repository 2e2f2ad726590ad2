"""Define open lakes, and the registry that finds them by the key in image paths.

The path of an image (see ``paths.py``) passes through the stock pipeline into predictions
and on to the metric. The key identifies the lake within a process. It is the same in every
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


class Lake:
    """A pinned lake with its columns, shared by dataset, file backend and metric.

    Use :func:`share_lake` to get one, so that each process has one lake per key.

    Args:
        source: Source that reads the pinned state.
        columns: Columns mapped to roles.

    Attributes:
        images: Column of images.
        masks: Column of masks, or ``None``.
        proposals: Columns of proposals, or ``None``.
        seg_maps: Column of segmentation maps, or ``None``.
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
        """Name of the lake in messages."""
        return self.source.name

    def annotations(self, rows: NDArray[np.int64] | None) -> AnnotationTable:
        """Read annotations of rows (``None``: all), see :func:`read_annotations`."""
        return read_annotations(self.images, self.columns, rows)

    def verify_chunk_files(self) -> None:
        """Allow reading images and maps on a local disk without Deep Lake."""
        self.images.verify_chunk_files()
        if self.seg_maps is not None:
            self.seg_maps.images.verify_chunk_files()

    def with_class_names(self, names: tuple[str, ...]) -> Lake:
        """Return the same lake with class names, for lakes that do not store them.

        Args:
            names: Name of each label.
        """
        ids = tuple(range(len(names)))
        columns = replace(self.columns, class_names=names, category_ids=ids)
        return share_lake(self.source, columns)

    def numbers(
        self, what: str, rows: NDArray[np.int64], is_expression: bool
    ) -> NDArray[np.float64]:
        """Read or compute one number per row.

        Args:
            what: Name of a column, or a TQL expression.
            rows: Row numbers, shape ``(R,)``.
            is_expression: Whether ``what`` is a TQL expression.

        Returns:
            The numbers, shape ``(R,)``.

        Raises:
            ValueError: If the column does not exist, the expression is invalid, or the
                value of a row is not a single number.
        """
        values = self.source.computed(what if is_expression else f'"{what}"', rows)
        try:
            return np.array([float(value) for value in values])
        except (TypeError, ValueError) as error:
            raise ValueError(
                f'{self.name}: {what!r} must have a single number in each row; the first '
                f'row has {values[0]!r}'
            ) from error

    def image_path(self, row: int, name: str) -> str:
        """Return the path from which the stock pipeline loads a row's image.

        Args:
            row: Row number.
            name: File name with the extension of an image; tools use it to name their
                results.
        """
        return LakePath(self.key, row).with_name(name)

    def blank_path(self, row: int, name: str, width: int, height: int) -> str:
        """Return the path of a black image that replaces a broken one during testing.

        Args:
            row: Row number.
            name: File name as in :meth:`image_path`.
            width: Width in pixels.
            height: Height in pixels.
        """
        return LakePath(self.key, row, 'blank', (width, height)).with_name(name)

    def seg_map_path(self, row: int, name: str, width: int, height: int) -> str | None:
        """Return the path from which the stock pipeline loads a row's map.

        Args:
            row: Row number.
            name: File name of the image.
            width: Width of the image in pixels; the map must have the same.
            height: Height of the image in pixels; the map must have the same.

        Returns:
            The path, or ``None`` if the lake does not have segmentation maps.
        """
        if self.seg_maps is None:
            return None
        stem = name.rpartition('.')[0]
        path = LakePath(self.key, row, 'seg-map', (width, height))
        return path.with_name(f'{stem}.png')

    @property
    def reader(self) -> ImageReader:
        """Reader of the images: the one set by a dataset, else the lake's own."""
        return self._reader() or self._own_reader

    def read_through(self, reader: ImageReader) -> None:
        """Read images through a dataset's reader for as long as it exists.

        Args:
            reader: Reader of this lake's images.
        """
        # Two datasets may share a lake, but each reads ahead with its own plan.
        self._reader = weakref.ref(reader)

    def __reduce__(self) -> tuple[Any, ...]:
        return _find_or_open, (self.source.spec, self.source.pin, self.columns)

    def __deepcopy__(self, memo: dict[int, Any]) -> Lake:
        return self


def share_lake(source: LakeSource, columns: Columns) -> Lake:
    """Return this process's lake for a source and columns.

    A lake that is already open is shared; from now on it uses the credentials and
    timeouts of this source.

    Args:
        source: Source that reads the pinned state.
        columns: Columns mapped to roles.
    """
    lake = Lake(source, columns)
    lake = _open_lakes.setdefault(lake.key, lake)
    lake.source.read_with(source.spec.credentials, source.spec.timeouts)
    return lake


def find_lake(path: str) -> tuple[Lake, int]:
    """Find the open lake that a path belongs to.

    Args:
        path: ``deeplake://<key>/<row>/<name>``.

    Returns:
        The lake and the row number.

    Raises:
        ValueError: If the path does not have this form.
        KeyError: If the lake is not open in this process.
    """
    parsed = LakePath.parse(path)
    lake = _open_lakes.get(parsed.key)
    if lake is None:
        opened = ', '.join(lake.name for lake in _open_lakes.values()) or 'none'
        raise KeyError(
            f'{path}: the lake with the key {parsed.key} is not open in this process; '
            f'open lakes: {opened}. Build the DeepLakeDataset of this lake first; for '
            'stored predictions, pin deeplake_commit_id to the version that they were '
            'made on'
        )
    return lake, parsed.row


def _find_or_open(spec: LakeSpec, pin: Pin, columns: Columns) -> Lake:
    # Pickles do not contain literal secrets, so an open lake keeps its credentials.
    lake = Lake(LakeSource(spec, pin), columns)
    return _open_lakes.setdefault(lake.key, lake)


def _key(source: LakeSource, columns: Columns) -> str:
    # Credentials and query are left out: they may differ between processes that use the
    # same rows, and row numbers refer to the lake, not to the result of the query.
    parts = (source.spec.path, source.pin, columns)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
