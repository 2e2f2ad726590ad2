"""Training from object storage goes on, whatever the network and the server do.

The fault table: each row reads an epoch from a real S3 server that fails in one way.
Whatever fails, each sample arrives once, in order, with the bytes that were written.
Each test records what it saw (``--junitxml``): seconds, requests, and how many failed.

``LONG_OUTAGES='60 120'`` in the environment adds rows that take as many seconds.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import pytest
from helpers.chunked import Seen, image, intact, run, write_chunked
from helpers.object_store import CHUNK_KEYS, Fault, ObjectStore
from mmdet.utils import register_all_modules
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.lake import LakeReadError
from mmdet_deeplake_plugin.lake.connection import fork_safety

register_all_modules()

SIZES = [30] * 10  # 300 rows in 10 chunks
KINDS = ('InternalError', 'SlowDown', 'TooManyRequests', 'reset', 'reset-in-body')
OUTAGES = [5, 20, *map(int, os.environ.get('LONG_OUTAGES', '').split())]
TINY = 300  # bytes beside the smallest JPEG


@pytest.fixture(scope='module')
def running(tmp_path_factory) -> Iterator[ObjectStore]:
    """A store with lakes of few chunks, of many (twice), and of tiny images."""
    folder = tmp_path_factory.mktemp('lakes')
    with ObjectStore.start(tmp_path_factory.mktemp('store')) as store:
        store.upload(write_chunked(folder / 'few', SIZES), 'few')
        many = write_chunked(folder / 'many', [10] * 30)
        store.upload(many, 'many')
        store.upload(many, 'lost')
        store.upload(write_chunked(folder / 'tiny', SIZES, TINY), 'tiny')
        yield store


@pytest.fixture()
def store(running) -> Iterator[ObjectStore]:
    """The store without faults, with an empty log."""
    gc.collect()  # while a dataset lives, another one of the lake shares its deadlines
    running.revive()
    running.clear()
    running.reset_log()
    yield running
    running.clear()
    running.revive()


@pytest.fixture()
def note(record_property, store) -> Callable[[float], None]:
    """Records the seconds since a moment, the requests, and those that failed."""

    def down(began: float) -> None:
        records = store.requests()
        record_property('seconds', round(time.monotonic() - began, 1))
        record_property('requests', len(records))
        record_property('failed', sum(bool(record.fault) for record in records))

    return down


def open_lake(store: ObjectStore, name: str = 'few', **keys: Any) -> DeepLakeDataset:
    """A dataset on the store that gives up attempts early, and reads late."""
    return DeepLakeDataset(
        store.url(name),
        deeplake_credentials=dict(creds=store.creds),
        pipeline=[Seen()],
        **{'read_timeout': 20, 'retry_timeout': 120, **keys},
    )


def sampler_of(dataset: DeepLakeDataset, **keys: Any) -> DeepLakeLoader:
    """A sampler whose two workers read one chunk after the other."""
    keys = {'lanes': 4, 'batch_size': 2, 'num_workers': 2, **keys}
    return DeepLakeLoader(dataset, seed=0, **keys)


def ids(seen: list[dict]) -> list[int]:
    """Ids of samples in their order."""
    return [each['img_id'] for each in seen]


def assert_whole_epoch(
    store: ObjectStore,
    faults: list[Fault],
    note: Any,
    name: str = 'few',
    opens: bool = False,
    **keys: Any,
) -> None:
    """Reads an epoch while faults strike: at least one, and no sample suffers.

    With ``opens``, workers open the lake, as they do for rows that were updated.
    """
    dataset = open_lake(store, name, **keys)
    sampler = sampler_of(dataset)
    assert sampler.shuffle == 'lanes' and dataset.reader.column._objects
    if opens:
        dataset.reader.column._objects = None
    store.reset_log()
    store.set_faults(*faults)
    began = time.monotonic()
    seen = run(dataset, sampler, batch_size=2, num_workers=2)
    note(began)
    assert any(record.fault for record in store.requests())
    assert ids(seen) == sampler.global_order().tolist()
    assert sorted(ids(seen)) == list(range(300))
    assert intact(seen, TINY if name == 'tiny' else 8000)


# -------------------------------------------------------------------------- the table


@pytest.mark.parametrize(
    ('share', 'opens'),
    [(0.2, True), (0.6, False)],
    ids=['0.2, workers open the lake', '0.6, they read chunks'],
)
@pytest.mark.parametrize('kind', [*KINDS, 'truncate'])
def test_requests_that_fail_cost_time_and_no_sample(kind, share, opens, store, note):
    """A fifth, or more than half, of all requests fail."""
    fault = Fault(kind, share=share, methods='GET')
    assert_whole_epoch(store, [fault], note, opens=opens)


CUTS = {
    'truncate, every 50th body': Fault('truncate', every=50, methods='GET'),
    'truncate, every 5th chunk': Fault(
        'truncate', fraction=0.9, every=5, keys=CHUNK_KEYS
    ),
    # Once, and of a chunk: Deep Lake reads behind the end of such a body, and may crash.
    'shorten, a chunk': Fault('shorten', fraction=0.9, every=5, keys=CHUNK_KEYS, limit=1),
}


@pytest.mark.parametrize('cut', CUTS.values(), ids=CUTS)
def test_bodies_that_are_cut_are_read_again(cut, store, note):
    """A cut body is noticed, also where the headers agree with its length."""
    assert_whole_epoch(store, [cut], note, 'many', opens=not cut.keys)


HANGS = {
    # Deep Lake asks again after 8 s of silence: sooner than the default deadline. Those
    # that open a lake follow each other, so three take 25 s at worst.
    '3 % of all': (Fault('hang', share=0.03, seconds=30, seed=1), 60),
    '3 % of all, three at most': (
        Fault('hang', share=0.03, seconds=30, seed=1, limit=3),
        60,
    ),
    'chunks': (Fault('hang', every=4, limit=3, seconds=60, keys=CHUNK_KEYS), 2),
}


@pytest.mark.parametrize(('hang', 'read_timeout'), HANGS.values(), ids=HANGS)
def test_requests_that_hang_are_given_up_in_time(hang, read_timeout, store, note):
    """What waits for them goes on long before they end."""
    began = time.monotonic()
    opens = not hang.keys
    assert_whole_epoch(store, [hang], note, opens=opens, read_timeout=read_timeout)
    seconds = time.monotonic() - began
    records = store.requests()
    struck = [record for record in records if record.fault]
    assert seconds < (28 if len(struck) <= 3 else 4 + 8.5 * len(struck))
    for hung in struck:
        again = [
            record.start - hung.start
            for record in records
            if (record.key, record.query) == (hung.key, hung.query)
            and record.start > hung.start
        ]
        assert again and min(again) < 10, hung


def test_a_slow_line_costs_time_and_no_sample(store, note):
    """20 KB/s for each connection."""
    slow = Fault('slow', bytes_per_second=20_000)
    dataset = open_lake(store, 'tiny')
    sampler = sampler_of(dataset)
    store.set_faults(slow)
    began = time.monotonic()
    seen = run(dataset, sampler, batch_size=2, num_workers=2)
    note(began)
    assert time.monotonic() - began > 30 * len(image(0, TINY)) / 20_000
    assert ids(seen) == sampler.global_order().tolist() and intact(seen, TINY)


@pytest.mark.parametrize('seconds', OUTAGES)
def test_a_server_that_dies_in_mid_epoch_is_waited_for(seconds, store, note):
    """The epoch goes on where it was when the server is back."""
    dataset = open_lake(store, 'many', retry_timeout=300)
    sampler = sampler_of(dataset)
    loader = DataLoader(
        dataset,
        batch_size=2,
        sampler=sampler,
        num_workers=2,
        multiprocessing_context='fork',
        collate_fn=list,
    )
    batches = iter(loader)
    seen = [*next(batches), *next(batches)]
    began = time.monotonic()
    store.kill(seconds)
    seen += chain.from_iterable(batches)
    note(began)
    assert seconds <= time.monotonic() - began < 2 * seconds + 20
    assert ids(seen) == sampler.global_order().tolist() and intact(seen)


@pytest.mark.parametrize('loader_type', ['python', 'c++'])
def test_single_rows_and_lists_come_through_too(loader_type, store, note):
    """A full shuffle reads rows: of all ways to fail, each strikes 4 % of them."""
    dataset = open_lake(store, indices=80)
    sampler = DeepLakeLoader(dataset, 'full', seed=0, loader_type=loader_type)
    store.reset_log()
    store.set_faults(*(Fault(kind, share=0.04, seed=i) for i, kind in enumerate(KINDS)))
    began = time.monotonic()
    seen = run(dataset, sampler, num_workers=2)
    note(began)
    assert len({record.fault for record in store.requests()} - {''}) >= 3
    assert ids(seen) == sampler.global_order().tolist()
    assert intact(seen) and len(set(ids(seen))) == 80


@pytest.mark.parametrize('kind', [*KINDS, 'truncate'])
def test_a_lake_opens_and_its_annotations_are_right(kind, store, note):
    """Opening, columns and sizes of images under failures: the same as without."""
    tensors = {'width': None, 'height': None}
    expected = open_lake(store, deeplake_tensors=tensors)
    store.reset_log()
    store.set_faults(Fault(kind, share=0.4, methods='GET'))
    began = time.monotonic()
    found = open_lake(store, deeplake_tensors=tensors)
    note(began)
    assert any(record.fault for record in store.requests())
    assert len(found) == len(expected) == 300
    for index in range(300):
        left, right = (d.get_data_info(index) for d in (found, expected))
        assert list(left.pop('instances')) == list(right.pop('instances'))
        assert left == right


def test_a_lake_opens_while_requests_hang(store, note):
    """A call that opens a lake and hangs holds nobody up for longer than it may."""
    store.set_faults(Fault('hang', every=15, limit=3, seconds=60))
    began = time.monotonic()
    dataset = open_lake(store, read_timeout=2)
    note(began)
    assert len(dataset) == 300 and time.monotonic() - began < 30
    assert np.array_equal(dataset.rows_of(), np.arange(300))


def open_and_fork(url: str, creds: dict) -> None:
    """Leaves calls behind that hang, and starts processes meanwhile."""
    DeepLakeDataset(
        url,
        deeplake_credentials=dict(creds=creds),
        pipeline=[Seen()],
        read_timeout=2,
        retry_timeout=60,
    )
    assert fork_safety._running()
    for _ in range(3):
        process = os.fork()
        if not process:
            os._exit(0)
        assert os.waitpid(process, 0)[1] == 0
    assert not fork_safety._running()


@pytest.mark.parametrize('every', [5, 7, 10])
def test_a_process_forks_after_calls_that_hang(every, store):
    """It waits until they have come back; forking sooner, it would crash or hang."""
    store.set_faults(Fault('hang', every=every, limit=3, seconds=60))
    spawn = multiprocessing.get_context('spawn')
    process = spawn.Process(target=open_and_fork, args=(store.url('few'), store.creds))
    process.start()
    process.join(timeout=90)
    process.kill()
    assert process.exitcode == 0


# ------------------------------------------------------------------- permanent failure

ERROR = re.compile(
    r'lake s3://lakes/lost@main \(version \w+\), column \'images\', rows (\d+) to (\d+): '
    r'(deeplake_path=\'s3://lakes/lost\': )?.*(onnection|no answer within [\d.]+ s).* '
    r'\((\d+) attempts in (\d+\.\d) s\)'
)


def test_a_server_that_stays_dead_ends_the_epoch_and_a_new_one_goes_on(store, note):
    """An error within its time that says all; then the rest, in the same process."""
    dataset = open_lake(store, 'lost', read_timeout=2, retry_timeout=6)
    sampler = sampler_of(dataset)
    order = sampler.global_order().tolist()
    keys = dict(num_workers=2, multiprocessing_context='fork', collate_fn=list)
    loader = DataLoader(dataset, batch_size=2, sampler=sampler, **keys)
    batches = iter(loader)
    seen = [*next(batches), *next(batches)]
    store.kill()
    began = time.monotonic()
    with pytest.raises(LakeReadError) as caught:
        for batch in batches:
            seen += batch
    seconds = time.monotonic() - began
    note(began)
    found = ERROR.search(str(caught.value))
    assert found, str(caught.value)
    first, last, attempts = (int(found[i]) for i in (1, 2, 5))
    spent = float(found[6])
    assert last == first + 9 and attempts >= 2
    assert 6 <= spent <= 9 and seconds <= 12
    assert ids(seen) == order[: len(seen)] and intact(seen)
    del batches
    gc.collect()
    store.revive()
    sampler.skip(len(seen))  # as DeepLakeResumeHook does
    left = [each for batch in loader for each in batch]
    assert ids(left) == order[len(seen) :] and intact(left)
    sampler.set_epoch(1)
    again = [each for batch in loader for each in batch]
    assert ids(again) == sampler.global_order().tolist() and intact(again)


def test_a_lake_that_cannot_be_opened_is_told_in_time(store):
    """The same while the dataset is made: which path, why, how often, how long."""
    store.kill()
    began = time.monotonic()
    text = (
        r"^deeplake_path='s3://lakes/few': .*(onnection|no answer within).* "
        r'\(\d+ attempts in \d+\.\d s\); 127.0.0.1:\d+ must answer within '
        'retry_timeout=5 seconds when a run begins; .* or write a longer retry_timeout$'
    )
    with pytest.raises(LakeReadError, match=text):
        open_lake(store, read_timeout=2, retry_timeout=5)
    assert time.monotonic() - began < 8


def test_a_lake_that_hangs_is_told_in_time(store):
    """A server that takes requests and answers none; nothing waits for it longer."""
    store.set_faults(Fault('hang', seconds=120))
    began = time.monotonic()
    with pytest.raises(
        LakeReadError, match=r'no answer within [\d.]+ s \(\d attempts in '
    ):
        open_lake(store, read_timeout=2, retry_timeout=3.5)
    assert time.monotonic() - began < 6
    store.kill()  # so that the calls that were left behind end
