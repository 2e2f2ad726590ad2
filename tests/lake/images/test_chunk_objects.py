"""Chunks on object storage are read without opening the lake, and with the same bytes."""

from __future__ import annotations

import gc
import itertools
import json
import pickle
import re
from pathlib import Path

import deeplake
import numpy as np
import pytest
from helpers.chunked import Seen, image, intact, run, write_chunked
from helpers.object_store import CHUNK_KEYS, Fault, Key, ObjectStore
from mmdet.utils import register_all_modules

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.lake import changed_parts
from mmdet_deeplake_plugin.lake.connection import opening
from mmdet_deeplake_plugin.lake.images import chunk_objects
from mmdet_deeplake_plugin.lake.images.chunk_objects import split

register_all_modules()

CHUNKS = [30, 1, 45, 20, 30]
LOG = r'/_deeplake_log/'


@pytest.fixture(scope='module')
def path(tmp_path_factory) -> str:
    """A lake of 126 images in five chunks."""
    return write_chunked(tmp_path_factory.mktemp('lakes') / 'lake', CHUNKS)


@pytest.fixture(scope='module')
def store(path, tmp_path_factory):
    """A real S3 server with that lake."""
    with ObjectStore.start(tmp_path_factory.mktemp('store')) as store:
        store.upload(path, 'lake')
        yield store


@pytest.fixture(autouse=True)
def no_faults(store):
    """Every test begins with a server that works, and has been asked for nothing."""
    gc.collect()  # a lake that is still open would be used again
    store.clear()
    store.reset_log()


def dataset_of(store: ObjectStore, name: str = 'lake', **keys) -> DeepLakeDataset:
    """A dataset that reads from the store."""
    creds = dict(creds=store.creds)
    keys = {'deeplake_credentials': creds, **keys}
    return DeepLakeDataset(store.url(name), pipeline=[Seen()], **keys)


def sampler_of(dataset: DeepLakeDataset) -> DeepLakeLoader:
    """A sampler of whole chunks."""
    return DeepLakeLoader(dataset, shuffle='lanes', lanes=4, seed=0)


@pytest.mark.parametrize('start', ['fork', 'spawn'])
def test_workers_do_not_open_the_lake(start, store):
    """An epoch of two workers asks for chunks alone, and is intact."""
    dataset = dataset_of(store)
    sampler = sampler_of(dataset)
    store.reset_log()
    keys = dict(num_workers=2, batch_size=2, multiprocessing_context=start)
    seen = run(dataset, sampler, **keys)
    assert [each['img_id'] for each in seen] == sampler.global_order().tolist()
    assert intact(seen) and len(seen) == sum(CHUNKS)
    assert store.totals(LOG).requests == 0
    asked = [record.key for record in store.requests(CHUNK_KEYS)]
    assert len(set(asked)) == len(CHUNKS)
    assert len(asked) <= 2 * len(CHUNKS)  # lanes of both workers may go through one


def test_the_main_process_reads_its_chunks_so_too(store):
    """Without workers a chunk is one request."""
    dataset = dataset_of(store)
    sampler = sampler_of(dataset)
    store.reset_log()
    assert intact(run(dataset, sampler, batch_size=2))
    assert store.totals().requests == len(CHUNKS)


def test_it_costs_four_small_requests_to_be_sure(store):
    """Two of Deep Lake for one row, and two of our own for the same row."""
    dataset = dataset_of(store)
    store.reset_log()
    sampler_of(dataset)
    totals = store.totals()
    assert totals.requests == 4 and totals.bytes < 600_000


@pytest.mark.parametrize('lie', ['other bytes', 'other layout', 'no object'])
def test_without_proof_deep_lake_reads(lie, store, logged, monkeypatch):
    """If one image isn't where the layout says, none is read that way, with a warning."""
    monkeypatch.setattr(changed_parts, '_told', set())
    if lie == 'other bytes':
        monkeypatch.setattr(chunk_objects.ChunkObjects, '_read_one', lambda *_: b'other')
    elif lie == 'other layout':
        monkeypatch.setattr(chunk_objects, 'read_layout', _no_layout)
    else:
        monkeypatch.setattr(chunk_objects.ObjectReader, 'read', lambda *_: None)
    dataset = dataset_of(store)
    sampler = sampler_of(dataset)
    assert dataset.reader.column._objects is None
    assert intact(run(dataset, sampler, batch_size=2))
    told = [text for text in logged if text.startswith('deeplake ')]
    assert len(told) == 1 and 'stores images in another layout' in told[0]


