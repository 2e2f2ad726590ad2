"""Credentials that change while a run goes on, and ones that are taken away.

A server that refuses old keys stands on the loopback; the runs are processes of their
own, so that how they end is seen too. A run stops at marks, where the test changes keys,
so that nothing hangs on how fast it is.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import TESTS
from helpers.chunked import Seen, intact, run, write_chunked
from helpers.object_store import Key, ObjectStore
from mmdet.utils import register_all_modules
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.lake import LakeReadError
from mmdet_deeplake_plugin.lake.connection import retry

CHUNKS = [5] * 40
ROWS, EPOCHS = sum(CHUNKS), 2
# After so many samples; at each of them reads are still to come.
MARKS = (40, 80, 240, 280, 320, 360)


# ------------------------------------------------------------------------ in the process


def read_along(url: str, credentials: Any, **keys: Any) -> None:
    """Goes through epochs, stops at each mark for a word, and tells what came."""
    register_all_modules()
    dataset = DeepLakeDataset(
        url, deeplake_credentials=credentials, pipeline=[Seen()], **keys
    )
    seen: list[dict] = []
    for epoch, shuffle in zip(range(EPOCHS), ('lanes', 'full')):
        sampler = DeepLakeLoader(dataset, shuffle, seed=epoch, lanes=4)
        loader = DataLoader(
            dataset,
            batch_size=4,
            sampler=sampler,
            num_workers=2,
            multiprocessing_context='fork',
            collate_fn=list,
        )
        for batch in loader:
            seen += batch
            if len(seen) in MARKS:
                print('mark', flush=True)
                sys.stdin.readline()
        order = sampler.global_order().tolist()
        assert [each['img_id'] for each in seen[epoch * ROWS :]] == order
    assert intact(seen)
    print(f'{len(seen)} intact', flush=True)


def open_and_fork(url: str, credentials: Any) -> None:
    """Is refused, and goes on: forks many times, then ends."""
    try:
        DeepLakeDataset(url, deeplake_credentials=credentials)
    except PermissionError as error:
        print(error, flush=True)
    for _ in range(20):
        process = os.fork()
        if not process:
            os._exit(0)
        os.waitpid(process, 0)


# ----------------------------------------------------------------------- from the outside


class Run:
    """A process that runs a function of this file."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.said = ''

    def reaches_a_mark(self) -> bool:
        """Waits for the next mark; ``False`` if the run ends without one."""
        assert self._process.stdout
        for line in self._process.stdout:  # logs stand between the marks
            if line == 'mark\n':
                return True
            self.said += line
        return False

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def go_on(self) -> None:
        """Lets it run to the next mark."""
        assert self._process.stdin
        self._process.stdin.write('\n')
        self._process.stdin.flush()

    def end(self) -> tuple[int, str, str]:
        """Exit code, and what it wrote to stdout and stderr."""
        while self.reaches_a_mark():
            pass
        assert self._process.stderr
        err = self._process.stderr.read()
        return self._process.wait(), self.said, err


