"""Each worker gets a run of neighbouring batches, and results stay complete."""

from __future__ import annotations

import itertools
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import pytest

from mmdet_deeplake_plugin.shuffle.by_worker import by_worker_order, reader_of_positions
from mmdet_deeplake_plugin.shuffle.epoch import epoch_order, rank_length, rank_slice

RANKS = (1, 2, 3, 8)
READERS = (1, 2, 3, 4)
BATCHES = (1, 2, 5, 16)
ROWS = (0, 1, 2, 7, 47, 64, 239, 1000)
LAYOUTS = ('equal', 'uneven', 'large')
SHAPES = list(itertools.product(RANKS, READERS, BATCHES, (True, False)))


def collected(parts: list[list[Any]], size: int) -> list[Any]:
    """What MMEngine makes of the results of all ranks."""
    zipped = chain.from_iterable(zip_longest(*parts))
    return [each for each in zipped if each is not None][:size]


def dealt(rows: np.ndarray, readers: int, size: int) -> list[list[list[int]]]:
    """Batches of each worker of a rank, as PyTorch deals them."""
    batches = [rows[at : at + size].tolist() for at in range(0, len(rows), size)]
    return [batches[reader::readers] for reader in range(readers)]


def chunks_of(count: int, layout: str) -> np.ndarray:
    """Chunk of each row."""
    if layout == 'equal':
        return np.arange(count) // 20
    if layout == 'large':
        return np.arange(count) // 400
    sizes = np.random.default_rng(count).integers(1, 40, count + 1)
    return np.repeat(np.arange(len(sizes)), sizes)[:count]


@pytest.mark.parametrize(('ranks', 'readers', 'size', 'round_up'), SHAPES)
def test_each_sample_is_collected_once(ranks, readers, size, round_up):
    """MMEngine's interleaving, cut to the dataset's length, has all of them."""
    for count in ROWS:
        order = by_worker_order(count, ranks, readers, size, round_up)
        parts = [order[rank::ranks] for rank in range(ranks)]
        lengths = [rank_length(count, rank, ranks, round_up) for rank in range(ranks)]
        assert [len(part) for part in parts] == lengths
        found = collected([part.tolist() for part in parts], count)
        assert sorted(found) == list(range(count))
        # What is repeated to round up comes behind all others.
        assert found == order[:count].tolist()


@pytest.mark.parametrize(('ranks', 'readers', 'size', 'round_up'), SHAPES)
def test_batches_are_those_of_the_dataset_in_sequence(ranks, readers, size, round_up):
    """The same samples together, in the same places of their batch."""
    for count in ROWS:
        order = by_worker_order(count, ranks, readers, size, round_up)
        plain = epoch_order(count, 0, 0, shuffle=False)
        ours, theirs = [], []
        for rank in range(ranks):
            ours += dealt(order[rank::ranks], 1, size)[0]
            slices = rank_slice(plain, rank, ranks, round_up) if count else plain
            theirs += dealt(slices, 1, size)[0]
        assert sorted(ours) == sorted(theirs)


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize(('ranks', 'readers', 'size', 'round_up'), SHAPES)
def test_workers_share_chunks_at_their_ends_only(ranks, readers, size, round_up, layout):
    """A chunk belongs to one worker, but for those at the two ends of a run.

    A run ends within the batches of one step of all ranks, ``ranks * size`` samples.
    The last batch of a rank, which may have to stay where it is, lies at the end of the
    dataset.
    """
    for count in ROWS:
        order = by_worker_order(count, ranks, readers, size, round_up)
        chunk = chunks_of(count, layout)
        owners: dict[int, set[tuple[int, int]]] = {}
        step = ranks * size
        ends = set(chunk[max(count - 2 * step, 0) :].tolist())
        for rank in range(ranks):
            workers = dealt(order[rank::ranks], readers, size)
            for reader, batches in enumerate(workers):
                for each in chunk[list(chain.from_iterable(batches))].tolist():
                    owners.setdefault(each, set()).add((rank, reader))
                starts = sorted(batch[0] // step * step for batch in batches)
                # The last but one is the end of the run where the last one is no part.
                for start in (*starts[:1], *starts[-2:]):
                    ends |= set(chunk[start : start + step].tolist())
        for each, who in owners.items():
            assert len(who) == 1 or each in ends, (count, each, who)


@pytest.mark.parametrize('readers', [1, 2, 4])
@pytest.mark.parametrize('ranks', [1, 2, 4])
def test_chunks_are_visited_once_but_for_one_at_each_cut(ranks, readers):
    """One image a batch: as many visits as chunks, and one more for each further worker.

    In sequence, each worker visits about every chunk.
    """
    chunk = np.sort(np.random.default_rng(0).integers(0, 100, 5000))

    def visits(order: np.ndarray) -> int:
        count = 0
        for rank in range(ranks):
            own = chunk[order[rank::ranks]]
            who = reader_of_positions(len(own), readers, 1)
            count += sum(len(np.unique(own[who == each])) for each in range(readers))
        return count

    order = by_worker_order(5000, ranks, readers, 1, round_up=False)
    assert visits(order) <= 100 + ranks * readers - 1
    assert visits(np.arange(5000)) == 100 * ranks * readers


def test_one_worker_alone_goes_in_sequence():
    """Nothing to divide: the dataset's own order."""
    for size in BATCHES:
        assert by_worker_order(47, 1, 1, size, True).tolist() == list(range(47))


def test_the_drawing_of_the_module():
    """Twelve batches of one sample for two workers, as in the docstring."""
    expected = [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]
    assert by_worker_order(12, 1, 2, 1, False).tolist() == expected
