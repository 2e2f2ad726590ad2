"""The configs that ship with the plugin load, and read a lake."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import ROOT
from helpers.clips import write_mot
from helpers.panoptic_data import CLASSES
from helpers.samples import BCCD, stock_config
from mmdet.registry import DATASETS, METRICS
from mmdet.utils import register_all_modules
from mmengine.config import Config

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric, config_path
from mmdet_deeplake_plugin.tools.from_mot import from_mot

register_all_modules()

CONFIGS = ROOT / 'configs'
STOCK = {
    'faster_rcnn/faster-rcnn_r50_fpn_1x_deeplake.py': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'mask_rcnn/mask-rcnn_r50_fpn_1x_deeplake.py': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'panoptic_fpn/panoptic-fpn_r50_fpn_1x_deeplake.py': 'panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py',
    'rtmdet/rtmdet_tiny_8xb32-300e_deeplake.py': 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'yolo/yolov3_d53_8xb8-ms-416-273e_deeplake.py': 'yolo/yolov3_d53_8xb8-ms-416-273e_coco.py',
    'yolox/yolox_s_8xb8-300e_deeplake.py': 'yolox/yolox_s_8xb8-300e_coco.py',
}

QDTRACK = 'qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_deeplake.py'
PANOPTIC = 'panoptic_fpn/panoptic-fpn_r50_fpn_1x_deeplake.py'


def _plain(value: Any) -> Any:
    """A part of a config, without MMEngine's mark of the package that it came from."""
    if isinstance(value, dict):
        dropped = ('_scope_', 'backend_args')
        return {key: _plain(part) for key, part in value.items() if key not in dropped}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value


@pytest.mark.parametrize('name', STOCK)
def test_a_config_differs_from_the_stock_one_in_its_data_alone(name):
    """Model, schedule, optimizer and pipelines are those that MMDetection ships."""
    ours, stock = Config.fromfile(CONFIGS / name), stock_config(STOCK[name])
    for key in ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'test_cfg'):
        assert _plain(ours[key]) == _plain(stock[key]), key
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        left, right = ours[key].dataset, stock[key].dataset
        assert ours[key].batch_size == stock[key].batch_size
        assert _plain(left.pipeline) == _plain(right.pipeline)
        if right.type == 'MultiImageMixDataset':
            assert left.type == 'DeepLakeMultiImageMixDataset'
            left, right = left.dataset, right.dataset
            assert _plain(left.pipeline) == _plain(right.pipeline)
            assert left.filter_cfg == right.filter_cfg
        assert left.type == 'DeepLakeDataset'
        assert ours[key].sampler.type == 'DeepLakeLoader'


def test_the_panoptic_config_reads_a_lake(panoptic_lake):
    """Things, stuff and the map reach the sample."""
    pytest.importorskip('panopticapi', reason='LoadPanopticAnnotations needs panopticapi')
    config = Config.fromfile(CONFIGS / PANOPTIC)
    _reads_maps(config, panoptic_lake)
    base = Config.fromfile(CONFIGS / '_base_/datasets/deeplake_panoptic.py')
    _reads_maps(base, panoptic_lake)
    stock = stock_config('_base_/datasets/coco_panoptic.py')
    for key in ('train_dataloader', 'val_dataloader'):
        left, right = (c[key].dataset.pipeline for c in (base, stock))
        assert _plain(left) == _plain(right)


def test_the_semantic_config_reads_a_lake(semantic_lake):
    """Maps alone reach the sample, with the stock pipelines."""
    config = Config.fromfile(CONFIGS / '_base_/datasets/deeplake_semantic.py')
    _reads_maps(config, semantic_lake)
    stock = stock_config('_base_/datasets/coco_semantic.py')
    for key in ('train_dataloader', 'val_dataloader'):
        left, right = (c[key].dataset.pipeline for c in (config, stock))
        assert _plain(left) == _plain(right)


