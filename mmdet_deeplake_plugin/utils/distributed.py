"""Work that one rank does for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mmengine.dist import broadcast_object_list, get_dist_info

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
            broadcast_object_list([(None, error)])
            raise
    broadcast_object_list(outcome)
    result, failure = outcome[0]
    if failure is not None:
        raise failure
    return result
