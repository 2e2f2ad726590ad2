"""What is particular to a panoptic COCO file: reading, checking, and writing it back.

It has one entry an image, with the name of its PNG and a list of segments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from mmdet_deeplake_plugin.lake.columns.annotations import AnnotationTable
from mmdet_deeplake_plugin.structures.seg_maps import MOST_IDS


def is_panoptic(annotations: Sequence[dict[str, Any]]) -> bool:
    """Whether the annotations of a COCO file are lists of segments."""
    return any('segments_info' in entry for entry in annotations[:1])


def as_annotations(
    entries: Sequence[dict[str, Any]],
    categories: Sequence[dict[str, Any]],
    image_ids: Collection[Any],
) -> tuple[list[dict[str, Any]], dict[Any, dict[str, Any]]]:
    """The segments of a panoptic file in the form of annotations of instances.

    Args:
        entries: The file's ``annotations``.
        categories: The file's ``categories``.
        image_ids: Ids of its images.

    Returns:
        The segments with their ``image_id``, ids unique within an image; and image id
        -> the entry without segments and image id, with its ``position`` in the file.

    Raises:
        ValueError: If it contradicts itself.
    """
    for index, category in enumerate(categories):
        if category.get('isthing') not in (0, 1):
            raise ValueError(
                f"categories[{index}] ({category.get('name')!r}) needs 'isthing', 1 for "
                f'things and 0 for stuff, but has {category.get("isthing")!r}'
            )
    segments: list[dict[str, Any]] = []
    by_image: dict[Any, dict[str, Any]] = {}
    for index, entry in enumerate(entries):
        where = f'annotations[{index}]'
        image_id = entry.get('image_id')
        if not isinstance(image_id, (int, str)) or image_id not in image_ids:
            raise ValueError(
                f"{where} has image_id {image_id!r}, which is not in 'images'"
            )
        if image_id in by_image:
            raise ValueError(f'{where} is the second one of image {image_id!r}')
        segments += _segments(where, entry)
        kept = {k: v for k, v in entry.items() if k not in ('segments_info', 'image_id')}
        by_image[image_id] = {**kept, 'position': index}
    return segments, by_image


def _segments(where: str, entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    found = entry.get('segments_info')
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{where} needs 'segments_info', a list of segments")
    seen = set()
    for number, segment in enumerate(found):
        segment_id = segment.get('id')
        which = f'{where}, segment {number}'
        if not isinstance(segment_id, int) or not 0 < segment_id < MOST_IDS:
            raise ValueError(
                f"{which} needs an 'id' from 1 to {MOST_IDS - 1}, the colour of its "
                f'pixels, but has {segment_id!r}'
            )
        if segment_id in seen:
            raise ValueError(f'{which} has the id {segment_id} of another one')
        if segment.get('area') is None:
            raise ValueError(f"{which} (id {segment_id}) needs an 'area' in pixels")
        seen.add(segment_id)
        yield {**segment, 'image_id': entry['image_id']}


def map_name(image_name: str, entry: dict[str, Any] | None) -> str:
    """Name of an image's map.

    Args:
        image_name: The image's ``file_name``.
        entry: Its entry in a panoptic file's ``annotations``, if it has one.
    """
    return (entry or {}).get('file_name') or str(Path(image_name).with_suffix('.png'))


def as_entries(
    table: AnnotationTable,
    category_ids: Sequence[int],
    img_ids: Sequence[Any],
    names: Sequence[str],
    stored: Sequence[dict[str, Any]] | None,
) -> list[dict[str, Any]]:
    """The way back of :func:`as_annotations`: segments as a panoptic file's annotations.

    Args:
        table: Annotations of the rows.
        category_ids: Category id of each label.
        img_ids: Image id of each row.
        names: File name of each row's image.
        stored: What :func:`as_annotations` left of each row's entry, empty for an image
            that has none; ``None`` if the lake did not come from such a file.

    Returns:
        Entries in the order of the file that they came from.
    """
    boxes = table.boxes_xywh
    entries = []
    for position, (img_id, name) in enumerate(zip(img_ids, names)):
        kept = {'position': position} if stored is None else dict(stored[position])
        if not kept:
            continue
        part = range(*table.offsets[position : position + 2].tolist())
        segments = [
            {
                'id': int(table.segment_ids[index]),
                'category_id': category_ids[int(table.labels[index])],
                'iscrowd': int(table.ignore_flags[index]),
                'bbox': boxes[index].tolist(),
                'area': float(table.areas[index]),
            }
            for index in part
        ]
        entry = {'file_name': map_name(name, None), **kept, 'image_id': img_id}
        entries.append({**entry, 'segments_info': segments})
    entries.sort(key=lambda entry: entry['position'])
    return [{k: v for k, v in entry.items() if k != 'position'} for entry in entries]
