"""Receive batches that workers have written into blocks of shared memory.

Each batch is a lease of its block: all its tensors and arrays keep one object alive, and
the end of this object sets the block's state to free.

A process forked while a batch is in use inherits it, but cannot tell the worker when it
is done. Such a block is retired: the worker replaces it by another one.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .shared_blocks import CAPACITY, FREE, RETIRED, BlockAddress, map_file

# Pool of a worker -> number -> block. A pool is forgotten with its worker.
_pools: dict[bytes, dict[int, NDArray[np.uint8]]] = {}
_leases: set[_Lease] = set()


def receive(
    pickled: bytes, address: BlockAddress | None, parts: list[tuple[int, int]]
) -> Any:
    """Return the batch that a worker has handed over.

    Args:
        pickled: The pickle without its large buffers.
        address: The block with these buffers, if there are any.
        parts: Start and size of each buffer in the block, in bytes.
    """
    if address is None:
        return pickle.loads(pickled)
    lease = _Lease(address)
    memory = lease.memory()
    return pickle.loads(pickled, buffers=[memory[a : a + size] for a, size in parts])


class _Lease:
    """The use of a block by one batch."""

    def __init__(self, address: BlockAddress) -> None:
        self._address = address
        self._bytes = _find(address)
        self._process = os.getpid()
        self.state_at_end = FREE

    def memory(self) -> memoryview:
        """Return the block's memory. The lease ends with the last view of it."""
        array = (ctypes.c_ubyte * CAPACITY).from_address(self._bytes.ctypes.data)
        weakref.finalize(array, self._end).atexit = False
        _leases.add(self)
        return memoryview(array).cast('B')

    def _end(self) -> None:
        if os.getpid() != self._process:
            return  # a fork lets go of what it has inherited
        _leases.discard(self)
        if self.state_at_end == RETIRED:
            _pools.get(self._address.pool, {}).pop(self._address.number, None)
        self._bytes[0] = self.state_at_end


def _find(address: BlockAddress) -> NDArray[np.uint8]:
    """Return the bytes of a block, mapped once."""
    if address.pool not in _pools:
        _pools[address.pool] = {}
        for process in multiprocessing.active_children():
            if process.pid == address.process:
                weakref.finalize(process, _pools.pop, address.pool, None)
    blocks = _pools[address.pool]
    if address.number not in blocks:
        try:
            blocks[address.number] = map_file(address.path)
        except RuntimeError as error:
            raise RuntimeError(
                f'DataLoader worker (pid {address.process}) was killed or has exited '
                f'before its batch was read: {error}'
            ) from error
    return blocks[address.number]


def _retire_all() -> None:
    for lease in list(_leases):
        lease.state_at_end = RETIRED  # never to be written again


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(before=_retire_all)
