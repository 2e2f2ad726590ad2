"""Reads a COCO annotation file and checks all of it before anything is written.

Boxes and masks: keypoints and captions are neither checked nor used. Nothing is
dropped: crowds, zero areas and boxes outside of the image are valid here.
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

from mmdet_deeplake_plugin.structures.masks import segmentation_problem, too_few_points
from mmdet_deeplake_plugin.tools.formats.coco_panoptic import as_annotations, is_panoptic

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
        entries: Of a panoptic file, whose segments are the annotations here: image id
            to its entry, see :func:`.as_annotations`.
    """

    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    by_image: dict[Any, list[dict[str, Any]]]
    positions: dict[int, int]
    others: dict[str, Any]
    entries: dict[Any, dict[str, Any]] | None = None

    @property
    def num_boxes(self) -> int:
        """Number of annotations of all images."""
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
        """Whether any image has keys beside id, file name and size."""
        return any(set(image) - set(_IMAGE_KEYS) for image in self.images)

    @property
    def is_grouped(self) -> bool:
        """Whether the annotations stand in the file image by image."""
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
    """What the file says of an image beside id, file name and size.

    ``file_name`` is among it, as ``None``, where the file has none (LVIS).
    """
    others = {key: value for key, value in image.items() if key not in _IMAGE_KEYS}
    return others if 'file_name' in image else {**others, 'file_name': None}


def file_name(image: dict[str, Any]) -> Any:
    """Path of an image in the folder of images.

    LVIS has no ``file_name``, but the address that the image of COCO had; the split is
    a part of it (``val2017/000000391895.jpg``), as in MMDetection.
    """
    url = image.get('coco_url')
    if 'file_name' not in image and isinstance(url, str):
        return url.replace(_COCO_SERVER, '')
    return image.get('file_name')


def read_coco(ann_file: Path) -> CocoAnnotations:
    """Reads and checks a COCO annotation file.

    Args:
        ann_file: JSON file with ``images``, ``categories`` and ``annotations``, of
            instances or, with ``segments_info``, panoptic. Without ``annotations``
            (image lists of test sets) all images are taken to have none.

    Returns:
        The file's content.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, not COCO, or contradicts itself.
    """
    content = _load(ann_file)
    images, categories = content['images'], content['categories']
    annotations = content.get('annotations')
    if annotations is None:
        print_log(
            f"{ann_file} has no 'annotations': all {len(images)} images are stored "
            'without boxes',
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
                f'{ann_file} is not a COCO annotation file: it has no key {key!r} '
                f"(found: {keys}); 'images', 'annotations', 'categories' are needed"
            )
    for key in _MAIN_KEYS:
        if not _is_list_of_dicts(content.get(key, [])):
            raise ValueError(
                f'{ann_file} is not a COCO annotation file: {key!r} is not a list of '
                'objects'
            )
    return content


def _check_images(images: list[dict[str, Any]]) -> None:
    if not images:
        raise ValueError("'images' is empty: there is nothing to convert")
    for index, image in enumerate(images):
        where = f'images[{index}]'
        if not isinstance(image.get('id'), (int, str)):
            raise ValueError(
                f"{where} needs an 'id', a whole number or a string, but has "
                f'{image.get("id")!r}'
            )
        if not isinstance(file_name(image), str):
            raise ValueError(
                f"{where} (id {image['id']}) needs a 'file_name', but has "
                f'{image.get("file_name")!r}'
            )
        for key in ('width', 'height'):
            if not _is_size(image.get(key)):
                raise ValueError(
                    f'{where} (id {image["id"]}) needs a {key!r} in pixels, a '
                    f'positive whole number, but has {image.get(key)!r}'
                )
    # Ids become text as soon as one of them is: then 1 and '1' are the same.
    _refuse_duplicates('images', 'ids', (str(image['id']) for image in images))


def _check_categories(categories: list[dict[str, Any]]) -> None:
    for index, category in enumerate(categories):
        if not _is_int64(category.get('id')):
            raise ValueError(
                f"categories[{index}] needs an 'id', a whole number, but has "
                f'{category.get("id")!r}'
            )
        if not isinstance(category.get('name'), str):
            raise ValueError(
                f"categories[{index}] (id {category['id']}) needs a 'name', but has "
                f'{category.get("name")!r}'
            )
    for key in ('id', 'name'):
        values = (category[key] for category in categories)
        _refuse_duplicates('categories', f'{key}s', values)


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
                f"annotations[{index}] needs an 'id', a whole number, but has "
                f'{annotation.get("id")!r}'
            )
        where = f'annotations[{index}] (id {annotation["id"]})'
        _check_reference(where, annotation, 'image_id', 'images', by_image)
        _check_reference(where, annotation, 'category_id', 'categories', category_ids)
        bbox = annotation.get('bbox')
        if not (isinstance(bbox, list) and len(bbox) == 4 and all(map(_is_finite, bbox))):
            raise ValueError(
                f"{where} needs a 'bbox' of 4 finite numbers [x, y, width, height], "
                f'but has {bbox!r}'
            )
        area = annotation.get('area')
        if area is not None and not _is_finite(area):
            raise ValueError(f"{where} needs a number as 'area', but has {area!r}")
        problem = _mask_problem(
            annotation.get('segmentation'), *sizes[annotation['image_id']]
        )
        if problem:
            raise ValueError(f"{where} has a wrong 'segmentation': {problem}")
        by_image[annotation['image_id']].append(annotation)
    if is_unique:
        _refuse_duplicates('annotations', 'ids', (ann['id'] for ann in annotations))
    return by_image


def _mask_problem(segmentation: Any, width: int, height: int) -> str:
    problem = segmentation_problem(segmentation, width, height)
    if problem or segmentation is None:
        return problem
    if isinstance(segmentation, list):
        for polygon in segmentation:
            if not all(map(_is_finite, polygon)):
                return f'{polygon!r:.60} is no polygon of finite numbers'
        return ''
    counts = segmentation['counts']
    if isinstance(counts, str):
        return ''
    if not all(_is_int(count) and count >= 0 for count in counts):
        return 'its counts are not all whole numbers, 0 or more'
    found, needed = sum(counts), width * height
    if found != needed:
        return f'its counts add up to {found} pixels, but the image has {needed}'
    return ''


def _warn_of_ignored_masks(ann_file: Path, annotations: list[dict[str, Any]]) -> None:
    found = [ann['id'] for ann in annotations if too_few_points(ann.get('segmentation'))]
    if found:
        print_log(
            f'{ann_file}: {len(found)} annotations have a polygon of fewer than three '
            f'points or half a point, the first is id {found[0]}; they are stored as '
            'they are, and MMDetection leaves such polygons out',
            logger='current',
            level=logging.WARNING,
        )


def _check_reference(
    where: str, annotation: dict[str, Any], key: str, target: str, known: Iterable[Any]
) -> None:
    value = annotation.get(key)
    if not isinstance(value, (int, str)) or value not in known:
        raise ValueError(f'{where} has {key} {value!r}, which is not in {target!r}')


def _refuse_duplicates(key: str, what: str, values: Iterable[Any]) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise ValueError(
            f'{key!r} has duplicate {what}: {len(repeated)} occur more than once, the '
            f'first is {repeated[0]}'
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
    """Whether this is a number of pixels; some tools write them as 640.0."""
    return _is_finite(value) and value == int(value) and 0 < value < 2**31
