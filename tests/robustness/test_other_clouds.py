"""Azure and Google Cloud Storage are read, refused and waited for as S3 is.

The rows of the fault table for these two: Azurite and an emulator of Google's, behind
the same proxy as the S3 server. Whatever fails, each sample arrives once, in order, with
the bytes that were written; each test records what it saw (``--junitxml``).
"""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT, TESTS
from helpers.chunked import Seen, intact, run, write_chunked
from helpers.lakes import image_bytes
from helpers.object_store import CHUNK_KEYS, AzureStore, Fault, GoogleStore
from helpers.object_store.steered import Store
from mmdet.utils import register_all_modules
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.lake import LakeReadError

register_all_modules()

STORES = {'azure': AzureStore, 'google': GoogleStore}
CHUNKS = [10] * 12
ROWS = sum(CHUNKS)
KINDS = ('InternalError', 'TooManyRequests', 'reset', 'truncate')
OUTAGES = [5, *map(int, os.environ.get('LONG_OUTAGES', '').split())]
SOON = 5.0  # seconds


@pytest.fixture(scope='module', params=STORES)
def running(request, tmp_path_factory) -> Iterator[Store]:
    """A store with a lake, and its variables in the environment."""
    kind = STORES[request.param]
    if missing := kind.what_is_missing():
        pytest.skip(missing)
    with kind(tmp_path_factory.mktemp('store')) as store, pytest.MonkeyPatch.context() as p:
        for name, value in store.environment.items():
            p.setenv(name, value)
        path = write_chunked(tmp_path_factory.mktemp('lake') / 'lake', CHUNKS)
        store.upload(path, 'lake')
        yield store


@pytest.fixture()
def store(running) -> Iterator[Store]:
    """The store without faults, with its first key and an empty log."""
    gc.collect()  # while a dataset lives, another one of the lake shares its deadlines
    running.revive()
    running.clear()
    running.accept_keys(running.keys[:1])
    running.reset_log()
    yield running
    running.clear()
    running.revive()


@pytest.fixture()
def azure(store) -> AzureStore:
    """The store, if it is Azure's."""
    if not isinstance(store, AzureStore):
        pytest.skip('about Azure alone')
    return store


def open_lake(store: Store, credentials: Any = None, **keys: Any) -> DeepLakeDataset:
    """The lake of a store."""
    return DeepLakeDataset(
        store.url('lake'),
        deeplake_credentials=credentials or dict(creds=store.creds),
        pipeline=[Seen()],
        **{'read_timeout': 60, 'retry_timeout': 120, **keys},
    )


def sampler_of(dataset: DeepLakeDataset) -> DeepLakeLoader:
    """A sampler whose two workers read one chunk after the other."""
    return DeepLakeLoader(dataset, seed=0, lanes=4, batch_size=2, num_workers=2)


def ids(seen: list[dict]) -> list[int]:
    """Ids of samples in their order."""
    return [each['img_id'] for each in seen]


# ------------------------------------------------------------------------------ reading


def test_an_epoch_reads_each_chunk_whole_and_once(store):
    """Workers read objects of the storage without opening the lake, as on S3."""
    dataset = open_lake(store)
    sampler = sampler_of(dataset)
    assert sampler.shuffle == 'lanes' and dataset.reader.column._objects
    store.reset_log()
    dataset.reader.counters.share()
    seen = run(dataset, sampler, batch_size=2, num_workers=2)
    assert ids(seen) == sampler.global_order().tolist()
    assert sorted(ids(seen)) == list(range(ROWS)) and intact(seen)
    counted = dataset.reader.counters.totals()
    assert counted['chunks'] == counted['requests'] == len(CHUNKS)
    # If workers shared connections, clients would send requests again, and take the
    # answers of each other.
    reads = store.requests(CHUNK_KEYS)
    assert len(reads) == len({record.key for record in reads}) == len(CHUNKS)
    assert all(record.sent > 60_000 and not record.range for record in reads)
    assert {record.key_id for record in store.requests()} == {store.keys[0].id}


