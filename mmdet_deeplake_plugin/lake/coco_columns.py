"""Read the columns in which ``tools.from_coco`` keeps what training does not need."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import names
from .columns.mapping import Columns
from .columns.roles import holds_numbers
from .connection.opening import column_names, metadata_of
from .connection.source import LakeSource

# Columns that deeplake.from_coco writes, without the prefix of their group.
_DEEPLAKE_COLUMNS = {'images_meta', 'super_categories', 'masks', 'areas', 'iscrowds'}


class CocoColumns:
    """The columns in which ``tools.from_coco`` keeps what training does not need.

    Methods that read rows take their numbers, shape ``(R,)``.

    Args:
        source: The lake.
        columns: Its columns.
    """

    def __init__(self, source: LakeSource, columns: Columns) -> None:
        self.source = source
        self.columns = columns
        self._names = column_names(source.handle)

    def per_box(self, column: str, rows: NDArray[np.int64]) -> list[int] | None:
        """Read ``ANN_ID`` or ``ANN_POSITION``, a column with one number per box.

        Returns:
            The numbers of all rows, one after the other; ``None`` if the lake does not
            have the column.
        """
        if column not in self._names:
            return None
        values = self.source.values(column, rows)
        return [int(number) for value in values for number in np.ravel(value)]

    @property
    def track_numbers(self) -> list[str]:
        """Columns with one number per box that only lakes of videos have."""
        if not {names.VIDEO_ID, names.FRAME_ID} <= set(self._names):
            return []
        found = [name for name in names.TRACK_NUMBERS if name in self._names]
        return [name for name in found if holds_numbers(self.source.type_of(name))]

    def tracks(
        self, rows: NDArray[np.int64], counts: Sequence[int]
    ) -> dict[str, list[Any]]:
        """Read the numbers of the objects in frames, one for each of ``counts`` boxes.

        Returns:
            Column -> the numbers of all rows, one after the other; empty for images.

        Raises:
            ValueError: If a row has another number of them than boxes.
        """
        found: dict[str, list[Any]] = {}
        for name in self.track_numbers:
            kind = int if names.TRACK_NUMBERS[name] == 'int64' else float
            numbers: list[Any] = []
            for row, count, value in zip(rows, counts, self.source.values(name, rows)):
                if np.size(value) != count:
                    raise ValueError(
                        f'{self.source.where(name, int(row))}: there must be one number '
                        f'per box, found {np.size(value)} for {count} boxes; correct the '
                        'row, or drop the column'
                    )
                numbers += map(kind, np.ravel(value))
            found[name] = numbers
        return found

    def image_keys(self, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Read the further keys of each row's image (licence, url, …)."""
        return self._dicts(names.COCO_IMAGE, rows) or [{} for _ in rows]

    def panoptic_keys(self, rows: NDArray[np.int64]) -> list[dict[str, Any]] | None:
        """Read name of the map, position in the file and further keys of each entry.

        Returns:
            One dict per row, empty for an image without an entry; ``None`` if the lake
            was not made from a panoptic file.
        """
        return self._dicts(names.COCO_ANNOTATION, rows)

    def _dicts(self, column: str, rows: NDArray[np.int64]) -> list[dict[str, Any]] | None:
        if column not in self._names:
            return None
        texts = self.source.values(column, rows)
        return [json.loads(text) if text else {} for text in texts]

    def file_keys(self) -> dict[str, Any]:
        """Read the further keys of the file: ``info``, ``licenses`` and the like."""
        text = metadata_of(self.source.handle[self.columns.img], names.COCO_FILE)
        return json.loads(text) if text else {}

    def categories(self) -> list[dict[str, Any]]:
        """Read the file's categories; of other lakes, ids and names alone."""
        column = self.columns.of('gt_labels')
        handle = self.source.handle
        text = metadata_of(handle[column], names.CATEGORIES_JSON) if column else None
        class_names = self.columns.class_names
        stored = json.loads(text) if isinstance(text, str) else []
        if [category.get('name') for category in stored] == list(class_names):
            return stored
        pairs = zip(self.columns.category_ids, class_names)
        categories: list[dict[str, Any]] = [{'id': i, 'name': name} for i, name in pairs]
        for category, thing in zip(categories, self.columns.things):
            category[names.ISTHING] = int(thing)
        return categories


def lost_in_conversion(handle: Any) -> str:
    """Say what is missing in a lake that ``deeplake.from_coco`` made of COCO files.

    Args:
        handle: An open Deep Lake dataset or view.

    Returns:
        A sentence; ``''`` for other lakes.
    """
    names = {name.rpartition('/')[2] for name in column_names(handle)}
    if not names >= _DEEPLAKE_COLUMNS:
        return ''
    return (
        'this lake appears to come from deeplake.from_coco, which keeps neither the ids '
        'of images, annotations and categories nor the polygons (masks are dense), and '
        'truncates areas to integers and boxes to single precision: numbers may differ '
        'from those of the COCO file in the last digits. '
        'python -m mmdet_deeplake_plugin.tools.from_coco keeps all of this'
    )
