"""One order for all: ranks, workers and batches deal it out and never change it.

Through real dataloaders, whose workers read a lake of several stored chunks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mmdet.utils import register_all_modules
from test_batch_sampler import on_rank, write_mixed
from torch.utils.data import BatchSampler, DataLoader

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.samplers.batch_sampler import DeepLakeAspectRatioBatchSampler
from mmdet_deeplake_plugin.shuffle.epoch import epoch_order

register_all_modules()

RANKS = (1, 2, 4, 8)
WORKERS = (0, 1, 2, 4, 8)
GLOBAL_BATCHES = (8, 16)
EPOCHS = (0, 1, 5)
ROWS = 71  # no multiple of any number of ranks, and more than lanes
WEIGHTS = dict(type='query', expression='image_id + 1')
# Keys of the sampler, and whether batches are of one orientation.
MODES = {
    'full': (dict(shuffle='full'), False),
    'lanes': (dict(shuffle='lanes'), False),
    'none': (dict(shuffle=False), False),
    'weighted': (dict(shuffle='full', weights=WEIGHTS), False),
    'weighted lanes': (
        dict(shuffle='lanes', weights=WEIGHTS, lanes=6, window=2),
        False,
    ),
    'upright': (dict(shuffle='full'), True),
    'upright lanes': (dict(shuffle='lanes', lanes=16), True),
}
RUNS = list(itertools.product(MODES, EPOCHS))


def only_id(info: dict) -> int:
    """A pipeline that reads no image."""
    return info['img_id']


@pytest.fixture(scope='module')
def dataset(tmp_path_factory) -> DeepLakeDataset:
    """71 rows in eight stored chunks."""
    path = write_mixed(
        tmp_path_factory.mktemp('order') / 'lake', [9, 1, 12, 13, 8, 2, 19, 7]
    )
    return DeepLakeDataset(path, pipeline=[only_id])


def batches_of(
    dataset: DeepLakeDataset, mode: str, rank: int, ranks: int, batch_size: int
) -> BatchSampler:
    """The batch sampler of a rank."""
    keys, by_orientation = MODES[mode]
    sampler = on_rank(dataset, rank, ranks, seed=7, **keys)
    kind = DeepLakeAspectRatioBatchSampler if by_orientation else BatchSampler
    return kind(sampler, batch_size, drop_last=False)


class Switched:
    """The batch sampler of a dataloader whose workers live on from run to run."""

    def __init__(self) -> None:
        self.now: Any = ()

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.now)

    def __len__(self) -> int:
        return len(self.now)


def make_loader(dataset: DeepLakeDataset, workers: int) -> DataLoader:
    """A real dataloader, whose batch sampler can be exchanged between epochs."""
    return DataLoader(
        dataset,
        batch_sampler=Switched(),
        num_workers=workers,
        collate_fn=list,
        persistent_workers=workers > 0,
        multiprocessing_context='fork' if workers else None,
    )


def dealt(loader: DataLoader, ranks: int, size: int) -> dict[tuple[str, int], list]:
    """(mode, epoch) -> global batches of ``size``: one sample of each rank in turn."""
    found = {}
    for mode, epoch in RUNS:
        parts = []
        for rank in range(ranks):
            batches = batches_of(loader.dataset, mode, rank, ranks, size // ranks)
            batches.sampler.set_epoch(epoch)
            loader.batch_sampler.now = batches
            parts.append(list(loader))
        assert len({len(part) for part in parts}) == 1
        found[mode, epoch] = [
            [sample for turn in zip(*step) for sample in turn] for step in zip(*parts)
        ]
    return found


def joined(batches: list[list[int]]) -> list[int]:
    """Batches one after the other."""
    return [sample for batch in batches for sample in batch]


@pytest.fixture(scope='module', params=WORKERS, ids='{} workers'.format)
def loader(request, dataset) -> DataLoader:
    """A dataloader with so many workers."""
    return make_loader(dataset, request.param)


@pytest.fixture(scope='module')
def alone(dataset) -> dict[int, dict]:
    """What one process without workers sees, by global batch."""
    loader = make_loader(dataset, 0)
    return {size: dealt(loader, 1, size) for size in GLOBAL_BATCHES}


@pytest.mark.filterwarnings('ignore:This DataLoader will create')
@pytest.mark.parametrize('ranks', RANKS)
def test_global_batches_are_the_same_in_every_cell(ranks, loader, alone):
    """Any ranks and workers: the ordered global batches of one process alone.

    The last is filled up to a multiple of the ranks from the order's beginning.
    """
    for size in GLOBAL_BATCHES:
        found = dealt(loader, ranks, size)
        for key, expected in alone[size].items():
            assert found[key][:-1] == expected[:-1], key
            rest, padded = expected[-1], found[key][-1]
            assert len(rest) == ROWS % size and padded[: len(rest)] == rest, key
            assert len(padded) == len(rest) + -ROWS % ranks, key
            if not MODES[key[0]][1]:
                assert padded[len(rest) :] == joined(expected)[: -ROWS % ranks], key


def test_the_order_does_not_depend_on_the_batch(alone):
    """Global batches of 8 and of 16 cut one order, but for batches of one kind."""
    for mode, epoch in RUNS:
        if not MODES[mode][1]:
            orders = [joined(alone[size][mode, epoch]) for size in GLOBAL_BATCHES]
            assert orders[0] == orders[1]


@pytest.mark.parametrize(('mode', 'epoch'), RUNS)
def test_an_epoch_visits_each_row_once(mode, epoch, alone):
    """Each epoch is a permutation; weighted, rows come about as often as asked."""
    for size in GLOBAL_BATCHES:
        seen = np.bincount(joined(alone[size][mode, epoch]), minlength=ROWS)
        if 'weighted' in mode:
            asked = np.arange(1, ROWS + 1) / (ROWS + 1) * 2
            assert (np.abs(seen - asked) < 1).all() and seen.sum() == ROWS
        else:
            assert seen.tolist() == [1] * ROWS


@pytest.mark.parametrize('mode', [mode for mode in MODES if mode != 'none'])
def test_epochs_and_seeds_differ(mode, dataset):
    """No two of three epochs of three seeds agree."""
    orders = set()
    for seed, epoch in itertools.product((0, 1, 7), EPOCHS):
        sampler = DeepLakeLoader(dataset, seed=seed, **MODES[mode][0])
        sampler.set_epoch(epoch)
        orders.add(tuple(sampler))
    assert len(orders) == 9


def test_in_sequence_rows_come_as_they_lie(alone):
    """shuffle=False is 0, 1, 2, … in every epoch."""
    for epoch in EPOCHS:
        assert joined(alone[8]['none', epoch]) == list(range(ROWS))


def test_a_full_shuffle_is_the_plain_permutation(alone):
    """shuffle='full' knows nothing of chunks."""
    for epoch in EPOCHS:
        expected = epoch_order(ROWS, 7, epoch, shuffle=True).tolist()
        assert joined(alone[8]['full', epoch]) == expected


def test_lanes_are_another_order_for_another_number_of_lanes_only(dataset):
    """Where batch_size and num_workers choose the lanes, these tell the order."""
    plain = list(DeepLakeLoader(dataset, shuffle='lanes', seed=0))
    told = DeepLakeLoader(dataset, shuffle='lanes', seed=0, batch_size=5, num_workers=3)
    assert told.lanes == 75 and list(told) != plain
    told = DeepLakeLoader(dataset, shuffle='lanes', seed=0, batch_size=8, num_workers=4)
    assert told.lanes == 64 and list(told) == plain
    for keys in (dict(batch_size=5, num_workers=3), dict(loader_type='c++')):
        stated = DeepLakeLoader(dataset, shuffle='lanes', seed=0, lanes=64, **keys)
        assert list(stated) == plain


@pytest.mark.parametrize('mode', MODES)
def test_the_state_of_an_order_gives_it_again(mode, dataset):
    """order_state() of one run makes another go on with the same order."""
    first = batches_of(dataset, mode, 0, 1, 8)
    keys = {**MODES[mode][0], 'lanes': 5, 'window': 1, 'seed': 1}
    second = type(first)(DeepLakeLoader(dataset, **keys), 8, False)
    assert list(second) != list(first) or mode == 'none'
    second.sampler.load_order_state(first.sampler.order_state())
    assert list(second) == list(first)
    assert second.sampler.order_state() == first.sampler.order_state()


def test_a_state_leaves_the_kind_of_shuffle(dataset):
    """What was planned for a full shuffle stays one: reading was planned for it."""
    lanes = DeepLakeLoader(dataset, shuffle='lanes', seed=0)
    full = DeepLakeLoader(dataset, shuffle='full', seed=0)
    expected = list(full)
    full.load_order_state(lanes.order_state())
    assert full.shuffle == 'full' and list(full) == expected


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('rank', [0, 2])
def test_a_rank_goes_on_behind_what_is_skipped(mode, rank, dataset):
    """skip() leaves out the beginning of the next epoch only; what is kept comes first."""
    sampler = on_rank(dataset, rank, 3, seed=7, **MODES[mode][0])
    everything = list(sampler)
    sampler.skip(11)
    assert list(sampler) == everything[11:]
    assert list(sampler) == everything
    sampler.skip(9, keep=[everything[4], everything[8]])
    assert list(sampler) == [everything[4], everything[8], *everything[9:]]
    sampler.skip(len(everything))
    assert list(sampler) == []
    for count in (-1, 25):
        with pytest.raises(ValueError, match=f'cannot skip {count} samples of the 24 '):
            sampler.skip(count)