@contextmanager
def running(function: str, *arguments: Any, **keys: Any) -> Iterator[Run]:
    """Starts a function of this file in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, __file__, function, json.dumps([arguments, keys])],
        env={**os.environ, 'PYTHONPATH': str(TESTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Run(process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope='module')
def started(tmp_path_factory) -> Iterator[tuple[ObjectStore, str]]:
    """A store, and a folder with a lake of 40 chunks."""
    with ObjectStore.start(tmp_path_factory.mktemp('store')) as store:
        yield store, write_chunked(tmp_path_factory.mktemp('lake') / 'lake', CHUNKS)


@pytest.fixture()
def lake(started, tmp_path) -> Iterator[tuple[ObjectStore, str]]:
    """The store with an empty log and its first key, and the URL of a lake in it."""
    store, path = started
    url = store.upload(path, tmp_path.name)
    store.accept_keys([store.key])
    store.reset_log()
    yield store, url


def write_json(file: Path, store: ObjectStore, key: Key) -> dict:
    """Writes all creds to one file, and returns the config that names it."""
    file.write_text(json.dumps(store.creds_of(key)))
    return dict(creds=f'file:{file}')


def write_values(file: Path, store: ObjectStore, key: Key) -> dict:
    """Writes each secret to a file of its own, as mounted secrets are."""
    creds = store.creds_of(key)
    for name, value in key.creds.items():
        part = file.with_suffix(f'.{name}')
        part.with_suffix('.new').write_text(f'{value}\n')
        part.with_suffix('.new').replace(part)
        creds[name] = f'file:{part}'
    return dict(creds=creds)


def refusals(store: ObjectStore, key: Key) -> int:
    """How often a key was refused."""
    return sum(
        request.status in (400, 403)
        for request in store.requests()
        if request.key_id == key.id
    )


def wait_for_silence(store: ObjectStore) -> None:
    """Returns when the workers that read ahead have read as much as they may."""
    count, since = -1, time.monotonic()
    while time.monotonic() - since < 1.5:
        now = len(store.requests())
        if now != count:
            count, since = now, time.monotonic()
        time.sleep(0.05)


ROTATIONS = {
    'one-file, before the old key ends': (write_json, 'InvalidAccessKeyId', False),
    'a-file-each, after the old key ended': (write_values, 'InvalidAccessKeyId', True),
    'session-tokens, after the old one expired': (write_json, 'ExpiredToken', True),
}


@pytest.mark.parametrize(('write', 'refusal', 'late'), ROTATIONS.values(), ids=ROTATIONS)
def test_a_run_goes_on_through_rotations(write, refusal, late, lake, tmp_path):
    """Two epochs, six rotations: every image once, intact, in order; exit code 0."""
    store, url = lake
    file = tmp_path / 'creds'
    keys = [Key.new(token=refusal == 'ExpiredToken')]
    store.accept_keys(keys)
    with running('read_along', url, write(file, store, keys[0])) as child:
        while child.reaches_a_mark():
            old, new = keys[-1], Key.new(token=bool(keys[-1].token))
            keys.append(new)
            if late:
                store.accept_keys([new], refusal)
                child.go_on()
                while child.is_alive and not refusals(store, old):
                    time.sleep(0.05)
                write(file, store, new)
            else:
                wait_for_silence(store)
                write(file, store, new)
                store.accept_keys([new], refusal)
                child.go_on()
        code, out, err = child.end()
    assert out.endswith(f'\n{EPOCHS * ROWS} intact\n'), err
    assert code == 0, err
    assert len(keys) == len(MARKS) + 1
    used = {request.key_id for request in store.requests() if request.status == 206}
    assert used == {key.id for key in keys}
    if not late:  # nothing was on its way, and what came then knew the new key
        assert [refusals(store, key) for key in keys] == [0] * len(keys)
    for key in keys:
        assert not any(secret in out + err for secret in key.creds.values())


def test_a_revoked_key_ends_in_an_error_that_names_the_reference(lake, tmp_path):
    """Within the budget; exit code 1, the text says which file, and holds no secret."""
    store, url = lake
    key = Key.new(token=True)
    store.accept_keys([key])
    file = tmp_path / 'creds.json'
    config = write_json(file, store, key)
    with running('read_along', url, config, retry_timeout=3) as child:
        assert child.reaches_a_mark()
        store.accept_keys([])
        child.go_on()
        code, out, err = child.end()
    assert code == 1
    text = (
        rf'LakeReadError: lake {url}@main \(version \w+\), column .images., rows? .*: '
        rf"access denied with Credentials\(token='', creds='file:{file}'\), "
        r'resolved again at each attempt: \[S3\] INVALID_ACCESS_KEY_ID .*'
        r'\((\d+) attempts in ([\d.]+) s\)'
    )
    found = re.search(text, err)
    assert found, err
    assert int(found[1]) >= 3 and float(found[2]) < 6
    assert not any(secret in out + err for secret in key.creds.values())


@pytest.mark.parametrize(
    'refusal', ['InvalidAccessKeyId', 'ExpiredToken', 'AccessDenied']
)
def test_a_refusal_at_the_beginning_is_told_at_once_and_harms_no_fork(
    refusal, lake, tmp_path
):
    """One attempt; the process may fork at once, and its exit code is its own.

    Deep Lake goes on asking in the background after it was refused, and would crash.
    """
    store, url = lake
    store.accept_keys([], refusal)
    config = write_json(tmp_path / 'creds.json', store, store.key)
    with running('open_and_fork', url, config) as child:
        code, out, err = child.end()
    assert code == 0, err
    assert out.startswith(
        f"deeplake_path='{url}': access denied with Credentials(token='', "
        f"creds='file:{tmp_path}/creds.json'): [S3] "
    )
    assert f'code={refusal}' in out
    assert not any(secret in out + err for secret in store.key.creds.values())
    (asked,) = {request.key for request in store.requests()}
    assert asked.endswith('/_deeplake_log/_meta/next_base')


def test_a_file_that_is_just_being_written_is_read_again(lake, tmp_path, monkeypatch):
    """Empty, cut or absent for a moment: the next attempt finds the new key."""
    store, url = lake
    file = tmp_path / 'creds.json'
    dataset = DeepLakeDataset(
        url, deeplake_credentials=write_json(file, store, store.key), pipeline=[Seen()]
    )
    new = Key.new()
    store.accept_keys([new])
    whole = json.dumps(store.creds_of(new))
    steps = iter(['', whole[:30], None, whole])

    def write_on(seconds: float) -> None:
        step = next(steps)
        file.unlink(missing_ok=True)
        if step is not None:
            file.write_text(step)

    monkeypatch.setattr(retry.time, 'sleep', write_on)
    seen = run(dataset, range(4))
    assert intact(seen) and len(seen) == 4
    assert next(steps, 'all done') == 'all done'


def test_a_file_that_stays_broken_is_named(lake, tmp_path, monkeypatch):
    """The error says what is wrong with the reference, after the budget of refusals."""
    store, url = lake
    file = tmp_path / 'creds.json'
    config = write_json(file, store, store.key)
    dataset = DeepLakeDataset(
        url, deeplake_credentials=config, pipeline=[Seen()], retry_timeout=1
    )
    file.unlink()
    text = (
        f"deeplake_credentials.creds='file:{file}': cannot read the file: No such "
        'file or directory ('
    )
    with pytest.raises(LakeReadError, match=re.escape(text)):
        run(dataset, range(4))


def test_a_renewed_file_is_used_before_the_old_key_is_refused(lake, tmp_path):
    """The next read goes with the new key: no request is refused."""
    store, url = lake
    file = tmp_path / 'creds.json'
    config = write_json(file, store, store.key)
    dataset = DeepLakeDataset(url, deeplake_credentials=config, pipeline=[Seen()])
    new = Key.new(token=True)
    write_json(file, store, new)
    store.accept_keys([new])
    store.reset_log()
    assert intact(run(pickle.loads(pickle.dumps(dataset)), range(8)))
    assert intact(run(dataset, range(8)))
    assert {request.key_id for request in store.requests()} == {new.id}


if __name__ == '__main__':
    given, further = json.loads(sys.argv[2])
    globals()[sys.argv[1]](*given, **further)
