"""DeepLakeMetric scores panoptic maps as CocoPanopticMetric does, digit for digit."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.lakes import row, write_lake
from helpers.panoptic_data import CLASSES, PREDICTIONS, VOID, panoptic_samples
from mmdet.evaluation import CocoMetric, CocoPanopticMetric
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.structures import PixelData

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric
from mmdet_deeplake_plugin.structures.seg_maps import decode_ids
from mmdet_deeplake_plugin.tools.from_coco import from_coco

pytest.importorskip('panopticapi', reason='CocoPanopticMetric needs panopticapi')


@pytest.fixture(scope='module')
def whole(panoptic_lake) -> DeepLakeDataset:
    """The validation set; the lake is open while it lives."""
    return DeepLakeDataset(panoptic_lake, test_mode=True)


@pytest.fixture(scope='module')
def dataset(whole) -> DeepLakeDataset:
    """A third of it, with an image of stuff alone and one whose things are crowds."""
    return whole.get_subset(14)


def _evaluate(metric: Any, dataset: Any, samples: list[dict]) -> dict:
    metric.dataset_meta = dataset.metainfo
    for sample in samples:
        # CocoPanopticMetric writes into the predictions.
        found = sample['pred_panoptic_seg']
        found = dict(found, sem_seg=found['sem_seg'].clone())
        metric.process({}, [dict(sample, pred_panoptic_seg=found)])
    return metric.evaluate(len(dataset))


def _stock(root: Path, **options: Any) -> CocoPanopticMetric:
    ann_file, folder = str(root / 'panoptic.json'), str(root / 'panoptic')
    return CocoPanopticMetric(ann_file, folder, **options)


@pytest.mark.parametrize('kind', PREDICTIONS)
def test_numbers_are_those_of_coco_panoptic_metric(kind, dataset, panoptic_root):
    """PQ, SQ, RQ of all, things and stuff: every digit, with void and crowds."""
    samples = panoptic_samples(dataset, kind)
    ours = _evaluate(DeepLakeMetric('Panoptic'), dataset, samples)
    stock = _evaluate(_stock(panoptic_root), dataset, samples)
    assert ours == stock
    assert next(iter(ours)) == 'coco_panoptic/PQ'
    if kind == 'perfect':
        assert ours['coco_panoptic/PQ'] > 90, 'but for segments that training leaves out'
    if kind == 'moved':
        assert 20 < ours['coco_panoptic/PQ'] < 80


class _Cells(logging.Handler):
    """The cells of all tables that are logged."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        lines = [line for line in record.getMessage().splitlines() if '|' in line]
        self.found += [c.strip() for line in lines for c in line.split('|')[1:-1]]

    def numbers(self, name: str) -> list[str]:
        return self.found[self.found.index(name) + 1 :][:3]


def test_classwise_logs_the_numbers_of_each_class(dataset, panoptic_root):
    """Each class of the stock table stands in ours with the same three numbers."""
    samples = panoptic_samples(dataset, 'moved')
    logger = MMLogger.get_current_instance()
    tables = []
    for metric in (
        DeepLakeMetric('Panoptic', classwise=True),
        _stock(panoptic_root, classwise=True),
    ):
        tables.append(_Cells())
        logger.addHandler(tables[-1])
        _evaluate(metric, dataset, samples)
        logger.removeHandler(tables[-1])
    for name in (*CLASSES, 'All', 'Things', 'Stuff'):
        assert tables[0].numbers(name) == tables[1].numbers(name), name


