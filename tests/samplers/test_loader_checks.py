"""Keys of DeepLakeLoader: what they mean, and what the errors and warnings say."""

from __future__ import annotations

import re

import pytest
from helpers.lakes import append, write_lake
from mmdet.utils import register_all_modules
from mmengine.dataset import ConcatDataset
from torch.utils.data import DataLoader

import mmdet_deeplake_plugin.samplers.dataloader_shape as shape_module
from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.lake import ImageReader
from mmdet_deeplake_plugin.samplers.checks import choose_shuffle, default_lanes
from mmdet_deeplake_plugin.samplers.dataloader_shape import DataloaderCheck
from mmdet_deeplake_plugin.samplers.wrappers import map_samples

register_all_modules()

KIND = ['non-negative', 'positive']


@pytest.fixture(scope='module')
def dataset(tmp_path_factory) -> DeepLakeDataset:
    """21 rows in three stored chunks; the pipeline reads no image."""
    path = write_lake(tmp_path_factory.mktemp('keys') / 'lake')
    append(path, range(6, 15))
    append(path, range(15, 21))
    return DeepLakeDataset(path, pipeline=[lambda info: info['img_id']])


# ----------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ('value', 'hint'),
    [('C++', ' (did you mean c++?)'), ('pyhton', ' (did you mean python?)'), (1, '')],
)
def test_an_unknown_loader_type_is_refused(value, hint, dataset):
    """The error lists what there is, and the nearest."""
    text = (
        'loader_type of DeepLakeLoader must be one of auto, c++, python, got '
        f'{value!r}{hint}; write one of them'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(text)}$'):
        DeepLakeLoader(dataset, seed=0, loader_type=value)


@pytest.mark.parametrize(
    ('key', 'least', 'values'),
    [
        ('batch_size', 1, (0, -1, 2.0, '8', True)),
        ('num_workers', 0, (-1, 1.5, '2', False)),
        ('window', 1, (0, None, 1.0)),
        ('lanes', 1, (0, -64, '64')),
        ('cache_bytes', 0, (-1, None, 1e9, '1GB')),
    ],
)
def test_what_counts_nothing_is_refused(key, least, values, dataset):
    """The error names key, value and the least that it may be."""
    for value in values:
        text = (
            f'{key} of DeepLakeLoader must be a {KIND[least]} integer, got {value!r}; '
            'write one, or leave the key out'
        )
        with pytest.raises(ValueError, match=f'^{re.escape(text)}$'):
            DeepLakeLoader(dataset, seed=0, **{key: value})
    DeepLakeLoader(dataset, seed=0, **{key: least})


@pytest.mark.parametrize(
    ('value', 'hint'),
    [('lane', ' (did you mean lanes?)'), ('random', ''), (1, '')],
)
def test_an_unknown_shuffle_is_refused(value, hint, dataset):
    """The error lists what there is, and the nearest."""
    text = (
        'shuffle of DeepLakeLoader must be True, False or one of auto, full, lanes, '
        f'none, got {value!r}{hint}; write one of them'
    )
    with pytest.raises(ValueError, match=f'^{re.escape(text)}$'):
        DeepLakeLoader(dataset, shuffle=value, seed=0)


def test_lanes_need_a_lake():
    """Other datasets have no chunks; the error says what to write instead."""
    text = (
        "shuffle='lanes' of DeepLakeLoader follows the chunks of lakes, so the dataset "
        'must consist of DeepLakeDataset alone (Concat, Repeat, ClassBalanced and '
        "MultiImageMix may wrap it), which it does not; write shuffle='full'"
    )
    with pytest.raises(ValueError, match=f'^{re.escape(text)}$'):
        DeepLakeLoader(range(9), shuffle='lanes', seed=0)


# ----------------------------------------------------------------------- what is meant


def test_a_shuffle_is_chosen_by_the_place_of_the_lake(dataset, monkeypatch):
    """auto and True: full on a disk and for other datasets, lanes on object storage."""
    sample_map = map_samples(dataset)
    for automatic in (True, 'auto'):
        assert choose_shuffle(automatic, sample_map) == 'full'
        assert choose_shuffle(automatic, None) == 'full'
    for stated in ('full', 'lanes', 'none'):
        assert choose_shuffle(stated, sample_map) == stated
    assert choose_shuffle(False, sample_map) == choose_shuffle(False, None) == 'none'
    monkeypatch.setattr(ImageReader, 'is_remote', True)
    assert (
        choose_shuffle(True, sample_map) == choose_shuffle('auto', sample_map) == 'lanes'
    )
    assert choose_shuffle(False, sample_map) == 'none'
    assert choose_shuffle('auto', None) == 'full'
    monkeypatch.setattr(ImageReader, 'has_chunks', False)  # as a saved view
    assert choose_shuffle('auto', sample_map) == 'full'


