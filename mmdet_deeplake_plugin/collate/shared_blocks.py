"""Blocks of shared memory that a worker writes batches into.

A block is a file in memory without a name, so nothing is left behind however a process
ends. It is far larger than a batch, but only the pages that were written take memory.
Its first byte is its state: the worker sets it to in use, the receiver to free.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

CAPACITY = 1 << 30  # bytes of a block
MOST_BLOCKS = 16  # of a worker
FREE, IN_USE, RETIRED = range(3)  # a retired block is never written again
_ALIGNMENT = 64  # bytes; the state has the first ones for itself


def map_file(path: str) -> NDArray[np.uint8]:
    """Map the file of a block: ``CAPACITY`` bytes, which need no descriptor."""
    return torch.from_file(path, shared=True, size=CAPACITY, dtype=torch.uint8).numpy()


@dataclass(frozen=True)
class BlockAddress:
    """What the receiver needs to find a block.

    Args:
        process: Id of the worker.
        pool: Random name of the worker's blocks, as process ids come again.
        number: Number of the block within the pool.
        descriptor: Descriptor of the block's file in the worker.
    """

    process: int
    pool: bytes
    number: int
    descriptor: int

    @property
    def path(self) -> str:
        """Path by which another process of the same user opens the file."""
        return f'/proc/{self.process}/fd/{self.descriptor}'


class _Block:
    """A block in the process that writes it."""

    def __init__(self, pool: bytes, number: int) -> None:
        self._descriptor: int | None = os.memfd_create('mmdet_deeplake_plugin')
        self.address = BlockAddress(os.getpid(), pool, number, self._descriptor)
        try:
            os.ftruncate(self._descriptor, CAPACITY)
            self._bytes = map_file(self.address.path)
        except BaseException:
            self.close()
            raise

    @property
    def state(self) -> int:
        """``FREE``, ``IN_USE`` or ``RETIRED``."""
        state = int(self._bytes[0])
        if state != IN_USE:
            self.close()  # the receiver has mapped it by now
        return state

    def close(self) -> None:
        """Close the descriptor; the memory stays mapped."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def write(self, arrays: Sequence[memoryview], parts: list[tuple[int, int]]) -> None:
        """Write arrays of bytes, and set the state to in use."""
        for array, (start, size) in zip(arrays, parts):
            self._bytes[start : start + size] = np.frombuffer(array, np.uint8)
        self._bytes[0] = IN_USE


class BlockPool:
    """The blocks of a worker."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._name, self._made = os.urandom(8), 0
        self._most = MOST_BLOCKS

    @property
    def is_usable(self) -> bool:
        """Whether this system has what blocks need."""
        return (
            hasattr(os, 'memfd_create')
            and hasattr(torch.Tensor, 'untyped_storage')  # since PyTorch 2
            and os.path.isdir('/proc/self/fd')
            and not _has_limited_addresses()
        )

    def write(
        self, buffers: Sequence[pickle.PickleBuffer]
    ) -> tuple[BlockAddress | None, list[tuple[int, int]]]:
        """Write contiguous buffers into a block that nobody uses.

        Returns:
            The address of the block, and start and size of each buffer in bytes.
            ``None`` if all blocks are in use or the buffers do not fit.
        """
        arrays = [buffer.raw() for buffer in buffers]
        parts, end = list[tuple[int, int]](), _ALIGNMENT
        for array in arrays:
            parts.append((end, array.nbytes))
            end += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
        block = self._free_block() if end <= CAPACITY else None
        if block is None:
            return None, []
        block.write(arrays, parts)
        return block.address, parts

    def _free_block(self) -> _Block | None:
        states = [block.state for block in self._blocks]
        if FREE in states:
            return self._blocks[states.index(FREE)]
        self._blocks = [b for b, state in zip(self._blocks, states) if state != RETIRED]
        if len(self._blocks) >= self._most:
            return None
        try:
            self._blocks.append(_Block(self._name, self._made))
        except (OSError, RuntimeError):  # a limit, or a container that refuses the call
            self._most = len(self._blocks)  # no more of them are asked for
            return None
        self._made += 1
        return self._blocks[-1]


def _has_limited_addresses() -> bool:
    """Return whether ``ulimit -v`` counts what is mapped but not written."""
    import resource  # not on Windows

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
