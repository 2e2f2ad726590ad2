"""Continue a dataloader at any batch, without loading the batches before it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmdet.datasets import BaseVideoDataset
from mmdet.datasets.samplers import AspectRatioBatchSampler
from torch.utils.data import BatchSampler, DataLoader

from ..samplers.batch_sampler import DeepLakeAspectRatioBatchSampler
from ..samplers.loader import DeepLakeLoader


def find_sampler(dataloader: DataLoader) -> DeepLakeLoader:
    """Return the ``DeepLakeLoader`` of a dataloader.

    Raises:
        TypeError: If it has another sampler, or a batch sampler that cannot skip, or the
            dataset is one of videos.
    """
    if isinstance(dataloader.dataset, BaseVideoDataset):
        raise TypeError(
            'DeepLakeResumeHook: videos cannot be resumed in mid-epoch, but '
            f'train_dataloader has a {type(dataloader.dataset).__name__}; leave the hook '
            'out, and --resume goes on after the last epoch that was saved'
        )
    batches = dataloader.batch_sampler
    sampler = getattr(batches, 'sampler', None)
    if not isinstance(sampler, DeepLakeLoader):
        raise TypeError(
            'DeepLakeResumeHook: the sampler of train_dataloader must be a '
            f'DeepLakeLoader to resume in mid-epoch, got {type(sampler).__name__}; '
            "write sampler=dict(type='DeepLakeLoader', shuffle=True)"
        )
    known = (DeepLakeAspectRatioBatchSampler, AspectRatioBatchSampler)
    if type(batches) is not BatchSampler and not isinstance(batches, known):
        raise TypeError(
            'DeepLakeResumeHook: the batch sampler of train_dataloader cannot resume in '
            f'mid-epoch, as it is a {type(batches).__name__}; leave it out, or write '
            "batch_sampler=dict(type='DeepLakeAspectRatioBatchSampler')"
        )
    return sampler


def skip_batches(dataloader: DataLoader, count: int) -> None:
    """Skip the first batches of a dataloader's next iteration, without reading them.

    Args:
        dataloader: A dataloader with a ``DeepLakeLoader`` whose epoch is set.
        count: Number of this rank's batches to skip.
    """
    batches, sampler = dataloader.batch_sampler, find_sampler(dataloader)
    if isinstance(batches, DeepLakeAspectRatioBatchSampler):
        batches.skip(min(count, len(batches)))
    elif type(batches) is BatchSampler:
        sampler.skip(min(count * batches.batch_size, len(sampler)))
    elif count:
        taken: list[int] = []
        # A copy, since a batch sampler keeps samples that are not in a batch yet.
        replay = copy.deepcopy(batches, {id(sampler): _Recorder(sampler, taken)})
        batched = Counter(index for batch in islice(replay, count) for index in batch)
        pending = []
        for index in taken:
            if batched[index]:
                batched[index] -= 1
            else:
                pending.append(index)
        sampler.skip(len(taken), keep=pending)


class BatchStream:
    """An endless iterator over the batches of all epochs, starting at any batch.

    It replaces the iterator of ``IterBasedTrainLoop``, which loads the batches that it
    skips.

    Args:
        dataloader: A dataloader with a ``DeepLakeLoader``.
        epoch: Number of the epoch to start in.
        batches: Number of batches of that epoch that are trained already.
        advance: Number of empty items to yield first, without loading anything: the
            loop requests the batches that are trained already and discards them.
    """

    def __init__(
        self, dataloader: DataLoader, epoch: int = 0, batches: int = 0, advance: int = 0
    ) -> None:
        self._dataloader = dataloader
        self._advance = advance
        self.epoch, self.batches = epoch, batches
        self._iterator: Iterator[Any] | None = None

    def __iter__(self) -> BatchStream:
        return self

    def __next__(self) -> Any:
        """Return the next batch; ``None`` for each that is trained already."""
        if self._advance:
            self._advance -= 1
            return None
        if self._iterator is None:
            self._iterator = self._begin()
        try:
            batch = next(self._iterator)
        except StopIteration:
            self.epoch, self.batches = self.epoch + 1, 0
            self._iterator = self._begin()
            batch = next(self._iterator)
        self.batches += 1
        return batch

    def skip_iter(self, num_iters: int) -> None:
        """Drop the empty items; the loop of onedl-mmengine calls this instead."""
        self._advance = 0

    def _begin(self) -> Iterator[Any]:
        find_sampler(self._dataloader).set_epoch(self.epoch)
        skip_batches(self._dataloader, self.batches)
        return iter(self._dataloader)


class _Recorder:
    """A sampler that records the indices it yields."""

    def __init__(self, sampler: DeepLakeLoader, taken: list[int]) -> None:
        self._sampler, self._taken = sampler, taken
        self.dataset = sampler.dataset

    def __iter__(self) -> Iterator[int]:
        for index in self._sampler:
            self._taken.append(index)
            yield index
