"""Going on with a dataloader at any batch, without loading those before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmdet.datasets.samplers import AspectRatioBatchSampler
from torch.utils.data import BatchSampler, DataLoader

from ..batch_sampler import DeepLakeAspectRatioBatchSampler
from ..loader import DeepLakeLoader


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
        batches.skip(count)
    elif type(batches) is BatchSampler:
        sampler.skip(min(count * batches.batch_size, len(sampler)))
    elif count:
        taken: list[int] = []
        dealt = Counter(
            index
            for batch in islice(_replay(batches, sampler, taken), count)
            for index in batch
        )
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
        done: Number of batches that were trained; as many items come at once, empty.
    """

    def __init__(self, dataloader: DataLoader, done: int) -> None:
        self._dataloader = dataloader
        self._advance = done
        self._epoch, self._skip = divmod(done, max(len(dataloader), 1))
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
            return next(self._iterator)
        except StopIteration:
            self._epoch, self._skip = self._epoch + 1, 0
            self._iterator = self._begin()
            return next(self._iterator)

    def _begin(self) -> Iterator[Any]:
        find_sampler(self._dataloader).set_epoch(self._epoch)
        skip_batches(self._dataloader, self._skip)
        return iter(self._dataloader)


def _replay(
    batches: BatchSampler, sampler: DeepLakeLoader, taken: list[int]
) -> Iterator[list[int]]:
    """The batches of an epoch, with a note of each index that was taken for them."""

    class Noted(list):
        def __iter__(self) -> Iterator[int]:
            for index in sampler:
                taken.append(index)
                yield index

    original, batches.sampler = batches.sampler, Noted()
    try:
        yield from batches
    finally:
        batches.sampler = original
