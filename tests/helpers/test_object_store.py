"""The object store of the tests is S3, fails as it is told, and logs what happened."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import TESTS
from helpers.lakes import image_bytes, write_lake
from helpers.object_store import CHUNK_KEYS, Fault, Key, ObjectStore
from helpers.object_store.faults import FaultPlan

boto3 = pytest.importorskip('boto3', reason='boto3 is not installed')
pytest.importorskip('moto.server', reason='moto[server] is not installed')
from botocore.auth import S3SigV4Auth  # noqa: E402
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.config import Config  # noqa: E402
from botocore.credentials import Credentials  # noqa: E402
from botocore.exceptions import ClientError  # noqa: E402

# More than a socket's buffer takes, so that faults meet an answer on its way.
DATA = random.Random(0).randbytes(3_000_000)


@pytest.fixture(scope='module')
def running(tmp_path_factory) -> Iterator[ObjectStore]:
    """A store with ``plain/file`` in it."""
    folder = tmp_path_factory.mktemp('plain')
    (folder / 'file').write_bytes(DATA)
    with ObjectStore.start(tmp_path_factory.mktemp('store')) as store:
        store.upload(folder, 'plain')
        yield store


@pytest.fixture()
def store(running) -> Iterator[ObjectStore]:
    """The store without faults, with an empty log."""
    running.reset_log()
    yield running
    running.clear()
    running.revive()
    running.accept_keys([running.key])


@pytest.fixture(scope='module')
def lake(running, tmp_path_factory) -> tuple[str, list[bytes]]:
    """URL of a lake that was written on disk and uploaded, and its images there."""
    path = write_lake(tmp_path_factory.mktemp('lakes') / 'lake')
    return running.upload(path, 'lake'), image_bytes(path)


def client(store: ObjectStore, key: Key | None = None) -> Any:
    """An S3 client that does not retry."""
    key = key or store.key
    return boto3.client(
        's3',
        endpoint_url=store.endpoint,
        region_name='us-east-1',
        aws_access_key_id=key.id,
        aws_secret_access_key=key.secret,
        aws_session_token=key.token or None,
        config=Config(retries=dict(total_max_attempts=1), read_timeout=5),
    )


def connect(store: ObjectStore, timeout: float = 10) -> http.client.HTTPConnection:
    """A connection to the endpoint."""
    host = store.endpoint.partition('//')[2]
    return http.client.HTTPConnection(host, timeout=timeout)


def ask(
    store: ObjectStore,
    range_: str = '',
    method: str = 'GET',
    key: str = 'plain/file',
    connection: http.client.HTTPConnection | None = None,
) -> http.client.HTTPResponse:
    """Sends a signed request and returns the answer up to its body."""
    headers = {'Range': range_} if range_ else {}
    request = AWSRequest(method, f'{store.endpoint}/lakes/{key}', headers=headers)
    credentials = Credentials(store.key.id, store.key.secret)
    S3SigV4Auth(credentials, 's3', 'us-east-1').add_auth(request)
    connection = connection or connect(store)
    connection.request(method, f'/lakes/{key}', headers=dict(request.headers))
    return connection.getresponse()


# ---------------------------------------------------------------------------- semantics


def test_a_lake_that_is_uploaded_reads_as_on_disk(store, lake):
    """A Deep Lake dataset is its files: copied to S3, its images are the same bytes."""
    url, images = lake
    assert image_bytes(url, store.creds) == images
    assert store.totals(CHUNK_KEYS).bytes >= sum(map(len, images)) / len(images)


def test_deep_lake_writes_through_the_proxy(store, tmp_path):
    """What Deep Lake writes to the endpoint, it reads back."""
    url = write_lake(store.url('written'), **store.creds)
    assert image_bytes(url, store.creds) == image_bytes(write_lake(tmp_path / 'lake'))
    assert any(record.method == 'PUT' for record in store.requests())


def test_reads_see_the_last_write(store):
    """Whatever changes an object, the next read has it: nothing old is served."""
    s3 = client(store)

    def read(key: str = 'a b/ü+1') -> bytes:
        return s3.get_object(Bucket='lakes', Key=key)['Body'].read()

    s3.put_object(Bucket='lakes', Key='a b/ü+1', Body=b'one')
    assert read() == b'one'
    s3.put_object(Bucket='lakes', Key='a b/ü+1', Body=b'two!')
    assert read() == b'two!'
    assert s3.head_object(Bucket='lakes', Key='a b/ü+1')['ContentLength'] == 4
    s3.copy_object(Bucket='lakes', Key='copy', CopySource='lakes/a b/ü+1')
    assert read('copy') == b'two!'
    s3.delete_object(Bucket='lakes', Key='a b/ü+1')
    with pytest.raises(ClientError, match='NoSuchKey'):
        read()
    s3.delete_objects(Bucket='lakes', Delete=dict(Objects=[dict(Key='copy')]))
    with pytest.raises(ClientError, match='NoSuchKey'):
        read('copy')
    assert 'Contents' not in s3.list_objects_v2(Bucket='lakes', Prefix='copy')


def test_an_upload_in_parts_replaces_an_object(store):
    """The completed upload is what is read, not what was there before."""
    s3 = client(store)
    s3.put_object(Bucket='lakes', Key='parts', Body=b'old')
    assert ask(store, key='parts').read() == b'old'
    name = dict(Bucket='lakes', Key='parts')
    upload = s3.create_multipart_upload(**name)['UploadId']
    sent = [b'x' * (5 << 20), b'end']
    tags = [
        s3.upload_part(**name, UploadId=upload, PartNumber=i + 1, Body=part)['ETag']
        for i, part in enumerate(sent)
    ]
    assert ask(store, key='parts').read() == b'old'
    parts = [dict(ETag=tag, PartNumber=i + 1) for i, tag in enumerate(tags)]
    s3.complete_multipart_upload(
        **name, UploadId=upload, MultipartUpload=dict(Parts=parts)
    )
    assert ask(store, key='parts').read() == b''.join(sent)


def test_a_condition_is_honoured(store):
    """A read under a condition is answered by it."""
    s3 = client(store)
    tag = s3.head_object(Bucket='lakes', Key='plain/file')['ETag']
    with pytest.raises(ClientError, match='304'):
        s3.get_object(Bucket='lakes', Key='plain/file', IfNoneMatch=tag)


@pytest.mark.parametrize(
    ('range_', 'status', 'start', 'stop'),
    [
        ('', 200, 0, 3_000_000),
        ('bytes=0-', 206, 0, 3_000_000),
        ('bytes=10-19', 206, 10, 20),
        ('bytes=2999990-9999999', 206, 2_999_990, 3_000_000),
        ('bytes=-7', 206, 2_999_993, 3_000_000),
        ('nonsense', 200, 0, 3_000_000),
    ],
)
def test_a_range_is_cut_out(store, range_, status, start, stop):
    """GET and HEAD agree in length, and the range names its bytes."""
    answer = ask(store, range_)
    assert (answer.status, answer.read()) == (status, DATA[start:stop])
    expected = f'bytes {start}-{stop - 1}/3000000' if status == 206 else None
    assert answer.getheader('Content-Range') == expected
    assert ask(store, range_, 'HEAD').getheader('Content-Length') == str(stop - start)


def test_a_range_beyond_the_end_is_an_error(store):
    """As S3, 416 with its code."""
    answer = ask(store, 'bytes=3000000-')
    assert answer.status == 416 and b'<Code>InvalidRange</Code>' in answer.read()


def test_a_connection_is_used_again(store):
    """Requests of one client in a row share a connection."""
    connection = connect(store)
    for _ in range(3):
        assert len(ask(store, connection=connection).read()) == len(DATA)
    assert store.totals().connections == 1


# ---------------------------------------------------------------------------------- keys


def test_a_wrong_secret_is_refused(store):
    """Signatures are checked, not only names of keys."""
    for method in ('list_objects_v2', 'create_multipart_upload'):
        name = dict(Key='new file') if method == 'create_multipart_upload' else {}
        getattr(client(store), method)(Bucket='lakes', **name)
        with pytest.raises(ClientError, match='SignatureDoesNotMatch'):
            wrong = Key(store.key.id, 'wrong')
            getattr(client(store, wrong), method)(Bucket='lakes', **name)


def test_who_does_not_sign_is_refused(store):
    """Without credentials nothing is given."""
    connection = connect(store)
    connection.request('GET', '/lakes/plain/file')
    assert connection.getresponse().status == 403


def test_keys_are_rotated(store):
    """Old keys stop and new ones start at once; the log tells who used which."""
    old, new = Key.new(token=True), Key.new(token=True)
    store.accept_keys([old])
    assert client(store, old).list_objects_v2(Bucket='lakes')
    store.accept_keys([new], refusal='ExpiredToken')
    with pytest.raises(ClientError, match=r'\(ExpiredToken\).*expired') as caught:
        client(store, old).list_objects_v2(Bucket='lakes')
    assert caught.value.response['ResponseMetadata']['HTTPStatusCode'] == 400
    assert client(store, new).list_objects_v2(Bucket='lakes')
    with pytest.raises(ClientError, match='InvalidToken'):
        client(store, Key(new.id, new.secret)).list_objects_v2(Bucket='lakes')
    store.accept_keys([])
    with pytest.raises(ClientError, match='InvalidAccessKeyId'):
        client(store, new).list_objects_v2(Bucket='lakes')
    assert [(record.key_id, record.status) for record in store.requests()] == [
        (old.id, 200),
        (old.id, 400),
        (new.id, 200),
        (new.id, 400),
        (new.id, 403),
    ]


def test_deep_lake_signs_with_a_session_token(store, lake):
    """Deep Lake's creds carry the token of a short-lived key."""
    key = Key.new(token=True)
    store.accept_keys([key])
    url, images = lake
    assert image_bytes(url, store.creds_of(key)) == images
    assert {record.key_id for record in store.requests()} == {key.id}


