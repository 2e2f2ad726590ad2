"""Paints PNG maps: labels of stuff, and the segments of panoptic files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmdet.datasets import CocoPanopticDataset
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from zoo.source import Source, stem

VOID = 255
# Ids of Cityscapes' labels.
CITYSCAPES = {
    'road': 7,
    'person': 24,
    'rider': 25,
    'car': 26,
    'truck': 27,
    'bus': 28,
    'train': 31,
    'motorcycle': 32,
    'bicycle': 33,
}


def write_stuff(folder: Path, source: Source) -> list[str]:
    """Writes a map of labels for each image, called as the image.

    Things have their category's place among COCO's 80 as label; what no mask covers
    has two labels of stuff, and a stripe has none (255).

    Args:
        folder: Where to write.
        source: The images.

    Returns:
        The names of the labels.
    """
    folder.mkdir()
    for info in source.image_infos:
        labels = np.full((info['height'], info['width']), 80, np.uint8)
        labels[: len(labels) // 3] = 81
        labels[:, :5] = VOID
        for ann, mask in source.painted(info):
            labels[mask] = source.category_index(ann)
        cv2.imwrite(str(folder / f'{stem(info)}.png'), labels)
    return [f'label {number}' for number in range(82)]


def write_instance_ids(
    folder: Path, source: Source, annotations: list[dict[str, Any]], names: dict[int, str]
) -> None:
    """Writes maps of instances as Cityscapes has them.

    An instance has 1000 times its label, plus a number; crowds have the label alone, and
    what no mask covers is road, or unlabelled in a stripe.

    Args:
        folder: Where to write.
        source: The images.
        annotations: Their annotations, with categories of Cityscapes.
        names: Category id -> name.
    """
    folder.mkdir(parents=True)
    name_of = {ann['id']: names[ann['category_id']] for ann in annotations}
    for info in source.image_infos:
        ids = np.full((info['height'], info['width']), CITYSCAPES['road'], np.int32)
        ids[:, :5] = 0
        for number, (ann, mask) in enumerate(source.painted(info)):
            label = CITYSCAPES[name_of[ann['id']]]
            ids[mask] = label if ann['iscrowd'] else 1000 * label + number
        name = f'{stem(info)}_gtFine_instanceIds.png'
        Image.fromarray(ids.astype(np.uint16)).save(folder / name)


def write_panoptic(
    folder: Path, source: Source, classes: tuple[str, ...]
) -> dict[str, Any]:
    """Writes a map of segments for each image, and what a panoptic file says of them.

    Later masks lie on earlier ones; two segments of stuff fill the rest but for a stripe.

    Args:
        folder: Where to write.
        source: The images.
        classes: COCO's 133 classes: 80 things, then stuff.

    Returns:
        The content of the panoptic file.
    """
    folder.mkdir()
    things = CocoPanopticDataset.METAINFO['thing_classes']
    categories = [
        {'id': 1 + number, 'name': name, 'isthing': int(name in things)}
        for number, name in enumerate(classes)
    ]
    annotations = []
    for number, info in enumerate(source.image_infos):
        ids = np.zeros((info['height'], info['width']), np.int64)
        of_id: dict[int, tuple[int, int]] = {}
        stuff = (len(things) + number % 50, len(things) + 1 + number % 50)
        for part, label in zip(
            (ids[: len(ids) // 3, 5:], ids[len(ids) // 3 :, 5:]), stuff
        ):
            part[:] = 1000 + label
            of_id[1000 + label] = (1 + label, 0)
        for order, (ann, mask) in enumerate(source.painted(info)):
            segment = 70000 + 300 * order  # all three bytes of the colour count
            ids[mask] = segment
            of_id[segment] = (1 + source.category_index(ann), ann['iscrowd'])
        segments = [
            _segment(ids == segment, segment, *of_id[segment])
            for segment in np.unique(ids).tolist()
            if segment
        ]
        name = f'{stem(info)}.png'
        _write_ids(folder / name, ids)
        annotations.append(
            {'image_id': info['id'], 'file_name': name, 'segments_info': segments}
        )
    return dict(images=source.image_infos, annotations=annotations, categories=categories)


def things_of(folder: Path, panoptic: dict[str, Any]) -> dict[str, Any]:
    """The content of a COCO file with the things of a panoptic one, and their masks.

    Args:
        folder: Folder of the maps.
        panoptic: What :func:`write_panoptic` returned.
    """
    categories = [each for each in panoptic['categories'] if each['isthing']]
    things = {category['id'] for category in categories}
    annotations: list[dict[str, Any]] = []
    for entry in panoptic['annotations']:
        ids = segment_ids((folder / entry['file_name']).read_bytes())
        for part in entry['segments_info']:
            if part['category_id'] in things:
                code = coco_mask.encode(np.asfortranarray(ids == part['id'], np.uint8))
                mask = {'size': code['size'], 'counts': code['counts'].decode()}
                own = {'id': len(annotations) + 1, 'image_id': entry['image_id']}
                annotations.append({**part, **own, 'segmentation': mask})
    return {**panoptic, 'annotations': annotations, 'categories': categories}


def segment_ids(content: bytes) -> NDArray[np.int64]:
    """Segment ids of a panoptic PNG, shape ``(H, W)``.

    Args:
        content: The file.
    """
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    blue, green, red = np.moveaxis(pixels.astype(np.int64), -1, 0)
    return red + (green << 8) + (blue << 16)


def _segment(
    mask: NDArray[np.bool_], segment: int, category_id: int, iscrowd: int
) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = int(columns[0]), int(rows[0])
    return {
        'id': segment,
        'category_id': category_id,
        'iscrowd': iscrowd,
        'area': int(mask.sum()),
        'bbox': [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1],
    }


def _write_ids(path: Path, ids: NDArray[np.int64]) -> None:
    blue_green_red = np.stack([ids >> 16 & 255, ids >> 8 & 255, ids & 255], axis=-1)
    cv2.imwrite(str(path), blue_green_red.astype(np.uint8))
