"""Masks from a lake equal CocoDataset's: polygons, codes, and what pipelines make of them."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest
from helpers.samples import assert_equal, handed_over, seeded, stock_config
from mmdet.datasets import CocoDataset, MultiImageMixDataset
from mmdet.utils import register_all_modules

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.datasets.pipeline_needs import reads_masks

register_all_modules()

CLASSES = CocoDataset.METAINFO['classes']
IMAGES, INSTANCES = 41, 421
FILTER = dict(filter_empty_gt=True, min_size=32)


def _load(poly2mask: bool) -> list[dict]:
    return [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=poly2mask),
    ]


def _pair(lake, coco_files, **kwargs: Any) -> tuple[DeepLakeDataset, CocoDataset]:
    kwargs.setdefault('metainfo', dict(classes=CLASSES))
    stock = CocoDataset(**coco_files('coco_cc'), **kwargs)
    return DeepLakeDataset(lake('coco_cc'), **kwargs), stock


def _assert_same_samples(ours: Any, stock: Any) -> None:
    assert len(ours) == len(stock) > 0
    for index in range(len(stock)):
        # Both pipelines keep state (cached Mosaic), so each goes through all rows.
        assert_equal(
            handed_over(seeded(lambda: ours[index], index)),  # noqa: B023
            seeded(lambda: stock[index], index),  # noqa: B023
            f'row {index}',
        )


def test_every_segmentation_is_that_of_the_file(lake, coco_files):
    """All 421: 40 of several parts and 6 crowds, digit for digit, in step with boxes."""
    ours, stock = _pair(lake, coco_files)
    masks = []
    for index in range(len(stock)):
        expected = stock.get_data_info(index)['instances']
        assert ours.get_data_info(index)['instances'] == expected
        assert_equal(ours[index]['instances'], expected)
        masks += [instance['mask'] for instance in expected]
    assert (len(stock), len(masks)) == (IMAGES, INSTANCES)
    assert sum(isinstance(mask, dict) for mask in masks) == 6
    assert sum(isinstance(mask, list) and len(mask) > 1 for mask in masks) == 40


@pytest.mark.parametrize('poly2mask', [True, False], ids=['bitmaps', 'polygons'])
@pytest.mark.parametrize(
    'classes', [CLASSES, ('person', 'dog'), ('dining table',)], ids=['all', 'two', 'one']
)
def test_loaded_masks_are_those_of_coco_dataset(poly2mask, classes, lake, coco_files):
    """LoadAnnotations makes the same bitmaps or polygons, whatever classes are chosen."""
    ours, stock = _pair(
        lake, coco_files, pipeline=_load(poly2mask), metainfo=dict(classes=classes)
    )
    _assert_same_samples(ours, stock)


PIPELINES = {
    'mask-rcnn': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'mask-rcnn-poly': 'mask_rcnn/mask-rcnn_r50_fpn_poly-1x_coco.py',
    'large-scale-jitter': 'common/lsj-100e_coco-instance.py',
    'mask2former': 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
    'rtmdet-ins': 'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py',
}


@pytest.mark.parametrize('model', PIPELINES)
def test_every_sample_of_a_stock_pipeline_is_that_of_coco_dataset(
    model, lake, coco_files
):
    """Masks are the same after resizing, cropping, flipping, mosaics."""
    config = stock_config(PIPELINES[model])
    dataset = config.train_dataloader.dataset
    pipeline = dataset.get('dataset', dataset).pipeline
    ours, stock = _pair(lake, coco_files, pipeline=pipeline, filter_cfg=FILTER)
    _assert_same_samples(ours, stock)
    assert sum(len(ours[index]['data_samples'].gt_instances) for index in range(9)) > 9


def test_every_sample_of_copy_paste_is_that_of_coco_dataset(lake, coco_files):
    """MultiImageMixDataset pastes the same masks of other images."""
    mixed = stock_config('common/ssj_scp_270k_coco-instance.py').train_dataloader.dataset
    ours, stock = (
        MultiImageMixDataset(dataset=dataset, pipeline=mixed.pipeline)
        for dataset in _pair(
            lake, coco_files, pipeline=mixed.dataset.pipeline, filter_cfg=FILTER
        )
    )
    _assert_same_samples(ours, stock)


@pytest.mark.parametrize('travel', [pickle.dumps, copy.deepcopy], ids=['pickle', 'copy'])
def test_a_dataset_that_travelled_has_its_masks(travel, lake, coco_files):
    """Spawned workers and wrappers get the same masks from a pickle or a copy."""
    ours, stock = _pair(lake, coco_files, pipeline=_load(False))
    there = travel(ours)
    there = pickle.loads(there) if isinstance(there, bytes) else there
    _assert_same_samples(there.get_subset(5), stock.get_subset(5))


# -------------------------------------------------------------- reading when asked for


class _Counter:
    """Counts the rows whose masks are read."""

    def __init__(self, dataset: DeepLakeDataset, monkeypatch: Any) -> None:
        self.rows: list[int] = []
        column = type(dataset.lake.masks)
        of_row = column.of_row

        def counted(this: Any, row: int, *args: Any) -> Any:
            self.rows.append(row)
            return of_row(this, row, *args)

        monkeypatch.setattr(column, 'of_row', counted)


def test_boxes_alone_read_no_masks(lake, coco_files, monkeypatch):
    """A detector on a lake with masks reads none, and its samples are CocoDataset's."""
    pipeline = stock_config('rtmdet/rtmdet_tiny_8xb32-300e_coco.py').test_pipeline
    ours, stock = _pair(lake, coco_files, pipeline=pipeline)
    counter = _Counter(ours, monkeypatch)
    _assert_same_samples(ours, stock)
    assert ours._infos.masks is not None and ours._infos.masks.packed is None
    assert counter.rows == []


