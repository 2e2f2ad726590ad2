"""DeepLakeMultiImageMixDataset: as stock where rows are cheap, from chunks elsewhere."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from helpers.chunked import Seen, image, intact, run, write_chunked
from helpers.lakes import row, write_lake
from helpers.object_store import CHUNK_KEYS, ObjectStore
from helpers.samples import assert_equal
from mmdet.datasets import ConcatDataset, MultiImageMixDataset
from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules
from mmengine.dataset import worker_init_fn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

import mmdet_deeplake_plugin.samplers.loader as loader_module
import mmdet_deeplake_plugin.samplers.read_strategy as read_strategy_module
from mmdet_deeplake_plugin import (
    DeepLakeAspectRatioBatchSampler,
    DeepLakeDataset,
    DeepLakeLoader,
    DeepLakeMultiImageMixDataset,
)
from mmdet_deeplake_plugin.datasets.mixing.partners import IndexInEpoch
from mmdet_deeplake_plugin.hooks.mid_epoch import skip_batches

register_all_modules()

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
YOLOX = [
    dict(type='Mosaic', img_scale=(64, 64)),
    dict(type='MixUp', img_scale=(64, 64)),
    dict(type='PackDetInputs'),
]
SIZES = [10, 15, 1, 24, 6, 10, 20, 14, 17, 3] * 2  # 240 rows
ROWS = sum(SIZES)
SEEN = [Seen()]
DRAW = [dict(type='Draw', count=count) for count in (3, 1)]
NOTED = [dict(type='Draw', count=3, noted=True)]
LANES = dict(shuffle='lanes', seed=0, loader_type='c++')


def ids(seen: list[dict]) -> list[int]:
    """Ids of samples."""
    return [each['img_id'] for each in seen]


def mixed_ids(seen: list[dict]) -> list[list[int]]:
    """Ids of what was mixed into samples."""
    return [ids(each['mixed']) for each in seen]


def whole(seen: list[dict]) -> bool:
    """Whether every sample and every other one in it has its own bytes."""
    return intact([*seen, *(other for each in seen for other in each['mixed'])])


@pytest.fixture(scope='module')
def local(tmp_path_factory) -> str:
    """Path of a lake of 240 images in 20 chunks."""
    return write_chunked(tmp_path_factory.mktemp('lakes') / 'lake', SIZES)


@pytest.fixture
def be(monkeypatch) -> Callable[[int, int], None]:
    """Makes samplers believe that they are on a rank."""

    def be(rank: int, ranks: int) -> None:
        monkeypatch.setattr(loader_module, 'get_dist_info', lambda: (rank, ranks))

    return be


def mix(dataset: Any, pipeline: Any = NOTED) -> DeepLakeMultiImageMixDataset:
    """Ours around a dataset."""
    return DeepLakeMultiImageMixDataset(dataset, pipeline)


def opened(path: str, **keys: Any) -> DeepLakeDataset:
    """A dataset that ends with what it saw."""
    return DeepLakeDataset(path, pipeline=SEEN, **keys)


# ------------------------------------------------------------------------ equal to stock


def _balanced(dataset: Any) -> Any:
    return dict(type='ClassBalancedDataset', dataset=dataset, oversample_thr=0.6)


WRAPPED = {
    'plain': lambda a, b: a,
    'subset': lambda a, b: a.get_subset([7, 3, 29, 11]),
    'repeat': lambda a, b: dict(type='RepeatDataset', dataset=a, times=2),
    'class balanced': lambda a, b: _balanced(a.get_subset(list(range(20)))),
    'concat': lambda a, b: dict(type='ConcatDataset', datasets=[b, a]),
}


@pytest.fixture(scope='module')
def empties(tmp_path_factory) -> list[str]:
    """Two lakes, in which a third of the rows has no box."""
    folder = tmp_path_factory.mktemp('empties')
    boxes = [(1, 2, 10, 12)], [(3, 4, 20, 22), (5, 6, 9, 12)], []
    return [
        write_lake(folder / str(n), [row(i, boxes[i % 3]) for i in range(n)])
        for n in (40, 25)
    ]


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('name', WRAPPED)
def test_on_a_local_lake_it_mixes_as_stock(name, workers, empties):
    """Mosaic, MixUp (which tries again on empty rows) and the rest, tensor for tensor."""
    found = []
    for kind in (DeepLakeMultiImageMixDataset, MultiImageMixDataset):
        parts = [DeepLakeDataset(path, pipeline=LOAD) for path in empties]
        dataset = kind(WRAPPED[name](*parts), YOLOX)
        sampler = DeepLakeLoader(dataset, seed=0)
        np.random.seed(3)
        torch.manual_seed(3)
        init = lambda worker: worker_init_fn(worker, 2, 0, 3)  # noqa: E731
        found.append(run(dataset, sampler, num_workers=workers, worker_init_fn=init))
    assert len(found[0]) == len(dataset)
    for ours, stock in zip(*found):
        assert_equal(ours, stock)


def _nested(dataset: Any) -> Any:
    keys = dict(dataset=dataset, pipeline=NOTED)
    return ConcatDataset([dict(type='DeepLakeMultiImageMixDataset', **keys)])


ALL_ROWS = {
    'full': lambda d: (mix(d), DeepLakeLoader(mix(d), 'full', seed=0), {}),
    'in sequence': lambda d: (
        mix(d),
        DeepLakeLoader(mix(d), 'none', seed=0, loader_type='c++'),
        {},
    ),
    'row by row': lambda d: (mix(d), DeepLakeLoader(mix(d), 'lanes', seed=0), {}),
    'stock sampler': lambda d: (mix(d), RandomSampler(d), {}),
    'in a wrapper': lambda d: (_nested(d), DeepLakeLoader(_nested(d), **LANES), {}),
}


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('name', ALL_ROWS)
def test_without_open_chunks_all_rows_may_come(name, workers, local):
    """Whatever the reason: samples are drawn from all, by numpy's generator."""
    dataset, sampler, keys = ALL_ROWS[name](opened(local).get_subset(list(range(60))))
    seen = run(dataset, sampler, num_workers=workers, **keys)
    assert {tuple(each['from']) for each in seen} == {tuple(range(60))}
    assert whole(seen) and sorted(ids(seen)) == list(range(60))


