"""Open lakes, registered under the key that identifies them in image paths.

The path of an image (see ``paths.py``) passes through the stock pipeline into predictions
and to the metric. The key in it identifies the lake, and is the same in every process
that opens the same state of the same lake with the same columns.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.shared_by_copies import SharedByCopies
from .columns.annotations import AnnotationTable, read_annotations
from .columns.extras import read_extras, read_image_labels
from .columns.mapping import Columns
from .columns.masks import MaskColumn
from .columns.proposals import ProposalColumns
from .columns.row_reader import RowReader
from .columns.seg_maps import SegMapColumn
from .connection.json_values import is_json
from .connection.source import LakeSource
from .connection.spec import LakeSpec, Pin
from .connection.text_lists import is_text_list
from .images.column import ImageColumn
from .images.reader import ImageReader
from .paths import LakePath

_open_lakes: weakref.WeakValueDictionary[str, Lake] = weakref.WeakValueDictionary()


class Lake(SharedByCopies):
    """A pinned lake and its columns, shared by dataset, backend and metric.

    Use :func:`share_lake` to get one, so that a process has only one per key.

    Args:
        source: Reads the pinned state.
        columns: The column of each role.

    Attributes:
        images: The image column.
        masks: The mask column, ``None`` if the lake has none.
        proposals: The proposal columns, ``None`` if the lake has none.
        seg_maps: The segmentation map column, ``None`` if the lake has none.
        key: Identifies the lake, its state and its columns in the paths of images.
        former_key: The key without the id of the lake, as predictions contain it that
            were stored before the id was part of it.
    """

    def __init__(self, source: LakeSource, columns: Columns) -> None:
        self.source = source
        self.columns = columns
        self.former_key = _key(source, columns)
        self.key = _key(source, columns, source.pin.lake_id)
        self._checked_names = 0
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
        """Read annotations of rows, ``None`` for all; see :func:`read_annotations`."""
        if rows is None:
            rows = np.arange(self.source.num_rows, dtype=np.int64)
        reader = RowReader(self.images, self.columns, rows, reads_all=True)
        return read_annotations(reader)

    def extras(
        self,
        rows: NDArray[np.int64],
        counts: NDArray[np.integer],
        sizes: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> dict[str, NDArray[Any]]:
        """Read what instances have beside box and label; see :func:`read_extras`."""
        return read_extras(RowReader(self.images, self.columns, rows), counts, sizes)

    def image_labels(
        self, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]] | None:
        """Read the verified labels of images; see :func:`read_image_labels`."""
        return read_image_labels(RowReader(self.images, self.columns, rows))

    def row_numbers(
        self, rows: NDArray[np.int64], *roles: str
    ) -> dict[str, NDArray[np.int64]]:
        """Read columns with one integer per row.

        Args:
            rows: Row numbers, shape ``(R,)``.
            roles: Roles of the columns, such as ``video_id`` and ``frame_id``.

        Returns:
            Role -> numbers, shape ``(R,)``, for the roles that have a column.

        Raises:
            ValueError: If a value is not an integer.
        """
        reader = RowReader(self.images, self.columns, rows)
        given = [(role, self.columns.of(role)) for role in roles]
        return {role: reader.integers(column) for role, column in given if column}

    def verify_chunk_files(self) -> None:
        """Verify local chunk files, so that images and maps are read from them."""
        self.images.verify_chunk_files()
        if self.seg_maps is not None:
            self.seg_maps.images.verify_chunk_files()

    def with_class_names(self, names: tuple[str, ...]) -> Lake:
        """Return the same lake with class names by label, for one that stores none."""
        ids = tuple(range(len(names)))
        columns = replace(self.columns, class_names=names, category_ids=ids)
        return share_lake(self.source, columns)

    def label_names(self) -> list[str]:
        """Return the names of classes that are stored in place of labels, if any are."""
        column = self.columns.of('gt_labels')
        dtype = None if column is None else self.source.type_of(column)
        if column is None or not (is_json(dtype) or is_text_list(dtype)):
            return []
        rows = np.arange(self.source.num_rows)
        values = self.source.values(column, rows, from_json=True)
        stored = {each for value in values for each in np.ravel(value or [])}
        return sorted(str(each) for each in stored if isinstance(each, str))

    def numbers(
        self, what: str, rows: NDArray[np.int64], is_expression: bool
    ) -> NDArray[np.float64]:
        """Read one number per row.

        Args:
            what: Name of a column, or a TQL expression.
            rows: Row numbers, shape ``(R,)``.
            is_expression: Whether ``what`` is a TQL expression.

        Raises:
            ValueError: If the column does not exist, the expression is invalid, or a
                value is not a single number.

        Returns:
            Numbers of shape ``(R,)``.
        """
        expression = what if is_expression else f'"{what}"'
        values = self.source.computed(expression, rows)
        try:
            return np.array([float(value) for value in values])
        except (TypeError, ValueError) as error:
            value = next((each for each in values if each is None), values[0])
            hint = ''
            if value is None:
                query = f'SELECT * WHERE {expression} IS NOT NULL'
                hint = f'; leave out such rows with deeplake_query={query!r}'
            raise ValueError(
                f'{self.name}: {what!r} must give one number per row, got '
                f'values such as {value!r}{hint}'
            ) from error

    def image_path(self, row: int, name: str) -> str:
        """Return the path by which the stock pipeline loads the image of a row.

        Args:
            row: Row number.
            name: File name with the extension of an image, under which tools write their
                results.
        """
        return LakePath(self.key, row).with_name(name)

    def blank_path(self, row: int, name: str, width: int, height: int) -> str:
        """Return the path of a black image, in place of a broken one in a test."""
        return LakePath(self.key, row, 'blank', (width, height)).with_name(name)

    def seg_map_path(self, row: int, name: str, width: int, height: int) -> str | None:
        """Return the path of the segmentation map of an image, ``None`` without maps.

        Args:
            row: Row number.
            name: File name of the image.
            width: Width of the image, and so of the map, in pixels.
            height: Height in pixels.
        """
        if self.seg_maps is None:
            return None
        stem = name.rpartition('.')[0]
        path = LakePath(self.key, row, 'seg-map', (width, height))
        return path.with_name(f'{stem}.png')

    def check_names(self, names: Mapping[int, str]) -> None:
        """Check that rows contain the images that predictions were made for.

        Args:
            names: Row number -> file name in the path of the image.

        Raises:
            ValueError: If a row contains another one.
        """
        column, digest = self.columns.of('file_name'), hash(frozenset(names.items()))
        if column is None or digest == self._checked_names:
            return
        stored = self.source.values(column, np.fromiter(names, np.int64))
        for (row, name), path in zip(names.items(), stored):
            stem = str(path or '').replace('\\', '/').rpartition('/')[2]
            plain = name.removeprefix(f'{row}_')  # added where names repeat
            if stem and not {name, plain} & {stem, f'{stem}.jpg'}:
                raise ValueError(
                    f'{self.name}: row {row} contains the image {path!r}, but the '
                    f'prediction was made for {name!r}: the lake was written anew since; '
                    'predict again, or score on the lake that was predicted on'
                )
        self._checked_names = digest

    @property
    def reader(self) -> ImageReader:
        """The reader of images: that of a dataset, or the lake's own."""
        return self._reader() or self._own_reader

    def read_through(self, reader: ImageReader) -> None:
        """Read images through the reader of a dataset for as long as it exists."""
        # Two datasets may share one lake; each reads ahead by its own plan.
        self._reader = weakref.ref(reader)

    def __reduce__(self) -> tuple[Any, ...]:
        return _find_or_open, (self.source.spec, self.source.pin, self.columns)