# -------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ('code', 'status'),
    [
        ('InternalError', 500),
        ('SlowDown', 503),
        ('ServiceUnavailable', 503),
        ('TooManyRequests', 429),
        ('AccessDenied', 403),
        ('ExpiredToken', 400),
        ('NoSuchKey', 404),
    ],
)
def test_an_error_is_the_one_of_s3(store, code, status):
    """Status and code reach a real client, and the connection stays of use."""
    store.set_faults(Fault(code, limit=1))
    s3 = client(store)
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket='lakes', Key='plain/file')
    answer = caught.value.response
    assert answer['Error']['Code'] == code
    assert answer['ResponseMetadata']['HTTPStatusCode'] == status
    assert s3.get_object(Bucket='lakes', Key='plain/file')['ContentLength'] == len(DATA)
    assert [record.status for record in store.requests()] == [status, 200]
    assert store.totals().faults == {code: 1} and store.totals().connections == 1


def test_a_fault_meets_the_method_and_the_keys_that_it_is_about(store):
    """Others are served."""
    store.set_faults(Fault('SlowDown', methods='GET', keys='^plain/'))
    assert ask(store).status == 503
    assert ask(store, method='HEAD').status == 200
    assert ask(store, key='other').status == 404
    store.clear()
    assert ask(store).status == 200