def test_one_remote_lake_is_enough_for_lanes(dataset, monkeypatch):
    """Of several lakes, one on object storage makes the order go along chunks."""
    other = DeepLakeDataset(dataset.lake.source.spec.path)
    sample_map = map_samples(ConcatDataset([dataset, other]))
    remote = property(lambda reader: reader is other.reader)
    monkeypatch.setattr(ImageReader, 'is_remote', remote)
    assert choose_shuffle('auto', sample_map) == 'lanes'


@pytest.mark.parametrize(
    ('told', 'lanes'),
    [
        ((1, None, None), 64),
        ((8, 4, None), 64),
        ((8, None, 4), 64),
        ((1, 8, 4), 64),
        ((1, 8, 0), 64),
        ((1, 5, 3), 75),
        ((2, 16, 4), 128),
        ((8, 16, 8), 1024),
        ((3, 7, 0), 84),
    ],
)
def test_lanes_are_the_least_multiple_from_64_on(told, lanes, dataset, monkeypatch):
    """Of ranks x workers x batch size, if both are told; lanes= goes before that."""
    world_size, batch_size, num_workers = told
    assert default_lanes(world_size, batch_size, num_workers) == lanes
    if world_size == 1:
        keys = dict(seed=0, batch_size=batch_size, num_workers=num_workers)
        assert DeepLakeLoader(dataset, **keys).lanes == lanes
        assert DeepLakeLoader(dataset, **keys, lanes=3).lanes == 3


# --------------------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ('check', 'text'),
    [
        (DataloaderCheck(1, 64, 8, 4), ''),
        (DataloaderCheck(1, 64, None, None), ''),
        (DataloaderCheck(1, 0, None, None), ''),
        (DataloaderCheck(2, 64, 8, 4), ''),
        (
            DataloaderCheck(1, 64, 4, 4),
            'batch_size of DeepLakeLoader must be that of the dataloader, 8, but it is '
            '4. The order stays the same, but chunks may be read more than once; write '
            'batch_size=8 in the sampler too',
        ),
        (
            DataloaderCheck(1, 0, 8, 2),
            'num_workers of DeepLakeLoader must be that of the dataloader, 4, but it is '
            '2. The order stays the same, but chunks may be read more than once; write '
            'num_workers=4 in the sampler too',
        ),
        (
            DataloaderCheck(4, 64, None, 4),
            '64 lanes are not a multiple of 4 ranks x 4 workers x batch size 8, so '
            'chunks are read more than once; write batch_size=8, num_workers=4 in the '
            'sampler (which changes the order), or ignore this',
        ),
    ],
    ids=['all-told', 'none-told', 'no-lanes', 'ranks', 'batch', 'workers', 'lanes'],
)
def test_a_dataloader_is_compared_with_the_configured_one(check, text):
    """Batch size 8 and four workers: what differs is said with what to write."""
    assert check.warning(batch_size=8, num_workers=4) == text


def test_without_workers_the_main_process_counts_as_one():
    """num_workers=0 needs lanes for one."""
    assert DataloaderCheck(2, 16, 8, 0).warning(batch_size=8, num_workers=0) == ''
    assert '24 lanes' in DataloaderCheck(2, 24, None, None).warning(8, 0)


def test_a_dataloader_warns_once(dataset, monkeypatch):
    """The first batch tells, and the next epochs no more."""
    said = []
    monkeypatch.setattr(shape_module, 'warn', said.append)
    for told, count in ((4, 0), (5, 1)):
        sampler = DeepLakeLoader(dataset, seed=0, batch_size=told)
        loader = DataLoader(dataset, 4, sampler=sampler, collate_fn=list)
        for _ in range(2):
            assert len(list(loader)) == 6
        assert len(said) == count
    assert said[0].startswith(
        'batch_size of DeepLakeLoader must be that of the dataloader, 4'
    )