def test_written_results_are_those_of_coco_panoptic_metric(
    whole, panoptic_root, tmp_path
):
    """The JSON and the PNG files to submit hold the same segments."""
    dataset = whole
    samples = panoptic_samples(dataset, 'moved')
    for name, metric in (
        (
            'ours',
            DeepLakeMetric(
                'Panoptic', format_only=True, outfile_prefix=str(tmp_path / 'ours')
            ),
        ),
        (
            'stock',
            _stock(
                panoptic_root, format_only=True, outfile_prefix=str(tmp_path / 'stock')
            ),
        ),
    ):
        assert _evaluate(metric, dataset, samples) == {}, name
    ours, stock = (
        json.loads((tmp_path / f'{name}.panoptic.json').read_text())
        for name in ('ours', 'stock')
    )
    assert ours == stock and len(stock['annotations']) == len(dataset)
    files = sorted(path.name for path in (tmp_path / 'stock.panoptic').iterdir())
    assert files == sorted(path.name for path in (tmp_path / 'ours.panoptic').iterdir())
    for name in files:
        left, right = (
            decode_ids((tmp_path / f'{who}.panoptic' / name).read_bytes())
            for who in ('ours', 'stock')
        )
        assert np.array_equal(left, right), name


def test_writing_and_scoring_go_together(dataset, tmp_path):
    """Without format_only, outfile_prefix does not change the numbers."""
    samples = panoptic_samples(dataset, 'moved')
    metric = DeepLakeMetric('Panoptic', outfile_prefix=str(tmp_path / 'out'))
    numbers = _evaluate(metric, dataset, samples)
    assert numbers == _evaluate(DeepLakeMetric('Panoptic'), dataset, samples)
    assert (tmp_path / 'out.panoptic.json').exists()


def test_a_part_of_the_rows_is_scored_alone(dataset, panoptic_lake):
    """Ground truth is that of the images that were predicted, and repeats count once."""
    part = DeepLakeDataset(panoptic_lake, test_mode=True, indices=4)
    samples = panoptic_samples(part, 'perfect')
    once = _evaluate(DeepLakeMetric('Panoptic'), part, samples)
    metric = DeepLakeMetric('Panoptic')
    metric.dataset_meta = part.metainfo
    for sample in samples * 2:
        metric.process({}, [sample])
    assert metric.evaluate(2 * len(part)) == once
    assert once['coco_panoptic/PQ'] > 90


def test_no_stuff_at_all_gives_nan(panoptic_root, tmp_path):
    """There is no quality of stuff to report, and no crash as in the stock metric."""
    content = json.loads((panoptic_root / 'panoptic.json').read_text())
    for category in content['categories']:
        category['isthing'] = 1
    (tmp_path / 'things.json').write_text(json.dumps(content))
    folder = panoptic_root / 'panoptic'
    images, lake = panoptic_root / 'images', tmp_path / 'lake'
    from_coco(tmp_path / 'things.json', images, lake, panoptic_dir=folder)
    dataset = DeepLakeDataset(str(lake), test_mode=True, indices=2)
    numbers = _evaluate(DeepLakeMetric('Panoptic'), dataset, panoptic_samples(dataset, 'perfect'))
    assert numbers['coco_panoptic/PQ_th'] == numbers['coco_panoptic/PQ'] > 0
    assert math.isnan(numbers['coco_panoptic/PQ_st'])


def test_boxes_of_panoptic_models_are_scored_on_things(whole, panoptic_root, tmp_path):
    """Panoptic models predict boxes of things; stuff does not count against them."""
    dataset = whole
    content = json.loads((panoptic_root / 'panoptic.json').read_text())
    things = [category for category in content['categories'] if category['isthing']]
    ids = {category['id'] for category in things}
    by_image = {entry['image_id']: entry for entry in content['annotations']}
    annotations = [
        dict(segment, image_id=image['id'])
        for image in content['images']
        for segment in by_image[image['id']]['segments_info']
        if segment['category_id'] in ids
    ]
    numbered = [dict(ann, id=number) for number, ann in enumerate(annotations, start=1)]
    content.update(annotations=numbered, categories=things)
    (tmp_path / 'things.json').write_text(json.dumps(content))
    rng = np.random.default_rng(1)
    samples = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        boxes = torch.tensor([i['bbox'] for i in info['instances']]).reshape(-1, 4)
        predicted = dict(
            bboxes=boxes.float() + torch.tensor(rng.normal(0, 4, boxes.shape)).float(),
            scores=torch.tensor(rng.random(len(boxes))).float(),
            labels=torch.tensor([i['bbox_label'] for i in info['instances']]).long(),
        )
        samples.append(
            dict(
                img_id=info['img_id'],
                img_path=info['img_path'],
                ori_shape=(info['height'], info['width']),
                pred_instances=predicted,
            )
        )
    numbers = []
    for metric in (DeepLakeMetric(), CocoMetric(str(tmp_path / 'things.json'))):
        metric.dataset_meta = dataset.metainfo
        metric.process({}, samples)
        numbers.append(metric.evaluate(len(dataset)))
    assert numbers[0] == numbers[1] and numbers[0]['coco/bbox_mAP'] > 0.3


