"""Batches of images of one orientation, equally many on every rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from mmdet.registry import DATA_SAMPLERS
from mmengine.dist import all_gather_object
from torch.utils.data import BatchSampler

from ..shuffle.batches import global_batches, num_batches
from .loader import DeepLakeLoader
from .pause import is_paused


@DATA_SAMPLERS.register_module()
class DeepLakeAspectRatioBatchSampler(BatchSampler):
    """Upright and wide images in batches of their own, the same for any number of ranks.

    What ``AspectRatioBatchSampler`` does, for several ranks: there each rank sorts
    its own samples, so ranks may end with different numbers of batches and wait for
    each other for ever. Here the batches of all ranks together are formed, and each
    is dealt to the ranks. With one rank and ``shuffle='full'`` the batches are those
    of ``AspectRatioBatchSampler``, but for the last full one that this loses now and
    then with ``drop_last``; in lanes they keep to the lanes.

    Args:
        sampler: A ``DeepLakeLoader``.
        batch_size: Samples in a batch of one rank.
        drop_last: Whether a batch that is not full at the end of an epoch is left out.
            Otherwise it is filled up to a multiple of the ranks from the beginning,
            whatever the sampler's ``round_up``.

    Raises:
        TypeError: If the sampler is another one.
        ValueError: If ``batch_size`` is no whole number from 1 on, the size of an image
            is not known, or the ranks do not agree on the number of batches.
    """

    def __init__(
        self, sampler: DeepLakeLoader, batch_size: int, drop_last: bool = False
    ) -> None:
        if not isinstance(sampler, DeepLakeLoader):
            raise TypeError(
                f'DeepLakeAspectRatioBatchSampler has a {type(sampler).__name__} for a '
                "sampler; write sampler=dict(type='DeepLakeLoader', …), or keep "
                "batch_sampler=dict(type='AspectRatioBatchSampler')"
            )
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(
                f'batch_size={batch_size!r} of DeepLakeAspectRatioBatchSampler is no '
                'whole number from 1 on'
            )
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last
        # Upright first, as the stock sampler's left-overs at the end.
        self._groups = np.where(sampler.is_upright(), 0, 1).astype(np.int8)
        self._skip = 0
        self._check_ranks()

    def __iter__(self) -> Iterator[list[int]]:
        """Batches of this rank, each a list of indices."""
        if is_paused():
            return
        skip, self._skip = self._skip, 0
        rank, world_size = self.sampler.rank, self.sampler.world_size
        size = self.batch_size * world_size
        order, lanes = self.sampler.grouped_order(self._groups)
        batches = global_batches(order, self._groups, size, world_size, self.drop_last)
        self.sampler.begin_reading(lanes, skip * size)
        for batch in batches[skip:]:
            yield batch[rank::world_size].tolist()

    def __len__(self) -> int:
        """Number of batches in an epoch, equal on all ranks."""
        size = self.batch_size * self.sampler.world_size
        return num_batches(self.sampler.num_samples, size, self.drop_last)

    def skip(self, num_batches: int) -> None:
        """Lets the next iteration, and only that, begin later in its epoch.

        Args:
            num_batches: Number of batches to leave out at the beginning.

        Raises:
            ValueError: If there are not as many.
        """
        if not 0 <= num_batches <= len(self):
            raise ValueError(
                f'cannot skip {num_batches} of the {len(self)} batches of an epoch'
            )
        self._skip = num_batches

    def _check_ranks(self) -> None:
        counts: list[Any] = all_gather_object(len(self))
        if len(set(counts)) > 1:
            seen = ', '.join(f'rank {i}: {count}' for i, count in enumerate(counts))
            raise ValueError(
                f'the ranks have different numbers of batches ({seen}) and would wait '
                'for each other for ever; give all ranks the same rows, batch_size and '
                'drop_last'
            )
