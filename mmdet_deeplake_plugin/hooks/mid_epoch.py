"""Going on with a dataloader at any batch, without loading those before it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmdet.datasets.samplers import AspectRatioBatchSampler
from torch.utils.data import BatchSampler, DataLoader

from ..samplers.batch_sampler import DeepLakeAspectRatioBatchSampler
from ..samplers.loader import DeepLakeLoader


def find_sampler(dataloader: DataLoader) -> DeepLakeLoader:
    """The ``DeepLakeLoader`` of a dataloader.

    Raises:
        TypeError: If it has another sampler, or a batch sampler that cannot skip.
    """
    batches = dataloader.batch_sampler
    sampler = getattr(batches, 'sampler', None)
    if not isinstance(sampler, DeepLakeLoader):
        raise TypeError(
            f'DeepLakeResumeHook: the sampler of train_dataloader is a '
            f'{type(sampler).__name__}, which cannot go on in the middle of an epoch; '
            "write sampler=dict(type='DeepLakeLoader', shuffle=True)"
        )
    known = (DeepLakeAspectRatioBatchSampler, AspectRatioBatchSampler)
    if type(batches) is not BatchSampler and not isinstance(batches, known):
        raise TypeError(
            f'DeepLakeResumeHook: the batch sampler of train_dataloader is a '
            f'{type(batches).__name__}, which cannot go on in the middle of an epoch; '
            "leave it out, or write dict(type='DeepLakeAspectRatioBatchSampler')"
        )
    return sampler


def skip_batches(dataloader: DataLoader, count: int) -> None:
    """Lets the next iteration of a dataloader begin behind its first batches.

    Args:
        dataloader: With a ``DeepLakeLoader`` whose epoch is set.
        count: Number of batches of this rank to leave out; no image of them is read.
    """
    batches, sampler = dataloader.batch_sampler, find_sampler(dataloader)
    if isinstance(batches, DeepLakeAspectRatioBatchSampler):
        batches.skip(min(count, len(batches)))
    elif type(batches) is BatchSampler:
        sampler.skip(min(count * batches.batch_size, len(sampler)))
    elif count:
        taken: list[int] = []
        # A copy, as it keeps what it has taken and not yet put into a batch.
        replay = copy.deepcopy(batches, {id(sampler): _Noted(sampler, taken)})
        dealt = Counter(index for batch in islice(replay, count) for index in batch)
        left = []
        for index in taken:
            if dealt[index]:
                dealt[index] -= 1
            else:
                left.append(index)
        sampler.skip(len(taken), keep=left)


class BatchStream:
    """Batches of one epoch after another, beginning at any batch.

    Takes the place of the iterator of ``IterBasedTrainLoop``, which loads what it
    skips.

    Args:
        dataloader: With a ``DeepLakeLoader``.
        epoch: Number of the epoch to begin in.
        batches: Number of batches of that epoch that were trained.
        advance: Number of items that come first, at once and empty: the loop asks
            for what was trained and throws it away.
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
        """The next batch; ``None`` for each that was trained before."""
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
        """What the loop of onedl-mmengine calls instead of asking for empty items.

        Args:
            num_iters: Not used: the stream begins behind them.
        """
        self._advance = 0

    def _begin(self) -> Iterator[Any]:
        find_sampler(self._dataloader).set_epoch(self.epoch)
        skip_batches(self._dataloader, self.batches)
        return iter(self._dataloader)


class _Noted:
    """A sampler that notes what it deals."""

    def __init__(self, sampler: DeepLakeLoader, taken: list[int]) -> None:
        self._sampler, self._taken = sampler, taken
        self.dataset = sampler.dataset

    def __iter__(self) -> Iterator[int]:
        for index in self._sampler:
            self._taken.append(index)
            yield index
