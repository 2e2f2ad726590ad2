"""``al://`` and ``hub://``: all but the web service of Activeloop itself.

Deep Lake is real, and so is the object storage. Between them stands a stand-in of the
web service, which answers with the storage's address and keys. The form of its answers
was found out by trying; what the real service does beside that was not run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers import TESTS
from helpers.chunked import Seen, intact, run, write_chunked
from helpers.lakes import branch, tag
from helpers.object_store import Key, ObjectStore
from helpers.object_store.parent import end_with_parent
from mmdet.utils import register_all_modules

import mmdet_deeplake_plugin.lake.connection.opening as opening
from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.lake import LakeReadError, LakeSpec

register_all_modules()

CHUNKS = [8] * 5
TOKEN = 'a-token-of-nobody'


class Service:
    """The stand-in, in a process of its own: Deep Lake may hold the interpreter.

    Args:
        folder: Where what it shall answer and what it was asked are written.
    """

    def __init__(self, folder: Path) -> None:
        self._answer, self._log = folder / 'answer.json', folder / 'log'
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(folder), str(os.getpid())],
            env={**os.environ, 'PYTHONPATH': str(TESTS)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.endpoint = f'http://127.0.0.1:{int(self.process.stdout.readline())}'

    def answers(self, status: int, body: Any) -> None:
        """Sets what it answers from now on, and forgets what it was asked."""
        self._answer.write_text(json.dumps([status, body]))
        self._log.write_text('')

    def shows(self, url: str, store: ObjectStore) -> None:
        """Answers with a lake in the store, and its keys."""
        key = Key.new(token=True)
        store.accept_keys([key])
        # Without an expiration: Deep Lake renews the keys by itself then, and crashes
        # here every few runs.
        creds = dict(store.creds_of(key), region_name='us-east-1')
        plain = dict(
            repository='s3://lakes',
            mode='r',
            expiration='2099-01-01T00:00:00',
            repo_type='S3',
            origin_path='',
            real_org_id='org',
            region_name='us-east-1',
        )
        self.answers(200, dict(plain, path=url, url=url, creds=creds))

    def asked(self) -> list[list[str]]:
        """Address and Authorization header of each request."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]


@pytest.fixture(scope='module')
def store(tmp_path_factory) -> Iterator[ObjectStore]:
    """The object storage behind the service."""
    with ObjectStore.start(tmp_path_factory.mktemp('store')) as running:
        yield running


@pytest.fixture(scope='module')
def url(store, tmp_path_factory) -> str:
    """A lake in it with a branch and a saved view."""
    path = write_chunked(tmp_path_factory.mktemp('lake') / 'lake', CHUNKS)
    tag(path, 'SELECT * WHERE image_id % 10 = 3', 'threes')
    branch(path, 'side', [100])
    return store.upload(path, 'lake')


@pytest.fixture(scope='module')
def running(tmp_path_factory) -> Iterator[Service]:
    """The stand-in, which Deep Lake takes for Activeloop's web service."""
    service = Service(tmp_path_factory.mktemp('service'))
    before = opening.deeplake.client.endpoint
    opening.deeplake.client.endpoint = service.endpoint
    yield service
    opening.deeplake.client.endpoint = before
    service.process.kill()
    service.process.wait()


@pytest.fixture()
def service(running, monkeypatch) -> Service:
    """The stand-in; the token stands in the environment under a name of ours."""
    monkeypatch.setenv('LAKE_TOKEN', TOKEN)
    monkeypatch.delenv('ACTIVELOOP_TOKEN', raising=False)
    return running


def open_it(path: str = 'al://org/name', **keys: Any) -> DeepLakeDataset:
    """A dataset by a reference to the token."""
    token = keys.pop('token', 'env:LAKE_TOKEN')
    return DeepLakeDataset(
        path, deeplake_credentials=dict(token=token), pipeline=[Seen()], **keys
    )


# --------------------------------------------------------------------------- what is read


@pytest.mark.parametrize('scheme', ['al', 'hub'])
def test_a_lake_of_an_organisation_is_read_with_the_token(scheme, service, store, url):
    """Every image, by forked workers too; each question carries the token."""
    service.shows(url, store)
    dataset = open_it(f'{scheme}://org/name')
    sampler = DeepLakeLoader(dataset, seed=0, lanes=4)
    assert sampler.shuffle == 'lanes'  # it lies on object storage
    seen = run(dataset, sampler, num_workers=2)
    assert intact(seen)
    assert [each['img_id'] for each in seen] == sampler.global_order().tolist()
    address = '/api/org/org/ds/name/creds?no_cache=True&mode=r'
    assert {tuple(asked) for asked in service.asked()} == {(address, f'Bearer {TOKEN}')}


