"""LVIS from a lake: samples as LVISV1Dataset, numbers as LVISMetric, and the way back."""

from __future__ import annotations

import json
import math
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import lvis.eval
import mmdet.evaluation.functional.recall as stock_recall
import numpy as np
import pytest
import torch
from helpers.lvis_data import OldNumpy, make_lvis
from helpers.samples import assert_equal, seeded, stock_config
from mmdet.datasets import LVISV1Dataset
from mmdet.evaluation import LVISMetric
from mmdet.utils import register_all_modules
from pycocotools import mask as coco_mask

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric
from mmdet_deeplake_plugin.tools.from_coco import from_coco
from mmdet_deeplake_plugin.tools.to_coco import to_coco

register_all_modules()


@pytest.fixture
def stock_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets MMDetection's LVISMetric run with a numpy of today."""
    monkeypatch.setattr(lvis.eval, 'np', OldNumpy())
    monkeypatch.setattr(stock_recall, 'np', OldNumpy())


@pytest.fixture(scope='module')
def lvis_files(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with real photographs, an LVIS file of them, and a lake of both."""
    root = tmp_path_factory.mktemp('lvis')
    make_lvis(shared_data, root)
    return root


@pytest.mark.parametrize('test_mode', [False, True])
def test_samples_are_those_of_lvis_dataset(lvis_files: Path, test_mode: bool) -> None:
    """Images, boxes, masks, labels and the order, with the stock pipeline of LVIS."""
    config = stock_config('lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1.py')
    part = config.train_dataloader.dataset.dataset
    kwargs = dict(filter_cfg=part.filter_cfg, test_mode=test_mode)
    ours = DeepLakeDataset(str(lvis_files / 'lake'), pipeline=part.pipeline, **kwargs)
    stock = LVISV1Dataset(
        ann_file=str(lvis_files / 'lvis.json'),
        data_prefix=dict(img=str(lvis_files)),
        pipeline=part.pipeline,
        **kwargs,
    )
    assert len(ours) == len(stock) > 8
    for index in range(len(stock)):
        info, expected = ours.get_data_info(index), stock.get_data_info(index)
        assert info['img_path'].rpartition('/')[2] == Path(expected['img_path']).name
        assert ours.get_cat_ids(index) == stock.get_cat_ids(index)
        assert_equal({**info, 'instances': list(info['instances'])}, expected)
        left, right = (
            seeded(partial(data.__getitem__, index), 0) for data in (ours, stock)
        )
        assert_equal(left, right)


def test_a_file_comes_back_as_it_was(lvis_files: Path, tmp_path: Path) -> None:
    """With addresses instead of names, negative and partial classes, frequencies."""
    to_coco(str(lvis_files / 'lake'), tmp_path / 'out.json')
    found = json.loads((tmp_path / 'out.json').read_text())
    for annotation in found['annotations']:
        assert annotation.pop('iscrowd') == 0  # LVIS has no crowds
    assert found == json.loads((lvis_files / 'lvis.json').read_text())


def test_maps_are_found_by_the_address_of_an_image(
    lvis_files: Path, tmp_path: Path
) -> None:
    """LVIS names no files, so a map has the place of its image's address."""
    content = json.loads((lvis_files / 'lvis.json').read_text())
    (tmp_path / 'val2017').mkdir()
    expected = []
    for number, image in enumerate(content['images']):
        pixels = np.full((image['height'], image['width']), number, np.uint8)
        name = Path(image['coco_url']).with_suffix('.png').name
        assert cv2.imwrite(str(tmp_path / 'val2017' / name), pixels)
        expected.append(pixels)
    lake = tmp_path / 'lake'
    ann_file = lvis_files / 'lvis.json'
    from_coco(ann_file, lvis_files, lake, seg_dir=tmp_path)
    load = [dict(type='LoadAnnotations', with_bbox=False, with_seg=True)]
    dataset = DeepLakeDataset(str(lake), pipeline=load, test_mode=True)
    for index, pixels in enumerate(expected):
        assert np.array_equal(dataset[index]['gt_seg_map'], pixels)
    (tmp_path / 'val2017' / name).unlink()
    text = f"val2017/{name} of image 'val2017/{Path(name).stem}.jpg' does not exist"
    with pytest.raises(FileNotFoundError, match=re.escape(text)):
        from_coco(ann_file, lvis_files, tmp_path / 'other', seg_dir=tmp_path)


def _decoded(mask: Any, height: int, width: int) -> np.ndarray:
    codes = coco_mask.frPyObjects(mask, height, width)
    return coco_mask.decode(coco_mask.merge(codes) if isinstance(mask, list) else codes)


def _predictions(dataset: Any, seed: int) -> list[dict]:
    """Moved, missed, doubled and mislabelled masks, ties, and many detections."""
    rng = np.random.default_rng(seed)
    classes = len(dataset.metainfo['classes'])
    samples = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        masks, boxes, labels = [], [], []
        for instance in info['instances']:
            if rng.random() < 0.1:
                continue
            mask = _decoded(instance['mask'], info['height'], info['width'])
            for _ in range(rng.integers(1, 3)):
                moved = np.roll(mask, rng.integers(-6, 7, 2), axis=(0, 1))
                masks.append(np.asfortranarray(moved))
                boxes.append(np.array(instance['bbox']) + rng.normal(0, 4, 4))
                wrong = rng.random() < 0.2
                labels.append(rng.integers(classes) if wrong else instance['bbox_label'])
        codes = [coco_mask.encode(mask) for mask in masks]
        if index == 3:  # more than the 300 that LVIS takes
            times = 1 + 320 // max(len(boxes), 1)
            codes, boxes, labels = codes * times, boxes * times, labels * times
        scores = rng.integers(1, 20, (2, len(labels))) / 20
        found = dict(
            bboxes=torch.tensor(np.array(boxes).reshape(-1, 4), dtype=torch.float32),
            scores=torch.tensor(scores[0], dtype=torch.float32),
            labels=torch.tensor(np.array(labels), dtype=torch.int64),
            masks=codes,
            mask_scores=torch.tensor(scores[1], dtype=torch.float32),
        )
        samples.append(
            dict(
                img_id=info['img_id'],
                img_path=info['img_path'],
                ori_shape=(info['height'], info['width']),
                pred_instances=found,
            )
        )
    return samples


def _stock_sample(sample: dict) -> dict:
    # LVISMetric takes dense masks only.
    found = dict(sample['pred_instances'])
    shape = (0, *sample['ori_shape'])
    layers = [coco_mask.decode(code) for code in found['masks']]
    found['masks'] = torch.tensor(np.array(layers).reshape(-1, *shape[1:]).astype(bool))
    return dict(sample, pred_instances=found)


def _evaluate(metric: Any, classes: Any, samples: list[dict]) -> dict:
    metric.dataset_meta = dict(classes=classes)
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples))


