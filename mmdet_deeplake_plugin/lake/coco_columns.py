"""Name the columns and metadata that the converters write, and read those of COCO."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns.mapping import Columns, metadata_of
from .connection.opening import column_names
from .connection.source import LakeSource

# Columns of every lake that a converter writes; SEG_MAP only if there are maps.
IMAGES = 'images'
BOXES = 'boxes'
CATEGORIES = 'categories'
IMAGE_ID = 'image_id'
FILE_NAME = 'file_name'
WIDTH = 'width'
HEIGHT = 'height'
SEG_MAP = 'seg_map'

# Columns with one number per box: of COCO, of its panoptic files, and of VOC.
ISCROWD = 'iscrowd'
AREA = 'area'
IGNORE = 'ignore'
ANN_ID = 'ann_id'
ANN_POSITION = 'ann_position'  # in the file, if that is not grouped by image
SEGMENT_ID = 'segment_id'
DIFFICULT = 'difficult'

# Columns with one text per image.
SEGMENTATION = 'segmentation'
COCO_IMAGE = 'coco_image'  # JSON of the further keys of an image
COCO_ANNOTATION = 'coco_annotation'  # JSON of the further keys of a panoptic entry
CAPTIONS = 'captions'

# Metadata, with the column that owns it.
CONVERTER = 'converter'  # the lake itself
ANNOTATION_STYLE = 'annotation_style'  # BOXES
CLASS_NAMES = 'class_names'  # CATEGORIES, SEG_MAP
CATEGORY_IDS = 'category_ids'  # CATEGORIES
CATEGORIES_JSON = 'categories'  # CATEGORIES
ISTHING = 'isthing'  # CATEGORIES
COCO_FILE = 'coco_file'  # IMAGES, CAPTIONS: JSON of the further keys of the file
CONTENT = 'content'  # CAPTIONS

# What LVIS adds to an image (in COCO_IMAGE) and to a category (in CATEGORIES_JSON).
LVIS_IMAGE_KEYS = ('neg_category_ids', 'not_exhaustive_category_ids')
LVIS_FREQUENCY = 'frequency'

# Columns that deeplake.from_coco writes, without the prefix of their group.
_DEEPLAKE_COLUMNS = {'images_meta', 'super_categories', 'masks', 'areas', 'iscrowds'}


class CocoColumns:
    """The columns in which ``tools.from_coco`` keeps what training does not need.

    Args:
        source: The lake.
        columns: Its columns.
    """

    def __init__(self, source: LakeSource, columns: Columns) -> None:
        self.source = source
        self.columns = columns
        self._names = column_names(source.handle)

    def per_box(self, column: str, rows: NDArray[np.int64]) -> list[int] | None:
        """Read a column with one number per box.

        Args:
            column: ``ANN_ID`` or ``ANN_POSITION``.
            rows: Row numbers, shape ``(R,)``.

        Returns:
            The numbers of all rows, one after the other; ``None`` if the lake does not
            have the column.
        """
        if column not in self._names:
            return None
        values = self.source.values(column, rows)
        return [int(number) for value in values for number in np.ravel(value)]

    def image_keys(self, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Read the further keys of each row's image (licence, url, …)."""
        return self._dicts(COCO_IMAGE, rows) or [{} for _ in rows]

    def panoptic_keys(self, rows: NDArray[np.int64]) -> list[dict[str, Any]] | None:
        """Read name of the map, position in the file and further keys of each entry.

        Args:
            rows: Row numbers, shape ``(R,)``.

        Returns:
            One dict per row, empty for an image without an entry; ``None`` if the lake
            was not made from a panoptic file.
        """
        return self._dicts(COCO_ANNOTATION, rows)

    def _dicts(self, column: str, rows: NDArray[np.int64]) -> list[dict[str, Any]] | None:
        if column not in self._names:
            return None
        texts = self.source.values(column, rows)
        return [json.loads(text) if text else {} for text in texts]

    def file_keys(self) -> dict[str, Any]:
        """Read the further keys of the file: ``info``, ``licenses`` and the like."""
        text = metadata_of(self.source.handle[self.columns.img], COCO_FILE)
        return json.loads(text) if text else {}

    def categories(self) -> list[dict[str, Any]]:
        """Read the file's categories; of other lakes, ids and names alone."""
        column = self.columns.of('gt_labels')
        handle = self.source.handle
        text = metadata_of(handle[column], CATEGORIES_JSON) if column else None
        names = self.columns.class_names
        stored = json.loads(text) if isinstance(text, str) else []
        if [category.get('name') for category in stored] == list(names):
            return stored
        pairs = zip(self.columns.category_ids, names)
        categories: list[dict[str, Any]] = [{'id': i, 'name': name} for i, name in pairs]
        for category, thing in zip(categories, self.columns.things):
            category[ISTHING] = int(thing)
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
