"""An order that shuffles well and reads each stored chunk about once.

The chunks are shuffled and laid one after the other; the sequence of samples
that this gives is cut into ``lanes`` pieces of equal length, and position ``p``
of the epoch draws from lane ``p mod lanes``. So neighbours come from different
chunks, while a lane goes through one chunk after the other. PyTorch deals batch
``j`` to worker ``j mod workers``: with ``lanes`` a multiple of ranks x workers x
batch size, each worker only ever meets lanes of its own, and reads their chunks
once. Where it does not divide, the order is the same, and only locality suffers.

Every other lane runs backwards: the chunk that a cut divides is then at the end
of both lanes, or at the beginning of both, and is wanted at one time. Between the
lanes of two workers of a rank it is at the end (for an even batch size).

Pure functions of their arguments: no process state, no torch, no Deep Lake. A
lane is built without the others, so a rank builds only those that it meets.

Lanes that follow each other take pieces that follow each other, since they often
belong to one worker. With less than two chunks for a lane that would put samples of
one chunk into one batch, so the pieces of such small lakes are dealt far apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..utils.blocks import blocks
from ..utils.ragged import indices_of_ranges, offsets_of
from .epoch import rank_length

# Random keys are drawn in blocks, each with a generator of its own, so that a
# lane's keys are found without drawing those before.
_KEYS_AT_ONCE = 1 << 16
_CHUNKS_OF_A_LANE = 2


@dataclass(frozen=True)
class ChunkIndex:
    """The samples of a dataset by the chunk that holds them.

    Args:
        starts: Chunk ``c`` holds samples ``items[starts[c]:starts[c + 1]]``, shape
            ``(C + 1,)``.
        items: Sample indices by chunk, shape ``(N,)``; ``None`` where they are
            ``0, 1, 2, …``.
    """

    starts: NDArray[np.int64]
    items: NDArray[np.integer] | None = None

    @classmethod
    def from_chunks(cls, chunks: NDArray[np.integer], num_chunks: int) -> ChunkIndex:
        """Sorts samples by chunk.

        Args:
            chunks: Sample -> chunk, shape ``(N,)``.
            num_chunks: Number of chunks ``C``; some may hold no sample.
        """
        starts = offsets_of(np.bincount(chunks, minlength=num_chunks))
        if np.all(chunks[1:] >= chunks[:-1]):
            return cls(starts)
        items = np.argsort(chunks, kind='stable')
        return cls(starts, items.astype(_index_type(len(items)), copy=False))

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def item_type(self) -> type[np.integer]:
        """Type that holds any sample index."""
        if self.items is None:
            return _index_type(len(self))
        return self.items.dtype.type

    @property
    def num_chunks(self) -> int:
        """Number of chunks, with those that hold no sample."""
        return len(self.starts) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of samples in each chunk, shape ``(C,)``."""
        return np.diff(self.starts)

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sample indices at positions of the samples sorted by chunk."""
        if self.items is None:
            return positions
        return self.items[positions].astype(np.int64, copy=False)

    def repeated(self, counts: NDArray[np.integer]) -> ChunkIndex:
        """The index of a multiset of the samples.

        Args:
            counts: How often each sample occurs, shape ``(N,)``.
        """
        starts = np.zeros(len(self.starts), dtype=np.int64)
        items = np.empty(int(counts.sum()), dtype=self.item_type)
        done = passed = 0
        # Arrays of all counts would take gigabytes with a hundred million samples.
        for block in blocks(len(self)):
            samples = self.take(np.arange(block.start, block.stop))
            repeats = counts[samples]
            ends = offsets_of(repeats)
            beyond = int(np.searchsorted(self.starts, block.stop, side='right'))
            starts[passed:beyond] = done + ends[self.starts[passed:beyond] - block.start]
            items[done : done + ends[-1]] = np.repeat(samples, repeats)
            done, passed = done + int(ends[-1]), beyond
        return ChunkIndex(starts, items)

    def only(self, chosen: NDArray[np.bool_]) -> ChunkIndex:
        """The index of some of the samples, in the same chunks.

        Args:
            chosen: Whether a sample is kept, shape ``(N,)`` by sample index.
        """
        return self.repeated(chosen.view(np.int8))


class Lanes:
    """The lanes of one epoch.

    Args:
        index: Samples by chunk.
        lanes: Number of lanes, 1 or more.
        window: Number of chunks whose samples a lane mixes, 1 or more; a worker
            holds as many for each of its lanes.
        seed: Seed of the run, 0 or more.
        epoch: Number of the epoch, from 0.
        group: Number that gives several orders of one epoch keys of their own;
            they share the order of the chunks.
    """

    def __init__(
        self,
        index: ChunkIndex,
        lanes: int,
        window: int,
        seed: int,
        epoch: int,
        group: int = 0,
    ) -> None:
        self.index, self.lanes, self.window = index, lanes, window
        self._seed = (seed, epoch, 1 + group)
        keys = _keys((seed, epoch, 0), 0, index.num_chunks)
        self.sequence = np.argsort(keys, kind='stable')
        self._ends = np.cumsum(index.sizes[self.sequence])
        piece = _pieces(lanes, int(np.count_nonzero(index.sizes)))
        size, rest = divmod(len(index), lanes)
        lengths = size + (np.argsort(piece) < rest)  # of each piece: that of its lane
        stops = np.cumsum(lengths)
        self._starts = (stops - lengths)[piece]
        self._stops = stops[piece]
        self._backwards = piece % 2 == 0

    def __len__(self) -> int:
        return len(self.index)

    def bounds(self, lane: int) -> tuple[int, int]:
        """Where a lane begins and ends in the sequence of samples chunk by chunk."""
        return int(self._starts[lane]), int(self._stops[lane])

    def chunks(self, lane: int) -> NDArray[np.int64]:
        """The chunks of a lane, in the order in which it goes through them."""
        begin, end = self.bounds(lane)
        if begin == end:
            return np.empty(0, dtype=np.int64)
        first, last = self._span(begin, end)
        chunks = self.sequence[first : last + 1]
        chunks = chunks[self.index.sizes[chunks] > 0]
        return chunks[::-1] if self._backwards[lane] else chunks

    def chunk_at(self, lane: int, turn: int) -> int:
        """The chunk that a lane is at after ``turn`` draws, -1 when it is at its end."""
        begin, end = self.bounds(lane)
        if turn >= end - begin:
            return -1
        place = end - 1 - turn if self._backwards[lane] else begin + turn
        return int(self.sequence[np.searchsorted(self._ends, place, side='right')])

    def left_of_chunk(self, lane: int, turn: int) -> int:
        """How many draws in sequence a lane makes of its chunk after ``turn`` draws."""
        begin, end = self.bounds(lane)
        if turn >= end - begin:
            return 0
        place = end - 1 - turn if self._backwards[lane] else begin + turn
        where = int(np.searchsorted(self._ends, place, side='right'))
        if self._backwards[lane]:
            first = int(self._ends[where - 1]) if where else 0
            return place - max(first, begin) + 1
        return min(int(self._ends[where]), end) - place

    def lane(self, lane: int) -> NDArray[np.int64]:
        """The samples of a lane in their order."""
        begin, end = self.bounds(lane)
        if begin == end:
            return np.empty(0, dtype=np.int64)
        first, last = self._span(begin, end)
        chunks = self.sequence[first : last + 1]
        sizes = self.index.sizes[chunks]
        offset = int(self._ends[first] - sizes[0])
        ordinal = np.repeat(np.arange(len(chunks), dtype=np.uint64), sizes)
        positions = indices_of_ranges(self.index.starts[chunks], sizes)
        keys = _keys(self._seed, offset, int(self._ends[last]))
        # Inside its chunk first: two lanes that share a chunk must agree on who
        # takes which of its samples.
        shuffled = np.argsort(ordinal << np.uint64(32) | keys, kind='stable')
        shuffled = shuffled[begin - offset : end - offset]
        if self._backwards[lane]:
            shuffled = shuffled[::-1]
        if self.window > 1:
            passed = np.abs(
                ordinal[shuffled].astype(np.int64) - int(ordinal[shuffled[0]])
            )
            window = (passed // self.window).astype(np.uint64)
            mixed = window << np.uint64(32) | keys[shuffled]
            shuffled = shuffled[np.argsort(mixed, kind='stable')]
        return self.index.take(positions[shuffled])

    def rank_slice(self, rank: int, world_size: int, count: int) -> NDArray[np.integer]:
        """What a rank sees: positions ``rank, rank + world_size, …`` of the epoch.

        Args:
            rank: Rank of the process, ``0 <= rank < world_size``.
            world_size: Number of ranks.
            count: Number of samples; beyond the end the epoch's beginning repeats.

        Returns:
            Sample indices, shape ``(count,)``, of 32 bits where these suffice.
        """
        own = rank_length(len(self), rank, world_size, round_up=False)
        rows = np.empty(own, dtype=self.index.item_type)
        # Of so many draws of a lane that follow each other, one at most is the rank's.
        step = world_size // math.gcd(self.lanes, world_size)
        for lane in range(min(self.lanes, len(self))):
            for turn in range(step):
                position = lane + self.lanes * turn
                if position % world_size == rank and position < len(self):
                    place = (position - rank) // world_size
                    stride = self.lanes * step // world_size
                    rows[place::stride] = self.lane(lane)[turn::step]
        if count <= own:
            return rows
        repeated = [
            self._at((rank + place * world_size) % len(self))
            for place in range(own, count)
        ]
        return np.concatenate([rows, np.array(repeated, dtype=rows.dtype)])

    def _at(self, position: int) -> int:
        turn, lane = divmod(position, self.lanes)
        return int(self.lane(lane)[turn])

    def _span(self, begin: int, end: int) -> tuple[int, int]:
        first = int(np.searchsorted(self._ends, begin, side='right'))
        return first, int(np.searchsorted(self._ends, end, side='left'))


def _pieces(lanes: int, num_chunks: int) -> NDArray[np.int64]:
    """The piece of the sequence that each lane takes, shape ``(lanes,)``."""
    every = np.arange(lanes)
    if num_chunks >= _CHUNKS_OF_A_LANE * lanes:
        return every
    # Steps by the golden ratio keep neighbours apart, whatever the number of lanes.
    step = max(round(lanes * 0.618), 1)
    while math.gcd(step, lanes) > 1:
        step += 1
    return every * step % lanes


def _keys(seed: tuple[int, ...], start: int, stop: int) -> NDArray[np.uint64]:
    """Random 32-bit keys of the places ``start`` to ``stop`` of an endless row."""
    blocks = range(start // _KEYS_AT_ONCE, -(-stop // _KEYS_AT_ONCE))
    if not blocks:
        return np.empty(0, dtype=np.uint64)
    drawn = [
        # The raw stream of a bit generator never changes between releases of NumPy.
        np.random.Philox(np.random.SeedSequence((*seed, block))).random_raw(
            _KEYS_AT_ONCE // 2
        )
        for block in blocks
    ]
    keys = np.concatenate(drawn).view(np.uint32).astype(np.uint64)
    offset = blocks.start * _KEYS_AT_ONCE
    return keys[start - offset : stop - offset]


def _index_type(count: int) -> type[np.integer]:
    return np.int32 if count <= np.iinfo(np.int32).max else np.int64
