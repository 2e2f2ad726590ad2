"""Which chunks a sample is mixed from, and how well that mixes an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from helpers.mixing import MixQuality, measure_mixing
from numpy.typing import NDArray

from mmdet_deeplake_plugin.shuffle.epoch import epoch_order
from mmdet_deeplake_plugin.shuffle.lanes import ChunkIndex, Lanes
from mmdet_deeplake_plugin.shuffle.partners import lanes_of_reader, open_chunks

SIZES = [20, 31, 1, 48, 0, 12, 20, 40, 28, 17]
CHUNKS = np.repeat(np.arange(len(SIZES)), SIZES)
INDEX = ChunkIndex.from_chunks(CHUNKS, len(SIZES))
GRID = [
    pytest.param(world, workers, batch, lanes, id=f'{world}x{workers}x{batch}-{lanes}')
    for world in (1, 2, 3)
    for workers in (1, 2, 4)
    for batch in (1, 2)
    for lanes in (5, 8, 24)
]


@pytest.mark.parametrize('skipped', [0, 1, 3])
@pytest.mark.parametrize(('world', 'workers', 'batch', 'lanes'), GRID)
def test_the_lanes_are_those_that_a_process_meets(world, workers, batch, lanes, skipped):
    """Also after a resume, when batches are dealt to other workers."""
    positions = np.arange(world * batch * skipped, 4 * lanes * world * workers * batch)
    batches = positions // (world * batch)
    process = positions % world + world * ((batches - skipped) % workers)
    for number in np.unique(process):
        own = positions[process == number]
        met = np.unique(own % lanes).tolist()
        for position in own[:: max(len(own) // 20, 1)].tolist():
            found = lanes_of_reader(lanes, position, world, workers, batch)
            assert found.tolist() == met


@pytest.mark.parametrize('window', [1, 2, 3])
@pytest.mark.parametrize('lanes', [1, 4, 7, 64])
def test_open_chunks_are_those_of_the_turns_draws(lanes, window):
    """Each lane's chunks are open from the first draw of them to the last."""
    order = Lanes(INDEX, lanes, window, 3, 0)
    every = np.arange(lanes)
    for turn in range(-(-len(INDEX) // lanes)):
        opened = set(open_chunks(order, every, turn * lanes).tolist())
        for lane in range(lanes):
            drawn = CHUNKS[order.lane(lane)]
            if turn < len(drawn):
                assert drawn[turn] in opened
                assert set(order.open_chunks(lane, turn)) <= opened
                if window == 1:
                    assert order.open_chunks(lane, turn).tolist() == [drawn[turn]]
                else:
                    # A chunk that is not open is drawn before or afterwards alone.
                    closed = set(drawn) - set(order.open_chunks(lane, turn))
                    assert not closed & set(drawn[:turn]) & set(drawn[turn:])
                    assert len(order.open_chunks(lane, turn)) <= window
            else:
                assert not len(order.open_chunks(lane, turn))


def test_behind_the_end_of_an_epoch_its_last_turn_counts():
    """Samples that round up the epoch are mixed from what is still held."""
    order = Lanes(INDEX, 8, 1, 0, 0)
    last = open_chunks(order, np.arange(8), len(INDEX) - 1)
    assert open_chunks(order, np.arange(8), len(INDEX) + 5).tolist() == last.tolist()
    assert len(last)


# ------------------------------------------------------------------------------- quality


def test_pairs_count_in_either_direction():
    """(0, 1) comes again as (1, 0) and once more; of three samples, 0 and 1 are drawn."""
    found = measure_mixing(
        np.array([0, 1, 2]), np.array([[1, 1], [0, 1], [0, 1]]), np.array([2, 2, 8]), 3
    )
    assert found == MixQuality(entropy=5 / 3, ever=2 / 3, repeated=pytest.approx(1 / 3))


COCO, ROWS, COUNT = 117_266, 64, 4  # images in chunks of 64; Mosaic and MixUp take 4


def _processes(
    order: NDArray[np.integer], world: int, workers: int, batch: int
) -> Iterator[NDArray[np.int64]]:
    """Positions of each process that reads."""
    positions = np.arange(len(order))
    process = positions % world * workers + positions // (world * batch) % workers
    for number in range(world * workers):
        yield positions[process == number]


def _from_open_chunks(lanes: int, world: int, workers: int, batch: int) -> MixQuality:
    index = ChunkIndex.from_chunks(np.arange(COCO) // ROWS, -(-COCO // ROWS))
    order, rng = Lanes(index, lanes, 1, 0, 0), np.random.default_rng(0)
    samples = order.rank_slice(0, 1, COCO)
    others = np.empty((COCO, COUNT), np.int64)
    drawn_from = np.empty(COCO, np.int64)
    for positions in _processes(samples, world, workers, batch):
        own = lanes_of_reader(lanes, int(positions[0]), world, workers, batch)
        turns = positions // lanes
        for part in np.split(positions, np.flatnonzero(np.diff(turns)) + 1):
            chunks = open_chunks(order, own, int(part[0]))
            candidates = np.concatenate(
                [np.arange(c * ROWS, min(c * ROWS + ROWS, COCO)) for c in chunks]
            )
            others[part] = rng.choice(candidates, (len(part), COUNT))
            drawn_from[part] = len(candidates)
    return measure_mixing(samples, others, drawn_from, COCO)


def _from_cache(size: int, workers: int, batch: int) -> MixQuality:
    """CachedMosaic and CachedMixUp: of the last images, one is dropped at random."""
    samples, rng = epoch_order(COCO, 0, 0, shuffle=True), np.random.default_rng(0)
    others = np.empty((COCO, COUNT), np.int64)
    for positions in _processes(samples, 1, workers, batch):
        cache: list[int] = []
        for position in positions.tolist():
            cache.append(int(samples[position]))
            if len(cache) > size:
                cache.pop(rng.integers(len(cache) - 1))
            others[position] = [cache[i] for i in rng.integers(len(cache), size=COUNT)]
    return measure_mixing(samples, others, np.full(COCO, size), COCO)


def _from_all() -> MixQuality:
    samples = epoch_order(COCO, 0, 0, shuffle=True)
    others = np.random.default_rng(0).integers(COCO, size=(COCO, COUNT))
    return measure_mixing(samples, others, np.full(COCO, COCO), COCO)


@pytest.mark.parametrize('world', [1, 2, 3, 8])
def test_samples_that_round_an_epoch_up_have_partners(world):
    """Whatever the number of samples, and though their own lanes may have ended."""
    lanes, workers, batch = 16 * world, 2, 4
    for count in range(lanes, 3 * lanes):
        index = ChunkIndex.from_chunks(np.arange(count) // 3, -(-count // 3))
        order = Lanes(index, lanes, 1, 0, 0)
        end = world * -(-count // world)
        for position in range(count - 1, end):
            own = lanes_of_reader(lanes, position, world, workers, batch)
            assert len(open_chunks(order, own, position))


# What docs/loader.md says: bits of a draw, share that is ever drawn, pairs that repeat.
MIXED = {
    'all samples': (_from_all, 16.84, 0.982, 0.0000),
    '1 rank, 2 workers': (lambda: _from_open_chunks(64, 1, 2, 8), 10.98, 0.981, 0.0014),
    '8 ranks, 4 workers': (lambda: _from_open_chunks(256, 8, 4, 8), 9.0, 0.981, 0.0055),
    'a cache of 40 images': (lambda: _from_cache(40, 2, 8), 5.32, 0.809, 0.037),
}


@pytest.mark.parametrize(
    ('make', 'entropy', 'ever', 'repeated'), MIXED.values(), ids=MIXED
)
def test_how_well_an_epoch_is_mixed(make, entropy, ever, repeated):
    """Open chunks mix far better than a cache of 40 images, nearly as well as all."""
    found = make()
    assert found.entropy == pytest.approx(entropy, abs=0.01)
    assert found.ever == pytest.approx(ever, abs=0.002)
    assert found.repeated == pytest.approx(repeated, abs=0.0005)
