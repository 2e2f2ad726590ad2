"""Batches of one group each: pure properties over random orders."""

from __future__ import annotations

import numpy as np
import pytest
from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmdet.utils import register_all_modules
from torch.utils.data import Sampler

from mmdet_deeplake_plugin.shuffle.batches import global_batches, num_batches, spread

register_all_modules()


def random_case(number: int) -> tuple[np.ndarray, np.ndarray, int, int, bool]:
    """An order, groups, batch size of a rank, ranks and drop_last."""
    rng = np.random.default_rng(number)
    samples = int(rng.choice([0, 1, 2, 7, rng.integers(0, 300)]))
    upright = rng.choice([0.0, 1.0, 0.5, rng.random()])
    groups = np.where(rng.random(samples) < upright, 0, 1)
    order = rng.permutation(samples)
    if number % 5 == 0:  # as a weighted order: some twice, some never
        order = rng.integers(0, max(samples, 1), samples)
    size, ranks = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    return order, groups, size, ranks, bool(number % 2)


@pytest.mark.parametrize('number', range(200))
def test_ranks_have_batches_alike(number):
    """As many, as large and of the same orientation on all ranks, and len() is true."""
    order, groups, size, ranks, drop_last = random_case(number)
    batches = global_batches(order, groups, size * ranks, ranks, drop_last)
    assert len(batches) == num_batches(len(order), size * ranks, drop_last)
    for batch in batches:
        parts = [batch[rank::ranks] for rank in range(ranks)]
        assert len({len(part) for part in parts}) == 1
        assert 1 <= len(parts[0]) <= size
    for batch in batches[:-1] if batches else ():
        assert len(batch) == size * ranks
    counts = [np.count_nonzero(groups[order] == group) for group in (0, 1)]
    pure = sum(count // (size * ranks) for count in counts)
    assert all(len(set(groups[batch].tolist())) == 1 for batch in batches[:pure])
    assert len(batches) - pure <= 2  # what was left of both groups


@pytest.mark.parametrize('number', range(200))
def test_each_sample_is_dealt_once(number):
    """All of the order but a last part batch, filled up from the order's beginning."""
    order, groups, size, ranks, drop_last = random_case(number)
    batches = global_batches(order, groups, size * ranks, ranks, drop_last)
    dealt = np.concatenate([*batches, np.empty(0, np.int64)]).tolist()
    if drop_last:
        assert len(dealt) == len(order) // (size * ranks) * size * ranks
        left = sorted(order.tolist())
        for sample in dealt:
            left.remove(sample)
        assert len(left) < size * ranks
    else:
        padding = -len(order) % ranks
        assert len(dealt) == len(order) + padding
        assert sorted(dealt[: len(order)]) == sorted(order.tolist())
        endless = np.resize(order, padding) if len(order) else order
        assert dealt[len(order) :] == endless.tolist()


@pytest.mark.parametrize('number', range(200))
def test_one_rank_has_the_stock_batches(number):
    """With one rank they are AspectRatioBatchSampler's, in its order.

    With drop_last that loses the last batch of the left-overs even if it is full.
    """
    order, groups, size, _, drop_last = random_case(number)
    found = [b.tolist() for b in global_batches(order, groups, size, 1, drop_last)]
    stock = AspectRatioBatchSampler(Listed(order, groups), size, drop_last)
    left = sum(int(np.count_nonzero(groups[order] == group)) % size for group in (0, 1))
    loses = drop_last and left > 0 and left % size == 0
    assert (found[:-1] if loses else found) == list(stock)
    assert len(found) == len(stock)


def test_batches_come_when_they_are_full():
    """Groups 0 1 0 1 1 0 0 in pairs: 0 2, 1 3, 5 6 when complete, and 4 is left."""
    groups = np.array([0, 1, 0, 1, 1, 0, 0])
    batches = global_batches(np.arange(7), groups, 2, 1, drop_last=False)
    assert [batch.tolist() for batch in batches] == [[0, 2], [1, 3], [5, 6], [4]]


def test_batches_are_the_same_for_any_number_of_ranks():
    """But for what fills up the last, only the global batch counts."""
    rng = np.random.default_rng(0)
    order, groups = rng.permutation(101), rng.integers(0, 2, 101)
    made = [global_batches(order, groups, 24, ranks, False) for ranks in (1, 2, 3, 8)]
    for batches in made[1:]:
        pairs = list(zip(made[0], batches))
        assert all(np.array_equal(one, other) for one, other in pairs[:-1])
        assert np.array_equal(pairs[-1][0], pairs[-1][1][: len(pairs[-1][0])])


# ---------------------------------------------------------------------------- spread


@pytest.mark.parametrize('lengths', [(), (0,), (5,), (0, 40), (64, 64), (3, 200, 17)])
@pytest.mark.parametrize('block', [1, 8])
def test_spreading_keeps_each_order_in_sequence(lengths, block):
    """Every sample comes once, blocks whole, and the samples of an order in its order."""
    starts = np.cumsum([0, *lengths])
    parts = [np.arange(start, start + n) for start, n in zip(starts, lengths)]
    mixed = spread(parts, block, (0, 0))
    assert mixed.dtype == np.int64
    assert sorted(mixed.tolist()) == list(range(starts[-1]))
    whole = sum(n // block for n in lengths) * block
    blocks = mixed[:whole].reshape(-1, block)
    assert (np.diff(blocks, axis=1) == 1).all()
    for start, n in zip(starts, lengths):
        own = mixed[(mixed >= start) & (mixed < start + n)]
        assert own.tolist() == list(range(start, start + n))


def test_spreading_is_even():
    """Each tenth of the whole has its tenth of both orders, to a block or two."""
    mixed = spread([np.arange(800), np.arange(800, 1000)], 4, (3, 1))
    for tenth in mixed.reshape(10, 100):
        assert abs(int((tenth >= 800).sum()) - 20) <= 8


def test_spreading_is_a_function_of_its_seed():
    """The same seed gives the same places, another others; this one is pinned."""
    parts = [np.arange(6), np.arange(6, 10)]
    assert spread(parts, 2, (0, 0)).tolist() == [0, 1, 2, 3, 6, 7, 8, 9, 4, 5]
    mixtures = {tuple(spread(parts, 2, (0, epoch)).tolist()) for epoch in range(9)}
    assert len(mixtures) > 3


class Listed(Sampler):
    """A sampler of a list of samples whose sizes tell their group."""

    def __init__(self, order: np.ndarray, groups: np.ndarray) -> None:
        self.order, self.groups, self.dataset = order.tolist(), groups, self

    def __iter__(self):
        return iter(self.order)

    def __len__(self) -> int:
        return len(self.order)

    def get_data_info(self, index: int) -> dict:
        """Width and height of a sample: upright in group 0."""
        return {'width': 3 + int(self.groups[index]), 'height': 4}
