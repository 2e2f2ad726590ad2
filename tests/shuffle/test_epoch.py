"""The order of rows: pure properties over a grid of ranks and rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mmdet_deeplake_plugin.shuffle.epoch import epoch_order, rank_length, rank_slice

RANKS = (1, 2, 3, 4, 8)
ROWS = (1, 2, 3, 7, 8, 9, 64, 101)
GRID = list(itertools.product(ROWS, RANKS))


@pytest.mark.parametrize('rows', ROWS)
@pytest.mark.parametrize(('seed', 'epoch'), [(0, 0), (0, 9), (7, 0), (2**31, 123)])
def test_an_epoch_visits_each_row_once(rows, seed, epoch):
    """Shuffled or not, an epoch is a permutation of the rows."""
    for shuffle in (True, False):
        order = epoch_order(rows, seed, epoch, shuffle)
        assert order.dtype == np.int64
        assert sorted(order.tolist()) == list(range(rows))


def test_without_shuffle_rows_come_as_they_lie():
    """shuffle=False is 0, 1, 2, … whatever seed and epoch."""
    for seed, epoch in ((0, 0), (5, 3)):
        assert epoch_order(9, seed, epoch, shuffle=False).tolist() == list(range(9))


def test_no_rows_give_no_order():
    """An empty dataset has an empty epoch on every rank, rounded up or not."""
    for rank, round_up in itertools.product(range(3), (True, False)):
        order = epoch_order(0, 0, 0, shuffle=True)
        assert rank_slice(order, rank, 3, round_up).tolist() == []
        assert rank_length(0, rank, 3, round_up) == 0


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    """The same pair gives the same order, whatever numpy's global state is."""
    np.random.seed(1)
    first = epoch_order(100, 3, 4, shuffle=True)
    np.random.seed(2)
    np.random.rand(7)
    assert np.array_equal(first, epoch_order(100, 3, 4, shuffle=True))


def test_every_pair_of_seed_and_epoch_has_its_own_order():
    """No two of 8 seeds x 8 epochs agree; seed 1, epoch 0 is not seed 0, epoch 1."""
    orders = {
        tuple(epoch_order(50, seed, epoch, shuffle=True).tolist())
        for seed, epoch in itertools.product(range(8), repeat=2)
    }
    assert len(orders) == 64


def test_the_shuffle_puts_each_row_anywhere_equally_often():
    """Over 4,000 epochs of four rows each place holds each row a quarter of the time."""
    counts = np.zeros((4, 4))
    for epoch in range(4000):
        counts[np.arange(4), epoch_order(4, 0, epoch, shuffle=True)] += 1
    assert np.abs(counts / 4000 - 0.25).max() < 0.04  # six standard deviations


def test_the_order_of_a_seed_never_changes_between_releases():
    """Runs can be repeated: this order is part of the contract."""
    assert epoch_order(8, 0, 0, True).tolist() == [3, 6, 4, 0, 7, 5, 2, 1]
    assert epoch_order(8, 0, 1, True).tolist() == [1, 4, 6, 5, 7, 3, 2, 0]
    assert epoch_order(8, 1, 0, True).tolist() == [1, 7, 0, 4, 6, 3, 5, 2]


@pytest.mark.parametrize(('rows', 'ranks'), GRID)
def test_ranks_interleave_to_the_same_global_order(rows, ranks):
    """Dealt one by one from all ranks in turn, the rows come in the global order."""
    order = epoch_order(rows, 1, 2, shuffle=True)
    parts = [rank_slice(order, rank, ranks, round_up=False) for rank in range(ranks)]
    dealt = [
        int(part[turn])
        for turn in range(max(map(len, parts)))
        for part in parts
        if turn < len(part)
    ]
    assert dealt == order.tolist()


@pytest.mark.parametrize(('rows', 'ranks'), GRID)
def test_rounding_up_repeats_the_beginning_and_nothing_else(rows, ranks):
    """Interleaved, equally long ranks are the order followed by its own beginning."""
    order = epoch_order(rows, 1, 2, shuffle=True)
    parts = [rank_slice(order, rank, ranks, round_up=True) for rank in range(ranks)]
    assert len({len(part) for part in parts}) == 1
    dealt = np.stack(parts, axis=1).ravel().tolist()
    endless = list(itertools.islice(itertools.cycle(order.tolist()), len(dealt)))
    assert dealt == endless
    assert len(dealt) - rows < ranks


@pytest.mark.parametrize(('rows', 'ranks'), GRID)
@pytest.mark.parametrize('round_up', [True, False])
def test_the_length_is_that_of_the_slice(rows, ranks, round_up):
    """rank_length says what rank_slice holds, and ranks differ by one at most."""
    order = epoch_order(rows, 0, 0, shuffle=False)
    lengths = [rank_length(rows, rank, ranks, round_up) for rank in range(ranks)]
    slices = [rank_slice(order, rank, ranks, round_up) for rank in range(ranks)]
    assert lengths == [len(part) for part in slices]
    assert max(lengths) - min(lengths) <= (0 if round_up else 1)
