"""Shuffle samples in lanes: a good shuffle that reads each stored chunk about once.

The chunks are shuffled and concatenated. The resulting sequence of samples is cut into
``lanes`` pieces of equal length, and position ``p`` of the epoch draws from lane ``p
mod lanes``. So neighbours come from different chunks, while each lane reads one chunk
after the other. PyTorch gives batch ``j`` to worker ``j mod workers``. If ``lanes`` is
a multiple of ranks x workers x batch size, no two workers share a lane, and each reads
the chunks of its lanes once. Otherwise the order is the same, but chunks are read more
than once.

Every other lane runs backwards. A chunk that a cut divides is then at the end of both
lanes, or at the beginning of both, and is needed at the same time. Between the lanes of
two workers of a rank it is at the end (for an even batch size).

Pure functions of their arguments: no process state, no torch, no Deep Lake. Each lane
is computed without the others, so a rank computes only its own.

Adjacent lanes take adjacent pieces, since they often belong to one worker. With fewer
than two chunks per lane, samples of one chunk would then end up in one batch, so in
such small lakes adjacent lanes take pieces that are far apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..utils.blocks import blocks
from ..utils.ragged import indices_of_ranges, offsets_of
from ..utils.shared_memory import SharedByProcesses
from .epoch import rank_length

# Random keys are drawn in blocks, each with its own generator, so that the keys of a
# lane can be drawn without those before. Another size is another order.
_KEYS_PER_BLOCK = 1 << 16
_CHUNKS_PER_LANE = 2  # with fewer, adjacent lanes take pieces that are far apart


@dataclass(frozen=True)
class ChunkIndex(SharedByProcesses):
    """The samples of a dataset, sorted by the chunk that stores them.

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
        """Sort samples by chunk.

        Args:
            chunks: Sample -> chunk, shape ``(N,)``.
            num_chunks: Number of chunks ``C``; some may be empty.
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
        """Integer type that is large enough for every sample index."""
        if self.items is None:
            return _index_type(len(self))
        return self.items.dtype.type

    @property
    def num_chunks(self) -> int:
        """Number of chunks, including empty ones."""
        return len(self.starts) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of samples in each chunk, shape ``(C,)``."""
        return np.diff(self.starts)

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sample indices at positions of the sorted samples."""
        if self.items is None:
            return positions
        return self.items[positions].astype(np.int64, copy=False)

    def repeated(self, counts: NDArray[np.integer]) -> ChunkIndex:
        """Return the index in which samples occur so many times, shape ``(N,)``."""
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
        """Return the index of the chosen samples, with the same chunks."""
        return self.repeated(chosen.view(np.int8))


class Lanes:
    """The lanes of one epoch.

    Args:
        index: Samples by chunk.
        lanes: Number of lanes, 1 or more.
        window: Number of chunks whose samples a lane mixes, 1 or more; a worker keeps
            as many in memory for each of its lanes.
        seed: Seed of the run.
        epoch: Number of the epoch.
        group: Distinguishes several orders of the same epoch: they share the order of
            the chunks, but shuffle samples differently.
        sequence: Order of the chunks, if it is known already, shape ``(C,)``.
    """

    def __init__(
        self,
        index: ChunkIndex,
        lanes: int,
        window: int,
        seed: int,
        epoch: int,
        group: int = 0,
        sequence: NDArray[np.int64] | None = None,
    ) -> None:
        self.index, self.lanes, self.window = index, lanes, window
        self._seed = (seed, epoch, 1 + group)
        if sequence is None:
            keys = _keys((seed, epoch, 0), 0, index.num_chunks)
            sequence = np.argsort(keys, kind='stable')
        self.sequence = sequence
        self._ends = np.cumsum(index.sizes[self.sequence])
        piece = _pieces(lanes, int(np.count_nonzero(index.sizes)))
        size, rest = divmod(len(index), lanes)
        lengths = size + (np.argsort(piece) < rest)  # the first lanes are longer
        stops = np.cumsum(lengths)
        self._starts = (stops - lengths)[piece]
        self._stops = stops[piece]
        self._backwards = piece % 2 == 0

    def __len__(self) -> int:
        return len(self.index)

    def bounds(self, lane: int) -> tuple[int, int]:
        """Return where a lane begins and ends in the sequence of samples."""
        return int(self._starts[lane]), int(self._stops[lane])

    def chunks(self, lane: int) -> NDArray[np.int64]:
        """Return the chunks of a lane in the order in which it reads them."""
        begin, end = self.bounds(lane)
        if begin == end:
            return np.empty(0, dtype=np.int64)
        first, last = self._span(begin, end)
        chunks = self.sequence[first : last + 1]
        chunks = chunks[self.index.sizes[chunks] > 0]
        return chunks[::-1] if self._backwards[lane] else chunks

    def chunk_at(self, lane: int, draws: int) -> int:
        """Return the chunk of a lane after ``draws`` draws, -1 at the lane's end."""
        draw = self._next_draw(lane, draws)
        return -1 if draw is None else int(self.sequence[draw[1]])

    def open_chunks(self, lane: int, draws: int) -> NDArray[np.int64]:
        """Return the chunks that a lane mixes after ``draws`` draws, none at its end.

        With ``window=1`` it is the one of :meth:`chunk_at`.
        """
        draw = self._next_draw(lane, draws)
        if draw is None:
            return np.empty(0, dtype=np.int64)
        _, here = draw
        first, last = self._span(*self.bounds(lane))
        if self._backwards[lane]:
            near = last - (last - here) // self.window * self.window
            chunks = self.sequence[max(near - self.window + 1, first) : near + 1]
        else:
            near = first + (here - first) // self.window * self.window
            chunks = self.sequence[near : min(near + self.window, last + 1)]
        return chunks[self.index.sizes[chunks] > 0]

    def left_of_chunk(self, lane: int, draws: int) -> int:
        """Return how many draws a lane has left of its chunk after ``draws`` draws."""
        draw = self._next_draw(lane, draws)
        if draw is None:
            return 0
        (position, chunk), (begin, end) = draw, self.bounds(lane)
        if self._backwards[lane]:
            first = int(self._ends[chunk - 1]) if chunk else 0
            return position - max(first, begin) + 1
        return min(int(self._ends[chunk]), end) - position

    def _next_draw(self, lane: int, draws: int) -> tuple[int, int] | None:
        """Return its place in the sequences of samples and of chunks; None at the end."""
        begin, end = self.bounds(lane)
        if draws >= end - begin:
            return None
        position = end - 1 - draws if self._backwards[lane] else begin + draws
        return position, int(np.searchsorted(self._ends, position, side='right'))

    def lane(self, lane: int) -> NDArray[np.int64]:
        """Return the samples of a lane in order."""
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
        # Shuffle within each chunk first: two lanes that share a chunk must agree on
        # which of them gets which of its samples.
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
        """Return the samples of a rank: positions ``rank, rank + world_size, …``.

        Returns:
            Sample indices, shape ``(count,)``; 32-bit if that is enough. After the end,
            the epoch starts over.
        """
        own = rank_length(len(self), rank, world_size, round_up=False)
        rows = np.empty(own, dtype=self.index.item_type)
        # At most one of this many successive draws of a lane belongs to the rank.
        step = world_size // math.gcd(self.lanes, world_size)
        for lane in range(min(self.lanes, len(self))):
            for turn in range(step):
                position = lane + self.lanes * turn
                if position % world_size == rank and position < len(self):
                    first = (position - rank) // world_size
                    stride = self.lanes * step // world_size
                    rows[first::stride] = self.lane(lane)[turn::step]
        if count <= own:
            return rows
        repeated = [
            self._at((rank + number * world_size) % len(self))
            for number in range(own, count)
        ]
        return np.concatenate([rows, np.array(repeated, dtype=rows.dtype)])

    def _at(self, position: int) -> int:
        turn, lane = divmod(position, self.lanes)
        return int(self.lane(lane)[turn])

    def _span(self, begin: int, end: int) -> tuple[int, int]:
        first = int(np.searchsorted(self._ends, begin, side='right'))
        return first, int(np.searchsorted(self._ends, end, side='left'))


