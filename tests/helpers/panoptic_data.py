"""Makes panoptic and semantic data in COCO's form out of real data, and predicts on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.datasets import CocoPanopticDataset
from mmengine.fileio import get
from pycocotools import mask as coco_mask

from mmdet_deeplake_plugin.structures.seg_maps import decode_ids

THINGS = CocoPanopticDataset.METAINFO['thing_classes']
STUFF = CocoPanopticDataset.METAINFO['stuff_classes']
CLASSES = CocoPanopticDataset.METAINFO['classes']
VOID = len(CLASSES)


def make_panoptic(instances: Path, root: Path) -> Path:
    """Writes ``panoptic.json``, ``panoptic/*.png`` and ``semantic/*.png`` into a folder.

    Things are the real instances, crowds too, what is seen of each when the later ones
    cover the earlier. Behind them lie two or three stuff classes and some void. Ids use
    all three colours; annotations are in another order than images; one image has no
    things, and one has crowds alone.

    Args:
        instances: A COCO file of instances.
        root: Where to write.

    Returns:
        The JSON file.
    """
    content = json.loads(instances.read_text())
    for name in ('panoptic', 'semantic'):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(7)
    stuff_ids = [92 + 2 * number for number in range(len(STUFF))]
    categories = [
        {**category, 'isthing': 1, 'color': rng.integers(0, 256, 3).tolist()}
        for category in content['categories']
    ]
    categories += [
        {'id': i, 'name': name, 'isthing': 0, 'supercategory': 'stuff'}
        for i, name in zip(stuff_ids, STUFF)
    ]
    entries = []
    for number, image in enumerate(content['images']):
        own = [a for a in content['annotations'] if a['image_id'] == image['id']]
        if number == 5:
            own = []
        elif number == 9:
            own = [{**annotation, 'iscrowd': 1} for annotation in own]
        ids, segments = _segments(image, own, stuff_ids, rng)
        name = f'{Path(image["file_name"]).stem}.png'
        bgr = np.stack([ids >> shift & 255 for shift in (16, 8, 0)], 2)
        cv2.imwrite(str(root / 'panoptic' / name), bgr.astype(np.uint8))
        labels = np.full(ids.shape, 255, np.uint8)
        for segment in segments:
            which = [c['id'] for c in categories].index(segment['category_id'])
            labels[ids == segment['id']] = which
        cv2.imwrite(str(root / 'semantic' / name), labels)
        entries.append(
            {'image_id': image['id'], 'file_name': name, 'segments_info': segments}
        )
    panoptic = {
        'info': {'year': 2026},
        'licenses': content.get('licenses', []),
        'images': content['images'],
        'annotations': [entries[i] for i in rng.permutation(len(entries))],
        'categories': categories,
    }
    file = root / 'panoptic.json'
    file.write_text(json.dumps(panoptic))
    return file


def _segments(
    image: dict, annotations: list[dict], stuff_ids: list[int], rng: Any
) -> tuple[np.ndarray, list[dict]]:
    height, width = image['height'], image['width']
    ids = np.zeros((height, width), np.int64)
    numbers = rng.choice(2**24 - 1, len(annotations) + 3, replace=False) + 1
    found: dict[int, dict] = {}
    bands = np.sort(rng.integers(1, height, 2))
    for number, category, rows in zip(
        numbers,
        rng.choice(stuff_ids, 3, replace=False),
        np.split(np.arange(height), bands),
    ):
        ids[rows[: int(len(rows) * 0.9)]] = number  # the rest is void
        found[int(number)] = {'category_id': int(category), 'iscrowd': 0}
    for number, annotation in zip(numbers[3:], annotations):
        code = annotation['segmentation']
        if isinstance(code, list):
            code = coco_mask.merge(coco_mask.frPyObjects(code, height, width))
        else:
            code = coco_mask.frPyObjects(code, height, width)
        ids[coco_mask.decode(code) == 1] = number
        found[int(number)] = {
            'category_id': annotation['category_id'],
            'iscrowd': annotation['iscrowd'],
        }
    segments = []
    for number, segment in found.items():
        ys, xs = np.nonzero(ids == number)
        if len(ys):
            x, y = int(xs.min()), int(ys.min())
            size = [int(xs.max()) - x + 1, int(ys.max()) - y + 1]
            box = {'area': len(ys), 'bbox': [x, y, *size]}
            segments.append({'id': number, **segment, **box})
    order = rng.permutation(len(segments))
    segments = [segments[i] for i in order]
    if len(segments) > 4:  # one that CocoPanopticDataset leaves out
        segments[2]['bbox'][2] = 0.5
    return ids, segments


def true_pixels(info: dict) -> np.ndarray:
    """The ground truth in the form that heads predict."""
    ids = decode_ids(get(info['seg_map_path']))
    pixels = np.full(ids.shape, VOID, np.int64)
    for number, segment in enumerate(info['segments_info'], start=1):
        pixels[ids == segment['id']] = segment['category'] + 1000 * number
    return pixels


def _moved(pixels: np.ndarray, rng: Any) -> np.ndarray:
    """Segments that moved, changed their class, grew together or vanished."""
    found = np.roll(pixels, rng.integers(-9, 10, 2), axis=(0, 1))
    for segment in np.unique(found):
        chance = rng.random()
        if chance < 0.1:
            found[found == segment] = VOID
        elif chance < 0.2:
            found[found == segment] = rng.integers(VOID) + 1000 * rng.integers(1, 9)
        elif chance < 0.3:
            found[found == segment] = rng.choice(np.unique(found))
    return found


def _noise(pixels: np.ndarray, rng: Any) -> np.ndarray:
    coarse = rng.integers(0, VOID + 1, (5, 7)) + 1000 * rng.integers(0, 3, (5, 7))
    height, width = pixels.shape
    return cv2.resize(coarse.astype(np.float64), (width, height), interpolation=0).astype(
        np.int64
    )


PREDICTIONS = {
    'moved': _moved,
    'perfect': lambda pixels, rng: pixels,
    'noise': _noise,
    'nothing': lambda pixels, rng: np.full_like(pixels, VOID),
    'void-in-parts': lambda pixels, rng: np.where(
        rng.random(pixels.shape) < 0.3, VOID, pixels
    ),
    'one-segment': lambda pixels, rng: np.full_like(pixels, 100),
    'ignored': lambda pixels, rng: np.where(rng.random(pixels.shape) < 0.2, 255, pixels),
}


def panoptic_samples(dataset: Any, kind: str) -> list[dict]:
    """Data samples with predictions of a kind in ``PREDICTIONS``, as models give them."""
    rng = np.random.default_rng(3)
    samples = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        pixels = PREDICTIONS[kind](true_pixels(info), rng)
        found: dict = dict(sem_seg=torch.tensor(pixels[None]))
        if kind == 'ignored':
            found['ignore_index'] = 255
        samples.append(
            dict(
                img_id=info['img_id'],
                img_path=info['img_path'],
                ori_shape=(info['height'], info['width']),
                pred_panoptic_seg=found,
            )
        )
    return samples
