"""Share large arrays between processes, including spawned ones.

A forked worker shares its parent's memory. A spawned worker receives a pickle, so it
would have its own copy: 40 MB per worker for COCO's annotations. ``SharedWhenSpawned``
objects put their arrays into an in-memory file when they are first sent to a spawned
process, and all processes map this file, including the sender.

The file is not in any folder: it disappears with the last process that maps it, and is
not limited by the size of ``/dev/shm``. Only Linux has such files; on other systems the
arrays are sent.
"""

from __future__ import annotations

import mmap
import os
import pickle
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen, set_spawning_popen
from typing import Any

_ALIGNMENT = 64


class SharedWhenSpawned:
    """Base of immutable objects with large arrays.

    Only pickles for a process that is being spawned differ from ordinary ones.
    """

    def __reduce_ex__(self, protocol: Any) -> Any:
        if get_spawning_popen() is None or not hasattr(os, 'memfd_create'):
            return super().__reduce_ex__(protocol)
        memory: _Memory | None = self.__dict__.get('_memory')
        if memory is None:
            memory = _Memory(self.__getstate__())
            # Replace the object's own arrays; a dataclass may be frozen.
            self.__dict__.update(memory.contents(), _memory=memory)
        return _attach, (type(self), *memory.to_child())

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != '_memory'}


class _Memory:
    """Values whose arrays are in an in-memory file.

    Args:
        values: Name -> value.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        buffers: list[pickle.PickleBuffer] = []
        process = get_spawning_popen()
        set_spawning_popen(None)  # nested objects must not create files of their own
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
        """Return the values, with read-only arrays."""
        return _contents(self._file.fileno(), self._pickle, self._parts)

    def to_child(self) -> tuple[Any, bytes, list[tuple[int, int]]]:
        """Return the arguments of :func:`_attach` for a process that is being spawned."""
        return reduction.DupFd(self._file.fileno()), self._pickle, self._parts


def _attach(
    kind: type[SharedWhenSpawned], file: Any, pickled: bytes, parts: list[tuple[int, int]]
) -> SharedWhenSpawned:
    """Recreate the object in the spawned process."""
    number = file.detach()
    try:
        values = _contents(number, pickled, parts)
    finally:
        os.close(number)
    instance = kind.__new__(kind)
    vars(instance).update(values)
    return instance


def _contents(
    number: int, pickled: bytes, parts: list[tuple[int, int]]
) -> dict[str, Any]:
    memory = memoryview(mmap.mmap(number, 0, access=mmap.ACCESS_READ))
    buffers = [memory[start : start + size] for start, size in parts]
    values: dict[str, Any] = pickle.loads(pickled, buffers=buffers)
    return values
