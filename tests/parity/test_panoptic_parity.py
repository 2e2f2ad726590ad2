"""Panoptic samples from a lake equal CocoPanopticDataset's."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from helpers.panoptic_data import CLASSES, STUFF, THINGS
from helpers.samples import assert_equal, handed_over, seeded, stock_config
from mmdet.datasets import CocoPanopticDataset
from mmdet.utils import register_all_modules

from mmdet_deeplake_plugin import DeepLakeDataset

pytest.importorskip('panopticapi', reason='LoadPanopticAnnotations needs panopticapi')
register_all_modules()

FILTER = dict(filter_empty_gt=True, min_size=32)
PIPELINES = {
    'panoptic-fpn': 'panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py',
    'mask2former': 'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py',
    'maskformer': 'maskformer/maskformer_r50_ms-16xb1-75e_coco.py',
}


def _pair(
    lake: str, root: Path, **kwargs: Any
) -> tuple[DeepLakeDataset, CocoPanopticDataset]:
    stock = CocoPanopticDataset(
        ann_file=str(root / 'panoptic.json'),
        data_prefix=dict(img=str(root / 'images'), seg=str(root / 'panoptic')),
        **kwargs,
    )
    return DeepLakeDataset(lake, **kwargs), stock


def _assert_same_samples(ours: Any, stock: Any) -> None:
    assert len(ours) == len(stock) > 0
    for index in range(len(stock)):
        assert_equal(
            handed_over(seeded(lambda: ours[index], index)),  # noqa: B023
            seeded(lambda: stock[index], index),  # noqa: B023
            f'row {index}',
        )


def _without_paths(info: dict) -> dict:
    return {k: v for k, v in info.items() if k not in ('img_path', 'seg_map_path')}


@pytest.mark.parametrize('test_mode', [False, True], ids=['train', 'test'])
def test_every_segment_is_that_of_the_file(test_mode, panoptic_lake, panoptic_root):
    """segments_info, instances of things, sizes, ids: all that parse_data_info gives."""
    ours, stock = _pair(
        panoptic_lake, panoptic_root, test_mode=test_mode, filter_cfg=FILTER
    )
    assert len(ours) == len(stock) == (41 if test_mode else 39)
    segments = []
    for index in range(len(stock)):
        left, right = ours.get_data_info(index), stock.get_data_info(index)
        assert _without_paths(left) == _without_paths(right)
        assert Path(left['seg_map_path']).name == Path(right['seg_map_path']).name
        assert ours.get_cat_ids(index) == stock.get_cat_ids(index)
        segments += right['segments_info']
    assert {bool(s['is_thing']) for s in segments} == {False, True}
    assert max(segment['id'] for segment in segments) > 256 * 256


def test_things_and_stuff_are_told_apart(panoptic_lake, panoptic_root):
    """The names of all, things and stuff are those of mmdet's class."""
    ours, stock = _pair(panoptic_lake, panoptic_root)
    for key in ('classes', 'thing_classes', 'stuff_classes'):
        assert ours.metainfo[key] == stock.metainfo[key], key


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize('model', PIPELINES)
def test_every_sample_of_a_stock_pipeline_is_that_of_the_files(
    model, split, panoptic_lake, panoptic_root
):
    """Masks and map are the same after resizing, cropping, flipping."""
    config = stock_config(PIPELINES[model])
    pipeline = config[f'{split}_dataloader'].dataset.pipeline
    kwargs = dict(test_mode=True) if split == 'val' else dict(filter_cfg=FILTER)
    ours, stock = _pair(panoptic_lake, panoptic_root, pipeline=pipeline, **kwargs)
    _assert_same_samples(ours, stock)
    sample = ours[3]['data_samples']
    assert (
        len(sample.gt_instances.masks) and sample.gt_sem_seg.sem_seg.unique().numel() > 2
    )


def test_texts_of_things_and_stuff_are_those_of_the_stock_class(
    panoptic_lake, panoptic_root
):
    """return_classes hands on the names of things and of stuff."""
    ours, stock = _pair(panoptic_lake, panoptic_root, return_classes=True)
    left, right = ours.get_data_info(0), stock.get_data_info(0)
    assert _without_paths(left) == _without_paths(right)
    assert left['text'] == THINGS and left['stuff_text'] == STUFF


@pytest.mark.parametrize('travel', [pickle.dumps, copy.deepcopy], ids=['pickle', 'copy'])
def test_a_dataset_that_travelled_has_its_segments(travel, panoptic_lake, panoptic_root):
    """Spawned workers and wrappers get the same samples from a pickle or a copy."""
    load = [dict(type='LoadImageFromFile'), dict(type='LoadPanopticAnnotations')]
    ours, stock = _pair(panoptic_lake, panoptic_root, pipeline=load)
    there = travel(ours)
    there = pickle.loads(there) if isinstance(there, bytes) else there
    left, right = there.get_subset(3), stock.get_subset(3)
    for index in range(3):
        assert _without_paths(left[index]).keys() == _without_paths(right[index]).keys()
        for key in ('gt_seg_map', 'gt_masks', 'gt_bboxes', 'segments_info'):
            assert_equal(left[index][key], right[index][key], key)


def test_chosen_classes_keep_their_kind(panoptic_lake):
    """Other classes than those of metainfo are left out, and numbered in its order."""
    chosen = ('wall-brick', 'person', 'dog')
    dataset = DeepLakeDataset(panoptic_lake, metainfo=dict(classes=chosen))
    everything = DeepLakeDataset(panoptic_lake)
    assert dataset.metainfo['thing_classes'] == ('person', 'dog')
    assert dataset.metainfo['stuff_classes'] == ('wall-brick',)
    for index in range(len(dataset)):
        expected = [
            {**segment, 'category': chosen.index(CLASSES[segment['category']])}
            for segment in everything.get_data_info(index)['segments_info']
            if CLASSES[segment['category']] in chosen
        ]
        assert dataset.get_data_info(index)['segments_info'] == expected


def test_the_same_lake_trains_a_detector(panoptic_lake):
    """annotation_style='coco' makes each segment, thing or stuff, a box."""
    dataset = DeepLakeDataset(panoptic_lake, annotation_style='coco')
    info = dataset.get_data_info(0)
    labels = {instance['bbox_label'] for instance in info['instances']}
    assert 'segments_info' not in info
    assert min(labels) < len(THINGS) <= max(labels)
