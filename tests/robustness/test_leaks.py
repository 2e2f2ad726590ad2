"""Leak hunt: runs that fail in every way, and then a search for the secrets.

Each run is a process with a temporary folder and a home of its own. It reads, fails,
prints the errors with all that they were raised from, as Python does at the end of a
process, and stores whatever of it can be stored.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import torch
from helpers import TESTS
from helpers.chunked import Seen, run, write_chunked
from helpers.leaks import files_below, leaks
from helpers.object_store import CHUNK_KEYS, Fault, Key, ObjectStore
from mmdet.utils import register_all_modules
from mmengine.dataset import ConcatDataset
from mmengine.logging import MessageHub, MMLogger
from torch.utils.data import DataLoader

import mmdet_deeplake_plugin.lake.connection.opening as opening
from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.lake import ImageColumn, LakeSource, ReadTimeouts

# Characters that URLs and shells quote, as real secrets have them.
KEY = Key('AKIA0LEAK0HUNT0ID', 'wJal/XUtn+FEMI=K7MDENG', 'FwoGZ/XIvYXdz+EBYa==')
TOKEN = 'eyJhb+Gci.OiJIUz/I1NiJ9'
SECRETS = (KEY.id, KEY.secret, KEY.token, TOKEN)


# -------------------------------------------------------------------------- in the process


def _fail(store: ObjectStore, url: str, config: dict, work: Path) -> None:
    """Fails in each way: while reading in a worker, in the process, and at the opening."""
    faults: dict[str, Callable[[], Any]] = {
        'refused': lambda: store.accept_keys([], 'AccessDenied'),
        'unknown': lambda: store.accept_keys([], 'InvalidAccessKeyId'),
        'expired': lambda: store.accept_keys([], 'ExpiredToken'),
        'signature': lambda: store.accept_keys([Key(KEY.id, 'another', KEY.token)]),
        'errors': lambda: store.set_faults(Fault('InternalError')),
        'truncated': lambda: store.set_faults(Fault('truncate', keys=CHUNK_KEYS)),
        'dead': store.kill,
    }
    dataset = DeepLakeDataset(url, **config)
    sampler = DeepLakeLoader(dataset, seed=0)
    spec, pin = dataset.lake.source.spec, dataset.lake.source.pin
    hasty = dict(config, read_timeout=1, retry_timeout=1)
    tasks: dict[str, Callable[[LakeSource], Any]] = {
        'in a worker': lambda _: run(dataset, sampler, num_workers=1),
        'here': lambda source: ImageColumn(source, 'images').read_row(3),
        'anew': lambda _: DeepLakeDataset(url, **hasty),
    }
    # Workers first: a fork waits for calls that were left behind.
    for task, call in tasks.items():
        for name, begin in faults.items():
            source = LakeSource(spec, pin)
            assert source.handle
            for each in (source, dataset.lake.source):
                each.read_with(spec.credentials, ReadTimeouts(1, 1))
            begin()
            try:
                call(source)
                print(f'{name} {task}: no error', flush=True)
            except Exception as error:
                print(f'{name} {task}: {type(error).__name__}', flush=True)
                traceback.print_exc()
                pickled = pickle.dumps([error.args, repr(error)])
                (work / f'{name}-{task}.pkl').write_bytes(pickled)
            store.accept_keys([KEY])
            store.clear()
            if name == 'dead':
                store.revive()


def _fail_in_the_cloud(token: str) -> None:
    opening.deeplake.client.endpoint = 'http://127.0.0.1:9'
    for path in ('al://org/name', 'hub://org/name'):
        try:
            DeepLakeDataset(
                path, deeplake_credentials=dict(token=token), retry_timeout=0.5
            )
        except Exception as error:
            print(f'{path}: {type(error).__name__}', flush=True)
            traceback.print_exc()


def _store_all_of(dataset: DeepLakeDataset, work: Path) -> None:
    """Writes down whatever somebody may print, pickle or save."""
    source = dataset.lake.source
    loader = DeepLakeLoader(dataset, seed=0)
    parts = {
        'dataset': dataset,
        'copy': copy.deepcopy(dataset),
        'concatenated': ConcatDataset([dataset, dataset]),
        'lake': dataset.lake,
        'source': source,
        'spec': source.spec,
        'credentials': source.spec.credentials,
        'pin': source.pin,
        'reader': dataset.reader,
        'loader': loader,
        'metainfo': dataset.metainfo,
        'info': dataset.get_data_info(0),
        'sample': dataset[0],
    }
    MessageHub.get_current_instance().update_info('metainfo', dataset.metainfo)
    parts['hub'] = MessageHub.get_current_instance()
    for name, part in parts.items():
        (work / f'{name}.txt').write_text(f'{part!r}\n{part!s}\n{vars(type(part))}')
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            (work / f'{name}-{protocol}.pkl').write_bytes(pickle.dumps(part, protocol))
        torch.save(part, work / f'{name}.pth')
    (work / 'vars.txt').write_text(f'{vars(dataset)} {vars(source)} {vars(source.spec)}')


def hunt(folder: Path, credentials: dict) -> None:
    """The process: reads well once, stores what there is, then fails in each way."""
    work = folder / 'work'
    MMLogger.get_instance('hunt', log_file=str(work / 'run.log'), log_level='DEBUG')
    register_all_modules()
    with ObjectStore.start(folder / 'store', key=KEY) as store:
        url = store.upload(write_chunked(folder / 'store' / 'lake', [4] * 5), 'lake')
        creds = credentials['creds']
        if isinstance(creds, dict):
            creds['endpoint_url'] = store.endpoint
        else:  # the file is written by the test, but for the address
            file = Path(creds[len('file:') :])
            given = {**json.loads(file.read_text()), 'endpoint_url': store.endpoint}
            file.write_text(json.dumps(given))
        config = dict(pipeline=[Seen()])
        config['deeplake_credentials'] = dict(creds=creds)
        dataset = DeepLakeDataset(url, **config)
        seen = [
            each for batch in DataLoader(dataset, 5, collate_fn=list) for each in batch
        ]
        assert len(seen) == 20
        _store_all_of(dataset, work)
        _fail(store, url, config, work)
        _fail_in_the_cloud(credentials['token'])
    print('hunted', flush=True)


# ------------------------------------------------------------------------ from the outside


def literal(folder: Path) -> dict:
    """The secrets themselves."""
    return dict(token=TOKEN, creds=dict(KEY.creds, aws_region='us-east-1'))


def by_variables(folder: Path) -> dict:
    """A variable for each, see ``VARIABLES``."""
    creds = {key: f'env:HUNTED_{key.upper()}' for key in KEY.creds}
    return dict(token='env:HUNTED_TOKEN', creds=dict(creds, aws_region='us-east-1'))


def by_files(folder: Path) -> dict:
    """A file with the token, and one with all creds."""
    (folder / 'token').write_text(TOKEN)
    (folder / 'creds').write_text(json.dumps({**KEY.creds, 'aws_region': 'us-east-1'}))
    return dict(token=f'file:{folder}/token', creds=f'file:{folder}/creds')


VARIABLES = {f'HUNTED_{key.upper()}': value for key, value in KEY.creds.items()}
VARIABLES['HUNTED_TOKEN'] = TOKEN
FAILURES = ('refused', 'unknown', 'expired', 'signature', 'errors', 'truncated', 'dead')


@pytest.mark.parametrize('kind', [literal, by_variables, by_files])
def test_no_failure_shows_or_stores_a_secret(kind, tmp_path):
    """Output, logs, pickles, checkpoints, temporary files and home: no secret in any."""
    folders = {
        name: tmp_path / name for name in ('work', 'store', 'tmp', 'home', 'given')
    }
    for folder in folders.values():
        folder.mkdir()
    given = kind(folders['given'])
    variables = VARIABLES if kind is by_variables else {}
    process = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        input=json.dumps(given),
        env={
            **os.environ,
            **variables,
            'PYTHONPATH': str(TESTS),
            'TMPDIR': str(folders['tmp']),
            'HOME': str(folders['home']),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    out = process.stdout
    assert out.endswith('hunted\n'), process.stderr[-3000:]
    # It did fail in each way, and the errors were seen.
    for name in FAILURES:
        for task in ('in a worker', 'here', 'anew'):
            if (name, task) != ('truncated', 'anew'):  # the lake's log is whole
                assert f'{name} {task}: ' in out and f'{name} {task}: no' not in out, out
    assert out.count('org/name: LakeReadError') == 2
    assert 'Original Traceback' in process.stderr and 'LakeReadError' in process.stderr
    assert len(list(folders['work'].glob('*.pkl'))) > 50
    contents = files_below(folders['work'], folders['tmp'], folders['home'])
    contents += [('stdout', out.encode()), ('stderr', process.stderr.encode())]
    assert leaks(contents, SECRETS) == set()


@pytest.mark.parametrize('secret', SECRETS, ids=['id', 'secret', 'session', 'token'])
def test_the_search_finds_what_it_looks_for(secret):
    """As it is, quoted, in base64 at any offset, in a pickle, as UTF-16."""
    texts = {
        'plain': f'a {secret} b'.encode(),
        'quoted': f'x={quote(secret, safe="")}&'.encode(),
        'base64': base64.b64encode(f'user:{secret}:end'.encode()),
        'base64 elsewhere': base64.b64encode(f'users:{secret}:end'.encode()),
        'base64 of it alone': base64.b64encode(secret.encode()),
        'pickle': pickle.dumps({'a': [secret]}),
        'wide': f'a{secret}'.encode('utf-16-le'),
    }
    assert leaks(texts.items(), [secret]) == set(texts)
    assert leaks([('other', b'nothing to see')], [secret]) == set()


if __name__ == '__main__':
    hunt(Path(sys.argv[1]), json.loads(sys.stdin.read()))
