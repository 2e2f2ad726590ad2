"""Proposals in a lake equal those of a proposal file, through Fast R-CNN's pipeline."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.lakes import TYPES, add_columns, box_type, row, write_lake
from helpers.samples import assert_equal, seeded, stock_config
from mmdet.datasets import CocoDataset
from mmdet.evaluation import DumpProposals
from mmdet.utils import register_all_modules
from mmengine.dataset import Compose
from mmengine.fileio import dump, load
from mmengine.structures import InstanceData

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.lake.columns.proposals import ProposalColumns
from mmdet_deeplake_plugin.tools.from_coco import from_coco

register_all_modules()

CLASSES = CocoDataset.METAINFO['classes']


@pytest.fixture(scope='module')
def files(coco_files: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Arguments of CocoDataset with a proposal file, and a lake of the same."""
    root = tmp_path_factory.mktemp('proposals')
    found = coco_files('coco_cc')
    from_coco(found['ann_file'], found['data_prefix']['img'], root / 'lake')
    stock = CocoDataset(**found, pipeline=[])
    rng = np.random.default_rng(0)
    names, boxes, scores = [], [], []
    for index in range(len(stock)):
        info = stock.get_data_info(index)
        # One image without any, one with more than Fast R-CNN takes.
        count = (0, 2100)[index] if index < 2 else int(rng.integers(1, 50))
        corner = rng.uniform(0, 1, (count, 2)) * (info['width'], info['height'])
        size = rng.uniform(2, 200, (count, 2))
        boxes.append(np.hstack([corner, corner + size]).astype(np.float32))
        scores.append(np.sort(rng.random(count).astype(np.float32))[::-1].copy())
        names.append('/'.join(Path(info['img_path']).parts[-2:]))
    held = {
        name: InstanceData(bboxes=box, scores=score)
        for name, box, score in zip(names, boxes, scores)
    }
    dump(held, str(root / 'proposals.pkl'))
    add_columns(
        str(root / 'lake'),
        {
            'proposals': (box_type('ltrb', 'pixel', 'float32'), boxes),
            'proposal_scores': (TYPES['float32s'], scores),
        },
    )
    return dict(
        lake=str(root / 'lake'),
        stock={**found, 'proposal_file': str(root / 'proposals.pkl')},
    )


@pytest.mark.parametrize('split', ['train', 'val'])
def test_samples_are_those_of_a_proposal_file(files: dict, split: str) -> None:
    """Boxes, scores, their order and number, resized and flipped with the image."""
    config = stock_config('fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py')
    part = config[f'{split}_dataloader'].dataset
    kwargs = dict(
        pipeline=part.pipeline,
        filter_cfg=part.get('filter_cfg'),
        test_mode=part.get('test_mode', False),
    )
    ours = DeepLakeDataset(files['lake'], metainfo=dict(classes=CLASSES), **kwargs)
    stock = CocoDataset(**files['stock'], **kwargs)
    assert len(ours) == len(stock)
    for index in range(len(stock)):
        left, right = (
            seeded(partial(d.__getitem__, index), index) for d in (ours, stock)
        )
        assert_equal(left, right)
        assert 'proposals' in left['data_samples']


def test_data_info_holds_what_the_file_holds(files: dict) -> None:
    """Boxes and scores are equal before the pipeline too, and after a copy or pickle."""
    ours = DeepLakeDataset(files['lake'], metainfo=dict(classes=CLASSES))
    stock = CocoDataset(**files['stock'], pipeline=[])
    for index in (0, 1, 7):
        expected = dict(stock.get_data_info(index)['proposals'].items())
        found = ours.get_data_info(index)['proposals']
        assert_equal(pickle.loads(pickle.dumps(found)), expected)
        assert_equal(copy.deepcopy(found), expected)
        assert_equal({key: found[key] for key in found}, expected)
    assert set(ours[2]) >= {'proposals', 'instances'}


