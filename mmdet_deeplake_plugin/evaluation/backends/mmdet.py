"""Functions of MMDetection that do not know its sample dicts, without loose ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from multiprocessing.pool import Pool
from typing import Any

from mmdet.evaluation import eval_map, print_recall_summary
from mmdet.evaluation.functional import mean_ap

__all__ = ['mean_average_precision', 'print_recall_summary']


def mean_average_precision(*args: Any, **kwargs: Any) -> Any:
    """Return the first result of ``eval_map``, which takes these arguments."""
    with _pools_ended():
        return eval_map(*args, **kwargs)[0]


@contextlib.contextmanager
def _pools_ended() -> Iterator[None]:
    """End the worker processes that ``eval_map`` starts.

    It closes its pool and drops it without waiting. A pool is ended by the thread that
    drops the last reference; if that is the thread that hands out the tasks, it waits
    for itself, and the workers live as long as this process.
    """
    pools: list[Pool] = []
    make = mean_ap.Pool

    def make_and_keep(*args: Any) -> Pool:
        pools.append(make(*args))
        return pools[-1]

    mean_ap.Pool = make_and_keep
    try:
        yield
    finally:
        mean_ap.Pool = make
        for pool in pools:
            pool.terminate()
            pool.join()
