"""Share large arrays between processes: spawned ones, and the ranks of a node.

A forked worker shares its parent's memory. A spawned worker receives a pickle, so it
would have its own copy: 40 MB per worker for COCO's annotations. ``SharedByProcesses``
objects put their arrays into an in-memory file when they are first sent to a spawned
process, or to the other ranks of the node (:func:`dumps_for_node`), and all processes
map this file, including the sender.

The file is not in any folder: it disappears with the last process that maps it, however
that one ends, and is not limited by the size of ``/dev/shm``. Only Linux has such files;
on other systems the arrays are sent.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen, set_spawning_popen
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from .scratch import read_value, write_value

_is_for_node: ContextVar[bool] = ContextVar('is_for_node', default=False)


class SharedByProcesses:
    """Base of immutable objects with large arrays.

    Only pickles for a process that is being spawned, and those of
    :func:`dumps_for_node`, differ from ordinary ones.
    """

    def __reduce_ex__(self, protocol: Any) -> Any:
        send = _way_to_send_files()
        if send is None:
            return super().__reduce_ex__(protocol)
        file: BinaryIO | None = self.__dict__.get('_file')
        if file is None:
            file = open(os.memfd_create('mmdet_deeplake_plugin'), 'r+b')
            with _ordinary_pickles():  # nested objects must not create files of their own
                write_value(self.__getstate__(), file)
            # Replace the object's own arrays; a dataclass may be frozen.
            self.__dict__.update(read_value(file), _file=file)
        return _attach, (type(self), send(file.fileno()))

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != '_file'}


@dataclass(frozen=True)
class SharedArray(SharedByProcesses):
    """A single array."""

    values: NDArray[Any]


def dumps_for_node(value: Any) -> bytes:
    """Pickle a value for other processes on this node.

    The arrays of :class:`SharedByProcesses` objects in it are not part of the pickle:
    whoever loads it maps them, read-only, and from then on this process does too. It
    must keep the value until the others have loaded the pickle; they raise ``OSError``
    if they cannot open its files.
    """
    token = _is_for_node.set(True)
    try:
        return pickle.dumps(value, 5)
    finally:
        _is_for_node.reset(token)


def node_of_process() -> tuple[str, ...] | None:
    """Return what all processes that may open the files of this one have in common.

    That is the running system, the process ids that it sees, and the user. ``None`` if
    this system has no in-memory files.
    """
    if not hasattr(os, 'memfd_create'):
        return None
    try:
        system = Path('/proc/sys/kernel/random/boot_id').read_text().strip()
        return system, os.readlink('/proc/self/ns/pid'), str(os.getuid())
    except OSError:  # /proc is hidden
        return None


@dataclass(frozen=True)
class _FileOfProcess:
    """A file that another process holds open; the counterpart of ``DupFd``."""

    process: int
    descriptor: int
    identity: tuple[int, int]  # device and inode

    @classmethod
    def of(cls, descriptor: int) -> _FileOfProcess:
        return cls(os.getpid(), descriptor, _identity(descriptor))

    def detach(self) -> int:
        """Open the file and return the descriptor."""
        path = f'/proc/{self.process}/fd/{self.descriptor}'
        descriptor = os.open(path, os.O_RDONLY)
        if _identity(descriptor) != self.identity:
            os.close(descriptor)
            raise OSError(f'{path} is another file by now')
        return descriptor


def _attach(kind: type[SharedByProcesses], sent: Any) -> SharedByProcesses:
    """Recreate the object in another process."""
    file = open(sent.detach(), 'rb')
    instance = kind.__new__(kind)
    vars(instance).update(read_value(file), _file=file)
    return instance


def _way_to_send_files() -> Callable[[int], Any] | None:
    """Return what makes a descriptor ready to be sent; ``None`` if arrays are sent."""
    if not hasattr(os, 'memfd_create'):
        return None
    if get_spawning_popen() is not None:
        return reduction.DupFd
    return _FileOfProcess.of if _is_for_node.get() else None


@contextmanager
def _ordinary_pickles() -> Iterator[None]:
    """Let pickles hold their arrays."""
    process, token = get_spawning_popen(), _is_for_node.set(False)
    set_spawning_popen(None)
    try:
        yield
    finally:
        set_spawning_popen(process)
        _is_for_node.reset(token)


def _identity(descriptor: int) -> tuple[int, int]:
    state = os.fstat(descriptor)
    return state.st_dev, state.st_ino
