"""Functions of MMDetection that do not know its sample dicts, without loose ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from multiprocessing.pool import Pool
from typing import Any

import numpy as np
from mmdet.evaluation import bbox_overlaps, eval_map, print_recall_summary
from mmdet.evaluation.functional import mean_ap, recall
from numpy.typing import NDArray

__all__ = [
    'bbox_overlaps',
    'mean_average_precision',
    'print_recall_summary',
    'recalls_of_overlaps',
]


def recalls_of_overlaps(
    overlaps: NDArray[np.object_],
    proposal_nums: Sequence[int],
    iou_thrs: Sequence[float] | NDArray[np.float64],
) -> NDArray[np.float64]:
    """Match boxes and proposals greedily, and return the recalls.

    Args:
        overlaps: Per image, the IoU of its boxes with its proposals, best first.
        proposal_nums: Maximum numbers of proposals per image.
        iou_thrs: IoU thresholds.

    Returns:
        Array of shape ``(len(proposal_nums), len(iou_thrs))``.
    """
    recalls: NDArray[np.float64] = recall._recalls(
        overlaps, np.asarray(proposal_nums), np.asarray(iou_thrs, dtype=np.float64)
    )
    return recalls


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
