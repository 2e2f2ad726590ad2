"""A training step and an evaluation of each family of models, on a lake as on files.

The configs are those that ship with MMDetection, with images of about 100 pixels and
untrained weights.
"""

from __future__ import annotations

import math

import pytest
from helpers.samples import stock_config
from helpers.tiny_bert import with_own_encoder
from mmdet.utils import register_all_modules
from zoo.catalog import LOADERS
from zoo.compare import smaller
from zoo.data import ZooData
from zoo.losses import Losses, annotated_first
from zoo.rewrite import (
    evaluator_on_files,
    evaluator_on_lake,
    leaves,
    on_files,
    on_lake,
)
from zoo.small_run import run, shrunken

register_all_modules()

BOXES = 'coco/bbox_mAP'
MASKS = 'coco/segm_mAP'
SEGMENTS = 'coco_panoptic/PQ'
FAMILIES = {
    'two-stage': ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', BOXES),
    'one-stage': ('retinanet/retinanet_r18_fpn_1x_coco.py', BOXES),
    'grid': ('yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py', BOXES),
    'anchor-free': ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', BOXES),
    'aligned': ('tood/tood_r50_fpn_1x_coco.py', BOXES),
    'mosaic and mixup': ('yolox/yolox_tiny_8xb8-300e_coco.py', BOXES),
    'real-time': ('rtmdet/rtmdet_tiny_8xb32-300e_coco.py', BOXES),
    'key points': ('centernet/centernet_r18_8xb16-crop512-140e_coco.py', BOXES),
    'transformer': ('deformable_detr/deformable-detr_r50_16xb2-50e_coco.py', BOXES),
    'query-based boxes': ('sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py', BOXES),
    'instance': ('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', MASKS),
    'masks by place': ('solov2/solov2-light_r18_fpn_ms-3x_coco.py', MASKS),
    'masks by dynamic filters': (
        'condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py',
        MASKS,
    ),
    'real-time masks': ('rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py', MASKS),
    'query-based masks': ('mask2former/mask2former_r50_8xb2-lsj-50e_coco.py', MASKS),
    'panoptic': ('panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py', SEGMENTS),
    'query-based segments': (
        'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py',
        SEGMENTS,
    ),
    'texts': ('mm_grounding_dino/grounding_dino_swin-t_pretrain_obj365.py', BOXES),
    'hierarchy of classes': (
        'openimages/faster-rcnn_r50_fpn_32xb2-1x_openimages.py',
        'openimages/AP50',
    ),
    'crowds': ('crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py', 'crowd_human/mAP'),
    'semi-supervised': (
        'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
        'student/coco/bbox_mAP',
    ),
}


@pytest.fixture(scope='module')
def zoo_data(shared_data, tmp_path_factory):
    """Test data as files and lakes."""
    return ZooData(tmp_path_factory.mktemp('zoo'), shared_data / 'coco_cc')


def _pair(name, data, encoder=None):
    """The config on files and on lakes, dealt by the same sampler."""
    files = stock_config(name).to_dict()
    if encoder is not None:
        with_own_encoder(files, encoder)
    for part in LOADERS:
        loader = smaller(files[f'{part}_dataloader'])
        loader['dataset'] = on_files(loader['dataset'], data)
        if part == 'val':
            loader['dataset']['indices'] = 3
        if 'source_ratio' in loader['sampler']:
            loader['batch_size'] = loader['sampler']['batch_size'] = 2
            loader['sampler']['source_ratio'] = [1, 1]
        else:
            shuffle = part == 'train'
            loader['sampler'] = dict(
                type='DeepLakeLoader', shuffle=shuffle, round_up=shuffle
            )
        files[f'{part}_dataloader'] = loader
    files['val_evaluator'] = evaluator_on_files(
        files['val_evaluator'], files['val_dataloader']['dataset']
    )
    lake = {**files, 'val_evaluator': evaluator_on_lake(files['val_evaluator'])}
    for part in LOADERS:
        key = f'{part}_dataloader'
        dataset = on_lake(files[key]['dataset'], data.lakes)
        assert {leaf['type'] for leaf in leaves(dataset)} == {'DeepLakeDataset'}
        lake[key] = {**files[key], 'dataset': dataset}
    return files, lake


@pytest.mark.parametrize('family', FAMILIES)
def test_a_family_trains_and_evaluates_as_on_files(family, zoo_data, tmp_path):
    """Losses of the step and metrics are those of files; images have those of model.loss.

    The metrics of files, which are computed without DeepLakeLossHook, also say that it
    leaves the model as it was.
    """
    name, metric = FAMILIES[family]
    if metric == SEGMENTS:
        pytest.importorskip('panopticapi', reason="MMDetection's own transform needs it")
    encoder = None
    if family == 'texts':
        pytest.importorskip('transformers', reason='the text encoder needs it')
        encoder = tmp_path / 'bert'
    files, lake = _pair(name, zoo_data, encoder)
    for config in (files, lake):
        pipeline = config['val_dataloader']['dataset']['pipeline']
        loads = [each for each in pipeline if 'Annotations' in each['type']]
        if not loads:  # as in the semi-supervised one
            pipeline.insert(-1, dict(type='LoadAnnotations', with_bbox=True))
        for each in loads if metric == MASKS else ():  # not all load them to validate
            each['with_mask'] = True
    hooks = lake.get('custom_hooks') or []
    lake['custom_hooks'] = [*hooks, dict(type='DeepLakeLossHook')]
    losses = Losses(shrunken(annotated_first(files['val_dataloader']['dataset'])))
    expected = run(files, tmp_path / 'files')
    found = run(lake, tmp_path / 'lake', losses)
    assert 'loss' in found.losses and all(map(math.isfinite, found.losses.values()))
    assert found.losses == expected.losses
    assert metric in found.metrics
    # CocoMetric gives nothing at all for a model that detects nothing.
    assert {key: found.metrics[key] for key in expected.metrics} == expected.metrics
    assert losses.found == losses.expected and len(losses.found) == 3
    mean = f'val/{"student/" if family == "semi-supervised" else ""}loss'
    assert found.metrics[mean] == math.fsum(losses.found.values()) / 3
    assert set(found.metrics) > {mean, *expected.metrics}


def test_our_mosaics_train_as_on_files(zoo_data, tmp_path):
    """YOLOX with DeepLakeMultiImageMixDataset: the losses of stock, by one word."""
    files, lake = _pair(FAMILIES['mosaic and mixup'][0], zoo_data)
    dataset = lake['train_dataloader']['dataset']
    assert dataset['type'].endswith('MultiImageMixDataset')
    dataset['type'] = 'DeepLakeMultiImageMixDataset'
    expected, found = run(files, tmp_path / 'files'), run(lake, tmp_path / 'lake')
    assert 'loss' in found.losses and found.losses == expected.losses
