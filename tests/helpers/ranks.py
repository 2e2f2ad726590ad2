"""Runs a function on several ranks: processes that gloo joins."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from numpy.typing import NDArray

LIMIT = 60.0  # seconds until what does not come is an error

_test: list[Connection] = []  # in a rank: its connection to the test


@dataclass
class Rank:
    """A rank, as the test sees it.

    Args:
        process: Its process.
        connection: To the process.
    """

    process: BaseProcess
    connection: Connection

    def hear(self) -> Any:
        """The next that it tells: by :func:`tell`, then its function's result or error.

        Raises:
            TimeoutError: If nothing comes.
            EOFError: If it has died.
        """
        if not self.connection.poll(LIMIT):
            raise TimeoutError('the rank hangs')
        return self.connection.recv()

    def say(self, value: Any) -> None:
        """Lets it hear something."""
        self.connection.send(value)

    def kill(self) -> None:
        """Ends it by SIGKILL."""
        self.process.kill()
        self.process.join()


@contextmanager
def ranks(
    count: int, task: Callable[..., Any], folder: Path, *args: Any, start: str = 'fork'
) -> Iterator[list[Rank]]:
    """Runs a function on ranks, which stay until the context ends.

    Args:
        count: Number of ranks; a single one is not distributed.
        task: Takes ``args``.
        folder: Where the ranks find each other.
        start: ``'fork'``, or ``'spawn'`` for what computes with threads of OpenMP, which
            hang in a fork of a process that has used them.
    """
    context, store = multiprocessing.get_context(start), mkdtemp(dir=folder)
    started: list[Rank] = []
    try:
        for number in range(count):
            here, there = context.Pipe()
            keys = (number, count, store, task, args, there)
            process = context.Process(target=_run, args=keys, daemon=True)
            process.start()
            there.close()  # so that its end is told
            started.append(Rank(process, here))
        yield started
    finally:
        for rank in started:
            rank.kill()
            rank.connection.close()


def run_ranks(
    count: int, task: Callable[..., Any], folder: Path, *args: Any
) -> list[Any]:
    """What a function returns on each rank, or the error that it raises."""
    with ranks(count, task, folder, *args) as started:
        return [rank.hear() for rank in started]


def tell(value: Any) -> None:
    """In a rank: lets the test hear something."""
    _test[0].send(value)


def hear() -> Any:
    """In a rank: what the test says next."""
    return _test[0].recv()


def files_of(array: NDArray[Any]) -> set[str]:
    """Inodes of the in-memory files that an array of this process lies in: one or none."""
    start = array.__array_interface__['data'][0]
    found = set()
    for line in Path('/proc/self/maps').read_text().splitlines():
        span, _, _, _, inode, *name = line.split()
        first, end = (int(each, 16) for each in span.split('-'))
        if first <= start < end and 'memfd:mmdet_deeplake_plugin' in ''.join(name):
            found.add(inode)
    return found


def _run(
    number: int,
    count: int,
    store: str,
    task: Callable[..., Any],
    args: tuple[Any, ...],
    connection: Connection,
) -> None:
    _test[:] = [connection]
    try:
        if count > 1:
            torch.distributed.init_process_group(
                'gloo',
                init_method=f'file://{store}/ranks',
                rank=number,
                world_size=count,
                timeout=timedelta(seconds=LIMIT),
            )
        found: Any = task(*args)
    except Exception as error:
        found = error
    connection.send(found)
    signal.pause()  # others may still wait for what it sent them
    os._exit(0)
