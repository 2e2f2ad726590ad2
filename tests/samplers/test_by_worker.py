"""Samples in sequence, with chunks of its own for each worker of each rank.

Costs are counted by a real S3 server on the loopback. Ranks run one after the other, as
two runs would that believe to be on a rank.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import pytest
from helpers.chunked import Seen, image, intact, run, write_chunked
from helpers.lakes import tag
from helpers.object_store import CHUNK_KEYS, ObjectStore
from mmdet.utils import register_all_modules
from mmengine.dataset import ConcatDataset, RepeatDataset
from test_batch_sampler import on_rank

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.samplers.batch_sampler import DeepLakeAspectRatioBatchSampler

register_all_modules()

CHUNKS = [58] * 103 + [27]  # 6,001 rows in 104 chunks
FEW = [20, 31, 1, 48, 12, 20, 40, 28]  # 200 rows
BY_WORKER = dict(shuffle=False, order='by_worker')


@pytest.fixture(scope='module')
def store(tmp_path_factory) -> Iterator[ObjectStore]:
    """A store for all tests of this file."""
    with ObjectStore.start(tmp_path_factory.mktemp('store')) as running:
        yield running


@pytest.fixture(scope='module')
def many(store, tmp_path_factory) -> str:
    """URL of a lake of 6,001 images in 104 chunks."""
    path = write_chunked(tmp_path_factory.mktemp('many') / 'lake', CHUNKS)
    return store.upload(path, 'many')


@pytest.fixture(scope='module')
def few(store, tmp_path_factory) -> str:
    """URL of a lake of 200 images in eight chunks, with a saved view."""
    path = write_chunked(tmp_path_factory.mktemp('few') / 'lake', FEW)
    tag(path, 'SELECT * WHERE image_id % 3 = 0', 'saved')
    return store.upload(path, 'few')


def open_url(store: ObjectStore, url: str, **keys: Any) -> DeepLakeDataset:
    """A dataset on the store, ended by what it saw."""
    creds = dict(creds=store.creds)
    return DeepLakeDataset(url, deeplake_credentials=creds, pipeline=[Seen()], **keys)


def seen_by(
    dataset: Any, ranks: int, workers: int, size: int, store: Any = None, **keys: Any
) -> list[list[dict]]:
    """What each rank gets."""
    shape = dict(batch_size=size, num_workers=workers)
    parts = []
    for rank in range(ranks):
        sampler = on_rank(dataset, rank, ranks, seed=0, **shape, **keys)
        if store and not rank:
            store.reset_log()
        parts.append(run(dataset, sampler, **shape))
    return parts


def collected(parts: list[list[dict]], size: int) -> list[int]:
    """Ids in the order in which MMEngine collects results of ranks."""
    zipped = chain.from_iterable(zip_longest(*parts))
    return [each['img_id'] for each in zipped if each is not None][:size]


# --------------------------------------------------------------------------------- cost


@pytest.mark.filterwarnings('ignore:This DataLoader will create')
@pytest.mark.parametrize(
    ('size', 'round_up'), [(1, False), (5, True)], ids=['one image', 'five images']
)
def test_a_validation_reads_each_chunk_about_once(size, round_up, many, store):
    """Two ranks of four workers: ≤ 1.1 of the bytes needed."""
    dataset = open_url(store, many)
    parts = seen_by(
        dataset, 2, 4, size, store=store, **BY_WORKER, round_up=round_up
    )
    total = store.totals(CHUNK_KEYS)
    needed = 6001 * len(image(0))
    assert total.bytes / needed <= 1.1
    assert total.requests / 6001 <= 0.05
    assert sorted(collected(parts, 6001)) == list(range(6001))
    assert intact([each for part in parts for each in part])
    # The chunk in use, and the next, with what the other rank takes of a step.
    held = max(each['held'] for part in parts for each in part)
    assert held <= (2 * 58 + 2 * size) * len(image(0))


def test_in_the_order_of_the_dataset_each_worker_reads_all_chunks(few, store):
    """In contrast: about as many times the bytes as there are workers."""
    dataset = open_url(store, few)
    seen_by(dataset, 2, 2, 1, store=store, shuffle=False)
    plain = store.totals(CHUNK_KEYS).bytes
    seen_by(dataset, 2, 2, 1, store=store, **BY_WORKER)
    assert plain >= 2 * store.totals(CHUNK_KEYS).bytes


def test_little_room_is_kept(few, store):
    """With room for no chunk, rows are read by themselves, and all are right."""
    dataset = open_url(store, few)
    parts = seen_by(dataset, 1, 2, 4, **BY_WORKER, cache_bytes=1000)
    assert sorted(collected(parts, 200)) == list(range(200))
    assert intact(parts[0]) and not any(each['held'] for each in parts[0])


# ------------------------------------------------------------------------------- samples


@pytest.mark.parametrize('workers', [0, 1, 3])
@pytest.mark.parametrize(('ranks', 'size'), [(1, 1), (1, 4), (3, 2)])
def test_each_sample_is_collected_once_and_intact(ranks, size, workers, few, store):
    """Also without workers, and where ranks are rounded up or not."""
    dataset = open_url(store, few)
    for round_up in (True, False):
        parts = seen_by(dataset, ranks, workers, size, **BY_WORKER, round_up=round_up)
        ids = collected(parts, 200)
        sampler = DeepLakeLoader(
            dataset, **BY_WORKER, round_up=round_up, batch_size=size, num_workers=workers
        )
        assert sorted(ids) == list(range(200))
        assert ranks > 1 or ids == sampler.global_order().tolist()
        assert intact([each for part in parts for each in part])


SUBSETS = {
    'a query': dict(deeplake_query='SELECT * WHERE image_id % 2 = 1'),
    'backwards': dict(deeplake_query='SELECT * ORDER BY image_id DESC'),
    'at random': dict(deeplake_query='SELECT * ORDER BY RANDOM()'),
    'a saved view': dict(deeplake_view_id='saved'),
    'indices': dict(indices=[*range(150, 190), *range(3, 40), 199]),
    'the first ones': dict(indices=50),
}


@pytest.mark.parametrize('keys', SUBSETS.values(), ids=SUBSETS)
def test_views_and_subsets_come_once(keys, few, store):
    """Whatever rows a dataset has, and wherever they lie."""
    dataset = open_url(store, few, **keys)
    expected = [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]
    parts = seen_by(dataset, 2, 2, 3, **BY_WORKER)
    assert sorted(collected(parts, len(expected))) == sorted(expected)
    assert intact([each for part in parts for each in part])


def test_several_lakes_and_repeated_ones_come_once(few, store, tmp_path):
    """ConcatDataset of two lakes; RepeatDataset has each image twice."""
    other = write_chunked(tmp_path / 'other', [30, 30, 30])
    parts = [open_url(store, few), open_url(store, store.upload(other, 'other'))]
    joined = ConcatDataset(parts)
    seen = seen_by(joined, 2, 2, 2, store=store, **BY_WORKER)
    total = store.totals(CHUNK_KEYS)
    assert sorted(collected(seen, 290)) == sorted([*range(200), *range(90)])
    assert intact([each for part in seen for each in part])
    assert total.bytes <= 2 * 290 * len(image(0))  # eleven chunks for four workers
    repeated = RepeatDataset(parts[1], 2)
    seen = seen_by(repeated, 1, 2, 4, **BY_WORKER)
    assert sorted(collected(seen, 180)) == sorted([*range(90)] * 2)
    assert intact(seen[0])


def test_a_wrong_number_of_workers_costs_reads_alone(few, store):
    """The samples are the same; a warning says that they differ."""
    dataset = open_url(store, few)
    sampler = DeepLakeLoader(dataset, **BY_WORKER, batch_size=4, num_workers=2)
    expected = list(sampler)
    for workers in (1, 3):
        seen = run(dataset, sampler, batch_size=4, num_workers=workers)
        assert [each['img_id'] for each in seen] == expected and intact(seen)


def test_what_is_skipped_is_not_read(few, store):
    """skip() leaves out the beginning, and reads what is left once."""
    dataset = open_url(store, few)
    shape = dict(batch_size=5, num_workers=2)
    sampler = DeepLakeLoader(dataset, **BY_WORKER, **shape)
    expected = list(sampler)[105:]
    sampler.skip(105)
    store.reset_log()
    seen = run(dataset, sampler, **shape)
    assert [each['img_id'] for each in seen] == expected and intact(seen)
    assert store.totals(CHUNK_KEYS).bytes <= 2 * 95 * len(image(0))


# --------------------------------------------------------------------------------- keys

ERRORS = [
    (
        dict(shuffle=False, order='workers'),
        'order of DeepLakeLoader must be one of auto, dataset, by_worker, got '
        "'workers' (did you mean by_worker?); write one of them",
    ),
    (
        dict(shuffle=True, order='dataset'),
        "order='dataset' of DeepLakeLoader is for samples in sequence, but they are "
        'shuffled; write shuffle=False, or leave order out',
    ),
    (
        dict(shuffle=False, order='by_worker', batch_size=2),
        "order='by_worker' of DeepLakeLoader deals samples to workers, so it needs their "
        'number and that of images in a batch, got batch_size=2, num_workers=None; write '
        'both as in the dataloader',
    ),
]


@pytest.mark.parametrize(('keys', 'text'), ERRORS, ids=['word', 'shuffled', 'shape'])
def test_an_order_that_cannot_be_is_refused(keys, text):
    """The error says what to write."""
    with pytest.raises(ValueError, match=f'^{re.escape(text)}$'):
        DeepLakeLoader(range(10), seed=0, **keys)


def test_batches_of_one_orientation_refuse_it(few, store):
    """Their batches are others than those that were dealt."""
    dataset = open_url(store, few)
    sampler = DeepLakeLoader(dataset, **BY_WORKER, batch_size=2, num_workers=2)
    text = "order='by_worker' of DeepLakeLoader deals batches in sequence, which "
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeAspectRatioBatchSampler(sampler, 2)


def test_other_datasets_have_the_order_too():
    """A dataset without a lake is dealt in the same way; there is nothing to read."""
    sampler = DeepLakeLoader(
        range(12), **BY_WORKER, seed=0, batch_size=1, num_workers=2
    )
    assert list(sampler) == [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]
    assert not sampler.gains_by_worker


def test_the_order_depends_on_the_dataloader_and_its_state_says_so():
    """Another number of workers is another order: resuming tells the difference."""
    one, other = (
        DeepLakeLoader(range(12), **BY_WORKER, seed=0, batch_size=1, num_workers=count)
        for count in (2, 3)
    )
    state = one.order_state()
    assert state['order'] == 'by_worker' and state['num_workers'] == 2
    assert state != other.order_state()
    plain = DeepLakeLoader(range(12), shuffle=False, seed=0)
    assert 'order' not in plain.order_state()
    assert np.array_equal(plain.global_order(), np.arange(12))