WAYS = {
    'branch': (dict(path='al://org/name@side'), [*range(40), 100]),
    'tag': (dict(path='al://org/name@threes'), [3, 13, 23, 33]),
    'view': (dict(deeplake_view_id='threes'), [3, 13, 23, 33]),
    'from': (
        dict(path='', deeplake_query='SELECT * FROM "al://org/name" WHERE image_id > 37'),
        [38, 39],
    ),
    'trailing-slash': (
        dict(path='al://org/name/', deeplake_query='SELECT * LIMIT 2'),
        [0, 1],
    ),
}


@pytest.mark.parametrize(('keys', 'ids'), WAYS.values(), ids=WAYS)
def test_branches_tags_and_queries_are_named_as_elsewhere(keys, ids, service, store, url):
    """@branch, @tag, deeplake_view_id and FROM select the rows that they select."""
    service.shows(url, store)
    dataset = open_it(**keys)
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == ids


@pytest.mark.parametrize(
    'path', ['al://org/name', 'hub://org/name', 's3://b/k', 'gcs://b']
)
def test_such_paths_are_remote_and_kept_as_they_are(path):
    """No such path is taken for a folder; reads of it have a deadline."""
    spec = LakeSpec.from_config(f'{path}@branch')
    assert (spec.path, spec.suffix, spec.is_remote) == (path, 'branch', True)


# ---------------------------------------------------------------------------- what fails

REFUSED = {'no such token': 401, 'not of this organisation': 403}


@pytest.mark.parametrize('status', REFUSED.values(), ids=REFUSED)
def test_a_refused_token_is_told_at_once(status, service):
    """One question; the error names the reference, what was said, and no token."""
    service.answers(status, dict(message=f'{TOKEN} is not welcome'))
    text = (
        "deeplake_path='al://org/name': access denied with Credentials("
        'token=\'env:LAKE_TOKEN\', creds={}): {"message":"*** is not welcome"}. Check '
        'deeplake_credentials, or the environment (ACTIVELOOP_TOKEN, AWS_PROFILE, …)'
    )
    with pytest.raises(PermissionError, match=f'^{re.escape(text)}$') as caught:
        open_it()
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert len(service.asked()) == 1


def test_a_missing_token_is_told(service):
    """Without any, the service refuses; the error shows that there was none."""
    service.answers(401, dict(message='Please log in.'))
    text = (
        "deeplake_path='al://org/name': access denied with Credentials(token='', "
        'creds={}): {"message":"Please log in."}. Check deeplake_credentials, or the '
        'environment (ACTIVELOOP_TOKEN, AWS_PROFILE, …)'
    )
    with pytest.raises(PermissionError, match=re.escape(text)):
        open_it(token='')
    assert [header for _, header in service.asked()] == ['Bearer ']


def test_a_reference_to_no_token_is_told_without_asking(service, monkeypatch):
    """A variable that is not set is a mistake before anything is sent."""
    monkeypatch.delenv('LAKE_TOKEN')
    service.answers(401, {})
    with pytest.raises(
        ValueError, match='the environment variable LAKE_TOKEN is not set'
    ):
        open_it()
    assert service.asked() == []


def test_a_missing_dataset_is_told(service):
    """The error names the path, and what the service said."""
    service.answers(404, dict(message='no dataset of that name'))
    text = 'deeplake_path=\'al://org/name\': {"message":"no dataset of that name"}'
    with pytest.raises(FileNotFoundError, match=re.escape(text)):
        open_it()


def test_no_network_is_told_within_the_budget(service):
    """Tried until retry_timeout; the error names path, cause and attempts."""
    opening.deeplake.client.endpoint = 'http://127.0.0.1:9'  # nobody listens there
    try:
        began = time.monotonic()
        text = (
            r"^deeplake_path='al://org/name': deeplake_path='al://org/name': Method "
            r"failed: GET resource: .* Can't fetch resource - http://127\.0\.0\.1:9/.* "
            r'\(\d+ attempts in \d+\.\d s\); http://127\.0\.0\.1:9 must answer within '
            r'retry_timeout=2 seconds when a run begins'
        )
        with pytest.raises(LakeReadError, match=text):
            open_it(retry_timeout=2)
        assert time.monotonic() - began < 30
    finally:
        opening.deeplake.client.endpoint = service.endpoint


# ------------------------------------------------------------------- the stand-in's process


def _serve(folder: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answers what the test wrote down."""
            with (folder / 'log').open('a') as log:
                header = self.headers.get('Authorization', '')
                log.write(json.dumps([self.path, header]) + '\n')
            status, body = json.loads((folder / 'answer.json').read_text())
            content = json.dumps(body, separators=(',', ':')).encode()
            self.send_response(status)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            """Says nothing."""

    server = HTTPServer(('127.0.0.1', 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == '__main__':
    end_with_parent(int(sys.argv[2]))
    _serve(Path(sys.argv[1]))
