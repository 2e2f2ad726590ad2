"""Check each value of a COCO file by its type and range.

Python takes ``"0"`` for true, ``True`` for the id 1, and NaN for JSON, and a double does
not hold every integer: whatever would be stored as something else is refused.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from ...structures.masks import counts_problem, segmentation_problem
from ...utils.values import is_int
from .checks import check_distinct, check_storable, is_id, is_id_of, is_int64

# pycocotools holds each step along a polygon in memory, and its numbers in 32 bits.
_FARTHEST = 10**6
_PIXELS = (
    'write 4 numbers in pixels whose sums and products a double holds, or remove the '
    'annotation'
)


def check_images(images: Sequence[dict[str, Any]], names: Sequence[Any]) -> None:
    """Check the ``images`` of a file, and the path of each in the folder of images."""
    if not images:
        raise ValueError("'images' must not be empty")
    for index, (image, name) in enumerate(zip(images, names)):
        where, img_id = f'images[{index}]', image.get('id')
        if not is_id(img_id):
            raise ValueError(
                f"{where} must have an integer or string 'id', got {img_id!r}; write an "
                'integer of at most 64 bits, or a text'
            )
        where = f'{where} (id {img_id})'
        if not isinstance(name, str):
            raise ValueError(
                f"{where} must have a 'file_name', got {image.get('file_name')!r}; write "
                'the path of the image in the folder of images'
            )
        for key in ('width', 'height'):
            value: Any = image.get(key)  # some tools write 640.0
            if not is_number(value) or value != int(value) or not 0 < value < 2**31:
                raise ValueError(
                    f'{where} must have a positive integer {key!r} in pixels, got '
                    f'{value!r}; write the {key} of the image'
                )
        check_storable(where, image)
    check_distinct("'images'", 'ids', (str(image['id']) for image in images))
    texts = [isinstance(image['id'], str) for image in images]
    if any(texts) and not all(texts):
        raise ValueError(
            f"'images' must have ids of one type, but images[{texts.index(True)}] has a "
            f'text and images[{texts.index(False)}] an integer; write all ids as '
            'integers, or all as texts'
        )


def check_categories(categories: Sequence[dict[str, Any]]) -> None:
    """Check the ``categories`` of a file."""
    for index, category in enumerate(categories):
        where = f'categories[{index}]'
        # Deep Lake 4.7 gives others back if two ids of a list are 2**63 or more apart.
        if not is_int64(category.get('id')) or abs(category['id']) >= 2**62:
            raise ValueError(
                f"{where} must have an integer 'id', got {category.get('id')!r}; write "
                'an integer of at most 62 bits'
            )
        where = f'{where} (id {category["id"]})'
        if not isinstance(category.get('name'), str):
            raise ValueError(
                f"{where} must have a 'name', got {category.get('name')!r}; write the "
                'name of the class as text'
            )
        _check_flag(where, category, 'isthing')
        check_storable(where, category)
    for key in ('id', 'name'):
        values = (category[key] for category in categories)
        check_distinct("'categories'", f'{key}s', values)


def check_annotation(
    where: str,
    annotation: dict[str, Any],
    sizes: dict[Any, tuple[int, int]],
    category_ids: Collection[int],
) -> None:
    """Check an annotation of an instance, or a segment; ``sizes`` are by image id."""
    _check_reference(where, annotation, 'image_id', 'images', sizes)
    _check_reference(where, annotation, 'category_id', 'categories', category_ids)
    for key in ('iscrowd', 'ignore'):
        _check_flag(where, annotation, key)
    bbox = annotation.get('bbox')
    if not (isinstance(bbox, list) and len(bbox) == 4 and all(map(is_number, bbox))):
        raise ValueError(
            f"{where} must have a 'bbox' of 4 finite numbers [x, y, width, height], got "
            f'{bbox!r}; {_PIXELS}'
        )
    x, y, width, height = map(float, bbox)
    if not all(map(math.isfinite, (x + width, y + height, width * height))):
        raise ValueError(f"{where} has a 'bbox' that is too large, {bbox!r}; {_PIXELS}")
    if 'area' in annotation and not is_number(annotation['area']):
        raise ValueError(
            f"{where} must have a finite 'area', got {annotation['area']!r}; write a "
            'number in square pixels, or leave the key out: width times height'
        )
    size = sizes[annotation['image_id']]
    problem = _mask_problem(annotation.get('segmentation'), *size)
    if problem:
        raise ValueError(f"{where} has an invalid 'segmentation': {problem}")


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number that a double holds exactly."""
    if is_int(value):
        return abs(value) < 2**1023 and int(float(value)) == value
    return isinstance(value, float) and math.isfinite(value)


def _check_flag(where: str, values: dict[str, Any], key: str) -> None:
    value = values.get(key, 0)
    if not isinstance(value, (bool, int, float)) or value not in (0, 1):
        raise ValueError(
            f'{where} must have {key!r} 0 or 1, got {value!r}; write 0 for false and 1 '
            'for true, or leave the key out'
        )


def _check_reference(
    where: str, annotation: dict[str, Any], key: str, target: str, known: Collection[Any]
) -> None:
    value = annotation.get(key)
    if not is_id_of(value, known):
        raise ValueError(
            f'{where} has {key} {value!r}, which is not in {target!r}; write the id of '
            f'one of {target!r}, of the same type'
        )


def _mask_problem(segmentation: Any, width: int, height: int) -> str:
    problem = segmentation_problem(segmentation, width, height)
    if problem or segmentation is None:
        return problem
    if isinstance(segmentation, list):
        for polygon in segmentation:
            if not all(map(is_number, polygon)):
                return (
                    f'polygons must have finite numbers, got {polygon!r:.60}; write x '
                    'and y of each point in pixels'
                )
            if any(abs(value) > _FARTHEST for value in polygon):
                return (
                    f'polygons must stay within {_FARTHEST} pixels, got {polygon!r:.60}; '
                    'write x and y of each point in pixels'
                )
        return ''
    return counts_problem(segmentation['counts'], width * height)
