"""Read a COCO annotation file and check all of it before anything is written.

Boxes and masks are checked and used, keypoints and captions are not. Nothing is dropped:
crowds, zero areas and boxes outside of the image are valid here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...structures.masks import too_few_points
from ...utils.messages import warn
from .checks import are_dicts, check_distinct, check_storable, is_int64, read_json
from .coco_checks import check_annotation, check_categories, check_images
from .coco_panoptic import as_annotations

_MAIN_KEYS = ('images', 'categories', 'annotations')
_IMAGE_KEYS = ('id', 'file_name', 'width', 'height')
_COCO_SERVER = 'http://images.cocodataset.org/'


@dataclass(frozen=True)
class CocoAnnotations:
    """A checked COCO file.

    Args:
        images: The file's ``images``, in its order.
        categories: The file's ``categories``, in its order.
        annotations: The file's ``annotations`` or segments, in its order.
        by_image: Image id to its annotations, in the file's order.
        others: The file's further keys: ``info``, ``licenses``, ….
        entries: Image id to entry of a panoptic file, whose segments are the annotations
            here, see :func:`.as_annotations`; ``None`` for other files.
    """

    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    by_image: dict[Any, list[dict[str, Any]]]
    others: dict[str, Any]
    entries: dict[Any, dict[str, Any]] | None = None


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


def read_coco(ann_file: Path, needs_annotations: bool = False) -> CocoAnnotations:
    """Read and check a COCO annotation file.

    Args:
        ann_file: JSON file with ``images``, ``categories`` and ``annotations``, of
            instances or, with ``segments_info``, panoptic. Without ``annotations`` (image
            lists of test sets) the images have no boxes.
        needs_annotations: Whether it is an error if ``annotations`` are missing.
    """
    content = read_json(ann_file)
    keys = list(content) if isinstance(content, dict) else []
    for key in ('images', 'categories'):
        if key not in keys:
            raise ValueError(
                f'{ann_file} is not a COCO annotation file: it must have the keys '
                f"'images', 'annotations' and 'categories', got {keys} without {key!r}"
            )
    for key in _MAIN_KEYS:
        if not are_dicts(content.get(key, [])):
            raise ValueError(
                f'{ann_file} is not a COCO annotation file: {key!r} must be a list of '
                'objects'
            )
    if needs_annotations and 'annotations' not in content:
        raise ValueError(
            f"{ann_file} must have 'annotations', got {list(content)}; write all that "
            'the images are to have, [] for none'
        )
    return check_coco(content, ann_file)


def check_coco(content: dict[str, Any], ann_file: Path) -> CocoAnnotations:
    """Check the content of a COCO annotation file, see :func:`read_coco`."""
    images, categories = content['images'], content['categories']
    annotations = content.get('annotations')
    if annotations is None:
        warn(
            f"{ann_file} has no 'annotations': storing all {len(images)} images without "
            'boxes'
        )
        annotations = []
    others = {key: value for key, value in content.items() if key not in _MAIN_KEYS}
    entries = None
    try:
        check_images(images, [file_name(image) for image in images])
        check_categories(categories)
        for key, value in others.items():
            check_storable(repr(key), value)
        if annotations and 'segments_info' in annotations[0]:
            ids = {image['id'] for image in images}
            annotations, entries = as_annotations(annotations, categories, ids)
        by_image = _group(images, categories, annotations, is_unique=entries is None)
    except ValueError as error:
        raise ValueError(f'{ann_file}: {error}') from error
    short = [ann['id'] for ann in annotations if too_few_points(ann.get('segmentation'))]
    if short:
        warn(
            f'{ann_file}: {len(short)} annotations have a polygon with fewer than three '
            f'points or an odd number of coordinates, the first is id {short[0]}; they '
            'are stored as they are, and MMDetection ignores such polygons'
        )
    return CocoAnnotations(images, categories, annotations, by_image, others, entries)


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
        where, ann_id = f'annotations[{index}]', annotation.get('id')
        if not is_int64(ann_id):
            raise ValueError(
                f"{where} must have an integer 'id', got {ann_id!r}; write an integer of "
                'at most 64 bits'
            )
        check_annotation(f'{where} (id {ann_id})', annotation, sizes, category_ids)
        by_image[annotation['image_id']].append(annotation)
    if is_unique:
        check_distinct("'annotations'", 'ids', (ann['id'] for ann in annotations))
    return by_image
