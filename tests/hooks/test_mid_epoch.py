"""Batches of a dataloader from any batch on are those that come without skipping."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmdet.utils import register_all_modules
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader

import mmdet_deeplake_plugin.samplers.loader as loader_module
from mmdet_deeplake_plugin import DeepLakeAspectRatioBatchSampler, DeepLakeLoader
from mmdet_deeplake_plugin.hooks.mid_epoch import BatchStream, find_sampler, skip_batches

register_all_modules()

BATCH_SAMPLERS = {
    'plain': BatchSampler,
    'aspect': DeepLakeAspectRatioBatchSampler,
    'stock-aspect': AspectRatioBatchSampler,
}
RANKS = [(0, 1), (0, 3), (2, 3)]


class Sizes:
    """A dataset that knows the sizes of its images and notes which are loaded."""

    def __init__(self, count: int, share: float = 0.3) -> None:
        rng = np.random.default_rng(count)
        self.is_upright = rng.random(count) < share
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return len(self.is_upright)

    def __getitem__(self, index: int) -> int:
        self.loaded.append(index)
        return index

    def get_data_info(self, index: int) -> dict:
        return {'width': 3, 'height': 4 if self.is_upright[index] else 2}


@pytest.fixture()
def as_rank(monkeypatch):
    """Makes samplers believe that they are on a rank."""

    def be(rank: int, ranks: int) -> None:
        monkeypatch.setattr(loader_module, 'get_dist_info', lambda: (rank, ranks))

    return be


def _dataloader(
    kind: str, count: int = 29, size: int = 4, drop_last: bool = False, **sampler: Any
) -> DataLoader:
    dataset = Sizes(count)
    batches = BATCH_SAMPLERS[kind](
        DeepLakeLoader(dataset, seed=5, **sampler), size, drop_last
    )
    return DataLoader(dataset, batch_sampler=batches, collate_fn=list)


# ------------------------------------------------------------------------------ skipping


@pytest.mark.parametrize('rank', RANKS, ids=lambda rank: f'{rank[0]}-of-{rank[1]}')
@pytest.mark.parametrize('drop_last', [False, True], ids=['keep', 'drop'])
@pytest.mark.parametrize('kind', BATCH_SAMPLERS)
def test_what_follows_skipped_batches_is_the_rest(kind, drop_last, rank, as_rank):
    """For each number of batches, the rest comes; and only once: then all come again."""
    as_rank(*rank)
    for count, size in [(29, 4), (20, 4), (7, 3), (3, 5), (24, 1)]:
        dataloader = _dataloader(kind, count, size, drop_last)
        batches = list(dataloader)
        for done in range(len(batches) + 1):
            skip_batches(dataloader, done)
            assert list(dataloader) == batches[done:], (count, size, done)
        assert list(dataloader) == batches
        find_sampler(dataloader).set_epoch(1)
        following = list(dataloader)
        skip_batches(dataloader, len(batches) // 2)
        assert list(dataloader) == following[len(batches) // 2 :]


@pytest.mark.parametrize('kind', BATCH_SAMPLERS)
def test_nothing_is_loaded_to_skip(kind):
    """Skipping loads no sample, and afterwards only those that are left."""
    dataloader = _dataloader(kind)
    batches = list(dataloader)
    dataloader.dataset.loaded.clear()
    skip_batches(dataloader, 5)
    assert dataloader.dataset.loaded == []
    list(dataloader)
    assert dataloader.dataset.loaded == [
        index for batch in batches[5:] for index in batch
    ]


@pytest.mark.parametrize('kind', BATCH_SAMPLERS)
def test_more_batches_than_there_are_leave_none(kind):
    """As after a change of the batch size that was accepted."""
    dataloader = _dataloader(kind)
    skip_batches(dataloader, 100)
    assert list(dataloader) == []
    assert len(list(dataloader)) == len(dataloader)


def test_a_sampler_skips_as_the_onedl_fork_asks(as_rank):
    """skip(n) leaves out the first n samples of the rank, once, counted from the first."""
    for rank, ranks in RANKS:
        as_rank(rank, ranks)
        sampler = DeepLakeLoader(Sizes(29), seed=5)
        samples = list(sampler)
        for count in range(len(samples) + 1):
            sampler.skip(count)
            assert list(sampler) == samples[count:]
        sampler.skip(2)
        sampler.skip(3)
        assert list(sampler) == samples[3:]
        assert list(sampler) == samples


def test_a_sampler_deals_first_what_it_is_told_to_keep():
    """What a batch sampler had taken comes before the rest."""
    sampler = DeepLakeLoader(Sizes(9), seed=5)
    samples = list(sampler)
    sampler.skip(6, keep=[samples[1], samples[4]])
    assert list(sampler) == [samples[1], samples[4], *samples[6:]]


@pytest.mark.parametrize('count', [-1, 11])
def test_a_sampler_refuses_to_skip_what_it_has_not(count, as_rank):
    """The error names the number, the rank and what there is."""
    as_rank(1, 3)
    text = f'cannot skip {count} samples of the 10 that rank 1 sees in an epoch'
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeLoader(Sizes(29)).skip(count)


@pytest.mark.parametrize('count', [-1, 9])
def test_a_batch_sampler_refuses_to_skip_what_it_has_not(count):
    """The error names the number and how many batches there are."""
    batches = DeepLakeAspectRatioBatchSampler(DeepLakeLoader(Sizes(29)), 4)
    text = f'cannot skip {count} of the 8 batches of an epoch'
    with pytest.raises(ValueError, match=re.escape(text)):
        batches.skip(count)


# -------------------------------------------------------------------------------- stream


@pytest.mark.parametrize('drop_last', [False, True], ids=['keep', 'drop'])
@pytest.mark.parametrize('kind', BATCH_SAMPLERS)
def test_a_stream_goes_from_epoch_to_epoch(kind, drop_last):
    """From every place in two epochs it gives the rest, and says where it is."""
    dataloader = _dataloader(kind, 20, drop_last=drop_last)
    places = []
    for epoch in range(3):
        find_sampler(dataloader).set_epoch(epoch)
        for number, batch in enumerate(dataloader):
            places.append((epoch, number + 1, batch))
    for done in range(len(places) - 5):
        epoch, number = places[done - 1][:2] if done else (0, 0)
        # The stock sampler would keep what a stream that ends early had taken.
        dataloader = _dataloader(kind, 20, drop_last=drop_last)
        stream = BatchStream(dataloader, epoch, number)
        assert (stream.epoch, stream.batches) == (epoch, number)
        for place in places[done:]:
            batch = next(stream)
            assert (stream.epoch, stream.batches, batch) == place


def test_a_stream_passes_over_what_was_trained_at_once():
    """MMEngine's loop asks for what it throws away: these items are empty."""
    dataloader = _dataloader('plain')
    batches = list(dataloader)
    stream = iter(BatchStream(dataloader, 0, 5, advance=5))
    dataloader.dataset.loaded.clear()
    assert [next(stream) for _ in range(5)] == [None] * 5
    assert dataloader.dataset.loaded == []
    assert [next(stream) for _ in range(3)] == batches[5:]


