"""Read a COCO annotation file and check all of it before anything is written.

Boxes and masks are checked and used, keypoints and captions are not. Nothing is dropped:
crowds, zero areas and boxes outside of the image are valid here.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from ...structures.masks import segmentation_problem, too_few_points
from .coco_panoptic import as_annotations, is_panoptic

_MAIN_KEYS = ('images', 'categories', 'annotations')
_IMAGE_KEYS = ('id', 'file_name', 'width', 'height')
_COCO_SERVER = 'http://images.cocodataset.org/'


@dataclass(frozen=True)
class CocoAnnotations:
    """A checked COCO file.

    Args:
        images: The file's ``images``, in its order.
        categories: The file's ``categories``, in its order.
        by_image: Image id to its annotations, in the file's order.
        positions: Annotation id to its position in the file's ``annotations``.
        others: The file's further keys: ``info``, ``licenses``, ….
        entries: Image id to entry of a panoptic file, whose segments are the annotations
            here, see :func:`.as_annotations`; ``None`` for other files.
    """

    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    by_image: dict[Any, list[dict[str, Any]]]
    positions: dict[int, int]
    others: dict[str, Any]
    entries: dict[Any, dict[str, Any]] | None = None

    @property
    def num_boxes(self) -> int:
        """Total number of annotations."""
        return sum(len(annotations) for annotations in self.by_image.values())

    @property
    def has_ignored(self) -> bool:
        """Whether any annotation has a true ``ignore``."""
        lists = self.by_image.values()
        return any(ann.get('ignore') for annotations in lists for ann in annotations)

    @property
    def has_masks(self) -> bool:
        """Whether any annotation has a ``segmentation``."""
        lists = self.by_image.values()
        return any('segmentation' in ann for annotations in lists for ann in annotations)

    @property
    def has_image_keys(self) -> bool:
        """Whether any image has keys other than id, file name and size."""
        return any(set(image) - set(_IMAGE_KEYS) for image in self.images)

    @property
    def is_grouped(self) -> bool:
        """Whether the annotations in the file are grouped by image."""
        if self.entries is not None:
            return True
        order = [
            self.positions[ann['id']]
            for image in self.images
            for ann in self.by_image[image['id']]
        ]
        return order == sorted(order)

    @property
    def text_ids(self) -> bool:
        """Whether any image id is not a 64-bit integer."""
        return not all(_is_int64(image['id']) for image in self.images)


def image_keys(image: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of an image other than id, file name and size.

    ``file_name`` is included, as ``None``, if the file has none (LVIS).
    """
    others = {key: value for key, value in image.items() if key not in _IMAGE_KEYS}
    return others if 'file_name' in image else {**others, 'file_name': None}


def file_name(image: dict[str, Any]) -> Any:
    """Return the path of an image in the folder of images.

    LVIS has no ``file_name``, but the URL of the COCO image; the path includes the split
    (``val2017/000000391895.jpg``), as in MMDetection.
    """
    url = image.get('coco_url')
    if 'file_name' not in image and isinstance(url, str):
        return url.replace(_COCO_SERVER, '')
    return image.get('file_name')


def read_coco(ann_file: Path) -> CocoAnnotations:
    """Read and check a COCO annotation file.

    Args:
        ann_file: JSON file with ``images``, ``categories`` and ``annotations``, of
            instances or, with ``segments_info``, panoptic. Without ``annotations`` (image
            lists of test sets) the images have no boxes.

    Returns:
        The file's content.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not JSON, not a COCO file, or not consistent.
    """
    content = _load(ann_file)
    images, categories = content['images'], content['categories']
    annotations = content.get('annotations')
    if annotations is None:
        print_log(
            f"{ann_file} has no 'annotations': storing all {len(images)} images without "
            'boxes',
            logger='current',
            level=logging.WARNING,
        )
        annotations = []
    entries = None
    try:
        _check_images(images)
        _check_categories(categories)
        if is_panoptic(annotations):
            ids = {image['id'] for image in images}
            annotations, entries = as_annotations(annotations, categories, ids)
        by_image = _group(images, categories, annotations, is_unique=entries is None)
    except ValueError as error:
        raise ValueError(f'{ann_file}: {error}') from error
    _warn_of_ignored_masks(ann_file, annotations)
    positions = {ann['id']: index for index, ann in enumerate(annotations)}
    others = {key: value for key, value in content.items() if key not in _MAIN_KEYS}
    return CocoAnnotations(images, categories, by_image, positions, others, entries)


def _load(ann_file: Path) -> dict[str, Any]:
    if not ann_file.is_file():
        raise FileNotFoundError(f'annotation file {ann_file} does not exist')
    try:
        with ann_file.open(encoding='utf-8') as file:
            content = json.load(file)
    except ValueError as error:
        raise ValueError(f'{ann_file} is not a JSON file: {error}') from error
    keys = list(content) if isinstance(content, dict) else []
    for key in ('images', 'categories'):
        if key not in keys:
            raise ValueError(
                f'{ann_file} is not a COCO annotation file: it must have the keys '
                f"'images', 'annotations' and 'categories', got {keys} without {key!r}"
            )
    for key in _MAIN_KEYS:
        if not _is_list_of_dicts(content.get(key, [])):
            raise ValueError(
                f'{ann_file} is not a COCO annotation file: {key!r} must be a list of '
                'objects'
            )
    return content


