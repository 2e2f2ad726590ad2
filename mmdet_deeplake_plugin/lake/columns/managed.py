"""Lakes that Deep Lake's own managed ingestion makes of COCO files.

``deeplake.managed.formats`` keeps exact boxes, areas, ids and crowd flags as JSON, beside
boxes in single precision, and a map of category ids in place of masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..connection.json_values import is_json, parse_json

_INSTANCES: dict[str, str | None] = {
    'img': 'images',
    'gt_bboxes': 'annotations.bbox',
    'gt_labels': 'categories',
    'area': 'annotations.area',
    'gt_ignore_flags': 'annotations.iscrowd',
    'img_id': 'images_meta.id',
    'file_name': 'images_meta.file_name',
    'width': 'images_meta.width',
    'height': 'images_meta.height',
    'gt_seg_map': None,  # pixels are category ids, not labels
    'caption': None,
}
_PANOPTIC: dict[str, str | None] = {
    'img': 'image',
    'gt_bboxes': 'segments_info.bbox',
    'gt_labels': 'panoptic/categories',
    'gt_seg_map': 'mask',
    'segment_ids': 'segments_info.id',
    'area': 'segments_info.area',
    'gt_ignore_flags': 'segments_info.iscrowd',
    'img_id': 'coco_image_id',
    'file_name': 'filename',
    'width': 'width',
    'height': 'height',
}


def managed_roles(types: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the columns of a lake that the managed ingestion of COCO files made.

    Returns:
        Role -> column, possibly with a key; empty for any other lake.
    """
    for roles, marks in (
        (_INSTANCES, ('annotations', 'images_meta')),
        (_PANOPTIC, ('segments_info',)),
    ):
        columns = {name.partition('.')[0] for name in roles.values() if name}
        if columns <= types.keys() and all(is_json(types[name]) for name in marks):
            return roles
    return {}


def category_ids(handle: Any, roles: Mapping[str, str], count: int) -> tuple[int, ...]:
    """Return the category id of each label; free numbers for those without instances."""
    column = str(roles['gt_bboxes']).partition('.')[0]
    ids: dict[int, int] = {}
    for labels, content in zip(handle[roles['gt_labels']][:], handle[column][:]):
        found = parse_json(content, 'category_id') or []
        ids.update(zip([] if labels is None else map(int, labels), found))
    free = iter(set(range(1, count + 1 + len(ids))) - set(ids.values()))
    return tuple(ids[label] if label in ids else next(free) for label in range(count))