class _Backwards(BatchSampler):
    """Batches in which samples have another sequence than in the order."""

    def __iter__(self) -> Iterator[list[int]]:
        for batch in super().__iter__():
            yield batch[::-1]


def _unaligned(sampler: DeepLakeLoader, *keys: Any) -> BatchSampler:
    sampler.skip(1)
    return BatchSampler(sampler, *keys)


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize(
    'batches',
    [DeepLakeAspectRatioBatchSampler, AspectRatioBatchSampler, _Backwards, _unaligned],
)
def test_batches_that_are_dealt_otherwise_take_all_rows(batches, workers, local):
    """It is not known which worker they go to, and which lanes they are of."""
    dataset = mix(opened(local).get_subset(list(range(60))))
    sampler = DeepLakeLoader(dataset, **LANES, lanes=4)
    loader = DataLoader(
        dataset,
        batch_sampler=batches(sampler, 4, False),
        collate_fn=list,
        num_workers=workers,
    )
    seen = [each for batch in loader for each in batch]
    assert len(seen) >= 59 and whole(seen)
    if batches is AspectRatioBatchSampler:  # as it happens, all are wide
        assert all(each['img_id'] in each['from'] for each in seen)
    else:
        assert {tuple(each['from']) for each in seen} == {tuple(range(60))}


# --------------------------------------------------------------------------- open chunks

GRID = [(1, 0), (1, 1), (1, 2), (2, 0), (2, 2)]


def _epoch(
    path: str,
    be: Any,
    ranks: int,
    workers: int,
    skip: int = 0,
    batch: int = 2,
    context: str = 'fork',
    **sampler: Any,
) -> list[list[dict]]:
    """What each rank sees of an epoch."""
    seen = []
    for rank in range(ranks):
        be(rank, ranks)
        dataset = mix(opened(path))
        keys = {**LANES, 'lanes': 8, 'batch_size': batch, **sampler}
        loader = DataLoader(
            dataset,
            batch,
            sampler=DeepLakeLoader(dataset, **keys),
            num_workers=workers,
            collate_fn=list,
            multiprocessing_context=context if workers else None,
        )
        skip_batches(loader, skip)
        seen.append([each for part in loader for each in part])
    be(0, 1)
    return seen


@pytest.mark.parametrize(('ranks', 'workers'), GRID)
def test_own_samples_keep_the_one_order(ranks, workers, local, be):
    """Mixing changes nothing of the order, for any number of ranks and workers."""
    seen = _epoch(local, be, ranks, workers)
    order = DeepLakeLoader(opened(local), **LANES, lanes=8).global_order().tolist()
    dealt = [each['img_id'] for turn in zip(*seen) for each in turn]
    assert dealt == order
    assert all(whole(each) for each in seen)


