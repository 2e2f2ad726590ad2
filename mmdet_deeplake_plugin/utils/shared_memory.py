"""One copy of large arrays for all processes, spawned ones included.

A forked worker shares the memory of its parent. A spawned one is sent a pickle, so it
would hold a copy of its own: with COCO's annotations 40 MB for each worker. Objects of
the class below put their arrays into a file in memory when they are sent the first
time, and all processes map that, the one that made it too.

Such a file belongs to no folder: it is gone with the last process that maps it, and is
not bound by the size of ``/dev/shm``. Linux has it; elsewhere the arrays are sent.
"""

from __future__ import annotations

import mmap
import os
import pickle
from multiprocessing import reduction
from multiprocessing.context import (
    get_spawning_popen,
    set_spawning_popen,
)
from typing import Any

_ALIGNMENT = 64


class SharedWhenSpawned:
    """Base of objects that never change and hold large arrays.

    A pickle for anything but a process that is being spawned is an ordinary one.
    """

    def __reduce_ex__(self, protocol: Any) -> Any:
        if get_spawning_popen() is None or not hasattr(os, 'memfd_create'):
            return super().__reduce_ex__(protocol)
        memory: _Memory | None = self.__dict__.get('_memory')
        if memory is None:
            memory = _Memory(self.__getstate__())
            # In place of its own arrays; a dataclass may be frozen.
            self.__dict__.update(memory.contents(), _memory=memory)
        return _attached, (type(self), *memory.to_child())

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != '_memory'}


class _Memory:
    """Values whose arrays lie in a file in memory.

    Args:
        values: Name -> value.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        buffers: list[pickle.PickleBuffer] = []
        process = get_spawning_popen()
        set_spawning_popen(None)  # such objects within this one have no file of their own
        try:
            self._pickle = pickle.dumps(values, 5, buffer_callback=buffers.append)
        finally:
            set_spawning_popen(process)
        arrays = [buffer.raw() for buffer in buffers]
        self._parts, end = list[tuple[int, int]](), 0
        for array in arrays:
            self._parts.append((end, array.nbytes))
            end += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
        self._file = open(os.memfd_create('mmdet_deeplake_plugin'), 'wb', buffering=0)
        self._file.truncate(max(end, 1))
        with mmap.mmap(self._file.fileno(), 0) as memory:
            for (start, size), array in zip(self._parts, arrays):
                memory[start : start + size] = array

    def contents(self) -> dict[str, Any]:
        """The values, with arrays that cannot be written to."""
        return _contents(self._file.fileno(), self._pickle, self._parts)

    def to_child(self) -> tuple[Any, bytes, list[tuple[int, int]]]:
        """Arguments of :func:`_attached`, for a process that is being spawned."""
        return reduction.DupFd(self._file.fileno()), self._pickle, self._parts


def _attached(
    kind: type[SharedWhenSpawned],
    file: Any,
    pickled: bytes,
    parts: list[tuple[int, int]],
) -> SharedWhenSpawned:
    """The object in the process that was spawned."""
    number = file.detach()
    try:
        values = _contents(number, pickled, parts)
    finally:
        os.close(number)
    found = kind.__new__(kind)
    vars(found).update(values)
    return found


def _contents(
    number: int, pickled: bytes, parts: list[tuple[int, int]]
) -> dict[str, Any]:
    memory = memoryview(mmap.mmap(number, 0, access=mmap.ACCESS_READ))
    buffers = [memory[start : start + size] for start, size in parts]
    values: dict[str, Any] = pickle.loads(pickled, buffers=buffers)
    return values
