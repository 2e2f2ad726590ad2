"""DeepLakeMetric on a lake equals CocoMetric and VOCMetric on the files, digit for digit."""

from __future__ import annotations

import json
import math

import mmdet.evaluation.functional.recall as stock_recall
import numpy as np
import pytest
import torch
from helpers.samples import BCCD
from mmdet.datasets import CocoDataset, XMLDataset
from mmdet.evaluation import CocoMetric, VOCMetric

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric

LAKES = {'bccd_val': BCCD, 'coco_cc': CocoDataset.METAINFO['classes']}


@pytest.fixture(autouse=True)
def ragged_arrays(monkeypatch):
    """Lets mmdet's own recall run: it builds ragged arrays, which numpy 1.24 forbids."""

    class Numpy:
        def __getattr__(self, name):
            return getattr(np, name)

        @staticmethod
        def array(values, *args, **kwargs):
            if isinstance(values, list) and values and isinstance(values[0], np.ndarray):
                ragged = np.empty(len(values), dtype=object)
                ragged[:] = values
                return ragged
            return np.array(values, *args, **kwargs)

    monkeypatch.setattr(stock_recall, 'np', Numpy())


def _perturbed(dataset: DeepLakeDataset, seed: int) -> list[dict]:
    """Predictions: moved boxes, missed and doubled ones, wrong labels, false alarms."""
    rng = np.random.default_rng(seed)
    classes = len(dataset.metainfo['classes'])
    samples = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        boxes = np.array([i['bbox'] for i in info['instances']]).reshape(-1, 4)
        labels = np.array([i['bbox_label'] for i in info['instances']], dtype=int)
        found = rng.random(len(boxes)) < 0.85
        boxes, labels = np.repeat(boxes[found], 2, 0), np.repeat(labels[found], 2)
        boxes = boxes + rng.normal(0, 6, boxes.shape)
        extra = rng.integers(0, 4)
        corner = rng.uniform(0, 200, (extra, 2))
        size = rng.uniform(5, 200, (extra, 2))
        boxes = np.concatenate([boxes, np.hstack([corner, corner + size])])
        labels = np.concatenate([labels, rng.integers(0, classes, extra)])
        wrong = rng.random(len(labels)) < 0.1
        labels[wrong] = rng.integers(0, classes, wrong.sum())
        samples.append(_sample(info, boxes, labels, rng))
    return samples


def _sample(info: dict, boxes: np.ndarray, labels: np.ndarray, rng) -> dict:
    # Scores in steps, so that there are ties, within an image and between images.
    scores = rng.integers(1, 20, len(boxes)) / 20
    return dict(
        img_id=info['img_id'],
        img_path=info['img_path'],
        ori_shape=(info['height'], info['width']),
        pred_instances=dict(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            scores=torch.tensor(scores, dtype=torch.float32),
            labels=torch.tensor(labels, dtype=torch.int64),
        ),
    )


def _evaluate(metric, dataset, samples) -> dict:
    metric.dataset_meta = dataset.metainfo
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(dataset))


def _assert_same(ours: dict, stock: dict) -> None:
    assert ours.keys() == stock.keys()
    for key, value in stock.items():
        both_nan = math.isnan(value) and math.isnan(ours[key])
        assert both_nan or ours[key] == value, key


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(classwise=True),
        dict(metric='proposal'),
        dict(metric='proposal_fast'),
        dict(metric=['bbox', 'proposal'], classwise=True),
        dict(metric_items=['mAP_50', 'AR@1000', 'mAP_s']),
        dict(proposal_nums=(100, 1, 10)),
        dict(iou_thrs=np.array([0.5, 0.6, 0.75])),
    ],
    ids=str,
)
@pytest.mark.parametrize('name', LAKES)
def test_coco_numbers_are_those_of_coco_metric(name, options, lake, coco_files):
    """Every key and digit, with crowds, mask areas and empty images among the data."""
    dataset = DeepLakeDataset(
        lake(name), metainfo=dict(classes=LAKES[name]), test_mode=True
    )
    samples = _perturbed(dataset, seed=1)
    ours = _evaluate(DeepLakeMetric('COCO', **options), dataset, samples)
    ann_file = coco_files(name)['ann_file']
    stock = _evaluate(CocoMetric(ann_file=ann_file, **options), dataset, samples)
    _assert_same(ours, stock)
    assert max(stock.values()) > 0.3, 'a comparison of zeros would say nothing'


@pytest.mark.parametrize('name', LAKES)
def test_written_results_are_those_of_coco_metric(name, lake, coco_files, tmp_path):
    """The JSON to submit holds the original image and category ids, in order."""
    dataset = DeepLakeDataset(
        lake(name), metainfo=dict(classes=LAKES[name]), test_mode=True
    )
    samples = _perturbed(dataset, seed=2)
    options = dict(format_only=True, outfile_prefix=str(tmp_path / 'ours'))
    assert _evaluate(DeepLakeMetric('COCO', **options), dataset, samples) == {}
    options['outfile_prefix'] = str(tmp_path / 'stock')
    ann_file = coco_files(name)['ann_file']
    _evaluate(CocoMetric(ann_file=ann_file, **options), dataset, samples)
    ours, stock = (
        json.loads((tmp_path / f'{who}.bbox.json').read_text())
        for who in ('ours', 'stock')
    )
    assert ours == stock and len(stock) > 100


