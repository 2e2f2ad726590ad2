"""Hand batches from workers to the main process in reused shared memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from torch.utils.data import get_worker_info

from ..utils.allocator import keep_freed_memory
from .batch_pickle import dumps
from .leases import receive
from .shared_blocks import BlockPool

_pools: dict[int, BlockPool] = {}  # process id -> pool; a fork has its own


@FUNCTIONS.register_module()
def deeplake_collate(data_batch: Sequence[Any]) -> Any:
    """Collate samples like ``pseudo_collate``, and hand the batch over without copies.

    By default PyTorch moves each tensor of a batch into a new segment of shared memory,
    whose pages both processes must allocate again, and pickles NumPy arrays through a
    pipe.
    Here a worker writes the batch into a block of shared memory that is used again and
    again. The main process gets the same objects, whose large tensors and arrays are
    views of the block. Once the last of them is gone, the worker may reuse the block: a
    batch that is kept is never overwritten. If all blocks of a worker are kept, further
    batches take PyTorch's way.

    Works for any dataset, with forked and spawned workers. Without workers, and on
    systems other than Linux, it is ``pseudo_collate``. Write it into a dataloader as
    ``collate_fn=dict(type='deeplake_collate')``.

    Args:
        data_batch: The samples of a batch.

    Returns:
        What ``pseudo_collate`` returns, as seen by the main process.
    """
    batch = pseudo_collate(data_batch)
    if get_worker_info() is None:
        return batch
    keep_freed_memory()
    process = os.getpid()
    if process not in _pools:
        _pools.clear()
        _pools[process] = BlockPool()
    return hand_over(batch, _pools[process])


def hand_over(batch: Any, pool: BlockPool) -> Any:
    """Return an object that becomes the batch when it is unpickled elsewhere.

    It is the batch itself if this does not get a block, so that PyTorch sends it.
    """
    if not pool.is_usable:
        return batch
    pickled, buffers = dumps(batch)
    if not buffers:
        return _HandedOver(pickled, None, [])
    block, parts = pool.write(buffers)
    return batch if block is None else _HandedOver(pickled, block, parts)


class _HandedOver:
    """An object that unpickles as what :func:`receive` makes of the arguments."""

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return receive, self._arguments