def _assert_same(ours: dict, stock: dict) -> None:
    assert ours.keys() == stock.keys()
    for key, value in stock.items():
        both_nan = math.isnan(value) and math.isnan(ours[key])
        assert both_nan or ours[key] == value, key


@pytest.fixture(scope='module')
def dataset(lvis_files: Path) -> DeepLakeDataset:
    """All images of the lake."""
    return DeepLakeDataset(str(lvis_files / 'lake'), test_mode=True)


@pytest.mark.usefixtures('stock_runs')
@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(metric=['bbox', 'segm'], classwise=True),
        dict(metric=['segm', 'proposal', 'bbox']),
        dict(metric='proposal'),
        dict(metric='proposal_fast', proposal_nums=(10, 100), iou_thrs=np.array([0.5])),
        dict(metric='segm', metric_items=['APr', 'AP50', 'AR@300']),
    ],
    ids=str,
)
def test_numbers_are_those_of_lvis_metric(options, dataset, lvis_files):
    """Every key and digit, for boxes, masks, proposals and classes."""
    samples = _predictions(dataset, 1)
    classes = dataset.metainfo['classes']
    ours = _evaluate(DeepLakeMetric('LVIS', **options), classes, samples)
    metric = LVISMetric(ann_file=str(lvis_files / 'lvis.json'), **options)
    stock = _evaluate(metric, classes, [_stock_sample(one) for one in samples])
    _assert_same(ours, stock)
    assert max(stock.values()) > 0.3, 'a comparison of zeros would say nothing'
    first = options.get('metric', 'bbox')
    if 'bbox' in first:
        assert next(iter(ours)) == 'lvis/bbox_AP'


