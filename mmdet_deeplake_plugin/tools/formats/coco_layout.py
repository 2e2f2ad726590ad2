"""Lay out a COCO file as a lake: its columns, metadata and rows."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...lake import LakeLayout, names
from ...structures.masks import pack_segmentations
from .._converter import AnnotatedImage
from .coco import CocoAnnotations, file_name, image_keys
from .coco_captions import CocoCaptions
from .files import as_json
from .images import image_compression
from .video.cocovid import frame_numbers, track_numbers

_INTEGERS = (names.VIDEO_ID, names.FRAME_ID, names.PERSON_ID)


def coco_layout(
    coco: CocoAnnotations,
    image_folder: Path,
    captions: CocoCaptions | None,
    has_maps: bool,
    seg_classes: Sequence[str],
) -> LakeLayout:
    """Choose the columns and metadata for a COCO file, and check its images.

    Args:
        coco: The file.
        image_folder: Folder of the images.
        captions: Captions of the same images, if any.
        has_maps: Whether there is a segmentation map per image.
        seg_classes: Names of the labels of semantic maps, empty if unknown.
    """
    is_panoptic = coco.entries is not None
    own_id = names.SEGMENT_ID if is_panoptic else names.ANN_ID
    per_box = {names.ISCROWD: 'uint8', names.AREA: 'float64', own_id: 'int64'}
    if any(ann.get('ignore') for ann in coco.annotations):
        per_box[names.IGNORE] = 'uint8'
    in_rows = (ann for image in coco.images for ann in coco.by_image[image['id']])
    if not is_panoptic and not all(map(operator.is_, in_rows, coco.annotations)):
        per_box[names.ANN_POSITION] = 'int64'
    per_box.update(track_numbers(coco.images, coco.annotations))
    texts = {
        names.SEGMENTATION: any('segmentation' in ann for ann in coco.annotations),
        names.COCO_IMAGE: any(map(image_keys, coco.images)),
        names.COCO_ANNOTATION: is_panoptic,
        names.CAPTIONS: captions is not None,
    }
    categories: dict[str, Any] = {
        names.CATEGORY_IDS: [category['id'] for category in coco.categories],
        names.CATEGORIES_JSON: as_json(coco.categories),
    }
    # The image lists of panoptic test sets have them too.
    things = [category.get('isthing') for category in coco.categories]
    if things and all(flag in (0, 1) for flag in things):
        categories[names.ISTHING] = things
    metadata = {names.CATEGORIES: categories}
    if coco.others:
        # Not needed for training, but for to_coco and for the licences.
        metadata[names.IMAGES] = {names.COCO_FILE: as_json(coco.others)}
    if has_maps and seg_classes:
        metadata[names.SEG_MAP] = {names.CLASS_NAMES: list(seg_classes)}
    if captions is not None:
        metadata[names.CAPTIONS] = captions.metadata
    return LakeLayout(
        converter='from_coco',
        annotation_style='panoptic' if is_panoptic else 'coco',
        box_format='ltwh',
        image_compression=image_compression(
            image_folder, [file_name(image) for image in coco.images]
        ),
        class_names=[category['name'] for category in coco.categories],
        per_box=per_box,
        text_ids=isinstance(coco.images[0]['id'], str),
        texts=tuple(column for column, is_there in texts.items() if is_there),
        has_maps=has_maps,
        metadata=metadata,
        integers=frame_numbers(coco.images),
    )


def annotated_images(
    coco: CocoAnnotations, maps: list[Path], captions: CocoCaptions | None
) -> Iterator[AnnotatedImage]:
    """Yield the images, in the order of the file; without maps ``maps`` is empty."""
    labels = {category['id']: label for label, category in enumerate(coco.categories)}
    positions = {ann['id']: index for index, ann in enumerate(coco.annotations)}
    entries = coco.entries or {}
    for index, image in enumerate(coco.images):
        annotations = coco.by_image[image['id']]
        ids = [ann['id'] for ann in annotations]
        columns: dict[str, Any] = {
            names.ISCROWD: [bool(ann.get('iscrowd')) for ann in annotations],
            names.AREA: [_area(ann) for ann in annotations],
            names.IGNORE: [bool(ann.get('ignore')) for ann in annotations],
            names.ANN_ID: ids,
            names.SEGMENT_ID: ids,
            names.ANN_POSITION: [positions[ann_id] for ann_id in ids],
            **{key: [ann.get(key) for ann in annotations] for key in names.TRACK_NUMBERS},
            names.SEGMENTATION: pack_segmentations(
                [ann.get('segmentation') for ann in annotations]
            ),
            names.CAPTIONS: '' if captions is None else captions.texts[image['id']],
            names.COCO_IMAGE: as_json(image_keys(image)),
            names.COCO_ANNOTATION: json.dumps(entries.get(image['id'], {})),
            **({names.SEG_MAP: maps[index].read_bytes()} if maps else {}),
            **{key: image.get(key) for key in _INTEGERS},
        }
        yield AnnotatedImage(
            image['id'],
            file_name(image),
            [ann['bbox'] for ann in annotations],
            [labels[ann['category_id']] for ann in annotations],
            (int(image['width']), int(image['height'])),
            columns,
        )


def _area(annotation: dict[str, Any]) -> float:
    """Return the file's area, which is that of the mask, or else that of the box."""
    if annotation.get('area') is not None:
        return annotation['area']
    return annotation['bbox'][2] * annotation['bbox'][3]
