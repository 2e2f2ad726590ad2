"""tools.plan says what the loader then does, as counted by a real S3 server."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from helpers.chunked import Draw, Seen, run, write_chunked
from helpers.lakes import tag
from helpers.object_store import CHUNK_KEYS, ObjectStore
from mmdet.datasets import MultiImageMixDataset
from mmdet.utils import register_all_modules
from torch.utils.data import DataLoader, Dataset, get_worker_info

import mmdet_deeplake_plugin.samplers.loader as loader_module
import mmdet_deeplake_plugin.tools.planning.simulation as simulation_module
from mmdet_deeplake_plugin import (
    DeepLakeDataset,
    DeepLakeLoader,
    DeepLakeMultiImageMixDataset,
)
from mmdet_deeplake_plugin.lake import LakeSpec, open_lake
from mmdet_deeplake_plugin.samplers.dataloader_shape import DataloaderShape
from mmdet_deeplake_plugin.tools.plan import main, plan
from mmdet_deeplake_plugin.tools.planning.plan import LoaderKeys, Mix, Plan, make_plan
from mmdet_deeplake_plugin.tools.planning.plot import reader_of
from mmdet_deeplake_plugin.tools.planning.text import network_cost

register_all_modules()

SIZES = [30, 17, 44, 30, 1, 30, 25, 30] * 6  # 1242 rows in 48 chunks
ROWS = sum(SIZES)


@pytest.fixture(scope='module')
def store(tmp_path_factory) -> Iterator[ObjectStore]:
    """A store for all tests of this file."""
    with ObjectStore.start(tmp_path_factory.mktemp('store')) as running:
        yield running


@pytest.fixture(scope='module')
def local(tmp_path_factory) -> str:
    """Path of a lake of chunks of different length, with a saved view."""
    path = write_chunked(tmp_path_factory.mktemp('lakes') / 'lake', SIZES)
    tag(path, 'SELECT * WHERE image_id < 100', 'saved')
    return path


@pytest.fixture(scope='module')
def remote(store, local) -> str:
    """URL of the same lake on the store."""
    return store.upload(local, 'lake')


@pytest.fixture()
def as_rank(monkeypatch) -> Callable[[int, int], None]:
    """Makes loaders believe that they are on a rank."""

    def be(rank: int, world: int) -> None:
        monkeypatch.setattr(loader_module, 'get_dist_info', lambda: (rank, world))

    return be


def plan_of(
    url: str, dataloader: DataloaderShape, keys: LoaderKeys, mix: Mix | None = None, **creds
) -> Plan:
    """The plan as numbers."""
    spec = LakeSpec.from_config(url, creds)
    lake, rows = open_lake(spec, {'gt_bboxes': None, 'gt_labels': None})
    return make_plan(lake, rows, dataloader, keys, mix=mix)


@pytest.mark.parametrize(
    ('world', 'workers', 'keys'),
    [
        pytest.param(1, 2, LoaderKeys(), id='auto'),
        pytest.param(2, 2, LoaderKeys(), id='two ranks'),
        pytest.param(1, 0, LoaderKeys(), id='no workers'),
        pytest.param(1, 2, LoaderKeys(lanes=10), id='lanes that do not divide'),
        pytest.param(1, 2, LoaderKeys(window=3), id='window'),
        pytest.param(1, 2, LoaderKeys(cache_bytes=4_000_000), id='little room'),
        pytest.param(1, 2, LoaderKeys('none', order='dataset'), id='in sequence'),
        pytest.param(2, 3, LoaderKeys('none', order='dataset'), id='two in sequence'),
        pytest.param(1, 3, LoaderKeys('none', order='by_worker'), id='by worker'),
        pytest.param(2, 4, LoaderKeys('none', order='by_worker'), id='two by worker'),
        pytest.param(1, 2, LoaderKeys(shuffle='full'), id='full'),
        pytest.param(1, 2, LoaderKeys(loader_type='python'), id='row by row'),
    ],
)
def test_an_epoch_reads_what_was_planned(store, remote, as_rank, world, workers, keys):
    """Chunks, reads and bytes are those that a real epoch counts; so is the network."""
    creds = dict(creds=store.creds)
    found = plan_of(remote, DataloaderShape(world, workers, 8), keys, **creds)
    samples, held = [], 0
    seen = dict.fromkeys(('chunks', 'requests', 'bytes', 'needed'), 0.0)
    requests = sent = 0
    for rank in range(world):
        as_rank(rank, world)
        dataset = DeepLakeDataset(
            remote, deeplake_credentials=creds, pipeline=[Seen()], test_mode=True
        )
        sampler = DeepLakeLoader(
            dataset,
            shuffle=keys.shuffle,
            seed=keys.seed,
            batch_size=8,
            num_workers=workers,
            lanes=keys.lanes,
            window=keys.window,
            loader_type=keys.loader_type,
            cache_bytes=keys.cache_bytes,
            order=keys.order,
        )
        dataset.reader.counters.share()
        store.reset_log()
        epoch = run(dataset, sampler, num_workers=workers)
        samples += [each['img_id'] for each in epoch]
        held = max(held, *(each['held'] for each in epoch))
        totals = dataset.reader.counters.totals()
        seen = {field: seen[field] + totals[field] for field in seen}
        counted = store.totals(CHUNK_KEYS)
        requests, sent = requests + counted.requests, sent + counted.bytes
    reads = found.reads
    assert len(samples) == reads.samples and set(samples) == set(found.order)
    assert reads.chunks == pytest.approx(seen['chunks'], rel=0.02)
    assert reads.reads == pytest.approx(seen['requests'], rel=0.02)
    ratio = reads.rows_read / reads.samples
    assert ratio == pytest.approx(seen['bytes'] / seen['needed'], rel=0.02)
    asked, expected = network_cost(found)
    close = 0.15 if reads.chunk_rows > reads.rows + reads.listed else 0.3
    assert asked == pytest.approx(requests, rel=close)
    assert expected == pytest.approx(sent, rel=close)
    if reads.chunks > 20 and workers:
        # What a worker holds is seen in a batch, without what is still on its way.
        assert reads.peak / 2 < held < 1.1 * reads.peak


MIXES = {
    'from open chunks': (DeepLakeMultiImageMixDataset, Mix(5)),
    'from all': (MultiImageMixDataset, Mix(5, from_held=False)),
}


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize(('kind', 'mix'), MIXES.values(), ids=MIXES)
def test_mosaics_read_what_was_planned(store, remote, workers, kind, mix):
    """Uncached Mosaic and MixUp: five other images in each sample."""
    creds = dict(creds=store.creds)
    keys = LoaderKeys(lanes=16)
    found = plan_of(remote, DataloaderShape(1, workers, 8), keys, mix, **creds)
    lake = DeepLakeDataset(
        remote, deeplake_credentials=creds, pipeline=[Seen()], test_mode=True
    )
    draws = [dict(type=Draw.__name__, count=count) for count in (3, 2)]
    dataset = kind(lake, draws)
    sampler = DeepLakeLoader(dataset, seed=keys.seed, lanes=16)
    lake.reader.counters.share()
    store.reset_log()
    assert len(run(dataset, sampler, num_workers=workers)) == found.reads.samples
    totals, counted = lake.reader.counters.totals(), store.totals(CHUNK_KEYS)
    close = 0.02 if mix.from_held else 0.1  # chance decides what is held there
    assert found.reads.reads == pytest.approx(totals['requests'], rel=close)
    read = found.reads.rows_read * found.row_bytes
    assert read == pytest.approx(totals['bytes'], rel=close)
    asked, expected = network_cost(found)
    close = 0.15 if mix.from_held else 0.5
    assert asked == pytest.approx(counted.requests, rel=close)
    assert expected == pytest.approx(counted.bytes, rel=close)


def test_the_text_says_what_is_mixed(local, remote, store):
    """How many samples a draw chooses from, and what draws from fewer."""
    loader, creds = DataloaderShape(1, 2, 8), dict(creds=store.creds)
    text = plan(remote, loader, credentials=creds, mix=Mix(4))
    drawn = re.search('mixed:    4 other images in each, drawn from (.*) samples in open', text)
    assert 0.3 * ROWS < int(drawn[1]) < ROWS
    assert 'mixed' not in plan(remote, loader, credentials=creds)
    assert 'drawn from all samples' in plan(local, loader, mix=Mix(4))
    text = plan(remote, loader, credentials=creds, mix=Mix(4, from_held=False))
    assert 'drawn from all samples' in text
    assert 'DeepLakeMultiImageMixDataset draws them from chunks that are held' in text


def test_few_workers_tell_of_all(local, monkeypatch):
    """A part of an epoch, as of a large lake, gives about the numbers of the whole."""
    keys = LoaderKeys(shuffle='lanes', loader_type='c++', lanes=8)
    whole = plan_of(local, DataloaderShape(2, 2, 2), keys).reads
    monkeypatch.setattr(simulation_module, '_ENOUGH', 200)
    part = plan_of(local, DataloaderShape(2, 2, 2), keys).reads
    assert part.samples == whole.samples == ROWS
    assert part.chunks == pytest.approx(whole.chunks, rel=0.3)
    assert part != whole


def test_little_room_is_noticed_and_the_advice_helps(local):
    """With the cache_bytes of the snippet, chunks are read whole, but for small parts."""
    keys = LoaderKeys(shuffle='lanes', loader_type='c++', cache_bytes=3 << 20)
    loader = DataloaderShape(1, 2, 8)
    text = plan(local, loader, keys)
    assert 'some chunks do not fit into cache_bytes=3145728' in text
    given = snippet(text)
    assert plan_of(local, loader, keys).reads.chunks == 0
    enough = LoaderKeys('lanes', loader_type='c++', cache_bytes=given['cache_bytes'])
    reads = plan_of(local, loader, enough).reads
    assert reads.chunks and reads.rows + reads.listed < 0.02 * reads.samples


def test_the_snippet_builds_the_planned_order(local):
    """The sampler to paste has the lanes that were shown, and their order."""
    keys = LoaderKeys('lanes', lanes=32, window=2, loader_type='c++')
    loader = DataloaderShape(1, 2, 8)
    given = snippet(plan(local, loader, keys))
    assert given == dict(
        type='DeepLakeLoader',
        shuffle='lanes',
        batch_size=8,
        num_workers=2,
        lanes=32,
        window=2,
        loader_type='c++',
    )
    del given['type']
    sampler = DeepLakeLoader(DeepLakeDataset(local, test_mode=True), seed=0, **given)
    assert list(sampler) == plan_of(local, loader, keys).order.tolist()


def test_lanes_that_do_not_divide_are_left_out(local):
    """A note says why, and the snippet has the number that suits."""
    keys = LoaderKeys('lanes', lanes=10, loader_type='c++')
    text = plan(local, DataloaderShape(1, 2, 8), keys)
    assert 'lanes:    10, not a multiple of 1 rank x 2 workers x batch size 8' in text
    assert 'remove lanes=10, or write a multiple of 16' in text
    assert 'lanes' not in snippet(text)


def test_auto_says_why(store, local, remote, monkeypatch):
    """Local lakes are shuffled in full, remote ones along chunks, views not."""
    loader = DataloaderShape(1, 2, 8)
    creds = dict(creds=store.creds)
    assert 'shuffle:  full (auto: the lake is local)' in plan(local, loader)
    text = plan(remote, loader, credentials=creds)
    assert 'shuffle:  lanes (auto: the lake is on object storage)' in text
    text = plan(remote, loader, credentials=creds, view_id='saved')
    assert 'shuffle:  full (auto: the rows of a saved view are scattered)' in text
    text = plan(remote, loader, credentials=creds, query='SELECT * WHERE image_id < 9')
    assert f'samples:  9 of {ROWS} rows' in text


def test_a_validation_is_planned_as_the_hook_would_run_it(store, remote, local):
    """In sequence, each chunk is read once from object storage; the text says how."""
    creds = dict(creds=store.creds)
    keys = LoaderKeys(shuffle='none')
    text = plan(remote, DataloaderShape(1, 4, 1), keys, credentials=creds)
    assert 'order:    by_worker (auto)' in text and 'DeepLakeOrderHook' in text
    assert snippet(text) == dict(
        type='DeepLakeLoader', shuffle=False, batch_size=1, num_workers=4
    )
    for found in (
        plan(remote, DataloaderShape(1, 1, 1), keys, credentials=creds),
        plan(local, DataloaderShape(1, 4, 1), keys),
    ):
        assert 'order:    dataset (auto)' in found and 'OrderHook' not in found
    asked = LoaderKeys(shuffle='none', order='by_worker', loader_type='c++')
    text = plan(local, DataloaderShape(1, 4, 1), asked)
    assert 'order:    by_worker (as requested)' in text
    given = snippet(text)
    assert given.pop('order') == 'by_worker' and given.pop('type') == 'DeepLakeLoader'
    sampler = DeepLakeLoader(DeepLakeDataset(local), order='by_worker', **given)
    assert list(sampler) == plan_of(local, DataloaderShape(1, 4, 1), asked).order.tolist()


@pytest.mark.parametrize(('world', 'workers'), [(1, 0), (1, 3), (2, 2)])
def test_colours_are_those_of_the_workers(as_rank, world, workers):
    """A position's process is the one to which PyTorch deals it."""
    dataloader = DataloaderShape(world, workers, 4)
    owners = np.full(96, -1)
    for rank in range(world):
        as_rank(rank, world)
        sampler = DeepLakeLoader(range(96), shuffle=False)
        batches = DataLoader(
            WhoReads(), 4, sampler=sampler, num_workers=workers, collate_fn=list
        )
        for index, worker in (pair for batch in batches for pair in batch):
            owners[index] = rank * dataloader.readers + worker
    assert reader_of(np.arange(96), dataloader).tolist() == owners.tolist()