def _check_images(images: list[dict[str, Any]]) -> None:
    if not images:
        raise ValueError("'images' must not be empty")
    for index, image in enumerate(images):
        where = f'images[{index}]'
        if not isinstance(image.get('id'), (int, str)):
            raise ValueError(
                f"{where} must have an integer or string 'id', got {image.get('id')!r}"
            )
        if not isinstance(file_name(image), str):
            raise ValueError(
                f"{where} (id {image['id']}) must have a 'file_name', got "
                f'{image.get("file_name")!r}'
            )
        for key in ('width', 'height'):
            if not _is_size(image.get(key)):
                raise ValueError(
                    f'{where} (id {image["id"]}) must have a positive integer {key!r} in '
                    f'pixels, got {image.get(key)!r}'
                )
    # If any id is a string, all are stored as strings: then 1 and '1' are the same.
    _check_distinct('images', 'ids', (str(image['id']) for image in images))


def _check_categories(categories: list[dict[str, Any]]) -> None:
    for index, category in enumerate(categories):
        if not _is_int64(category.get('id')):
            raise ValueError(
                f"categories[{index}] must have an integer 'id', got "
                f'{category.get("id")!r}'
            )
        if not isinstance(category.get('name'), str):
            raise ValueError(
                f"categories[{index}] (id {category['id']}) must have a 'name', got "
                f'{category.get("name")!r}'
            )
    for key in ('id', 'name'):
        values = (category[key] for category in categories)
        _check_distinct('categories', f'{key}s', values)


def _group(
    images: list[dict[str, Any]],
    categories: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    is_unique: bool,
) -> dict[Any, list[dict[str, Any]]]:
    by_image: dict[Any, list[dict[str, Any]]] = {image['id']: [] for image in images}
    sizes = {image['id']: (int(image['width']), int(image['height'])) for image in images}
    category_ids = {category['id'] for category in categories}
    for index, annotation in enumerate(annotations):
        if not _is_int64(annotation.get('id')):
            raise ValueError(
                f"annotations[{index}] must have an integer 'id', got "
                f'{annotation.get("id")!r}'
            )
        where = f'annotations[{index}] (id {annotation["id"]})'
        _check_reference(where, annotation, 'image_id', 'images', by_image)
        _check_reference(where, annotation, 'category_id', 'categories', category_ids)
        bbox = annotation.get('bbox')
        if not (isinstance(bbox, list) and len(bbox) == 4 and all(map(_is_finite, bbox))):
            raise ValueError(
                f"{where} must have a 'bbox' of 4 finite numbers [x, y, width, height], "
                f'got {bbox!r}'
            )
        area = annotation.get('area')
        if area is not None and not _is_finite(area):
            raise ValueError(f"{where} must have a finite 'area', got {area!r}")
        problem = _mask_problem(
            annotation.get('segmentation'), *sizes[annotation['image_id']]
        )
        if problem:
            raise ValueError(f"{where} has an invalid 'segmentation': {problem}")
        by_image[annotation['image_id']].append(annotation)
    if is_unique:
        _check_distinct('annotations', 'ids', (ann['id'] for ann in annotations))
    return by_image


def _mask_problem(segmentation: Any, width: int, height: int) -> str:
    problem = segmentation_problem(segmentation, width, height)
    if problem or segmentation is None:
        return problem
    if isinstance(segmentation, list):
        for polygon in segmentation:
            if not all(map(_is_finite, polygon)):
                return f'polygons must have finite numbers, got {polygon!r:.60}'
        return ''
    counts = segmentation['counts']
    if isinstance(counts, str):
        return ''
    if not all(_is_int(count) and count >= 0 for count in counts):
        return 'its counts must be integers, 0 or more'
    if sum(counts) != width * height:
        return (
            f'its counts must add up to the {width * height} pixels of the image, got '
            f'{sum(counts)}'
        )
    return ''


def _warn_of_ignored_masks(ann_file: Path, annotations: list[dict[str, Any]]) -> None:
    ids = [ann['id'] for ann in annotations if too_few_points(ann.get('segmentation'))]
    if ids:
        print_log(
            f'{ann_file}: {len(ids)} annotations have a polygon with fewer than three '
            f'points or an odd number of coordinates, the first is id {ids[0]}; they are '
            'stored as they are, and MMDetection ignores such polygons',
            logger='current',
            level=logging.WARNING,
        )


def _check_reference(
    where: str, annotation: dict[str, Any], key: str, target: str, known: Iterable[Any]
) -> None:
    value = annotation.get(key)
    if not isinstance(value, (int, str)) or value not in known:
        raise ValueError(f'{where} has {key} {value!r}, which is not in {target!r}')


def _check_distinct(key: str, what: str, values: Iterable[Any]) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise ValueError(
            f'{key!r} must have distinct {what}, but {len(repeated)} occur more than '
            f'once; the first is {repeated[0]}'
        )


def _is_list_of_dicts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_int64(value: Any) -> bool:
    return _is_int(value) and -(2**63) <= value < 2**63


def _is_finite(value: Any) -> bool:
    return (_is_int(value) or isinstance(value, float)) and math.isfinite(value)


def _is_size(value: Any) -> bool:
    """Return whether a value is a size in pixels; some tools write 640.0."""
    return _is_finite(value) and value == int(value) and 0 < value < 2**31
