"""Read CrowdHuman's annotation files (odgt): one JSON object per image in each line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...lake import names
from ...utils.values import is_number, shown
from .._converter import AnnotatedImage
from .checks import check_box, key_of, parse_json, read_text

TAGS = ('person', 'mask')
# Full, visible, and of the head: left, top, width, height in pixels.
BOXES = {'fbox': names.BOXES, 'vbox': names.VISIBLE_BOXES, 'hbox': names.HEAD_BOXES}


def read_odgt(path: Path) -> list[AnnotatedImage]:
    """Read the images of a file, in their order, with their full boxes.

    Losses and metric ignore every mask, and a person with ``ignore``.
    """
    text = read_text(path, remedy='; write the path of an .odgt file').strip()
    if not text:
        raise ValueError(f'{path} must have a line for each image, but is empty')
    images: dict[str, AnnotatedImage] = {}
    for number, line in enumerate(text.split('\n'), start=1):
        where = f'{path}, line {number}'
        image = _read_line(line, where)
        if image.image_id in images:
            raise ValueError(
                f'{where}: ID must be unique, but {image.image_id!r} occurs twice; '
                'remove one of the lines'
            )
        images[image.image_id] = image
    return list(images.values())


def _read_line(line: str, where: str) -> AnnotatedImage:
    record = parse_json(line, where)
    if not isinstance(record, dict):
        raise ValueError(f'{where} must be a JSON object, got {shown(record)}')
    image_id = key_of(record, 'ID', str, where, 'the name of the image without .jpg')
    found = record.get('gtboxes')
    if not isinstance(found, list):
        raise ValueError(
            f'{where}: gtboxes must be a list, got {shown(found)}; write [] for an image '
            'without annotations'
        )
    ignored, heads = [], []
    for index, ann in enumerate(found):
        place = f'{where}: gtboxes[{index}]'
        if not isinstance(ann, dict):
            raise ValueError(f'{place} must be a JSON object, got {shown(ann)}')
        if ann.get('tag') not in TAGS:
            raise ValueError(
                f'{place}.tag must be one of {", ".join(TAGS)}, got '
                f'{shown(ann.get("tag"))}'
            )
        for key in BOXES:
            check_box(ann.get(key), 'left, top, width, height', f'{place}.{key}')
        ignored.append(ann['tag'] != 'person' or _ignores(ann, 'extra', place))
        heads.append(_ignores(ann, 'head_attr', place) or ignored[-1])
    boxes = {
        column: np.array([ann[key] for ann in found], np.float64).reshape(-1, 4)
        for key, column in BOXES.items()
    }
    return AnnotatedImage(
        image_id,
        f'{image_id}.jpg',
        boxes.pop(names.BOXES),
        [0] * len(found),
        columns={**boxes, names.ISCROWD: ignored, names.HEAD_IGNORE: heads},
    )


def _ignores(ann: dict[str, Any], key: str, where: str) -> bool:
    """Return ``ignore`` of the attributes of a person, or of the head."""
    attributes = ann.get(key, {})
    ignore = attributes.get('ignore', 0) if isinstance(attributes, dict) else None
    if not is_number(ignore):
        raise ValueError(
            f'{where}.{key} must be an object in which ignore, if it is there, is 0 or '
            f'1, got {shown(attributes)}'
        )
    return bool(ignore)