def test_a_log_in_other_files_is_told(store, logged, monkeypatch):
    """The file that the access check reads isn't there; the lake opens all the same."""
    monkeypatch.setattr(changed_parts, '_told', set())
    monkeypatch.setattr(opening, '_FIRST_FILE', '_log/first')
    dataset = dataset_of(store)
    assert len(dataset) == sum(CHUNKS)
    (text,) = (text for text in logged if text.startswith('deeplake '))
    assert re.match(
        r'deeplake \S+ keeps its log in other files than _log/first: a lake without '
        r'access may end the process with a crash\. ',
        text,
    )


def test_nothing_is_told_where_nothing_changed(store, logged, monkeypatch):
    """With the version that is installed here."""
    monkeypatch.setattr(changed_parts, '_told', set())
    dataset = dataset_of(store)
    assert intact(run(dataset, sampler_of(dataset), batch_size=2))
    assert not [text for text in logged if text.startswith('deeplake ')]


def _no_layout(stream, size):
    from mmdet_deeplake_plugin.lake.images.chunk_files import Layout

    return Layout(np.zeros((0, 3), np.uint32), 0, 0, 0)


def test_a_chunk_that_is_short_is_read_by_deep_lake(store):
    """The server says that it is whole: what arrives must fill the layout."""
    dataset = dataset_of(store)
    sampler = sampler_of(dataset)
    store.set_faults(Fault('shorten', keys=CHUNK_KEYS, limit=1, fraction=0.7))
    assert intact(run(dataset, sampler, batch_size=2))


@pytest.mark.parametrize('kind', ['InternalError', 'reset', 'truncate', 'reset-in-body'])
def test_failed_reads_are_retried(kind, store):
    """Every third answer fails, and each image comes once."""
    dataset = dataset_of(store)
    sampler = sampler_of(dataset)
    store.set_faults(Fault(kind, keys=CHUNK_KEYS, every=3))
    seen = run(dataset, sampler, num_workers=2, batch_size=2)
    assert intact(seen) and len(seen) == sum(CHUNKS)


def test_new_credentials_are_used(store, tmp_path):
    """A file that is written anew while a run reads holds for the next chunk."""
    file = tmp_path / 'creds.json'
    file.write_text(json.dumps(store.creds))
    dataset = dataset_of(store, deeplake_credentials=dict(creds=f'file:{file}'))
    sampler_of(dataset)
    column = dataset.reader.column
    assert column.read_chunk(0)[0] == image(0)
    other = Key('another', 'secret')
    store.accept_keys([other])
    try:
        file.write_text(json.dumps(store.creds_of(other)))
        assert column.read_chunk(3)[0] == image(76)
    finally:
        names = ('aws_access_key_id', 'aws_secret_access_key')
        store.accept_keys([Key(*(store.creds[name] for name in names))])


def test_no_secret_travels_in_what_is_pickled(store):
    """Objects are found by name; credentials are those of the source."""
    dataset = dataset_of(store)
    sampler_of(dataset)
    assert store.creds['aws_secret_access_key'] not in repr(
        vars(dataset.reader.column._objects)
    )
    assert b'reader' not in pickle.dumps(dataset.reader.column._objects._files)


def test_rows_that_were_updated_or_deleted_are_read_by_deep_lake(store, tmp_path):
    """A chunk that isn't as it was written is left to Deep Lake; others are not."""
    changed = write_chunked(tmp_path / 'changed', CHUNKS)
    lake = deeplake.open(changed)
    lake.delete(40)
    lake.commit()
    store.upload(changed, 'changed')
    dataset = dataset_of(store, 'changed')
    sampler = sampler_of(dataset)
    objects = dataset.reader.column._objects
    bounds = dataset.reader.chunks.bounds.tolist()
    whole = [
        objects.read('', first, stop) is not None
        for first, stop in itertools.pairwise(bounds)
    ]
    assert whole == [True, True, False, True, True]
    seen = run(dataset, sampler, num_workers=2, batch_size=2)
    assert sorted(each['img_id'] for each in seen) == [
        row for row in range(sum(CHUNKS)) if row != 40
    ]
    assert intact(seen)


def test_views_and_local_lakes_have_no_objects(path, store):
    """They are read as before."""
    local = DeepLakeDataset(path, pipeline=[Seen()])
    DeepLakeLoader(local, shuffle='lanes', lanes=4, seed=0, loader_type='c++')
    assert local.reader.column._objects is None


def test_split_gives_what_was_stored(path):
    """Images of a chunk, by the file's own layout; None for what isn't a whole chunk."""
    handle = deeplake.open_read_only(path)
    report = handle._datafiles_report['images'].insert_datafiles
    file = min(report, key=lambda each: each.offset_start)
    content = Path(path, file.filename).read_bytes()
    assert split(memoryview(content), 30) == [image(row) for row in range(30)]
    for wrong in (content[:-1], content + b'x', content[:100], b'', b'\x05hello' * 30):
        assert split(memoryview(wrong), 30) is None
    assert split(memoryview(content), 29) is None
