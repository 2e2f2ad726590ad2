"""DeepLakeMetric scores semantic maps as SemSegMetric does, digit for digit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import mmdet.evaluation.metrics.semseg_metric as stock_module
import numpy as np
import pytest
import torch
from helpers.lakes import row, write_lake
from helpers.panoptic_data import CLASSES
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.evaluation import SemSegMetric
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric

NO_BOXES = dict(gt_bboxes=None, gt_labels=None)


@pytest.fixture(scope='module')
def dataset(semantic_lake) -> DeepLakeDataset:
    """The validation set; the lake is open while it lives."""
    return _dataset(semantic_lake, indices=14)


def _dataset(lake: str, **kwargs: Any) -> DeepLakeDataset:
    return DeepLakeDataset(lake, deeplake_tensors=NO_BOXES, test_mode=True, **kwargs)


@pytest.fixture(autouse=True)
def no_table(monkeypatch):
    """SemSegMetric cannot print its table without prettytable."""
    monkeypatch.setattr(stock_module, 'print_semantic_table', lambda *args: None)


def _moved(labels: np.ndarray, rng: Any) -> np.ndarray:
    found = np.roll(labels, rng.integers(-20, 21, 2), axis=(0, 1))
    return np.where(rng.random(labels.shape) < 0.1, rng.integers(len(CLASSES)), found)


PREDICTIONS = {
    'moved': _moved,
    'perfect': lambda labels, rng: labels,
    'noise': lambda labels, rng: rng.integers(0, len(CLASSES), labels.shape),
    'one-class': lambda labels, rng: np.full_like(labels, 7),
    'beyond-the-classes': lambda labels, rng: np.where(labels > 90, 200, labels),
}


def _samples(
    dataset: Any, kind: str, ignore_index: int | None, **load: Any
) -> list[dict]:
    rng = np.random.default_rng(5)
    loader = LoadAnnotations(with_bbox=False, with_label=False, with_seg=True, **load)
    samples = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        labels = loader.transform(dict(info))['gt_seg_map'].astype(np.int64)
        predicted = PREDICTIONS[kind](labels, rng)
        found: dict = dict(sem_seg=torch.tensor(predicted[None]))
        if ignore_index is not None:
            found['ignore_index'] = ignore_index
        samples.append(
            dict(
                img_path=info['img_path'],
                pred_sem_seg=found,
                gt_sem_seg=dict(sem_seg=torch.tensor(labels[None])),
            )
        )
    return samples


def _evaluate(metric: Any, dataset: Any, samples: list[dict]) -> dict:
    metric.dataset_meta = dataset.metainfo
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(dataset))


def _assert_same(ours: dict, stock: dict) -> None:
    assert list(ours) == list(stock)
    for key, value in stock.items():
        both_nan = math.isnan(value) and math.isnan(ours[key])
        assert both_nan or ours[key] == value, key


@pytest.mark.parametrize('kind', PREDICTIONS)
@pytest.mark.parametrize(
    ('metrics', 'beta'),
    [('mIoU', 1), (['mDice'], 1), (['mIoU', 'mDice', 'mFscore'], 2), ('mFscore', 0.5)],
    ids=str,
)
def test_numbers_are_those_of_semseg_metric(metrics, beta, kind, dataset):
    """Every key and digit, whatever is predicted."""
    samples = _samples(dataset, kind, None)
    ours = _evaluate(DeepLakeMetric('SemSeg', metrics, beta=beta), dataset, samples)
    stock = _evaluate(SemSegMetric(metrics, beta=beta), dataset, samples)
    _assert_same(ours, stock)
    if kind == 'perfect':
        assert ours['aAcc'] == 100


@pytest.mark.parametrize('reduce_zero_label', [False, True])
@pytest.mark.parametrize('classes', [CLASSES[::-1], CLASSES[:90]], ids=len)
def test_labels_are_changed_as_the_loader_does(classes, reduce_zero_label, semantic_lake):
    """reduce_zero_label and chosen classes: the ground truth is the loader's."""
    dataset = _dataset(semantic_lake, metainfo=dict(classes=classes), indices=14)
    load = dict(reduce_zero_label=reduce_zero_label)
    samples = _samples(dataset, 'moved', None, **load)
    ours = _evaluate(DeepLakeMetric('SemSeg', **load), dataset, samples)
    _assert_same(ours, _evaluate(SemSegMetric(), dataset, samples))
    assert ours['mIoU'] > 10


@pytest.mark.parametrize('stated', ['by the model', 'in the config'])
def test_pixels_to_ignore_are_those_that_model_or_config_say(stated, dataset):
    """Another label than 255 may mean: does not count."""
    samples = _samples(dataset, 'moved', 3)
    stock = _evaluate(SemSegMetric(), dataset, samples)
    option = {}
    if stated == 'in the config':
        samples, option = _samples(dataset, 'moved', None), dict(ignore_index=3)
    _assert_same(_evaluate(DeepLakeMetric('SemSeg', **option), dataset, samples), stock)


def test_predicted_maps_are_written(dataset, tmp_path):
    """output_dir gets a PNG an image; with format_only, nothing is evaluated."""
    samples = _samples(dataset, 'moved', None)[:5]
    metric = DeepLakeMetric('SemSeg', output_dir=str(tmp_path), format_only=True)
    assert _evaluate(metric, dataset, samples) == {}
    assert len(list(tmp_path.iterdir())) == 5
    for sample in samples:  # where SemSegMetric fails on the installed mmcv
        name = Path(sample['img_path']).with_suffix('.png').name
        written = cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(written, sample['pred_sem_seg']['sem_seg'][0].numpy())


def test_what_a_model_returns_is_understood(dataset):
    """Data samples of a model, handed on by the evaluator."""
    samples = _samples(dataset, 'moved', 3)
    evaluator = Evaluator(DeepLakeMetric('SemSeg'))
    evaluator.dataset_meta = dataset.metainfo
    for sample in samples:
        found = DetDataSample(metainfo=dict(img_path=sample['img_path']))
        found.pred_sem_seg = PixelData(
            metainfo=dict(ignore_index=3), sem_seg=sample['pred_sem_seg']['sem_seg']
        )
        evaluator.process([found])
    _assert_same(
        evaluator.evaluate(len(dataset)),
        _evaluate(DeepLakeMetric('SemSeg'), dataset, samples),
    )


def test_a_lake_without_maps_is_told_so(tmp_path):
    """The error names the role that has no column."""
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake', [row(0)]), test_mode=True)
    sample = dict(
        img_path=dataset.get_data_info(0)['img_path'],
        pred_sem_seg=dict(sem_seg=torch.zeros(1, 40, 64, dtype=torch.int64)),
    )
    metric = DeepLakeMetric('SemSeg')
    metric.dataset_meta = dataset.metainfo
    with pytest.raises(
        ValueError, match='has no column of labels for gt_seg_map; name one'
    ):
        metric.process({}, [sample])