def share_lake(source: LakeSource, columns: Columns) -> Lake:
    """Return the lake of this process for a source and columns.

    A lake that is already open is reused; from now on it is read with the credentials
    and timeouts of this source.
    """
    lake = Lake(source, columns)
    lake = _open_lakes.setdefault(lake.key, lake)
    lake.source.read_with(source.spec.credentials, source.spec.timeouts)
    return lake


def find_lake(path: str) -> tuple[Lake, int]:
    """Return the open lake and the row that ``deeplake://<key>/<row>/<name>`` names.

    Raises:
        ValueError: If it is not the path of a lake image.
        KeyError: If the lake is not open in this process.
    """
    lake, parts = find_path(path)
    return lake, parts.row


def find_path(path: str) -> tuple[Lake, LakePath]:
    """As :func:`find_lake`, with all parts of the path."""
    parts = LakePath.parse(path)
    lake = _open_lakes.get(parts.key)
    if lake is None:
        former = [lake for lake in _open_lakes.values() if lake.former_key == parts.key]
        lake = former[0] if len(former) == 1 else None
    if lake is None:
        opened = ', '.join(lake.name for lake in _open_lakes.values()) or 'none'
        raise KeyError(
            f'{path}: the lake with the key {parts.key} is not open in this process '
            f'(open lakes: {opened}). Build its DeepLakeDataset first. For stored '
            'predictions, open the lake, the version (deeplake_commit_id) and the '
            'columns that they were made on; if the lake was written anew since, predict '
            'again'
        )
    return lake, parts


def _find_or_open(spec: LakeSpec, pin: Pin, columns: Columns) -> Lake:
    # Unlike share_lake, leave the credentials of an open lake alone: a pickle from disk
    # does not contain literal secrets.
    lake = Lake(LakeSource(spec, pin), columns)
    return _open_lakes.setdefault(lake.key, lake)


def _key(source: LakeSource, columns: Columns, lake_id: str = '') -> str:
    # Without credentials and query: both may differ between processes that use the same
    # rows, and rows are numbered in the lake, not in the result of the query. Stored
    # predictions contain the key, so the repr of these parts must not change.
    parts = (source.spec.path, source.pin, columns)
    return hashlib.sha256(f'{parts!r}{lake_id}'.encode()).hexdigest()[:16]