@pytest.mark.parametrize('kind', KINDS)
def test_requests_that_fail_cost_time_and_no_sample(kind, store, record_property):
    """Two fifths of the requests fail, at the opening and in an epoch."""
    # A cut body costs Azure's client five seconds, and each failure in a row makes
    # Google's wait for twice as long.
    limit = 2 if kind == 'truncate' else 4
    store.set_faults(Fault(kind, share=0.4, limit=limit, methods='GET'))
    began = time.monotonic()
    dataset = open_lake(store)
    sampler = sampler_of(dataset)
    seen = run(dataset, sampler, batch_size=2, num_workers=2)
    record_property('seconds', round(time.monotonic() - began, 1))
    record_property('requests', len(store.requests()))
    failed = sum(bool(record.fault) for record in store.requests())
    record_property('failed', failed)
    assert failed
    assert ids(seen) == sampler.global_order().tolist() and intact(seen)


@pytest.mark.parametrize('seconds', OUTAGES)
def test_a_server_that_dies_in_mid_epoch_is_waited_for(seconds, store, record_property):
    """The epoch goes on where it was when the server is back."""
    dataset = open_lake(store, retry_timeout=300)
    sampler = sampler_of(dataset)
    keys = dict(num_workers=2, multiprocessing_context='fork', collate_fn=list)
    batches = iter(DataLoader(dataset, batch_size=2, sampler=sampler, **keys))
    seen = [*next(batches), *next(batches)]
    began = time.monotonic()
    store.kill(seconds)
    seen += chain.from_iterable(batches)
    record_property('seconds', round(time.monotonic() - began, 1))
    assert ids(seen) == sampler.global_order().tolist() and intact(seen)


# -------------------------------------------------------------------------- credentials


def write_keys(file: Path, store: Store, key: Any) -> dict:
    """Writes creds to a file, and returns the config that names it."""
    new = file.with_suffix('.new')
    new.write_text(json.dumps(store.creds_of(key)))
    new.replace(file)
    return dict(creds=f'file:{file}')


def test_a_key_that_is_refused_is_an_early_error(store, tmp_path):
    """It names the reference, and holds no secret."""
    new = store.keys[1]
    credentials = write_keys(tmp_path / 'keys.json', store, new)
    with pytest.raises(PermissionError) as caught:
        open_lake(store, credentials)
    assert re.match(
        rf"deeplake_path='{store.url('lake')}': access denied with Credentials\(token='', "
        rf"creds='file:{tmp_path}/keys.json'\): \[(Azure|GCS)\] ",
        str(caught.value),
    )
    assert new.secret not in str(caught.value)


def test_a_renewed_key_is_used_before_the_old_one_is_refused(store, tmp_path):
    """The next read goes with the new key: no request is refused."""
    old, new = store.keys
    file = tmp_path / 'keys.json'
    dataset = open_lake(store, write_keys(file, store, old))
    write_keys(file, store, new)
    store.accept_keys([new])
    store.reset_log()
    assert intact(run(dataset, range(8)))
    assert {record.key_id for record in store.requests()} == {new.id}


def test_a_revoked_key_ends_in_an_error_after_the_budget(store, tmp_path):
    """While a run goes on, keys may still be renewed: it tries again, then says which."""
    file = tmp_path / 'keys.json'
    config = write_keys(file, store, store.keys[0])
    dataset = open_lake(store, config, retry_timeout=2)
    store.accept_keys(store.keys[1:])
    with pytest.raises(LakeReadError) as caught:
        run(dataset, range(4))
    assert f"access denied with Credentials(token='', creds='file:{file}')" in str(
        caught.value
    )
    assert store.keys[0].secret not in str(caught.value)


# ------------------------------------------------------------------------- whole processes

