"""What a converter kept of a COCO file for the way back, and what another one lost."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns.mapping import Columns, metadata_of
from .connection.opening import column_names
from .connection.source import LakeSource

# The columns of deeplake.from_coco, without the prefix of a group.
_FOREIGN = {'images_meta', 'super_categories', 'masks', 'areas', 'iscrowds'}


class CocoColumns:
    """Reads what ``tools.from_coco`` stored beside the annotations.

    Args:
        source: Reads the lake.
        columns: Its columns.
    """

    def __init__(self, source: LakeSource, columns: Columns) -> None:
        self.source = source
        self.columns = columns
        self._names = column_names(source.handle)

    def per_box(self, column: str, rows: NDArray[np.int64]) -> list[int] | None:
        """A column of one number a box, ``None`` if the lake has none.

        Args:
            column: ``ann_id`` or ``ann_position``.
            rows: Row numbers.
        """
        if column not in self._names:
            return None
        values = self.source.values(column, rows)
        return [int(number) for value in values for number in np.ravel(value)]

    def image_keys(self, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Further keys of each row's image (licence, url, …)."""
        if 'coco_image' not in self._names:
            return [{} for _ in rows]
        texts = self.source.values('coco_image', rows)
        return [json.loads(text) if text else {} for text in texts]

    def panoptic_keys(self, rows: NDArray[np.int64]) -> list[dict[str, Any]] | None:
        """Name of the map, place in the file and further keys of each row's entry.

        Args:
            rows: Row numbers.

        Returns:
            Empty for an image without an entry; ``None`` if the lake did not come from a
            panoptic file.
        """
        if 'coco_annotation' not in self._names:
            return None
        texts = self.source.values('coco_annotation', rows)
        return [json.loads(text) if text else {} for text in texts]

    def file_keys(self) -> dict[str, Any]:
        """Further keys of the file: ``info``, ``licenses`` and the like."""
        text = metadata_of(self.source.handle[self.columns.img], 'coco_file')
        return json.loads(text) if text else {}

    def categories(self) -> list[dict[str, Any]]:
        """The file's categories; of a lake of another origin, ids and names."""
        column = self.columns.of('gt_labels')
        text = metadata_of(self.source.handle[column], 'categories') if column else None
        names = self.columns.class_names
        stored = json.loads(text) if isinstance(text, str) else []
        if [category.get('name') for category in stored] == list(names):
            return stored
        pairs = zip(self.columns.category_ids, names)
        found: list[dict[str, Any]] = [{'id': i, 'name': name} for i, name in pairs]
        for category, thing in zip(found, self.columns.things):
            category['isthing'] = int(thing)
        return found


def lost_in_conversion(handle: Any) -> str:
    """What ``deeplake.from_coco`` lost of the files that a lake was made of.

    Args:
        handle: An open Deep Lake dataset or view.

    Returns:
        A sentence, ``''`` for a lake of another origin.
    """
    names = {name.rpartition('/')[2] for name in column_names(handle)}
    if not names >= _FOREIGN:
        return ''
    return (
        'this lake looks like one of deeplake.from_coco, which keeps neither the ids of '
        'images, annotations and categories nor the polygons (masks are dense), and cuts '
        'areas to whole numbers and boxes to single precision: numbers may differ from '
        'those of the COCO file in the last digits. '
        'python -m mmdet_deeplake_plugin.tools.from_coco keeps them all'
    )
