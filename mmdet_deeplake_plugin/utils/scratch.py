"""Keep large arrays in files that go away with the process, and hand values on in files.

A scratch array lies in a file without a name: it disappears with the last process that
maps it, also when that is killed, and its pages do not count as memory that the system
cannot take back.
"""

from __future__ import annotations

import mmap
import os
import pickle
import struct
import tempfile
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

_ALIGNMENT = 64
_TAIL = struct.Struct('<QQ')  # where the list of parts begins, and its length


def scratch_array(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return a new array of zeros in a temporary file without a name.

    Args:
        shape: Shape of the array.
        dtype: Type of its items.

    Raises:
        OSError: If the folder for temporary files has not enough room.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not size:
        return np.zeros(shape, dtype)
    try:
        with tempfile.TemporaryFile() as file:
            # Else a full disk would end the process at some later write to the array.
            if hasattr(os, 'posix_fallocate'):  # not on macOS
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                os.ftruncate(file.fileno(), size)
            mapped = np.memmap(file, dtype, 'r+', shape=shape)
    except OSError as error:
        raise OSError(
            error.errno,
            f'large arrays need a temporary file of {size} bytes, but '
            f'{tempfile.gettempdir()} does not take it ({error.strerror}); set the '
            'environment variable TMPDIR to a folder with more room',
        ) from error
    return mapped.view(np.ndarray)


def write_value(value: Any, file: BinaryIO) -> None:
    """Write a value so that :func:`read_value` maps its arrays.

    Args:
        value: What pickle takes. Arrays are written one after the other, without a copy
            of them in memory.
        file: Open for writing, at its beginning.
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

    Args:
        file: Open for reading.
    """
    memory = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    start, length = _TAIL.unpack(memory[-_TAIL.size :])
    parts, pickled = pickle.loads(memory[start : start + length])
    return pickle.loads(pickled, buffers=[memory[at : at + size] for at, size in parts])