OPEN = """
import sys
from mmdet_deeplake_plugin import DeepLakeDataset
try:
    DeepLakeDataset(sys.argv[1], deeplake_credentials=dict(creds=eval(sys.argv[2])),
                    open_timeout=2, retry_timeout=1000, read_timeout=1000)
except Exception as error:
    print(type(error).__name__, error, flush=True)
    sys.exit(7)
"""
KEYS = dict(account_name='nobody', account_key='c2VjcmV0')
PLACES = {
    'an unknown host': (KEYS, 'nobody.blob.core.windows.net', '.*(known|resol).*'),
    'a closed port': (
        dict(KEYS, blob_endpoint='http://127.0.0.1:9/nobody'),
        '127.0.0.1:9',
        'Connection refused',
    ),
}


@pytest.mark.parametrize('place', PLACES)
def test_azure_that_cannot_be_reached_is_an_error_with_its_host(place):
    """Deep Lake itself would abort the process after half a minute."""
    creds, host, reason = PLACES[place]
    done = subprocess.run(
        [sys.executable, '-c', OPEN, 'az://nobody/lakes/none', repr(creds)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 7, done.stderr
    # On a busy machine the last attempt may have no time left for an answer.
    cause = f'cannot connect to {host}: {reason}; check the account in the path'
    assert re.search(cause, done.stdout + done.stderr)
    assert re.search(
        rf"LakeReadError deeplake_path='az://nobody/lakes/none': .* \(\d+ attempts in "
        rf'[\d.]+ s\); {host} must answer within open_timeout=2 seconds',
        done.stdout,
    ), done.stdout


def test_azure_at_another_address(azure):
    """``blob_endpoint`` leads elsewhere: here to Azurite itself, without TLS."""
    endpoint = azure.plain_endpoint
    creds = {**azure.creds, 'blob_endpoint': endpoint}
    azure.kill()
    assert intact(run(open_lake(azure, dict(creds=creds)), range(4)))


def read_for_ever(url: str, creds: dict) -> None:
    """Waits for a server that hangs."""
    dataset = DeepLakeDataset(
        url, deeplake_credentials=dict(creds=creds), pipeline=[Seen()]
    )
    print('open', flush=True)
    sys.stdin.readline()
    run(dataset, range(8))


def test_ctrl_c_ends_a_process_that_waits(store):
    """At once, by Python's own way to end."""
    process = subprocess.Popen(
        [sys.executable, __file__, store.url('lake'), json.dumps(store.creds)],
        env={**os.environ, 'PYTHONPATH': f'{TESTS}{os.pathsep}{ROOT}'},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout and process.stdin
        while (line := process.stdout.readline()) != 'open\n':
            assert line, process.stderr.read()
        store.reset_log()
        store.set_faults(Fault('hang', seconds=600))
        process.stdin.write('\n')
        process.stdin.flush()
        while not any(record.fault for record in store.requests()):
            assert process.poll() is None
            time.sleep(0.05)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert time.monotonic() - began < SOON
    finally:
        process.kill()
        process.wait()
    assert 'KeyboardInterrupt' in said
    assert process.returncode == -signal.SIGINT


# ------------------------------------------------------------------------------ writing


def test_a_converter_writes_what_it_writes_to_a_disk(
    store, coco_files, lake, tmp_path, monkeypatch
):
    """With keys by reference, on the command line too; a second time it must be told."""
    from mmdet_deeplake_plugin.tools.from_coco import main

    monkeypatch.setenv('LAKE_KEYS', json.dumps(store.creds))
    files, url = coco_files('bccd_val'), store.url('written')
    command = [files['ann_file'], files['data_prefix']['img'], url]
    command += ['--creds', 'env:LAKE_KEYS']
    assert main(command) == 0
    assert image_bytes(url, store.creds) == image_bytes(lake('bccd_val'))
    assert main(command) == 2
    assert main([*command, '--overwrite']) == 0
    assert len(image_bytes(url, store.creds)) == len(image_bytes(lake('bccd_val')))


if __name__ == '__main__':
    read_for_ever(sys.argv[1], json.loads(sys.argv[2]))
