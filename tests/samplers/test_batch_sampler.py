"""DeepLakeAspectRatioBatchSampler over lakes, in every kind of shuffle."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from helpers.lakes import COLUMNS, open_lake, row, write_lake
from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmdet.registry import DATA_SAMPLERS
from mmdet.utils import register_all_modules
from mmengine.dataset import ConcatDataset, DefaultSampler, RepeatDataset

import mmdet_deeplake_plugin.samplers.checks as checks_module
import mmdet_deeplake_plugin.samplers.loader as loader_module
from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.samplers.batch_sampler import DeepLakeAspectRatioBatchSampler

register_all_modules()

CHUNKS = [9, 14, 1, 20, 12, 3, 17, 25, 8, 11]  # 120 rows
SHUFFLES = ('full', 'lanes', 'none')


def write_mixed(path: Path | str, sizes: Sequence[int], seed: int = 0) -> str:
    """Writes a lake of upright and wide images with a stored chunk for each size."""
    rng = np.random.default_rng(seed)
    rows = [
        {**row(number), 'width': int(rng.integers(30, 90)), 'height': 60}
        for number in range(sum(sizes))
    ]
    stops = np.cumsum(sizes).tolist()
    write_lake(path, rows[: stops[0]])
    lake = open_lake(str(path))
    for start, stop in itertools.pairwise(stops):
        part = rows[start:stop]
        lake.append({name: [values[name] for values in part] for name in COLUMNS})
        lake.commit()
    return str(path)


def on_rank(dataset: Any, rank: int, world_size: int, **keys: Any) -> DeepLakeLoader:
    """A sampler that believes to be on a rank."""
    with mock.patch.object(loader_module, 'get_dist_info', lambda: (rank, world_size)):
        return DeepLakeLoader(dataset, **keys)


def upright_of(dataset: Any, batch: Iterable[int]) -> set[bool]:
    """Orientations in a batch."""
    infos = map(dataset.get_data_info, batch)
    return {info['width'] < info['height'] for info in infos}


@pytest.fixture(scope='module')
def mixed(tmp_path_factory) -> DeepLakeDataset:
    """A dataset of 120 upright and wide images in ten stored chunks."""
    path = write_mixed(tmp_path_factory.mktemp('mixed') / 'lake', CHUNKS)
    dataset = DeepLakeDataset(path)
    assert np.diff(dataset.reader.chunks.bounds).tolist() == CHUNKS
    return dataset


@pytest.mark.parametrize('number', range(200))
def test_ranks_agree_on_random_datasets(number, mixed):
    """Any rows, batch size, ranks, drop_last: as many batches of one kind a step.

    Rows come in any order, as views have them; every sample is dealt once, but for
    what drop_last leaves out and what fills up the last batch.
    """
    rng = np.random.default_rng(number)
    rows = rng.permutation(120)[: int(rng.choice([1, 2, 5, rng.integers(1, 121)]))]
    dataset = mixed.get_subset(rows.tolist())
    size, ranks = int(rng.integers(1, 7)), int(rng.integers(1, 9))
    drop_last, total = bool(number % 2), len(rows)
    keys = dict(shuffle=SHUFFLES[number % 3], seed=number, lanes=int(rng.integers(1, 40)))
    samplers = [
        DeepLakeAspectRatioBatchSampler(
            on_rank(dataset, rank, ranks, **keys), size, drop_last
        )
        for rank in range(ranks)
    ]
    dealt = [list(sampler) for sampler in samplers]
    count = total // (size * ranks) if drop_last else -(-total // (size * ranks))
    assert {len(batches) for batches in dealt} == {count}
    assert {len(sampler) for sampler in samplers} == {count}
    steps = [[*zip(*parts)] for parts in zip(*dealt)]
    joined = [[index for turn in step for index in turn] for step in steps]
    for parts in zip(*dealt):
        assert len({len(part) for part in parts}) == 1
    kinds = [upright_of(dataset, batch) for batch in joined]
    mixed_steps = [step for step, kind in enumerate(kinds) if len(kind) > 1]
    assert all(step >= count - 2 for step in mixed_steps)
    samples = [index for batch in joined for index in batch]
    if drop_last:
        assert len(set(samples)) == len(samples) == count * size * ranks
    else:
        assert len(samples) == total + -total % ranks
        assert sorted(samples[:total]) == list(range(total))


@pytest.mark.parametrize('drop_last', [True, False])
@pytest.mark.parametrize('batch_size', [1, 4, 7])
def test_one_rank_has_the_stock_batches(drop_last, batch_size, mixed, lake):
    """Shuffled in full or in sequence, on one rank: AspectRatioBatchSampler's batches."""
    for dataset in (mixed, DeepLakeDataset(lake('coco_cc')), RepeatDataset(mixed, 2)):
        for shuffle in ('full', 'none'):
            sampler = DeepLakeLoader(dataset, shuffle=shuffle, seed=3)
            ours = DeepLakeAspectRatioBatchSampler(sampler, batch_size, drop_last)
            stock = AspectRatioBatchSampler(sampler, batch_size, drop_last)
            found = list(ours)
            expected = list(stock)
            loses = len(expected) < len(stock)  # a full one, at the end
            assert found[:-1] == expected if loses else found == expected
            assert len(found) == len(ours) == len(stock) > 2


