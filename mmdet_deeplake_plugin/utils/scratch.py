"""Keep large arrays in files that go away with the process, and hand values on in files.

A scratch array lies in a file without a name: it disappears with the last process that
maps it, also when that is killed, and its pages do not count as memory that the system
cannot take back.
"""

from __future__ import annotations

import math
import mmap
import os
import pickle
import struct
import tempfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

Layout = tuple[tuple[int, ...], DTypeLike]

_ALIGNMENT = 64
_TAIL = struct.Struct('<QQ')  # where the list of parts begins, and its length


def scratch_arrays(layout: Mapping[str, Layout]) -> dict[str, NDArray[Any]]:
    """Return new arrays of zeros in one temporary file without a name.

    The file stays open as long as any of them is in use: it takes a single descriptor.

    Args:
        layout: Shape and type of each array.

    Raises:
        OSError: If the folder for temporary files has not enough room.
    """
    places, end = dict[str, int](), 0
    for name, (shape, dtype) in layout.items():
        places[name] = end
        size = math.prod(shape) * np.dtype(dtype).itemsize
        end += size + -size % _ALIGNMENT
    if not end:
        return {name: np.zeros(*each) for name, each in layout.items()}
    try:
        with tempfile.TemporaryFile() as file:
            # Else a full disk would end the process at some later write to the array.
            if hasattr(os, 'posix_fallocate'):  # not on macOS
                os.posix_fallocate(file.fileno(), 0, end)
            else:
                os.ftruncate(file.fileno(), end)
            memory = mmap.mmap(file.fileno(), end)
    except OSError as error:
        raise OSError(
            error.errno,
            f'large arrays need a temporary file of {end} bytes, but '
            f'{tempfile.gettempdir()} does not take it ({error.strerror}); set the '
            'environment variable TMPDIR to a folder with more room',
        ) from error
    return {
        name: np.ndarray(shape, dtype, memory, places[name])
        for name, (shape, dtype) in layout.items()
    }


def release(array: NDArray[Any] | None) -> None:
    """Let the system take back the memory of all arrays in the file of a scratch array.

    They are read from the file again when they are used. Other arrays stay as they are.
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, 'MADV_DONTNEED'):  # not on Windows
        base.madvise(mmap.MADV_DONTNEED)


def write_value(value: Any, file: BinaryIO) -> None:
    """Write a value to an empty file so that :func:`read_value` maps its arrays.

    These are written one after the other, without a copy of them in memory.
    """
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, 5, buffer_callback=buffers.append)
    parts, end = list[tuple[int, int]](), 0
    for buffer in buffers:
        memory = buffer.raw()
        parts.append((end, memory.nbytes))
        file.write(memory)
        end += file.write(bytes(-memory.nbytes % _ALIGNMENT)) + memory.nbytes
    head = pickle.dumps((parts, pickled), 5)
    file.write(head)
    file.write(_TAIL.pack(end, len(head)))
    file.flush()


def read_value(file: BinaryIO) -> Any:
    """Return a value that :func:`write_value` wrote; its arrays are read-only.

    They lie in the file, which may be closed and deleted.
    """
    memory = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    start, length = _TAIL.unpack(memory[-_TAIL.size :])
    parts, pickled = pickle.loads(memory[start : start + length])
    return pickle.loads(pickled, buffers=[memory[at : at + size] for at, size in parts])
