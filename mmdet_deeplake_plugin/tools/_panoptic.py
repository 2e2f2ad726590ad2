"""Reads what is particular to a panoptic COCO file, and checks it.

It has one entry an image, with the name of its PNG and a list of segments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from mmdet_deeplake_plugin.seg_maps import MOST_IDS


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