def test_other_pipelines_never_see_them(files: dict, monkeypatch: Any) -> None:
    """A detector on a lake with proposals gives CocoDataset's samples, and reads none."""
    monkeypatch.setattr(ProposalColumns, 'of_row', _refuse)
    part = stock_config('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py').train_dataloader
    kwargs = dict(pipeline=part.dataset.pipeline, filter_cfg=part.dataset.filter_cfg)
    ours = DeepLakeDataset(files['lake'], metainfo=dict(classes=CLASSES), **kwargs)
    plain = {key: files['stock'][key] for key in ('ann_file', 'data_prefix')}
    stock = CocoDataset(**plain, **kwargs)
    for index in range(3):
        left, right = (
            seeded(partial(d.__getitem__, index), index) for d in (ours, stock)
        )
        assert_equal(left, right)
    assert [ours.get_data_info(i)['width'] for i in range(3)]


def _loaded(path: str, **kwargs: Any) -> dict:
    dataset = DeepLakeDataset(path, **kwargs)
    return Compose([dict(type='LoadProposals')])(dataset.get_data_info(0))


def test_any_declared_convention(tmp_path: Path) -> None:
    """Fractions of the image, no scores, nullable: corners in pixels, zeros as scores."""
    boxes = np.array([[0.25, 0.5, 0.5, 0.25], [0.5, 0.5, 1, 1]])
    values = [{**row(0), 'proposals': boxes}, {**row(1), 'proposals': None}]
    dtype = box_type('ccwh', 'fractional', 'float64', nullable=True)
    path = write_lake(tmp_path / 'lake', values, {'proposals': dtype})
    found = _loaded(path)
    assert found['proposals'].tolist() == [[0, 15, 32, 25], [0, 0, 64, 40]]
    assert found['proposals_scores'].tolist() == [0, 0]
    empty = DeepLakeDataset(path).get_data_info(1)['proposals']
    assert empty['bboxes'].shape == (0, 4) and 'scores' not in empty


def test_what_dump_proposals_writes_goes_into_the_lake(tmp_path: Path) -> None:
    """Its keys begin with the row of the lake that was predicted, as the README uses."""
    path = write_lake(tmp_path / 'lake')
    predicted = DeepLakeDataset(path, test_mode=True)
    rng = np.random.default_rng(0)
    metric = DumpProposals(output_dir=str(tmp_path), proposals_file='rpn.pkl')
    for index in (4, 2, 0, 1, 3, 5):
        found = dict(
            bboxes=torch.tensor(rng.uniform(0, 40, (3, 4)), dtype=torch.float32),
            scores=torch.tensor([0.25, 0.75, 0.5]),
        )
        info = predicted.get_data_info(index)
        metric.process({}, [dict(img_path=info['img_path'], pred_instances=found)])
    metric.evaluate(6)
    held = load(str(tmp_path / 'rpn.pkl'))
    by_row = {int(name.partition('/')[0]): found for name, found in held.items()}
    ordered = [by_row[number] for number in range(6)]
    columns = {
        'proposals': (
            box_type('ltrb', 'pixel', 'float32'),
            [found['bboxes'] for found in ordered],
        ),
        'proposal_scores': (TYPES['float32s'], [found['scores'] for found in ordered]),
    }
    add_columns(path, columns)
    dataset = DeepLakeDataset(path, test_mode=True)
    for index, found in enumerate(ordered):
        assert_equal(dict(dataset.get_data_info(index)['proposals']), dict(found.items()))


def test_columns_of_other_names(tmp_path: Path) -> None:
    """deeplake_tensors names them, and None leaves them out."""
    boxes = np.array([[1, 2, 9, 9]], np.float32)
    values = [{**row(0), 'rpn': boxes, 'objectness': np.float32([0.5])}]
    columns = {
        'rpn': box_type('ltrb', 'pixel', 'float32'),
        'objectness': TYPES['float32s'],
    }
    path = write_lake(tmp_path / 'lake', values, columns)
    tensors = dict(gt_bboxes='boxes', proposals='rpn', proposal_scores='objectness')
    found = _loaded(path, deeplake_tensors=tensors)
    assert found['proposals'].tolist() == boxes.tolist()
    assert found['proposals_scores'].tolist() == [0.5]
    info = DeepLakeDataset(path, deeplake_tensors=dict(gt_bboxes='boxes')).get_data_info(
        0
    )
    assert 'proposals' not in info


def _refuse(*arguments: Any) -> Any:
    raise AssertionError('proposals were read')