@pytest.mark.parametrize('batch', [2, 3])
@pytest.mark.parametrize('skip', [1, 6, 16])
@pytest.mark.parametrize(('ranks', 'workers'), GRID)
def test_after_a_resume_samples_are_mixed_from_the_same(
    ranks, workers, skip, batch, local, be
):
    """Each sample draws from the very samples that it would have without a pause."""
    before = _epoch(local, be, ranks, workers, batch=batch)
    after = _epoch(local, be, ranks, workers, skip, batch=batch)
    for all_of_rank, rest in zip(before, after):
        expected = all_of_rank[skip * batch :]
        assert ids(rest) == ids(expected) and rest
        assert [each['from'] for each in rest] == [each['from'] for each in expected]
        assert whole(rest)


@pytest.mark.parametrize('window', [1, 2])
@pytest.mark.parametrize(('ranks', 'workers'), [(1, 0), (1, 2), (2, 2)])
def test_samples_are_mixed_from_the_chunks_of_their_lanes(
    window, ranks, workers, local, be
):
    """All rows of the own chunk, and of as many others as lanes, are candidates."""
    bounds = np.cumsum([0, *SIZES])
    for seen in _epoch(local, be, ranks, workers, window=window):
        for each in seen:
            chunks = np.unique(np.searchsorted(bounds, each['from'], 'right') - 1)
            own = np.searchsorted(bounds, each['img_id'], 'right') - 1
            assert own in chunks
            rows = [np.arange(bounds[c], bounds[c + 1]) for c in chunks]
            assert each['from'] == np.concatenate(rows).tolist()
            lanes = 8 // (ranks * max(workers, 1))
            assert len(chunks) <= lanes * window
            assert set(ids(each['mixed'])) <= set(each['from'])
        assert len({tuple(each['from']) for each in seen}) >= 5


def test_another_seed_of_the_worker_draws_others_of_the_same(local, be):
    """What may be drawn follows from the order; what is, from the random state."""
    np.random.seed(0)
    (one,) = _epoch(local, be, 1, 0)
    (other,) = _epoch(local, be, 1, 0)
    np.random.seed(0)
    (again,) = _epoch(local, be, 1, 0)
    assert [e['from'] for e in one] == [e['from'] for e in other]
    assert mixed_ids(one) == mixed_ids(again) != mixed_ids(other)


def test_spawned_workers_and_later_epochs_know_the_order(local, be):
    """Workers that live on, and those that start from a pickle."""
    (spawned,) = _epoch(local, be, 1, 2, context='spawn')
    (forked,) = _epoch(local, be, 1, 2)
    assert [e['from'] for e in spawned] == [e['from'] for e in forked]
    dataset = mix(opened(local))
    sampler = DeepLakeLoader(dataset, **LANES, lanes=4)
    loader = DataLoader(
        dataset, 2, sampler=sampler, num_workers=2, collate_fn=list, persistent_workers=True
    )
    for epoch in range(2):
        sampler.set_epoch(epoch)
        seen = [each for part in loader for each in part]
        assert ids(seen) == sampler.global_order().tolist() and whole(seen)
        assert all(each['img_id'] in each['from'] for each in seen)
        assert max(len(each['from']) for each in seen) < 0.75 * ROWS


