"""Chunks are asked for before they are needed, so that a worker need not wait.

Counted in samples, with chunks that come at once: nothing here is timed.
"""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest
from numpy.typing import NDArray

from mmdet_deeplake_plugin.lake import ChunkCache, ReadPlan
from mmdet_deeplake_plugin.samplers.read_strategy import ChunkReads
from mmdet_deeplake_plugin.shuffle.lanes import ChunkIndex, Lanes

ROWS = 53  # of a chunk


class Chunks:
    """Chunks of equal length, whose images are their rows in bytes."""

    def chunk_rows(self, chunk: int) -> tuple[int, int]:
        return chunk * ROWS, (chunk + 1) * ROWS

    def read_chunk(self, chunk: int) -> list[bytes]:
        return [b'%d' % row for row in range(*self.chunk_rows(chunk))]


class Recorded(ChunkCache):
    """The cache of a worker; notes at which sample it asked for a chunk."""

    now = 0
    asked: dict[int, int]

    def _may_read_ahead(self) -> bool:
        return True

    def _begin_to_read(self, chunk: int) -> Future[list[bytes]]:
        self.asked.setdefault(chunk, self.now)
        coming: Future[list[bytes]] = Future()
        coming.set_result(self._read(chunk))
        return coming


def leads(
    plan: ReadPlan, order: NDArray[np.integer], workers: int, batch_size: int, lanes: int
) -> list[int]:
    """For each chunk, how many samples before the first of its own it was asked for.

    Without the chunks that the lanes of each worker begin with.
    """
    found = []
    for worker in range(workers):
        cache, used = Recorded(plan, [Chunks()], [0]), set()
        cache.asked = {}
        for start in range(worker * batch_size, len(order), workers * batch_size):
            rows = order[start : start + batch_size]
            cache.fetch(set((rows // ROWS).tolist()))
            for row in rows.tolist():
                assert cache.take(row // ROWS, row) == b'%d' % row
                if row // ROWS not in used and cache.now >= lanes // workers:
                    found.append(cache.now - cache.asked[row // ROWS])
                used.add(row // ROWS)
                cache.now += 1
    return found


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize(
    ('chunks', 'lanes', 'workers', 'batch_size'),
    [(57, 16, 2, 8), (400, 64, 4, 8), (300, 64, 1, 16)],
)
def test_chunks_are_asked_for_in_time(chunks, lanes, workers, batch_size, seed):
    """At least a turn of the lanes before, also where two lanes begin in one chunk."""
    index = ChunkIndex.from_chunks(np.repeat(np.arange(chunks), ROWS), chunks)
    plan = ReadPlan(
        expected=index.sizes,
        slots=4,
        share=1.0,
        per_worker=False,
        once=True,
        alone=True,
        cache_bytes=1 << 40,
    )
    order = Lanes(index, lanes, 1, seed, 0)
    ChunkReads(index, plan).begin([order], 0)
    rows = order.rank_slice(0, 1, len(index))
    found = leads(plan, rows, workers, batch_size, lanes)
    assert len(found) >= chunks - lanes
    turn = lanes // workers  # samples of a worker
    late = [lead for lead in found if lead < turn]
    # A lane may leave its first chunk after a single sample.
    assert len(late) <= 2, sorted(found)[: lanes // 2]


@pytest.mark.parametrize('skipped', [0, 1, 40, 117])
@pytest.mark.parametrize('lanes', [1, 4, 7])
def test_what_a_lane_has_left_of_its_chunk(lanes, skipped):
    """As many draws in sequence stay in the chunk as were told, and no more."""
    sizes = [20, 31, 1, 48, 12, 20, 40, 28]
    index = ChunkIndex.from_chunks(np.repeat(np.arange(8), sizes), 8)
    chunk_of = np.repeat(np.arange(8), sizes)
    order = Lanes(index, lanes, 1, 3, 0)
    for lane in range(lanes):
        chunks = chunk_of[order.lane(lane)][skipped:]
        left = order.left_of_chunk(lane, skipped)
        if not len(chunks):
            assert left == 0
            continue
        assert chunks[0] == order.chunk_at(lane, skipped)
        changes = np.flatnonzero(np.diff(chunks))
        assert left == (changes[0] + 1 if len(changes) else len(chunks))


def _two_chunks() -> Recorded:
    """A cache of a worker whose plan goes from chunk 0 to chunk 1."""
    plan = ReadPlan(
        expected=np.array([ROWS, ROWS, ROWS]),
        slots=4,
        share=1.0,
        per_worker=False,
        once=False,
        alone=True,
        cache_bytes=1 << 40,
    )
    plan.announce(np.array([0]), [np.array([0, 1])], [ROWS])
    cache = Recorded(plan, [Chunks()], [0])
    cache.asked = {}
    return cache


def test_what_is_lent_uses_nothing_up():
    """Other images of a mosaic neither bring the next chunk early nor end their own."""
    cache = _two_chunks()
    cache.keep(frozenset([0]))
    for row in [*range(ROWS), *range(ROWS)]:
        with cache.lending():
            assert cache.take(0, row) == b'%d' % row
    assert cache.asked.keys() == {0}
    for row in range(ROWS):
        assert cache.take(0, row) == b'%d' % row
        assert (1 in cache.asked) is (2 * (row + 1) >= ROWS)
    with cache.lending():  # still kept, though its last row was taken
        assert cache.take(0, 5) == b'5'
    cache.keep(frozenset([1]))
    assert cache.take(0, 5) is None


def test_what_is_kept_is_read_also_if_the_plan_begins_behind_it():
    """As after a resume, for the chunk that a lane has left in the same turn."""
    cache = _two_chunks()
    assert cache.take(2, 2 * ROWS) is None
    cache.keep(frozenset([0, 2]))
    with cache.lending():
        assert cache.take(2, 2 * ROWS) == b'%d' % (2 * ROWS)
    assert cache.asked.keys() == {0, 2}
