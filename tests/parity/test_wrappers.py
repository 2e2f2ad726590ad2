"""Wrappers, samplers, copies and workers of mmdet treat a lake as they treat files."""

from __future__ import annotations

import copy
import gc
import itertools
import json
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.lakes import version
from helpers.samples import BCCD, assert_equal, seeded
from mmdet.datasets import CocoDataset, ConcatDataset, MultiImageMixDataset
from mmdet.datasets.samplers import (
    AspectRatioBatchSampler,
    ClassAwareSampler,
    GroupMultiSourceSampler,
)
from mmdet.evaluation import CocoMetric
from mmdet.utils import register_all_modules
from mmengine.dataset import (
    BaseDataset,
    ClassBalancedDataset,
    DefaultSampler,
    RepeatDataset,
    pseudo_collate,
)
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric

register_all_modules()

LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(128, 96)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
MIX = [
    dict(type='Mosaic', img_scale=(64, 64)),
    dict(type='MixUp', img_scale=(64, 64)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
FILTER = dict(filter_empty_gt=True, min_size=32)
COCO = CocoDataset.METAINFO['classes']
CLASSES = {'bccd_train': BCCD, 'bccd_val': BCCD, 'coco_cc': COCO}


@pytest.fixture()
def pair(lake, coco_files) -> Callable[..., tuple]:
    """The dataset of a lake, and CocoDataset of the files that it was made of."""

    def make(name: str, classes: tuple | None = None, **kwargs: Any) -> tuple:
        kwargs = {'pipeline': LOAD, 'filter_cfg': FILTER, **kwargs}
        kwargs['metainfo'] = dict(classes=classes or CLASSES[name])
        stock = CocoDataset(**coco_files(name), **kwargs)
        return DeepLakeDataset(lake(name), **kwargs), stock

    return make


def _assert_same_samples(ours: Any, stock: Any, indices: Any) -> None:
    assert len(ours) == len(stock)
    for index in indices:
        assert_equal(
            seeded(lambda i=index: ours[i], index),
            seeded(lambda i=index: stock[i], index),
            f'sample {index}',
        )


# ---------------------------------------------------------------------------- wrappers


def test_concatenated_lakes_are_concatenated_files(pair):
    """ConcatDataset of two lakes: length, meta info, indices and samples."""
    parts = [pair('bccd_train'), pair('bccd_val')]
    ours, stock = (ConcatDataset(list(datasets)) for datasets in zip(*parts))
    assert ours.metainfo['classes'] == stock.metainfo['classes'] == BCCD
    assert ours.cumulative_sizes == stock.cumulative_sizes
    _assert_same_samples(ours, stock, range(0, len(stock), 37))


def test_a_repeated_lake_is_a_repeated_file_dataset(pair):
    """RepeatDataset goes round the samples."""
    ours, stock = (RepeatDataset(dataset, 3) for dataset in pair('coco_cc'))
    size = len(stock) // 3
    _assert_same_samples(ours, stock, (0, size - 1, size, 2 * size + 5))


@pytest.mark.parametrize('name', ['bccd_val', 'coco_cc'])
def test_class_balancing_repeats_the_same_samples(name, pair):
    """ClassBalancedDataset finds the same repeat factors."""
    ours, stock = (ClassBalancedDataset(d, oversample_thr=0.95) for d in pair(name))
    assert len(stock) > len(stock.dataset)  # so balancing does something
    assert ours.repeat_indices == stock.repeat_indices
    _assert_same_samples(ours, stock, range(0, len(stock), 17))


def test_mosaic_and_mixup_mix_the_same_images(pair):
    """MultiImageMixDataset, under the same seeds."""
    ours, stock = (
        MultiImageMixDataset(dataset, MIX)
        for dataset in pair('coco_cc', pipeline=LOAD[:2])
    )
    _assert_same_samples(ours, stock, range(0, len(stock), 9))


# ---------------------------------------------------------------------------- samplers


@pytest.mark.parametrize('drop_last', [True, False])
def test_aspect_ratio_batches_are_the_same(drop_last, pair):
    """AspectRatioBatchSampler reads width and height of each sample."""
    ours, stock = pair('coco_cc')
    batches = [
        list(AspectRatioBatchSampler(DefaultSampler(data, seed=3), 4, drop_last))
        for data in (ours, stock)
    ]
    assert batches[0] == batches[1] and len(batches[0]) >= 9


@pytest.mark.parametrize('name', ['bccd_val', 'coco_cc'])
def test_class_aware_samples_are_the_same(name, pair):
    """ClassAwareSampler reads the labels of each sample."""
    ours, stock = (ClassAwareSampler(dataset, seed=1) for dataset in pair(name))
    assert ours.cat_dict == stock.cat_dict
    assert list(ours) == list(stock)


def test_group_multi_source_batches_are_the_same(pair):
    """GroupMultiSourceSampler mixes two lakes by orientation."""
    parts = [pair('coco_cc'), pair('coco_cc', indices=20)]
    ours, stock = (
        GroupMultiSourceSampler(ConcatDataset(list(d)), 6, [2, 1], seed=4)
        for d in zip(*parts)
    )
    assert ours.group2inds_per_source == stock.group2inds_per_source
    dealt = [
        seeded(lambda s=sampler: list(itertools.islice(s, 120)), 0)
        for sampler in (ours, stock)
    ]
    assert dealt[0] == dealt[1]


# ------------------------------------------------------------------- copies and subsets


@pytest.mark.parametrize('indices', [5, -5, [3, 1, 1], (7,), []], ids=repr)
def test_a_subset_is_the_subset_of_files(indices, pair):
    """get_subset, in place and not, and what it leaves of the original."""
    ours, stock = pair('coco_cc')
    parts = [dataset.get_subset(indices) for dataset in (ours, stock)]
    _assert_same_samples(*parts, range(len(parts[1])))
    assert len(ours) == len(stock) > 5
    ours.get_subset_(indices)
    stock.get_subset_(indices)
    _assert_same_samples(ours, stock, range(len(stock)))


def test_a_subset_of_a_subset_is_that_of_files(pair):
    """Indices of a subset count in the subset."""
    ours, stock = (d.get_subset([9, 7, 5, 3]).get_subset(-2) for d in pair('coco_cc'))
    _assert_same_samples(ours, stock, range(2))
    assert ours.get_data_info(0)['img_id'] == stock.get_data_info(0)['img_id']


def test_subsets_leave_no_trace(pair, monkeypatch):
    """A subset goes when it is let go of, and holds nothing of one that was before."""
    ours, _ = pair('coco_cc')
    shared = BaseDataset._copy_without_annotation.__defaults__[0]
    # As if a dataset had lain where this transform is now.
    monkeypatch.setitem(shared, id(ours.pipeline.transforms[-1]), 'a subset of another')
    subset = ours.get_subset(2)
    assert type(subset.pipeline.transforms[-1]) is type(ours.pipeline.transforms[-1])
    lives = weakref.ref(subset)
    del subset
    gc.collect()
    assert lives() is None


@pytest.mark.parametrize(
    'make',
    [copy.deepcopy, copy.copy, lambda d: pickle.loads(pickle.dumps(d))],
    ids=['deepcopy', 'copy', 'pickle'],
)
@pytest.mark.parametrize('lazy', [False, True])
def test_a_copy_gives_the_same_samples(make, lazy, pair):
    """Copies and pickles, of a full or a lazy dataset, are independent and equal."""
    ours, stock = pair('coco_cc', lazy_init=lazy)
    twin = make(ours)
    twin.full_init()
    stock.full_init()
    _assert_same_samples(twin, stock, (0, 13, 30))
    twin.get_subset_(3)
    assert len(twin) == 3 and len(ours) == len(stock)


def test_a_deep_copy_shares_what_is_large(lake):
    """Lake and annotations are never copied, so 100 copies cost nothing."""
    dataset = DeepLakeDataset(lake('coco_cc'))
    twin = copy.deepcopy(dataset)
    assert twin.lake is dataset.lake
    assert twin._samples.boxes is dataset._samples.boxes


# ----------------------------------------------------------------------------- workers


@pytest.mark.parametrize('start', ['none', 'fork', 'spawn'])
def test_workers_load_the_samples_of_this_process(start, lake, pair):
    """0 workers, forked or spawned and persistent ones: two epochs in order."""
    ours, _ = pair('coco_cc', pipeline=[*LOAD[:3], LOAD[4]], indices=12)
    expected = [ours[index] for index in range(12)]
    kwargs: dict[str, Any] = {}
    if start != 'none':
        kwargs = dict(
            num_workers=2, multiprocessing_context=start, persistent_workers=True
        )
    loader = DataLoader(
        ConcatDataset([ours, ours]), batch_size=3, collate_fn=pseudo_collate, **kwargs
    )
    for _ in range(2):
        batches = list(loader)
        images = [image for batch in batches for image in batch['inputs']]
        found = [sample for batch in batches for sample in batch['data_samples']]
        assert_equal(images, [sample['inputs'] for sample in expected] * 2)
        assert_equal(found, [sample['data_samples'] for sample in expected] * 2)
        assert [sample.img_path for sample in found[:12]] == [
            sample['data_samples'].img_path for sample in expected
        ]


# -------------------------------------------------- the metric over several lakes at once


def _predictions(stock: CocoDataset, seed: int, classes: int) -> list[dict]:
    """Perturbed ground truth with wrong labels and boxes from nowhere."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(len(stock)):
        instances = stock.get_data_info(index)['instances']
        boxes = np.array([i['bbox'] for i in instances], float).reshape(-1, 4)
        labels = np.array([i['bbox_label'] for i in instances], int)
        boxes = np.concatenate(
            [boxes + rng.normal(0, 4, boxes.shape), _random_boxes(rng)]
        )
        labels = np.concatenate([labels, rng.integers(0, classes, 3)])
        wrong = rng.random(len(labels)) < 0.1
        labels[wrong] = rng.integers(0, classes, wrong.sum())
        found.append(
            dict(
                bboxes=torch.tensor(boxes, dtype=torch.float32),
                scores=torch.tensor(rng.random(len(labels)), dtype=torch.float32),
                labels=torch.tensor(labels),
            )
        )
    return found


def _random_boxes(rng: np.random.Generator) -> np.ndarray:
    corners = rng.random((3, 2)) * 200
    return np.concatenate([corners, corners + 10 + rng.random((3, 2)) * 100], axis=1)


def _score(metric: Any, classes: tuple, samples: list[dict]) -> dict:
    metric.dataset_meta = dict(classes=classes)
    metric.process({}, samples)
    return metric.evaluate(size=len(samples))


def _merged(files: list[dict], keep_ids: bool, folder: Path) -> tuple[str, list[int]]:
    """One COCO file of several, images numbered anew unless their ids are kept."""
    images: list[dict] = []
    annotations: list[dict] = []
    for content in files:
        base = len(images)
        new = {
            image['id']: image['id'] if keep_ids else base + position
            for position, image in enumerate(content['images'])
        }
        images += [{**image, 'id': new[image['id']]} for image in content['images']]
        annotations += [
            {**annotation, 'image_id': new[annotation['image_id']]}
            for annotation in content['annotations']
        ]
    for number, annotation in enumerate(annotations, 1):
        annotation['id'] = number
    names: dict[str, dict] = {}
    for content in files:
        for category in content['categories']:
            names.setdefault(category['name'], category)
    merged = dict(images=images, annotations=annotations, categories=list(names.values()))
    path = folder / 'merged.json'
    path.write_text(json.dumps(merged))
    return str(path), [image['id'] for image in images]


@pytest.mark.parametrize(
    ('names', 'keep_ids'),
    [
        pytest.param(('bccd_train', 'bccd_val'), False, id='colliding-ids'),
        pytest.param(('coco_cc', 'coco_cc'), True, id='halves-of-a-lake'),
    ],
)
@pytest.mark.parametrize('metric', [['bbox'], ['bbox', 'proposal']], ids=len)
def test_the_metric_of_several_lakes_is_that_of_the_merged_file(
    names, keep_ids, metric, pair, coco_files, tmp_path
):
    """Every number over a ConcatDataset equals CocoMetric's on one merged JSON."""
    classes = CLASSES[names[0]]
    keys = dict(test_mode=True)
    if keep_ids:  # two datasets of one lake, which share no image
        parts = [
            pair(names[0], indices=list(range(20)), **keys),
            pair(names[1], indices=list(range(20, 41)), **keys),
        ]
    else:
        parts = [pair(name, indices=40, **keys) for name in names]
    found, paths, files = [], [], []
    for number, (name, (ours, stock)) in enumerate(zip(names, parts)):
        found += _predictions(stock, number, len(classes))
        paths += [ours.get_data_info(index)['img_path'] for index in range(len(ours))]
        content = json.loads(Path(coco_files(name)['ann_file']).read_text())
        kept = {stock.get_data_info(index)['img_id'] for index in range(len(stock))}
        content['images'] = [i for i in content['images'] if i['id'] in kept]
        content['annotations'] = [
            a for a in content['annotations'] if a['image_id'] in kept
        ]
        files.append(content)
    file, ids = _merged(files, keep_ids, tmp_path)
    sizes = [
        (image['height'], image['width'])
        for content in files
        for image in content['images']
    ]
    stock_scores = _score(
        CocoMetric(ann_file=file, metric=metric, classwise=True),
        classes,
        [
            dict(img_id=img_id, ori_shape=size, pred_instances=copy.deepcopy(prediction))
            for img_id, size, prediction in zip(ids, sizes, found)
        ],
    )
    our_scores = _score(
        DeepLakeMetric(metric=metric, classwise=True),
        classes,
        [
            dict(img_path=path, pred_instances=prediction)
            for path, prediction in zip(paths, found)
        ],
    )
    np.testing.assert_equal(our_scores, stock_scores)
    assert 0.05 < our_scores['coco/bbox_mAP'] < 0.95


def test_two_versions_of_a_lake_are_two_lakes(lake):
    """Image paths of different states of a lake never meet, so nor do their scores."""
    path = lake('coco_cc')
    newest = DeepLakeDataset(path)
    pinned = DeepLakeDataset(path, deeplake_commit_id=version(path))
    subset = DeepLakeDataset(path, metainfo=dict(classes=('person',)))
    other = DeepLakeDataset(path, deeplake_tensors=dict(img_id=None))
    assert pinned.lake is newest.lake is subset.lake
    assert other.lake.key != newest.lake.key
