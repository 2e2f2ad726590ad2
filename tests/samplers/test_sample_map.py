"""Which row of which lake an index means, through MMEngine's and MMDetection's wrappers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mmdet.datasets import CocoDataset, ConcatDataset, MultiImageMixDataset
from mmdet.utils import register_all_modules
from mmengine.dataset import ClassBalancedDataset, RepeatDataset
from mmengine.dataset import ConcatDataset as PlainConcatDataset
from test_batch_sampler import write_mixed

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.samplers.read_strategy import choose_reads
from mmdet_deeplake_plugin.samplers.wrappers import map_samples

register_all_modules()

PLAN = dict(loader_type='auto', world_size=1, is_weighted=False, cache_bytes=1 << 30)
MIX = [dict(type='RandomFlip', prob=0.5)]


@pytest.fixture(scope='module')
def lakes(tmp_path_factory) -> tuple[DeepLakeDataset, DeepLakeDataset]:
    """Datasets of 30 and of 12 rows, in four and in two stored chunks."""
    folder = tmp_path_factory.mktemp('lakes')
    paths = [
        write_mixed(folder / str(seed), sizes, seed)
        for seed, sizes in enumerate([[10, 5, 8, 7], [4, 8]])
    ]
    return DeepLakeDataset(paths[0]), DeepLakeDataset(paths[1])


def concat(*parts: Any) -> dict:
    """A config of several datasets one after the other, which wrappers take."""
    return dict(type='ConcatDataset', datasets=list(parts))


def balanced(dataset: Any) -> ClassBalancedDataset:
    """A dataset that repeats some samples and not others."""
    return ClassBalancedDataset(dataset, 0.6)


def mixed(dataset: Any) -> MultiImageMixDataset:
    """A dataset whose samples read the images of others, too."""
    return MultiImageMixDataset(dataset, MIX)


WRAPPED = {
    'plain': lambda a, b: a,
    'subset': lambda a, b: a.get_subset([7, 3, 29]),
    'empty': lambda a, b: a.get_subset([]),
    'repeat': lambda a, b: RepeatDataset(a, 3),
    'repeat nothing': lambda a, b: RepeatDataset(a.get_subset([]), 3),
    'class balanced': lambda a, b: balanced(a.get_subset(list(range(20)))),
    'concat': lambda a, b: ConcatDataset([b, a]),
    'plain concat': lambda a, b: PlainConcatDataset([a, b]),
    'the same twice': lambda a, b: ConcatDataset([a, b, a]),
    'nested': lambda a, b: RepeatDataset(
        concat(dict(type='RepeatDataset', dataset=a, times=2), b), 2
    ),
    'mix': lambda a, b: mixed(concat(b, a)),
    'mix in a part': lambda a, b: ConcatDataset(
        [a, dict(type='MultiImageMixDataset', dataset=b, pipeline=MIX)]
    ),
}


def info_of(dataset: Any, index: int) -> dict:
    """What the pipeline gets for an index; mixing datasets do not tell."""
    while isinstance(dataset, (MultiImageMixDataset, ConcatDataset)):
        if isinstance(dataset, ConcatDataset):
            number, index = dataset._get_ori_dataset_idx(index)
            dataset = dataset.datasets[number]
        else:
            dataset = dataset.dataset
    return dataset.get_data_info(index)


@pytest.mark.parametrize('name', WRAPPED)
def test_an_index_means_the_wrappers_sample(name, lakes):
    """For every index, the sample at its place is the one that the wrapper gives."""
    dataset = WRAPPED[name](*lakes)
    sample_map = map_samples(dataset)
    assert len(sample_map.dataset_idx) == len(sample_map.sample_idx) == len(dataset)
    for index, (which, inner) in enumerate(
        zip(sample_map.dataset_idx, sample_map.sample_idx)
    ):
        expected = info_of(dataset, index)
        found = sample_map.datasets[which].get_data_info(int(inner))
        assert found['img_path'] == expected['img_path']
    ids = [
        np.array([part.get_data_info(i)['img_id'] for i in range(len(part))])
        for part in sample_map.datasets
    ]
    expected = [info_of(dataset, index)['img_id'] for index in range(len(dataset))]
    assert sample_map.per_sample(ids).tolist() == expected


def test_a_dataset_that_is_wrapped_twice_stands_once(lakes):
    """Its reader then has one plan for all of its samples."""
    sample_map = map_samples(WRAPPED['the same twice'](*lakes))
    assert [each is lake for each, lake in zip(sample_map.datasets, lakes)] == [
        True,
        True,
    ]
    assert sample_map.dataset_idx.tolist() == [0] * 30 + [1] * 12 + [0] * 30
    assert map_samples(WRAPPED['nested'](*lakes)).datasets == list(lakes)


def test_only_mixing_reads_other_images(lakes):
    """Samples of MultiImageMixDataset read others' images; in a part, that is enough."""
    for name, make in WRAPPED.items():
        assert map_samples(make(*lakes)).only_own_image == (not name.startswith('mix'))


def test_other_datasets_have_no_sample_map(lakes, coco_files):
    """Nor has what holds one of them, at any depth."""
    stock = CocoDataset(**coco_files('coco_cc'), pipeline=[])
    foreign = [
        range(5),
        stock,
        RepeatDataset(stock, 2),
        balanced(stock),
        mixed(stock),
        ConcatDataset([lakes[0], stock], ignore_keys=list(stock.METAINFO)),
    ]
    assert [map_samples(each) for each in foreign] == [None] * len(foreign)


@pytest.mark.parametrize('shuffle', ['full', 'lanes'])
@pytest.mark.parametrize('name', [name for name in WRAPPED if 'subset' not in name])
def test_wrapped_samples_come_once_an_epoch(name, shuffle, lakes):
    """Whatever the wrapper, an epoch is a permutation of its indices."""
    dataset = WRAPPED[name](*lakes)
    sampler = DeepLakeLoader(dataset, shuffle=shuffle, seed=0)
    assert sorted(sampler) == list(range(len(dataset)))


@pytest.mark.parametrize('name', ['concat', 'nested', 'the same twice', 'subset', 'mix'])
def test_samples_are_ordered_by_the_chunk_that_holds_them(name, lakes):
    """Chunks of several lakes are numbered one after the other, each row by its own."""
    sample_map = map_samples(WRAPPED[name](*lakes))
    index = choose_reads(sample_map, 'lanes', **PLAN).index
    starts = np.cumsum([0, *(len(each.reader.chunks) for each in sample_map.datasets)])
    assert index.num_chunks == starts[-1] and len(index) == len(sample_map.sample_idx)
    owners = np.repeat(np.arange(index.num_chunks), index.sizes)
    for sample, chunk in zip(index.take(np.arange(len(index))).tolist(), owners.tolist()):
        which = sample_map.dataset_idx[sample]
        first, stop = sample_map.datasets[which].reader.chunk_rows(chunk - starts[which])
        dataset = sample_map.datasets[which]
        row = int(dataset.rows_of(sample_map.sample_idx[sample : sample + 1])[0])
        assert first <= row < stop