def test_the_command_line_writes_a_picture(local, tmp_path, capsys):
    """The PNG shows dots in many colours, the text ends with a sampler."""
    picture = tmp_path / 'order.png'
    arguments = ['--batch-size', '4', '--num-workers', '4', '--plot', str(picture)]
    assert main([local, *arguments, '--latency', '20', '--bandwidth', '12']) == 0
    image = cv2.imread(str(picture))
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20
    shown = capsys.readouterr().out
    assert 'images per second for all workers' in shown
    assert snippet(shown)['num_workers'] == 4


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        pytest.param(['--gpus', '0'], '--gpus must be at least 1, got 0', id='gpus'),
        pytest.param(['--lanes', '0'], 'lanes of DeepLakeLoader must be a positive integer, got 0', id='lanes'),
        pytest.param(['--seed', '-1'], '--seed must be at least 0, got -1', id='seed'),
        pytest.param(['--plot', 'no/such/folder.png'], 'no/such/folder', id='plot'),
        pytest.param(['--image-column', 'photos'], "'photos'", id='column'),
    ],
)
def test_mistakes_are_errors_without_traceback(local, capsys, change, text):
    """The command line says what is wrong and ends with 2."""
    assert main([local, '--batch-size', '2', '--num-workers', '1', *change]) == 2
    assert text in capsys.readouterr().err


class WhoReads(Dataset):
    """Samples that tell the worker that reads them."""

    def __getitem__(self, index: int) -> tuple[int, int]:
        worker = get_worker_info()
        return index, worker.id if worker else 0


def snippet(text: str) -> dict:
    """The sampler that a plan ends with."""
    call = ast.parse(text.split('for a config:')[1].strip()).body[0].value
    return {item.arg: ast.literal_eval(item.value) for item in call.keywords}