def test_what_is_known_of_images_counts(dataset, lvis_files):
    """The numbers differ from COCO's, which takes every class for looked for."""
    samples = _predictions(dataset, 1)
    classes = dataset.metainfo['classes']
    ours = _evaluate(DeepLakeMetric('LVIS'), classes, samples)
    coco = _evaluate(DeepLakeMetric('COCO'), classes, samples)
    assert ours['lvis/bbox_AP50'] > coco['coco/bbox_mAP_50']


@pytest.mark.usefixtures('stock_runs')
def test_written_files_are_those_of_lvis_metric(dataset, lvis_files, tmp_path):
    """The JSON files to submit, of boxes and of masks, hold the same results."""
    samples = _predictions(dataset, 2)
    classes = dataset.metainfo['classes']
    options = dict(metric=['bbox', 'segm'], format_only=True)
    ann_file = str(lvis_files / 'lvis.json')
    ours = DeepLakeMetric('LVIS', outfile_prefix=str(tmp_path / 'ours'), **options)
    stock = LVISMetric(ann_file, outfile_prefix=str(tmp_path / 'stock'), **options)
    assert _evaluate(ours, classes, samples) == {}
    assert not _evaluate(stock, classes, [_stock_sample(one) for one in samples])
    for kind in ('bbox', 'segm'):
        written = [
            json.loads((tmp_path / f'{name}.{kind}.json').read_text())
            for name in ('ours', 'stock')
        ]
        assert written[0] == written[1] and len(written[0]) > 100


def test_classes_are_matched_by_name(dataset, lvis_files):
    """In whatever order a dataset has its classes, the numbers are the same."""
    path, names = str(lvis_files / 'lake'), dataset.metainfo['classes']
    turned = DeepLakeDataset(path, test_mode=True, metainfo=dict(classes=names[::-1]))
    options = dict(metric=['bbox', 'segm'], classwise=True)
    plain = _evaluate(DeepLakeMetric('LVIS', **options), names, _predictions(dataset, 3))
    samples = _predictions(dataset, 3)
    for sample in samples:
        found = sample['pred_instances']
        found['labels'] = len(names) - 1 - found['labels']
    again = _evaluate(
        DeepLakeMetric('LVIS', **options), turned.metainfo['classes'], samples
    )
    _assert_same(again, plain)


def test_two_lakes_are_scored_as_one(dataset, lvis_files, tmp_path):
    """Parts of a data set that lie in two lakes give the numbers of the whole."""
    shutil.copytree(lvis_files / 'lake', tmp_path / 'copy')
    other = DeepLakeDataset(str(tmp_path / 'copy'), test_mode=True)
    classes = dataset.metainfo['classes']
    samples = _predictions(dataset, 4)
    whole = _evaluate(DeepLakeMetric('LVIS'), classes, samples)
    for index, sample in enumerate(samples[7:], start=7):
        sample['img_path'] = other.get_data_info(index)['img_path']
    metric = DeepLakeMetric('LVIS')
    assert _evaluate(metric, classes, samples) == whole
    # The same rows again, the other lake first.
    assert _evaluate(metric, classes, [*samples[7:], *samples[:7]]) == whole


def test_nothing_found_is_zero(dataset):
    """A model that finds nothing gets 0, not an empty dict that hides the key."""
    samples = _predictions(dataset, 5)
    for sample in samples:
        found = sample['pred_instances']
        found.update({key: found[key][:0] for key in ('bboxes', 'scores', 'labels')})
        found.update(masks=[], mask_scores=found['mask_scores'][:0])
    numbers = _evaluate(
        DeepLakeMetric('LVIS', metric=['segm', 'bbox', 'proposal']),
        dataset.metainfo['classes'],
        samples,
    )
    assert numbers['lvis/segm_AP'] == numbers['lvis/bbox_AP'] == 0
    assert set(numbers.values()) == {0.0}


def test_numpy_and_the_log_are_left_as_they_were(dataset, capsys):
    """What the old package needs is lent to it for the evaluation alone."""
    _evaluate(
        DeepLakeMetric('LVIS'), dataset.metainfo['classes'], _predictions(dataset, 6)
    )
    assert lvis.eval.np is np
    written = capsys.readouterr()
    assert 'Assuming user' not in written.err
