"""The faster backend gives the numbers of pycocotools; its arrays: ``test_groups.py``."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmdet_deeplake_plugin import DeepLakeMetric
from mmdet_deeplake_plugin.evaluation.backends.faster_coco import faster_classes

HEIGHT, WIDTH = 80, 100
CATEGORIES = (5, 2, 9)


def _box(rng: Any, on_grid: bool) -> list[float]:
    if on_grid:  # many boxes are equal, and many overlaps
        corner, size = rng.integers(0, 6, 2) * 10, rng.integers(1, 4, 2) * 10
    else:
        corner, size = rng.uniform(0, 60, 2), rng.uniform(0, 40, 2)
    return [*map(float, corner), *map(float, size)]


def _code(rng: Any, box: list[float]) -> dict:
    x, y, w, h = map(int, box)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order='F')
    mask[y : y + h, x : x + w] = rng.random(mask[y : y + h, x : x + w].shape) < 0.8
    code = coco_mask.encode(mask)
    return {'size': list(code['size']), 'counts': code['counts'].decode()}


def drawn(seed: int) -> tuple[dict, list[dict]]:
    """Ties of boxes and scores, crowds, empty images, areas at the limits."""
    rng = np.random.default_rng(seed)
    on_grid, num_found = rng.random() < 0.5, 150 if rng.random() < 0.2 else 15
    images = [
        {'id': int(i), 'width': WIDTH, 'height': HEIGHT, 'file_name': ''}
        for i in rng.permutation(50)[:6]
    ]
    annotations, detections = [], []
    for image in images:
        for _ in range(rng.integers(0, 7)):
            x, y, w, h = box = _box(rng, on_grid)
            polygon = [[x, y, x + w, y, x + w, y + h]]
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': image['id'],
                    'category_id': int(rng.choice(CATEGORIES)),
                    'bbox': box,
                    'area': float(rng.choice([w * h, 32**2, 96**2, 0])),
                    'iscrowd': int(rng.random() < 0.2),
                    'ignore': int(rng.random() < 0.2),
                    'segmentation': polygon if rng.random() < 0.5 else _code(rng, box),
                }
            )
        for _ in range(rng.integers(0, num_found)):
            box = _box(rng, on_grid)
            detections.append(
                {
                    'image_id': image['id'],
                    'category_id': int(rng.choice(CATEGORIES)),
                    'bbox': box,
                    'score': float(rng.integers(0, 5) / 5),
                    'segmentation': _code(rng, box),
                }
            )
    categories = [{'id': i, 'name': str(i)} for i in CATEGORIES]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    return {'info': {}, **content}, detections


def test_a_rounding_unit_that_shows_in_the_third_digit(synthetic: Any) -> None:
    """Three of 16 right classes are 0.187, as pycocotools has it, and not 0.188."""
    names = [f'class {i}' for i in range(16)]
    image = {'id': 1, 'width': WIDTH, 'height': HEIGHT, 'file_name': ''}
    content = {
        'images': [image],
        'categories': [{'id': i + 1, 'name': name} for i, name in enumerate(names)],
        'annotations': [
            {
                'id': i + 1,
                'image_id': 1,
                'category_id': i + 1,
                'bbox': [0, 0, 10, 10],
                'area': 100,
                'iscrowd': 0,
            }
            for i in range(16)
        ],
    }
    found = replace(
        synthetic.predictions[0],
        bboxes=np.tile(np.float32([0, 0, 10, 10]), (3, 1)),
        scores=np.float32([0.9, 0.8, 0.7]),
        labels=np.arange(3),
    )
    case = replace(synthetic, content=content, predictions=[found], classes=tuple(names))
    for backend in ('pycocotools', 'faster_coco_eval'):
        assert case.ours(backend=backend)['bbox_mAP'] == 0.187, backend
    assert case.stock()['bbox_mAP'] == 0.187


@pytest.mark.parametrize(
    'id_of', [lambda i: f'{i:03d}a', lambda i: 2**60 + i], ids=['text', 'large']
)
def test_any_image_ids(synthetic: Any, id_of: Any, same: Any) -> None:
    """Ids that no double holds give the digits of pycocotools, ties included."""
    images = [{**i, 'id': id_of(i['id'])} for i in synthetic.content['images']]
    found = [
        {**a, 'image_id': id_of(a['image_id'])} for a in synthetic.content['annotations']
    ]
    content = {**synthetic.content, 'images': images, 'annotations': found}
    case = replace(synthetic, content=content)
    metrics = ['bbox', 'proposal']
    assert same(case.ours(metrics, backend='faster_coco_eval'), case.ours(metrics))


@pytest.mark.filterwarnings('ignore:invalid value encountered:RuntimeWarning')
def test_nothing_found_and_nothing_to_be_found(synthetic: Any) -> None:
    """Zeros without detections, -1 and NaN without annotations, as pycocotools."""
    for case in (synthetic.without_detections(), synthetic.without_ground_truth()):
        ours = case.ours(['bbox', 'proposal'], backend='faster_coco_eval', classwise=True)
        theirs = case.ours(['bbox', 'proposal'], classwise=True)
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert ours[key] == value or (math.isnan(value) and math.isnan(ours[key]))


def test_a_missing_package_is_told_when_the_metric_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not after the first epoch of training; the message says what to install."""
    monkeypatch.setitem(sys.modules, 'faster_coco_eval', None)
    faster_classes.cache_clear()
    with pytest.raises(
        ImportError,
        match=r"backend='faster_coco_eval' needs the package faster-coco-eval, which is "
        r"not installed: pip install 'mmdet_deeplake_plugin\[faster\]'",
    ):
        DeepLakeMetric(backend='faster_coco_eval')
