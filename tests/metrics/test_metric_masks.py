"""DeepLakeMetric scores masks on a lake as CocoMetric does on the file, digit for digit."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers.lakes import TYPES, row, write_lake
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from pycocotools import mask as coco_mask

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric

CLASSES = CocoDataset.METAINFO['classes']


def _decoded(mask: Any, height: int, width: int) -> np.ndarray:
    if isinstance(mask, list) or isinstance(mask['counts'], list):
        mask = coco_mask.frPyObjects(mask, height, width)
    return coco_mask.decode(coco_mask.merge(mask) if isinstance(mask, list) else mask)


def _predictions(dataset: Any, seed: int, form: str) -> list[dict]:
    """Moved, missed, doubled and mislabelled masks with many equal scores."""
    rng = np.random.default_rng(seed)
    samples = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        shape = info['height'], info['width']
        masks, boxes, labels = [], [], []
        for instance in info['instances']:
            if rng.random() < 0.1:
                continue
            mask = _decoded(instance['mask'], *shape)
            for _ in range(rng.integers(1, 3)):
                moved = np.roll(mask, rng.integers(-6, 7, 2), axis=(0, 1))
                masks.append(moved.astype(bool))
                boxes.append(np.array(instance['bbox']) + rng.normal(0, 4, 4))
                wrong = rng.random() < 0.1
                labels.append(
                    rng.integers(len(CLASSES)) if wrong else instance['bbox_label']
                )
        samples.append(_sample(info, masks, boxes, labels, rng, form))
    return samples


def _sample(
    info: dict, masks: list, boxes: list, labels: list, rng: Any, form: str
) -> dict:
    found: Any = torch.tensor(np.array(masks).reshape(-1, info['height'], info['width']))
    if form == 'codes':
        layers = np.asfortranarray(np.moveaxis(found.numpy().astype(np.uint8), 0, 2))
        found = coco_mask.encode(layers)
    count = len(labels)
    scores = rng.integers(1, 20, (2, count)) / 20
    predicted = dict(
        bboxes=torch.tensor(np.array(boxes).reshape(-1, 4), dtype=torch.float32),
        scores=torch.tensor(scores[0], dtype=torch.float32),
        labels=torch.tensor(np.array(labels), dtype=torch.int64),
        masks=found,
    )
    if form == 'mask-scores':
        predicted['mask_scores'] = torch.tensor(scores[1], dtype=torch.float32)
    return dict(
        img_id=info['img_id'],
        img_path=info['img_path'],
        ori_shape=(info['height'], info['width']),
        pred_instances=predicted,
    )


def _evaluate(metric: Any, dataset: Any, samples: list[dict]) -> dict:
    metric.dataset_meta = dataset.metainfo
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(dataset))


def _dataset(path: str, **kwargs: Any) -> DeepLakeDataset:
    return DeepLakeDataset(path, metainfo=dict(classes=CLASSES), test_mode=True, **kwargs)


def _assert_same(ours: dict, stock: dict) -> None:
    assert ours.keys() == stock.keys()
    for key, value in stock.items():
        both_nan = math.isnan(value) and math.isnan(ours[key])
        assert both_nan or ours[key] == value, key


@pytest.mark.parametrize('form', ['tensors', 'codes', 'mask-scores'])
@pytest.mark.parametrize(
    'options',
    [
        dict(metric='segm'),
        dict(metric=['bbox', 'segm'], classwise=True),
        dict(metric=['segm', 'proposal', 'bbox']),
        dict(metric='segm', metric_items=['mAP_50', 'AR@1000', 'mAP_s']),
    ],
    ids=str,
)
def test_mask_numbers_are_those_of_coco_metric(form, options, lake, coco_files):
    """Every key and digit, with crowds, for bitmaps, codes, and scores of masks."""
    dataset = _dataset(lake('coco_cc'))
    samples = _predictions(dataset, 1, form)
    ours = _evaluate(DeepLakeMetric(**options), dataset, samples)
    ann_file = coco_files('coco_cc')['ann_file']
    stock = _evaluate(CocoMetric(ann_file=ann_file, **options), dataset, samples)
    _assert_same(ours, stock)
    assert max(stock.values()) > 0.3, 'a comparison of zeros would say nothing'


def test_the_faster_backend_gives_the_same_digits(lake):
    """Boxes, masks and proposals, with crowds, by class and in all."""
    dataset = _dataset(lake('coco_cc'))
    samples = _predictions(dataset, 6, 'codes')
    options = dict(metric=['bbox', 'segm', 'proposal'], classwise=True)
    ours = _evaluate(
        DeepLakeMetric(backend='faster_coco_eval', **options), dataset, samples
    )
    _assert_same(ours, _evaluate(DeepLakeMetric(**options), dataset, samples))


@pytest.mark.parametrize('form', ['tensors', 'mask-scores'])
def test_written_masks_are_those_of_coco_metric(form, lake, coco_files, tmp_path):
    """The JSON files to submit, of boxes and of masks, hold the same results."""
    dataset = _dataset(lake('coco_cc'))
    samples = _predictions(dataset, 2, form)
    options = dict(metric='segm', format_only=True)
    for name, make in (
        ('ours', DeepLakeMetric),
        ('stock', lambda **kw: CocoMetric(coco_files('coco_cc')['ann_file'], **kw)),
    ):
        metric = make(outfile_prefix=str(tmp_path / name), **options)
        assert _evaluate(metric, dataset, samples) == {}
    for kind in ('bbox', 'segm'):
        ours, stock = (
            json.loads((tmp_path / f'{name}.{kind}.json').read_text())
            for name in ('ours', 'stock')
        )
        assert ours == stock and len(stock) > 100


def test_evaluating_again_gives_the_same(lake):
    """The ground truth is kept between epochs, and an evaluation leaves it as it was."""
    dataset = _dataset(lake('coco_cc'))
    samples = _predictions(dataset, 3, 'tensors')
    metric = DeepLakeMetric(metric=['segm', 'bbox'])
    first = _evaluate(metric, dataset, samples)
    assert _evaluate(metric, dataset, samples) == first
    assert next(iter(first)) == 'coco/bbox_mAP'


def test_boxes_alone_read_no_masks(lake, monkeypatch):
    """metric='bbox' on a lake with masks does not read them."""
    dataset = _dataset(lake('coco_cc'))
    samples = _predictions(dataset, 4, 'tensors')
    monkeypatch.setattr(type(dataset.lake.masks), 'of_row', None)
    assert _evaluate(DeepLakeMetric(metric='bbox'), dataset, samples)


def test_no_detection_at_all_gives_zeros(lake):
    """A model that finds nothing gets 0, not an empty dict that hides the key."""
    dataset = _dataset(lake('coco_cc'))
    rng = np.random.default_rng(0)
    samples = [
        _sample(dataset.get_data_info(i), [], [], [], rng, 'tensors')
        for i in range(len(dataset))
    ]
    numbers = _evaluate(DeepLakeMetric(metric='segm'), dataset, samples)
    assert next(iter(numbers)) == 'coco/segm_mAP' and numbers['coco/segm_mAP'] == 0


def _boxes_only(sample: dict) -> dict:
    found = dict(sample['pred_instances'])
    del found['masks']
    return dict(sample, pred_instances=found)


def test_a_model_without_masks_is_told_so(lake):
    """metric='segm' for a model of boxes says what to write instead."""
    dataset = _dataset(lake('coco_cc'))
    samples = [_boxes_only(sample) for sample in _predictions(dataset, 5, 'tensors')]
    with pytest.raises(
        ValueError, match="'segm' compares masks, but the model predicts "
    ):
        _evaluate(DeepLakeMetric(metric='segm'), dataset, samples)


def test_a_lake_without_masks_is_told_so(tmp_path):
    """metric='segm' on a lake of boxes names the role that has no column."""
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake', [row(0)]), test_mode=True)
    rng = np.random.default_rng(0)
    sample = _sample(dataset.get_data_info(0), [], [], [], rng, 'tensors')
    with pytest.raises(
        ValueError, match=r"'segm' compares masks, but lake .* has no column for gt_masks"
    ):
        _evaluate(DeepLakeMetric(metric='segm'), dataset, [sample])


def test_an_instance_without_a_mask_is_named(tmp_path):
    """An annotation that holds null cannot be scored, and the error says which."""
    values = {
        **row(7, [(1, 2, 9, 9), (3, 3, 9, 9)]),
        'segmentation': '[[[1,2,9,2,9,9]],null]',
    }
    path = write_lake(tmp_path / 'lake', [values], {'segmentation': TYPES['text']})
    dataset = DeepLakeDataset(path, test_mode=True)
    assert ['mask' in i for i in dataset.get_data_info(0)['instances']] == [True, False]
    rng = np.random.default_rng(0)
    sample = _sample(dataset.get_data_info(0), [], [], [], rng, 'tensors')
    with pytest.raises(
        ValueError, match='but instance 1 of image 7 is stored without one'
    ):
        _evaluate(DeepLakeMetric(metric='segm'), dataset, [sample])