def _pieces(lanes: int, num_chunks: int) -> NDArray[np.int64]:
    """Return the piece of the sequence that each lane takes, shape ``(lanes,)``."""
    every = np.arange(lanes)
    if num_chunks >= _CHUNKS_PER_LANE * lanes:
        return every
    # Steps of the golden ratio keep adjacent lanes apart, whatever their number.
    step = max(round(lanes * 0.618), 1)
    while math.gcd(step, lanes) > 1:
        step += 1
    return every * step % lanes


def _keys(seed: tuple[int, ...], start: int, stop: int) -> NDArray[np.uint64]:
    """Return the random 32-bit keys at ``start:stop`` of an endless sequence."""
    blocks = range(start // _KEYS_PER_BLOCK, -(-stop // _KEYS_PER_BLOCK))
    if not blocks:
        return np.empty(0, dtype=np.uint64)
    drawn = [
        # NumPy guarantees that the raw stream of a bit generator never changes.
        np.random.Philox(np.random.SeedSequence((*seed, block))).random_raw(
            _KEYS_PER_BLOCK // 2
        )
        for block in blocks
    ]
    keys = np.concatenate(drawn).view(np.uint32).astype(np.uint64)
    offset = blocks.start * _KEYS_PER_BLOCK
    return keys[start - offset : stop - offset]


def _index_type(count: int) -> type[np.integer]:
    return np.int32 if count <= np.iinfo(np.int32).max else np.int64
