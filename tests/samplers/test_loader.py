"""DeepLakeLoader keeps the contract of MMEngine's DefaultSampler."""

from __future__ import annotations

import itertools
import re

import mmengine.dataset.sampler as stock_module
import pytest
from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmdet.registry import DATA_SAMPLERS
from mmdet.utils import register_all_modules
from mmengine.dataset import DefaultSampler
from mmengine.runner import Runner

import mmdet_deeplake_plugin.samplers.loader as loader_module
from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.shuffle.epoch import epoch_order

register_all_modules()

ROWS = (1, 2, 5, 8, 33)
WORLDS = [(rank, world) for world in (1, 2, 3, 8) for rank in range(world)]


@pytest.fixture()
def as_rank(monkeypatch):
    """Makes samplers believe that they are on a rank."""

    def be(rank: int, world: int) -> None:
        for module in (loader_module, stock_module):
            monkeypatch.setattr(module, 'get_dist_info', lambda: (rank, world))

    return be


@pytest.mark.parametrize('round_up', [True, False])
@pytest.mark.parametrize(('rank', 'world'), WORLDS)
def test_in_sequence_it_is_default_sampler(rank, world, round_up, as_rank):
    """Without shuffle, length and indices of every rank are DefaultSampler's."""
    as_rank(rank, world)
    for rows in ROWS:
        data = range(rows)
        ours = DeepLakeLoader(data, shuffle=False, round_up=round_up)
        stock = DefaultSampler(data, shuffle=False, round_up=round_up)
        assert list(ours) == list(stock)
        assert len(ours) == len(stock) == len(list(ours))


@pytest.mark.parametrize('round_up', [True, False])
@pytest.mark.parametrize(('rank', 'world'), WORLDS)
def test_shuffled_ranks_are_as_long_as_default_samplers(rank, world, round_up, as_rank):
    """Shuffled, every rank has DefaultSampler's length and its part of one order."""
    as_rank(rank, world)
    for rows in ROWS:
        ours = DeepLakeLoader(range(rows), seed=3, round_up=round_up)
        stock = DefaultSampler(range(rows), seed=3, round_up=round_up)
        assert len(ours) == len(stock) == len(list(ours)) == len(list(stock))
        order = epoch_order(rows, 3, 0, shuffle=True).tolist()
        endless = list(
            itertools.islice(itertools.cycle(order), rank, rows + world, world)
        )
        assert list(ours) == endless[: len(ours)]


def test_indices_are_python_integers(as_rank):
    """Indices are plain ints, which JSON and dicts of samplers take."""
    as_rank(0, 2)
    assert {type(index) for index in DeepLakeLoader(range(9), seed=0)} == {int}


def test_an_epoch_can_be_repeated_and_the_next_differs():
    """Iterating twice gives the same order; set_epoch gives another, and back."""
    loader = DeepLakeLoader(range(40), seed=0)
    first = list(loader)
    assert list(loader) == first
    loader.set_epoch(1)
    assert list(loader) != first and sorted(loader) == sorted(first)
    loader.set_epoch(0)
    assert list(loader) == first


def test_without_a_seed_ranks_share_the_one_that_mmengine_draws(monkeypatch):
    """seed=None takes the seed that rank 0 gives to all."""
    monkeypatch.setattr(loader_module, 'sync_random_seed', lambda: 17)
    assert list(DeepLakeLoader(range(30))) == list(DeepLakeLoader(range(30), seed=17))


def test_a_negative_seed_is_refused():
    """The error names the key, the value and what to write."""
    text = 'seed of DeepLakeLoader must be an integer of 0 or more, got -1; write such a number'
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeLoader(range(3), seed=-1)


def test_it_is_registered_where_configs_look():
    """sampler=dict(type='DeepLakeLoader') finds the class."""
    assert DATA_SAMPLERS.get('DeepLakeLoader') is DeepLakeLoader


@pytest.mark.parametrize('batch_sampler', [None, dict(type='AspectRatioBatchSampler')])
def test_a_real_data_loader_follows_set_epoch(batch_sampler, lake):
    """Through Runner.build_dataloader, each epoch shows each image once, re-ordered."""
    config = dict(
        batch_size=4,
        num_workers=0,
        dataset=dict(
            type='DeepLakeDataset', deeplake_path=lake('coco_cc'), pipeline=[_only_id]
        ),
        sampler=dict(type='DeepLakeLoader', shuffle=True),
        collate_fn=dict(type='pseudo_collate'),
    )
    if batch_sampler:
        config['batch_sampler'] = dict(batch_sampler)
    data_loader = Runner.build_dataloader(config, seed=5)
    holder = data_loader.batch_sampler if batch_sampler else data_loader
    assert isinstance(holder.sampler, DeepLakeLoader) and holder.sampler.seed == 5
    epochs = []
    for epoch in (0, 1):
        holder.sampler.set_epoch(epoch)
        epochs.append([int(i) for batch in data_loader for i in batch['img_id']])
    ids = [data_loader.dataset.get_data_info(i)['img_id'] for i in range(41)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(ids)
    assert epochs[0] != epochs[1]
    if not batch_sampler:
        assert epochs[1] == [ids[i] for i in epoch_order(41, 5, 1, True)]


def test_aspect_ratio_batches_hold_one_orientation_each(lake):
    """Under AspectRatioBatchSampler upright and wide images never share a batch."""
    dataset = DeepLakeDataset(lake('coco_cc'))
    sampler = DeepLakeLoader(dataset, seed=0)
    batches = list(AspectRatioBatchSampler(sampler, batch_size=4))
    assert sorted(itertools.chain(*batches)) == list(range(41))
    upright = [
        [info['width'] < info['height'] for info in map(dataset.get_data_info, batch)]
        for batch in batches
    ]
    # the last two batches gather what is left over of both kinds
    assert all(len(set(batch)) == 1 for batch in upright[:-2])
    assert any(all(batch) for batch in upright) and any(not any(b) for b in upright)


def _only_id(info: dict) -> dict:
    return {'img_id': info['img_id']}
