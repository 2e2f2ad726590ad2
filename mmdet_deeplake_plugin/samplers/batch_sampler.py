"""Batch images of one orientation, with as many batches on every rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from mmdet.registry import DATA_SAMPLERS
from torch.utils.data import BatchSampler

from ..shuffle.batches import global_batches, num_batches
from ..utils.values import check_bool, check_int, refuse_unknown
from .checks import check_equal_on_ranks
from .loader import DeepLakeLoader
from .pause import is_paused


@DATA_SAMPLERS.register_module()
class DeepLakeAspectRatioBatchSampler(BatchSampler):
    """``AspectRatioBatchSampler`` for several ranks: upright and wide images apart.

    With ``AspectRatioBatchSampler`` each rank groups its own samples, so ranks may end
    up with different numbers of batches and wait for each other forever. This sampler
    forms global batches first and splits each among the ranks, so the batches are the
    same for any number of ranks. With one rank and ``shuffle='full'`` they equal those
    of ``AspectRatioBatchSampler``, except for the last full batch, which that one
    sometimes loses with ``drop_last``. With ``shuffle='lanes'``, batches follow the
    lanes.

    Args:
        sampler: A ``DeepLakeLoader``.
        batch_size: Batch size per rank.
        drop_last: Whether to leave out the incomplete batch at the end of an epoch.
            Otherwise it is filled up to a multiple of the number of ranks with samples
            from the beginning, whatever the sampler's ``round_up``.

    Raises:
        TypeError: If the sampler is not a ``DeepLakeLoader``.
        ValueError: If ``batch_size`` is not a positive integer, the size of an image
            is not known, the sampler's order is ``'by_worker'``, or the ranks have
            different numbers of batches.
    """

    def __init__(
        self,
        sampler: DeepLakeLoader,
        batch_size: int,
        drop_last: bool = False,
        **unknown: Any,
    ) -> None:
        refuse_unknown(unknown, DeepLakeAspectRatioBatchSampler.__init__)
        if not isinstance(sampler, DeepLakeLoader):
            raise TypeError(
                'the sampler of DeepLakeAspectRatioBatchSampler must be a '
                f'DeepLakeLoader, got {type(sampler).__name__}; write '
                "sampler=dict(type='DeepLakeLoader', …), or keep "
                "batch_sampler=dict(type='AspectRatioBatchSampler')"
            )
        if sampler.is_by_worker:
            raise ValueError(
                "order='by_worker' of DeepLakeLoader deals batches in sequence, which "
                'DeepLakeAspectRatioBatchSampler would form anew; leave one of them out'
            )
        name = 'DeepLakeAspectRatioBatchSampler'
        check_int(f'batch_size of {name}', batch_size, 1, 'one, such as batch_size=2')
        check_bool(f'drop_last of {name}', drop_last)
        self.sampler = sampler
        self.batch_size = int(batch_size)
        self.drop_last = drop_last
        # Upright first, the order in which the stock sampler appends its leftovers.
        self._groups = np.where(sampler.is_upright(), 0, 1).astype(np.int8)
        self._skip = 0
        check_equal_on_ranks(len(self), 'batches', 'rows, batch_size and drop_last')

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches of this rank, each a list of indices."""
        if is_paused():
            return
        skip, self._skip = self._skip, 0
        rank, world_size = self.sampler.rank, self.sampler.world_size
        size = self.batch_size * world_size
        order = self.sampler.begin_in_groups(self._groups, skip * size)
        batches = global_batches(order, self._groups, size, world_size, self.drop_last)
        for batch in batches[skip:]:
            yield batch[rank::world_size].tolist()

    def __len__(self) -> int:
        """Return the number of batches per epoch, equal on all ranks."""
        size = self.batch_size * self.sampler.world_size
        return num_batches(self.sampler.num_samples, size, self.drop_last)

    def skip(self, num_batches: int) -> None:
        """Skip the first batches of the next iteration, and of that one only.

        Raises:
            ValueError: If an epoch has fewer batches.
        """
        if not 0 <= num_batches <= len(self):
            raise ValueError(
                f'cannot skip {num_batches} of the {len(self)} batches of an epoch'
            )
        self._skip = num_batches