def test_other_datasets_are_asked_for_sizes(mixed):
    """A dataset that is no lake tells its sizes by get_data_info, as for the stock one."""

    class Foreign:
        def __len__(self) -> int:
            return len(mixed)

        def get_data_info(self, index: int) -> dict:
            return mixed.get_data_info(index)

    keys = dict(shuffle='full', seed=1)
    ours, stock = (
        list(DeepLakeAspectRatioBatchSampler(DeepLakeLoader(data, **keys), 4))
        for data in (Foreign(), mixed)
    )
    assert ours == stock


@pytest.mark.parametrize(
    ('workers', 'batch_size', 'ranks'), [(1, 4, 1), (2, 4, 1), (2, 2, 2)]
)
def test_in_lanes_batches_keep_to_chunks(workers, batch_size, ranks, tmp_path):
    """Each worker leaves chunks about as seldom as without batches of one kind.

    Counted as pairs of worker and chunk, and against a full shuffle beside it.
    """
    path = write_mixed(tmp_path / 'lake', [30] * 40, seed=1)
    dataset = DeepLakeDataset(path)
    chunk_of = dataset.reader.chunks.of(dataset.rows_of())
    lanes = workers * batch_size * ranks

    def pairs(shuffle: str) -> int:
        found = set()
        for rank in range(ranks):
            sampler = on_rank(dataset, rank, ranks, shuffle=shuffle, seed=0, lanes=lanes)
            batches = DeepLakeAspectRatioBatchSampler(sampler, batch_size)
            for turn, batch in enumerate(batches):
                worker = (rank, turn % workers)
                found |= {(worker, int(chunk)) for chunk in chunk_of[batch]}
        return len(found)

    # Two kinds of images have lanes of their own along the same chunks: each may cut
    # a chunk elsewhere, and what is left of both comes in two batches at the end.
    bound = 40 + 2 * lanes + 2 * batch_size * ranks
    assert 40 <= pairs('lanes') <= bound
    if workers * ranks > 1:
        assert pairs('full') > 40 * workers * ranks - 20


@pytest.mark.parametrize('shuffle', SHUFFLES)
def test_it_goes_on_behind_what_is_skipped(shuffle, mixed):
    """skip() leaves out batches of the next epoch only, and no other number of them."""
    sampler = DeepLakeLoader(mixed, shuffle=shuffle, seed=0)
    batches = DeepLakeAspectRatioBatchSampler(sampler, 8)
    everything = list(batches)
    batches.skip(5)
    assert list(batches) == everything[5:]
    assert list(batches) == everything
    batches.skip(15)
    assert list(batches) == []
    for count in (-1, 16):
        text = f'cannot skip {count} of the 15 batches of an epoch'
        with pytest.raises(ValueError, match=re.escape(text)):
            batches.skip(count)