def test_a_share_is_drawn_by_the_seed():
    """About the share fails, in the same places each time, others for another seed."""

    def fates(seed: int) -> list[bool]:
        plan = FaultPlan([Fault('SlowDown', share=0.2, seed=seed)])
        return [plan.strike('GET', 'key').fault is not None for _ in range(2000)]

    assert fates(1) == fates(1) != fates(2)
    assert 350 < sum(fates(1)) < 450


def test_every_fiftieth_is_every_fiftieth_up_to_the_limit():
    """Counted are the requests that the fault is about."""
    plan = FaultPlan([Fault('truncate', every=50, limit=3)])
    fates = []
    for _ in range(300):
        assert plan.strike('HEAD', 'key').fault is None
        fates.append(plan.strike('GET', 'key').fault is not None)
    assert [i + 1 for i, struck in enumerate(fates) if struck] == [50, 100, 150]


def test_delays_add_up_and_the_first_fault_wins():
    """Several rules may meet one request."""
    plan = FaultPlan(
        [
            Fault('delay', seconds=1),
            Fault('delay', seconds=2, keys='slow'),
            Fault('reset'),
            Fault('SlowDown'),
            Fault('slow', bytes_per_second=9),
            Fault('slow', bytes_per_second=5),
        ]
    )
    strike = plan.strike('GET', 'slow one')
    assert strike.fault and strike.fault.kind == 'reset'
    assert (strike.delay, strike.rate) == (3, 5)