def test_the_config_of_a_tracker_reads_a_lake(tmp_path):
    """Model, schedule and pipelines are stock's; clips and metrics are built."""
    config = Config.fromfile(CONFIGS / QDTRACK)
    stock = stock_config('qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py')
    for key in ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'val_cfg', 'randomness'):
        assert _plain(config[key]) == _plain(stock[key]), key
    from_mot(write_mot(tmp_path), tmp_path / 'lake')
    for key in ('train_dataloader', 'val_dataloader'):
        ours, theirs = config[key], stock[key]
        assert ours.sampler == theirs.sampler and ours.batch_size == theirs.batch_size
        assert _plain(ours.dataset.pipeline) == _plain(theirs.dataset.pipeline)
        ours.dataset.deeplake_path = str(tmp_path / 'lake')
        dataset = DATASETS.build(ours.dataset)
        assert dataset.metainfo.get('classes')[0] == 'pedestrian'
        assert dataset.get_len_per_video(0) == 6
    metrics = [dict(metric) for metric in config.val_evaluator]
    assert [metric['metrics_format'] for metric in metrics] == ['CocoVideo', 'MOT']
    assert isinstance(METRICS.build(metrics[0]), DeepLakeMetric)


def _reads_maps(config: Config, path: str) -> None:
    for key in ('train_dataloader', 'val_dataloader'):
        dataset = DATASETS.build({**config[key].dataset, 'deeplake_path': path})
        assert dataset.metainfo['classes'] == CLASSES
        assert dataset[0]['data_samples'].gt_sem_seg.sem_seg.ndim == 3
    assert isinstance(METRICS.build(config.val_evaluator), DeepLakeMetric)


@pytest.mark.parametrize(
    'name', [*sorted(STOCK.keys() - {PANOPTIC}), 'demo/rtmdet_tiny_tree-crowns_cpu.py']
)
def test_a_config_reads_a_lake(name, lake):
    """Its datasets and its metric are built as they stand, but for the path."""
    config = Config.fromfile(CONFIGS / name)
    for key in ('train_dataloader', 'val_dataloader'):
        path = lake('coco_cc' if 'mask' in name else 'bccd_val')
        keys = config[key].dataset
        (keys.dataset if 'Mix' in keys.type else keys).deeplake_path = path
        dataset = DATASETS.build(keys)
        assert isinstance(getattr(dataset, 'dataset', dataset), DeepLakeDataset)
        assert 'mask' in name or dataset.metainfo['classes'] == BCCD
        sample = dataset[0]
        assert sample['inputs'].shape[0] == 3
        assert ('masks' in sample['data_samples'].gt_instances) is ('mask' in name)
    assert isinstance(METRICS.build(config.val_evaluator), DeepLakeMetric)


def test_every_config_is_tested():
    """A config that is added is not forgotten here."""
    files = {str(path.relative_to(CONFIGS)) for path in CONFIGS.glob('*/*.py')}
    # tile.py is a script of the demo.
    demo = {
        'demo/rtmdet_tiny_tree-crowns_cpu.py',
        'demo/rtmdet_tiny_tree-crowns_worst_cpu.py',
        'demo/tile.py',
    }
    # tests/package has those in pure Python, which need the wheel.
    pure = {name for name in files if name.startswith('pure_python/')}
    assert files == {*STOCK, QDTRACK, *demo, *pure} and len(pure) == 3


def test_a_config_is_found_by_its_name():
    """In a checkout; ``tests/package`` does the same with an installed wheel."""
    for name in STOCK:
        assert config_path(name) == str(CONFIGS / name)
    with pytest.raises(FileNotFoundError, match=r'rtmdet/rtmdet\.py.* its configs are: '):
        config_path('rtmdet/rtmdet.py')
    with pytest.raises(FileNotFoundError, match='did you mean yolox/yolox_s_8xb8-300e_'):
        config_path('yolox/yolox_s_8xb8_300e_deeplake.py')
    with pytest.raises(TypeError, match='name must be a string, got a PosixPath'):
        config_path(CONFIGS)