def test_a_stream_is_skipped_as_the_onedl_fork_does():
    """There the loop calls skip_iter instead, and then asks for the next batch."""
    dataloader = _dataloader('plain')
    batches = list(dataloader)
    stream = BatchStream(dataloader, 0, 5, advance=5)
    stream.skip_iter(5)
    assert next(stream) == batches[5]


# -------------------------------------------------------------------------------- errors


@pytest.mark.parametrize('kind', [DefaultSampler, InfiniteSampler])
def test_another_sampler_is_refused(kind):
    """The error names the sampler that was found and what to write."""
    dataset = Sizes(8)
    text = (
        'DeepLakeResumeHook: the sampler of train_dataloader must be a DeepLakeLoader '
        f'to resume in mid-epoch, got {kind.__name__}; write '
        "sampler=dict(type='DeepLakeLoader', shuffle=True)"
    )
    with pytest.raises(TypeError, match=re.escape(text)):
        find_sampler(DataLoader(dataset, sampler=kind(dataset)))


def test_another_batch_sampler_is_refused():
    """The error names the batch sampler that was found and what to write."""

    class Odd(BatchSampler):
        pass

    dataset = Sizes(8)
    batches = Odd(DeepLakeLoader(dataset), 2, drop_last=False)
    text = (
        'DeepLakeResumeHook: the batch sampler of train_dataloader cannot resume in '
        'mid-epoch, as it is a Odd; leave it out, or write '
        "batch_sampler=dict(type='DeepLakeAspectRatioBatchSampler')"
    )
    with pytest.raises(TypeError, match=re.escape(text)):
        find_sampler(DataLoader(dataset, batch_sampler=batches))