def test_the_epoch_is_that_of_the_sampler(mixed):
    """set_epoch of the sampler, which MMEngine calls, gives other batches, and back."""
    sampler = DeepLakeLoader(mixed, shuffle='lanes', seed=0)
    batches = DeepLakeAspectRatioBatchSampler(sampler, 8)
    first = list(batches)
    sampler.set_epoch(1)
    assert list(batches) != first
    sampler.set_epoch(0)
    assert list(batches) == first


@pytest.mark.parametrize('shuffle', ['full', 'lanes'])
def test_a_weighted_order_is_batched_too(shuffle, mixed):
    """With weights, each sample comes in as many batches as the order holds it."""
    weights = dict(type='query', expression='image_id + 1')
    sampler = DeepLakeLoader(mixed, shuffle=shuffle, seed=0, weights=weights)
    batches = list(DeepLakeAspectRatioBatchSampler(sampler, 6))
    dealt = [index for batch in batches for index in batch]
    assert sorted(dealt) == sorted(sampler.global_order().tolist())
    assert len(set(dealt)) < len(dealt) == 120
    assert all(len(upright_of(mixed, batch)) == 1 for batch in batches[:-2])


def test_it_is_registered_where_configs_look():
    """batch_sampler=dict(type='DeepLakeAspectRatioBatchSampler') finds the class."""
    name = 'DeepLakeAspectRatioBatchSampler'
    assert DATA_SAMPLERS.get(name) is DeepLakeAspectRatioBatchSampler


# ---------------------------------------------------------------------------- errors


def test_another_sampler_is_refused(mixed):
    """The error says which was found, and both ways out."""
    text = (
        'the sampler of DeepLakeAspectRatioBatchSampler must be a DeepLakeLoader, got '
        "DefaultSampler; write sampler=dict(type='DeepLakeLoader', …), or keep "
        "batch_sampler=dict(type='AspectRatioBatchSampler')"
    )
    with pytest.raises(TypeError, match=re.escape(text)):
        DeepLakeAspectRatioBatchSampler(DefaultSampler(mixed), 4)


@pytest.mark.parametrize('batch_size', [0, -2, 1.5, '4', None])
def test_a_wrong_batch_size_is_refused(batch_size, mixed):
    """The error names the key, its value and what it may be."""
    text = (
        'batch_size of DeepLakeAspectRatioBatchSampler must be a positive integer, got '
        f'{batch_size!r}'
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeAspectRatioBatchSampler(DeepLakeLoader(mixed, seed=0), batch_size)


def test_unknown_sizes_are_refused():
    """A dataset without get_data_info, or without sizes in it, is named."""

    class Sizeless(list):
        def get_data_info(self, index: int) -> dict:
            return {'img_id': index}

    for data, name in ((range(3), 'range'), (Sizeless('ab'), 'Sizeless')):
        text = (
            f'batches of one orientation need the size of each image, which {name} does '
            'not provide; return width and height from its get_data_info()'
        )
        with pytest.raises(ValueError, match=re.escape(text)):
            DeepLakeAspectRatioBatchSampler(DeepLakeLoader(data, seed=0), 2)


def test_ranks_that_disagree_are_named(mixed, monkeypatch):
    """Before the first step, the error says how many batches each rank would have."""
    text = (
        'all ranks must have the same number of batches, or they wait for each other '
        'forever; got rank 0: 15, rank 1: 15, rank 2: 14. Use the same rows, batch_size '
        'and drop_last on all ranks'
    )
    sampler = DeepLakeLoader(mixed, seed=0)
    monkeypatch.setattr(checks_module, 'all_gather_object', lambda n: [n, 15, 14])
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeAspectRatioBatchSampler(sampler, 8)


def test_datasets_that_differ_between_ranks_are_named(mixed, monkeypatch):
    """The sampler says how many samples each rank has."""
    text = (
        'all ranks must have the same number of samples, or they wait for each other '
        'forever; got rank 0: 240, rank 1: 7. Use the same rows on all ranks'
    )
    monkeypatch.setattr(checks_module, 'all_gather_object', lambda n: [n, 7])
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeLoader(ConcatDataset([mixed, mixed]), seed=0)