def test_rounded_up_samples_are_mixed_from_the_last_chunks(local, be):
    """The first samples come again at the end, where their chunks are gone."""
    be(0, 7)
    dataset = mix(opened(local))
    sampler = DeepLakeLoader(dataset, **LANES, lanes=14)
    seen = run(dataset, sampler, batch_size=2)
    assert len(seen) == -(-ROWS // 7) and whole(seen)


def test_an_index_keeps_its_position_in_a_pickle():
    """It is an integer in every other respect."""
    index = IndexInEpoch(7, 123)
    copied = pickle.loads(pickle.dumps(index))
    assert index == copied == 7 and copied.position == 123
    assert [10, 11, 12, 13, 14, 15, 16, 17][index] == 17


# ------------------------------------------------------------------------------ what it costs

COUNTED = {
    'plain': lambda a, b: a,
    'subset': lambda a, b: a.get_subset(list(range(0, ROWS, 2))),
    'repeat': lambda a, b: dict(type='RepeatDataset', dataset=a, times=2),
    'class balanced': lambda a, b: _balanced(a),
    'concat': lambda a, b: dict(type='ConcatDataset', datasets=[b, a]),
}


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('name', COUNTED)
def test_chunks_are_read_once_whatever_is_mixed(name, workers, local):
    """As many requests as without mixing; no row is read by itself."""
    mixing = mix(COUNTED[name](opened(local), opened(local)), DRAW)
    plain = COUNTED[name](opened(local), opened(local))
    plain = DATASETS.build(plain) if isinstance(plain, dict) else plain
    chunks, requests = [], []
    for dataset in (mixing, plain):
        readers = {each.reader for each in _lakes(dataset)}
        for reader in readers:
            reader.counters.share()
        sampler = DeepLakeLoader(dataset, **LANES, lanes=8)
        seen = run(dataset, sampler, num_workers=workers, batch_size=4)
        assert len(seen) == len(dataset)
        assert intact(seen) if dataset is plain else whole(seen)
        totals = [reader.counters.totals() for reader in readers]
        chunks.append(sum(each['chunks'] for each in totals))
        requests.append(sum(each['requests'] for each in totals))
    assert chunks[0] == requests[0] <= requests[1]


def _lakes(dataset: Any) -> Iterator[DeepLakeDataset]:
    if isinstance(dataset, DeepLakeDataset):
        yield dataset
    else:
        for part in getattr(dataset, 'datasets', None) or [dataset.dataset]:
            yield from _lakes(part)


def test_weights_repeat_samples_and_not_what_is_mixed_into_them(local):
    """Samples of one class come often; what is mixed into them is drawn evenly."""
    dataset = mix(opened(local), DRAW)
    weights = dict(type='query', expression='image_id % 3 == 0')
    sampler = DeepLakeLoader(dataset, **LANES, lanes=8, weights=weights)
    (lake,) = _lakes(dataset)
    lake.reader.counters.share()
    seen = run(dataset, sampler, num_workers=2, batch_size=4)
    assert {each % 3 for each in ids(seen)} == {0} and len(seen) == ROWS
    drawn = np.concatenate(mixed_ids(seen))
    assert np.bincount(drawn % 3).min() > 0.28 * len(drawn)
    totals = lake.reader.counters.totals()
    assert totals['requests'] == totals['chunks'] <= 2 * len(SIZES)
    assert whole(seen)


def test_a_small_bound_is_kept(local):
    """What does not fit is read by itself, and nothing more is held."""
    dataset = mix(opened(local), DRAW)
    bound = 2 * 24 * len(image(0))
    sampler = DeepLakeLoader(dataset, **LANES, lanes=8, cache_bytes=bound)
    seen = run(dataset, sampler)
    assert whole(seen) and len(seen) == ROWS
    assert max(each['held'] for each in seen) <= bound


SMALL = [24] * 60  # 1440 images, in more chunks than Deep Lake caches


@pytest.fixture(scope='module')
def store(tmp_path_factory) -> Iterator[ObjectStore]:
    """A store with a lake of small images."""
    folder = tmp_path_factory.mktemp('store')
    path = write_chunked(folder / 'lake', SMALL)
    with ObjectStore.start(folder) as running:
        running.upload(path, 'lake')
        yield running


def _on_store(store: ObjectStore, kind: type) -> tuple[Any, DeepLakeLoader]:
    creds = dict(creds=store.creds)
    dataset = DeepLakeDataset(
        store.url('lake'), deeplake_credentials=creds, pipeline=LOAD
    )
    mixing = kind(dataset, YOLOX)
    return mixing, DeepLakeLoader(mixing, seed=0, lanes=16)


def test_mosaics_from_object_storage_cost_what_plain_samples_do(store):
    """Uncached Mosaic + MixUp, counted by the store: a twentieth request a sample."""
    costs = {}
    for kind in (DeepLakeMultiImageMixDataset, MultiImageMixDataset):
        dataset, sampler = _on_store(store, kind)
        store.reset_log()
        if kind is MultiImageMixDataset:
            sampler.skip(1200)  # some are enough
        seen = run(dataset, sampler, num_workers=2)
        total = store.totals(CHUNK_KEYS)
        costs[kind] = total.requests / len(seen), total.bytes / len(seen) / len(image(0))
    assert len(seen) == 240
    requests, amplification = costs[DeepLakeMultiImageMixDataset]
    assert requests <= 0.05 and amplification <= 1.2
    requests, amplification = costs[MultiImageMixDataset]
    assert requests > 0.5 and amplification > 2


def test_mosaics_that_cost_a_read_for_each_image_are_warned_of(store, monkeypatch):
    """The warning says what to write; with that, there is none."""
    said: list[str] = []
    monkeypatch.setattr(read_strategy_module, 'warn', said.append)
    _on_store(store, MultiImageMixDataset)
    (text,) = said
    assert text.startswith('the other images of mixed samples (Mosaic, MixUp) are drawn ')
    assert "write type='DeepLakeMultiImageMixDataset' in the outermost dataset" in text
    mixing, _ = _on_store(store, DeepLakeMultiImageMixDataset)
    assert said == [text]
    DeepLakeLoader(mixing, 'full', seed=0)
    DeepLakeLoader(_nested(mixing.dataset), seed=0)
    assert said == [text] * 3