def test_sizes_and_labels_read_no_masks(lake, coco_files, monkeypatch):
    """What samplers ask of each image costs no mask; looking at an instance does."""
    ours, _ = _pair(lake, coco_files, pipeline=_load(True))
    counter = _Counter(ours, monkeypatch)
    infos = [ours.get_data_info(index) for index in range(len(ours))]
    assert all(info['width'] > 0 and len(info['instances']) > 0 for info in infos)
    assert ours.get_cat_ids(3)
    assert counter.rows == []
    assert infos[3]['instances'][0]['mask'] and infos[3]['instances'][-1]['mask']
    assert counter.rows == [3], 'once a sample'


@pytest.mark.parametrize(
    'take',
    [
        lambda instances: [instance for instance in instances],
        lambda instances: list(reversed(instances))[::-1],
        lambda instances: instances[:],
        lambda instances: instances + [],  # noqa: RUF005
        lambda instances: instances.copy(),
        lambda instances: copy.copy(instances),
        lambda instances: copy.deepcopy(instances),
        lambda instances: pickle.loads(pickle.dumps(instances)),
        lambda instances: [instances.pop() for _ in range(len(instances))][::-1],
        lambda instances: eval(repr(instances)),
        lambda instances: [] + instances,  # noqa: RUF005
        lambda instances: json.loads(json.dumps(instances)),
        lambda instances: instances if copy.deepcopy(instances) in [instances] else 0,
        lambda instances: [] if instances != copy.deepcopy(instances) else instances,
    ],
    ids='iterate reverse slice add copy copy.copy deepcopy pickle pop repr radd json in ne'.split(),
)
def test_however_instances_are_taken_they_have_masks(take, lake, coco_files):
    """The list that reads masks when asked gives them in every way of asking."""
    ours, stock = _pair(lake, coco_files)
    taken = take(ours.get_data_info(2)['instances'])
    assert taken == stock.get_data_info(2)['instances']


class _Foreign:
    """A transform of somebody else, which may do anything with a sample."""

    def __call__(self, results: dict) -> dict:
        return results


@pytest.mark.parametrize(
    ('pipeline', 'reads'),
    [
        ([], True),
        ([dict(type='LoadAnnotations', with_bbox=True)], False),
        ([dict(type='LoadAnnotations', with_mask=True)], True),
        ([dict(type='PackDetInputs')], False),
        ([dict(type='PackDetInputs', meta_keys=('instances',))], True),
        ([dict(type='Resize', scale=(9, 9)), _Foreign()], True),
        (
            [
                dict(
                    type='RandomApply',
                    transforms=[dict(type='LoadAnnotations', with_mask=True)],
                )
            ],
            True,
        ),
        (
            [
                dict(
                    type='RandomChoice',
                    transforms=[
                        [dict(type='RandomFlip', prob=0.5)],
                        [dict(type='LoadAnnotations', with_mask=True)],
                    ],
                )
            ],
            True,
        ),
    ],
    ids='none boxes masks pack pack-instances foreign random-apply random-choice'.split(),
)
def test_a_pipeline_gets_masks_unless_it_surely_has_no_use_for_them(
    pipeline, reads, lake, coco_files
):
    """Masks are left out only where all transforms are stock ones that load none."""
    ours, _ = _pair(lake, coco_files, pipeline=pipeline)
    assert reads_masks(ours.pipeline) is reads
    assert (ours._infos.masks.packed is not None) is reads


def test_a_pipeline_that_is_switched_gets_what_it_needs(lake, coco_files):
    """Hooks replace the pipeline in mid-training: masks come and go with it."""
    boxes = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    ours, _ = _pair(lake, coco_files, pipeline=boxes)
    _, stock = _pair(lake, coco_files, pipeline=_load(True))
    assert 'gt_masks' not in ours[0]
    ours.pipeline = stock.pipeline
    _assert_same_samples(ours, stock)


def test_masks_take_bytes_not_objects(lake, coco_files):
    """Packed masks take as many bytes as their numbers do as doubles."""
    ours, stock = _pair(lake, coco_files)
    numbers = 0
    for index in range(len(stock)):
        for instance in stock.get_data_info(index)['instances']:
            mask = instance['mask']
            parts = mask if isinstance(mask, list) else [mask['counts']]
            numbers += sum(map(len, parts))
    assert ours._infos.masks.packed.nbytes < 1.1 * np.dtype(np.float64).itemsize * numbers
