"""Work that one rank does for all, or for all of its node."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from mmengine.dist import (
    all_gather_object,
    broadcast_object_list,
    get_dist_info,
    get_world_size,
)

from .messages import warn
from .shared_memory import dumps_for_node, node_of_process

T = TypeVar('T')


def on_main_rank(task: Callable[[], T]) -> T:
    """Run a task on rank 0 and give its result, or its error, to all ranks."""
    rank, world_size = get_dist_info()
    if world_size == 1:
        return task()
    outcome: list[Any] = [None]
    if rank == 0:
        try:
            outcome = [(task(), None)]
        except Exception as error:  # every rank must fail, or the others would wait
            broadcast_object_list([(None, portable(error))])
            raise
    broadcast_object_list(outcome)
    result, failure = outcome[0]
    if failure is not None:
        raise failure
    return result


def together(task: Callable[[], T]) -> T:
    """Run a task on every rank; if it fails on any of them, all raise its error.

    All ranks must call it together; each gets the result of its own.
    """
    if get_world_size() == 1:
        return task()
    made: list[T] = []
    _on_all_ranks(lambda: made.append(task()))
    return made[0]


def once_per_node(task: Callable[[], T], *what: Any) -> T:
    """Run a task on the first rank of each node, and share its result with the others.

    The others map the arrays of all :class:`~.SharedByProcesses` objects in the result;
    nothing is copied, and the arrays are read-only in all of them. Ranks whose tasks
    differ do not share. With one rank, on systems without in-memory files, and where a
    rank may not open the files of another, each rank runs the task itself.

    All ranks must call it together. If a rank fails, all raise its error; if one dies,
    the others are not kept waiting longer than by any other exchange of ranks.

    Args:
        task: Returns what can be pickled.
        what: What the result depends on, as for :func:`fingerprint`.
    """
    rank, world_size = get_dist_info()
    if world_size == 1:
        return task()
    places = all_gather_object((node_of_process() or rank, fingerprint(*what)))
    first, is_shared = places.index(places[rank]), places.count(places[rank]) > 1
    made: list[T] = []

    def make() -> bytes | None:
        if rank != first:
            return None
        made.append(task())
        return dumps_for_node(made[0]) if is_shared else None

    sent = _on_all_ranks(make)[first]

    def take() -> None:
        if rank == first:
            return
        try:
            made.append(pickle.loads(sent or b''))
        except OSError as error:
            warn(
                f'rank {rank} cannot map what rank {first} has read ({error}), so it '
                'reads the same and holds a copy; allow the processes of a node to open '
                '/proc/PID/fd of each other to save this'
            )
            made.append(task())

    _on_all_ranks(take)  # the first rank keeps its files until all have mapped them
    return made[0]


def fingerprint(*parts: Any) -> str:
    """Return a digest of values, equal in all processes.

    Args:
        parts: Arrays, which count by their contents, and values with a ``repr`` that is
            the same in all processes.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f'{part.dtype}{part.shape}'.encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(f'{part!r}\n'.encode())
    return digest.hexdigest()


def _on_all_ranks(step: Callable[[], T]) -> list[T]:
    """Run a step on every rank and return the results of all, or raise any's error."""
    own: Exception | None = None
    outcome: tuple[Any, Exception | None]
    try:
        outcome = step(), None
    except Exception as error:  # every rank must fail, or the others would wait
        own, outcome = error, (None, portable(error))
    outcomes = all_gather_object(outcome)
    if own is not None:
        raise own
    for _, failure in outcomes:
        if failure is not None:
            raise failure
    return [result for result, _ in outcomes]


def portable(error: Exception) -> Exception:
    """Return an error that other processes can unpickle."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # its class has arguments of its own
        return RuntimeError(f'{type(error).__name__}: {error}')
    return error