def test_scores_all_annotations_whatever_the_loader_filtered(lake, coco_files):
    """Boxes that CocoDataset drops from samples still count, as in CocoMetric."""
    ann_file = coco_files('bccd_train')['ann_file']
    dataset = DeepLakeDataset(lake('bccd_train'), test_mode=True)
    samples = _perturbed(dataset, seed=3)
    ours = _evaluate(DeepLakeMetric(classwise=True), dataset, samples)
    stock = _evaluate(CocoMetric(ann_file=ann_file, classwise=True), dataset, samples)
    _assert_same(ours, stock)


@pytest.mark.parametrize('metric', ['bbox', 'proposal'])
def test_no_detection_at_all_gives_zeros(metric, lake):
    """A model that finds nothing gets 0, not an empty dict that hides the key."""
    dataset = DeepLakeDataset(lake('bccd_val'), test_mode=True)
    rng = np.random.default_rng(0)
    samples = [
        _sample(dataset.get_data_info(i), np.zeros((0, 4)), np.zeros(0, int), rng)
        for i in range(len(dataset))
    ]
    numbers = _evaluate(DeepLakeMetric(metric=metric), dataset, samples)
    first = next(iter(numbers))
    assert first == ('coco/bbox_mAP' if metric == 'bbox' else 'coco/AR@100')
    assert numbers[first] == 0


def test_the_mean_comes_first(lake):
    """save_best='auto' takes the first key, which must not be a class."""
    dataset = DeepLakeDataset(lake('bccd_val'), test_mode=True)
    samples = _perturbed(dataset, seed=4)
    coco = _evaluate(DeepLakeMetric(classwise=True), dataset, samples)
    voc = _evaluate(DeepLakeMetric('PascalVOC'), dataset, samples)
    assert next(iter(coco)) == 'coco/bbox_mAP'
    assert next(iter(voc)) == 'pascal_voc/mAP'


def test_repeated_predictions_count_once(lake):
    """Ranks that were padded give some images twice; the numbers do not change."""
    dataset = DeepLakeDataset(lake('bccd_val'), test_mode=True)
    samples = _perturbed(dataset, seed=5)
    once = _evaluate(DeepLakeMetric(), dataset, samples)
    metric = DeepLakeMetric()
    metric.dataset_meta = dataset.metainfo
    for sample in samples + samples[:3]:
        metric.process({}, [sample])
    assert metric.evaluate(len(dataset) + 3) == once


def test_ground_truth_is_read_once(lake, monkeypatch):
    """A validation after each epoch does not read the annotations again."""
    dataset = DeepLakeDataset(lake('bccd_val'), test_mode=True)
    samples = _perturbed(dataset, seed=6)
    metric = DeepLakeMetric()
    first = _evaluate(metric, dataset, samples)
    monkeypatch.setattr(type(dataset.lake), 'annotations', None)
    assert _evaluate(metric, dataset, samples) == first


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(eval_mode='area'),
        dict(iou_thrs=[0.5, 0.6, 0.75]),
        dict(metric='recall', proposal_nums=(10, 100), iou_thrs=[0.5, 0.7]),
    ],
    ids=str,
)
@pytest.mark.parametrize('split', ['train', 'val'])
def test_voc_numbers_are_those_of_voc_metric(split, options, voc_root, voc_lake):
    """mAP and recall on a VOC import, zero-area boxes included."""
    dataset = DeepLakeDataset(
        voc_lake(split), metainfo=dict(classes=BCCD), test_mode=True
    )
    files = XMLDataset(
        ann_file=str(voc_root / 'ImageSets' / 'Main' / f'{split}.txt'),
        data_prefix=dict(sub_data_root=str(voc_root)),
        metainfo=dict(classes=BCCD),
        test_mode=True,
    )
    samples = _perturbed(dataset, seed=7)
    with_truth = [
        dict(sample, **_truth(files.get_data_info(index)))
        for index, sample in enumerate(samples)
    ]
    ours = _evaluate(DeepLakeMetric('PascalVOC', **options), dataset, samples)
    stock = _evaluate(VOCMetric(**options), dataset, with_truth)
    _assert_same(ours, stock)
    assert max(stock.values()) > 0.2, 'a comparison of zeros would say nothing'


def test_voc_numbers_of_a_coco_import_are_those_of_its_samples(lake):
    """With a COCO lake, VOCMetric's truth is what CocoDataset keeps; so is ours."""
    dataset = DeepLakeDataset(
        lake('coco_cc'), metainfo=dict(classes=LAKES['coco_cc']), test_mode=True
    )
    samples = _perturbed(dataset, seed=8)
    with_truth = [
        dict(sample, **_truth(dataset.get_data_info(index)))
        for index, sample in enumerate(samples)
    ]
    ours = _evaluate(DeepLakeMetric('PascalVOC'), dataset, samples)
    _assert_same(ours, _evaluate(VOCMetric(), dataset, with_truth))


def _truth(info: dict) -> dict:
    """What PackDetInputs makes of the instances of a sample."""

    def packed(flag: int) -> dict:
        chosen = [i for i in info['instances'] if i['ignore_flag'] == flag]
        boxes = torch.tensor([i['bbox'] for i in chosen], dtype=torch.float32)
        labels = torch.tensor([i['bbox_label'] for i in chosen], dtype=torch.int64)
        return dict(bboxes=boxes.reshape(-1, 4), labels=labels)

    return dict(gt_instances=packed(0), ignored_instances=packed(1))