@pytest.mark.parametrize(
    ('fault', 'text'),
    [
        (dict(kind='SlowUp'), "kind='SlowUp' is none of AccessDenied, "),
        (dict(kind='reset', share=2), 'reset: share and fraction are between 0 and 1'),
        (dict(kind='reset', every=0), 'reset: every=0 is less than 1'),
        (dict(kind='hang'), 'hang: say for how many seconds'),
        (dict(kind='slow'), 'slow: say how many bytes_per_second'),
        (dict(kind='reset', keys='('), "keys='(' is no regular expression"),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_a_senseless_fault_is_refused(store, fault, text):
    """In Python and over the control port, with the same words."""
    with pytest.raises(ValueError, match=re.escape(text)):
        Fault(**fault)
    host = store.control.partition('//')[2]
    connection = http.client.HTTPConnection(host)
    connection.request('PUT', '/faults', json.dumps([fault]))
    answer = connection.getresponse()
    assert answer.status == 400 and text in json.loads(answer.read())


# ---------------------------------------------------------------------- time and breakage


def test_latency_is_waited_for(store):
    """Every answer comes so many seconds later."""
    store.set_faults(latency=0.05)
    begin = time.monotonic()
    ask(store, 'bytes=0-9').read()
    assert time.monotonic() - begin >= 0.05
    assert store.requests()[0].seconds >= 0.05


def test_bandwidth_is_limited(store):
    """A body takes its bytes ÷ rate, and arrives whole."""
    store.set_faults(bandwidth=100_000)
    begin = time.monotonic()
    assert ask(store, 'bytes=0-29999').read() == DATA[:30_000]
    assert time.monotonic() - begin >= 0.3


def test_a_connection_is_reset_before_the_answer(store):
    """The client sees a reset, and the log an answer without status."""
    store.set_faults(Fault('reset', limit=1))
    with pytest.raises(ConnectionResetError):
        ask(store)
    (record,) = store.requests()
    assert (record.status, record.sent, record.fault) == (0, 0, 'reset')


def test_a_connection_is_reset_in_the_body(store):
    """Some bytes come, then a reset."""
    store.set_faults(Fault('reset-in-body', fraction=0.9))
    answer = ask(store)
    assert answer.status == 200
    with pytest.raises(ConnectionResetError):
        answer.read()
    assert store.requests()[0].sent == 2_700_000


def test_a_body_is_truncated(store):
    """The headers promise all, and the connection ends early."""
    store.set_faults(Fault('truncate', fraction=0.25))
    answer = ask(store)
    assert answer.getheader('Content-Length') == str(len(DATA))
    with pytest.raises(http.client.IncompleteRead) as caught:
        answer.read()
    assert caught.value.partial == DATA[:750_000]


def test_a_body_is_shortened_so_that_it_does_not_show(store):
    """Length and range agree with the bytes that are there."""
    store.set_faults(Fault('shorten', fraction=0.5))
    answer = ask(store, 'bytes=100-299')
    assert answer.read() == DATA[100:200]
    assert answer.getheader('Content-Range') == 'bytes 100-199/3000000'
    store.set_faults(Fault('shorten', fraction=0))
    assert ask(store).read() == b''
    store.clear()
    assert ask(store).read() == DATA


def test_a_server_hangs_before_the_answer_or_in_it(store):
    """Nothing comes for the time, then a reset; a client's own timeout strikes before."""
    store.set_faults(Fault('hang', seconds=0.2))
    begin = time.monotonic()
    with pytest.raises(ConnectionResetError):
        ask(store)
    assert time.monotonic() - begin >= 0.2
    store.set_faults(Fault('stall', seconds=60, fraction=0.001))
    answer = ask(store, connection=connect(store, timeout=1))
    with pytest.raises(socket.timeout):
        answer.read()


def test_a_dead_server_refuses_and_comes_back(store):
    """Connections are reset, new ones refused; revived, it has the objects."""
    connection = connect(store)
    ask(store, 'bytes=0-9', connection=connection).read()
    store.kill()
    with pytest.raises(ConnectionError):
        ask(store, 'bytes=0-9', connection=connection)
    with pytest.raises(ConnectionRefusedError):
        ask(store)
    store.revive()
    assert ask(store).read() == DATA


def test_a_server_that_hangs_dies_with_its_hung_requests(store):
    """A death ends what hangs, at once."""
    store.set_faults(Fault('stall', seconds=60, fraction=0.001))
    answer = ask(store)
    store.kill()
    with pytest.raises(ConnectionResetError):
        answer.read()


def test_a_dead_server_comes_back_by_itself(store):
    """After the seconds that it was told, not before."""
    begin = time.monotonic()
    store.kill(seconds=1)
    with pytest.raises(ConnectionRefusedError):
        ask(store)
    while time.monotonic() < begin + 10:
        try:
            assert ask(store, 'bytes=0-9').read() == DATA[:10]
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
    assert time.monotonic() - begin >= 1


@pytest.mark.parametrize(
    'kind', ['InternalError', 'SlowDown', 'reset', 'reset-in-body', 'truncate']
)
def test_deep_lake_retries_what_passes(store, lake, kind):
    """Every second request fails, and the images are right: faults reach Deep Lake."""
    url, images = lake
    store.set_faults(Fault(kind, every=2))
    assert image_bytes(url, store.creds) == images
    assert store.totals().faults[kind] >= 4


# ----------------------------------------------------------------------------------- log


def test_the_log_has_every_request(store):
    """Method, key, range, status, bytes; sums over all or over some keys."""
    ask(store, 'bytes=5-14').read()
    ask(store, method='HEAD').read()
    ask(store, key='none').read()
    client(store).list_objects_v2(Bucket='lakes', Prefix='plain')
    records = store.requests()
    assert [(r.method, r.key, r.range, r.status) for r in records] == [
        ('GET', 'plain/file', 'bytes=5-14', 206),
        ('HEAD', 'plain/file', '', 200),
        ('GET', 'none', '', 404),
        ('GET', '', '', 200),
    ]
    assert [records[0].sent, records[1].sent] == [10, 0]
    assert 'prefix=plain' in records[3].query
    assert sorted(r.start for r in records) == [r.start for r in records]
    assert store.requests('^plain/') == records[:2]
    totals = store.totals('^plain/')
    assert (totals.requests, totals.gets, totals.bytes) == (2, 1, 10)
    store.reset_log()
    assert store.requests() == [] and store.totals().requests == 0


# ----------------------------------------------------------------------------- processes

SCRIPT = """
import os, sys
from helpers import TESTS
from helpers.object_store import ObjectStore
store = ObjectStore.start(sys.argv[1])
forked = os.fork()
if not forked:
    sys.stdin.read()  # lives on, with every file of its parent's, as a worker would
    os._exit(0)
print(forked, *(p.pid for p in store._processes), flush=True)
os.kill(os.getpid(), 9)
"""


def test_the_processes_die_with_a_killed_parent(tmp_path):
    """SIGKILL leaves no server, though a forked worker of the parent lives on."""
    process = subprocess.Popen(
        [sys.executable, '-c', SCRIPT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': str(TESTS)},
        text=True,
    )
    assert process.stdin and process.stdout
    worker, *servers = map(int, process.stdout.readline().split())
    assert process.wait(timeout=30) == -signal.SIGKILL
    assert len(servers) == 2
    deadline = time.monotonic() + 10
    while any(map(_runs, servers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(_runs, servers))
    assert _runs(worker)
    process.stdin.close()
    process.stdout.close()


def _runs(pid: int) -> bool:
    """Whether a process exists that is no zombie."""
    stat = Path(f'/proc/{pid}/stat')
    try:
        return stat.read_text().rpartition(')')[2].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_close_leaves_nothing(tmp_path):
    """No process and no file; the endpoint refuses."""
    with ObjectStore.start(tmp_path) as store:
        pids = [process.pid for process in store._processes]
        assert all(map(_runs, pids))
    assert not any(map(_runs, pids))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConnectionRefusedError):
        ask(store)


def test_a_taken_port_is_told(store, tmp_path):
    """The error says what the process said, and what did start is ended."""
    port = int(store.endpoint.rpartition(':')[2])
    with pytest.raises(RuntimeError, match=r'proxy did not start: [\s\S]*in use'):
        ObjectStore.start(tmp_path, port=port)
    assert list(tmp_path.iterdir()) == []
