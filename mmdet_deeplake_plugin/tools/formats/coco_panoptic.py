"""Convert the entries of a panoptic COCO file to annotations and back.

There is one entry per image, with the name of its PNG and a list of segments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from ...lake import AnnotationTable
from ...structures.seg_maps import MOST_IDS
from ...utils.values import is_int
from .checks import are_dicts, check_storable, is_id_of


def as_annotations(
    entries: Sequence[dict[str, Any]],
    categories: Sequence[dict[str, Any]],
    image_ids: Collection[Any],
) -> tuple[list[dict[str, Any]], dict[Any, dict[str, Any]]]:
    """Convert the segments of a panoptic file to annotations of instances.

    Args:
        entries: The file's ``annotations``.
        categories: The file's ``categories``.
        image_ids: Ids of its images.

    Returns:
        The segments with their ``image_id``, with ids unique within an image; and image
        id to the entry without segments and image id, with its ``position`` in the file.
    """
    for index, category in enumerate(categories):
        if category.get('isthing') not in (0, 1):
            raise ValueError(
                f"categories[{index}] ({category.get('name')!r}) must have 'isthing', 1 "
                f'for things or 0 for stuff, got {category.get("isthing")!r}'
            )
    segments: list[dict[str, Any]] = []
    by_image: dict[Any, dict[str, Any]] = {}
    for index, entry in enumerate(entries):
        where = f'annotations[{index}]'
        image_id = entry.get('image_id')
        if not is_id_of(image_id, image_ids):
            raise ValueError(
                f"{where} has image_id {image_id!r}, which is not in 'images'"
            )
        if image_id in by_image:
            raise ValueError(f'{where} is the second entry of image {image_id!r}')
        segments += _segments(where, entry)
        kept = {k: v for k, v in entry.items() if k not in ('segments_info', 'image_id')}
        check_storable(where, kept)
        by_image[image_id] = {**kept, 'position': index}
    return segments, by_image


def _segments(where: str, entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    segments = entry.get('segments_info')
    if not are_dicts(segments):
        raise ValueError(f"{where} must have 'segments_info', a list of segments")
    seen = set()
    for number, segment in enumerate(segments):
        segment_id: Any = segment.get('id')
        which = f'{where}, segment {number}'
        if not is_int(segment_id) or not 0 < segment_id < MOST_IDS:
            raise ValueError(
                f"{which} must have an 'id' from 1 to {MOST_IDS - 1}, the colour of its "
                f'pixels, got {segment_id!r}'
            )
        if segment_id in seen:
            raise ValueError(f'{which} has the id {segment_id} of another segment')
        if segment.get('area') is None:
            raise ValueError(f"{which} (id {segment_id}) must have an 'area' in pixels")
        seen.add(segment_id)
        yield {**segment, 'image_id': entry['image_id']}


def map_name(image_name: str, entry: dict[str, Any] | None) -> str:
    """Return the name of an image's map, which its panoptic entry may hold."""
    return (entry or {}).get('file_name') or str(Path(image_name).with_suffix('.png'))


def as_entries(
    table: AnnotationTable,
    category_ids: Sequence[int],
    img_ids: Sequence[Any],
    names: Sequence[str],
    stored: Sequence[dict[str, Any]] | None,
) -> list[dict[str, Any]]:
    """Return the entries of a panoptic file, in its order: undo :func:`as_annotations`.

    Args:
        table: Annotations of the rows.
        category_ids: Category id of each label.
        img_ids: Image id of each row.
        names: File name of each row's image.
        stored: See :meth:`.CocoColumns.panoptic_keys`.
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