def test_a_broken_image_counts_as_one_in_which_nothing_is_found(dataset):
    """What is predicted on the black picture in its place is no segment."""
    samples = panoptic_samples(dataset, 'perfect')
    info = dataset.get_data_info(2)
    row = int(dataset.rows_of(np.array([2]))[0])
    size = info['width'], info['height']
    blank = dataset.lake.blank_path(row, Path(info['img_path']).name, *size)
    samples[2] = dict(samples[2], img_path=blank)
    numbers = _evaluate(DeepLakeMetric('Panoptic'), dataset, samples)
    nothing = torch.full_like(samples[2]['pred_panoptic_seg']['sem_seg'], VOID)
    samples[2] = dict(
        samples[2],
        img_path=info['img_path'],
        pred_panoptic_seg=dict(sem_seg=nothing),
    )
    assert numbers == _evaluate(DeepLakeMetric('Panoptic'), dataset, samples)


def test_results_of_a_test_set_without_ground_truth_are_written(panoptic_root, tmp_path):
    """A lake made of a list of images knows categories, and that is enough."""
    content = json.loads((panoptic_root / 'panoptic.json').read_text())
    del content['annotations']
    (tmp_path / 'test.json').write_text(json.dumps(content))
    from_coco(tmp_path / 'test.json', panoptic_root / 'images', tmp_path / 'lake')
    dataset = DeepLakeDataset(str(tmp_path / 'lake'), test_mode=True, indices=1)
    info = dataset.get_data_info(0)
    assert info['seg_map_path'] is None and 'segments_info' not in info
    pixels = torch.full((1, info['height'], info['width']), 1000 + 17)
    pixels[0, :5] = VOID - 1
    sample = dict(img_path=info['img_path'], pred_panoptic_seg=dict(sem_seg=pixels))
    out = str(tmp_path / 'out')
    metric = DeepLakeMetric('Panoptic', format_only=True, outfile_prefix=out)
    assert _evaluate(metric, dataset, [sample]) == {}
    (entry,) = json.loads((tmp_path / 'out.panoptic.json').read_text())['annotations']
    assert entry['image_id'] == content['images'][0]['id']
    found = [(s['category_id'], s['isthing']) for s in entry['segments_info']]
    ids = [category['id'] for category in content['categories']]
    assert found == [(ids[VOID - 1], 0), (ids[17], 1)]


def test_what_a_model_returns_is_understood(dataset):
    """Data samples of a model, handed on by the evaluator, in either format."""
    samples = panoptic_samples(dataset, 'moved')
    evaluator = Evaluator(DeepLakeMetric('Panoptic'))
    evaluator.dataset_meta = dataset.metainfo
    for sample in samples:
        found = DetDataSample(metainfo=dict(img_path=sample['img_path']))
        found.pred_panoptic_seg = PixelData(**sample['pred_panoptic_seg'])
        evaluator.process([found])
    numbers = evaluator.evaluate(len(dataset))
    assert numbers == _evaluate(DeepLakeMetric('Panoptic'), dataset, samples)


def test_a_lake_without_segments_is_told_so(tmp_path):
    """The error names the roles that have no column."""
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake', [row(0)]), test_mode=True)
    sample = dict(
        img_path=dataset.get_data_info(0)['img_path'],
        pred_panoptic_seg=dict(sem_seg=torch.zeros(1, 40, 64, dtype=torch.int64)),
    )
    metric = DeepLakeMetric('Panoptic')
    metric.dataset_meta = dataset.metainfo
    with pytest.raises(ValueError, match='has no columns for gt_seg_map and segment_ids'):
        metric.process({}, [sample])
