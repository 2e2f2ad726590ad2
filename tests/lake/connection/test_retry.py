"""Which failed reads are tried again, how often, for how long, and what is said then."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mmdet_deeplake_plugin.lake import LakeReadError
from mmdet_deeplake_plugin.lake.connection import fork_safety, retry
from mmdet_deeplake_plugin.lake.connection.failures import _UNREACHABLE
from mmdet_deeplake_plugin.lake.connection.fork_safety import call_with_deadline
from mmdet_deeplake_plugin.lake.connection.retry import retry_read
from mmdet_deeplake_plugin.lake.connection.spec import LakeSpec, ReadTimeouts
from mmdet_deeplake_plugin.structures.image_check import BrokenImageError

SECRET = 'hunter2-hunter2'
KEYS = dict(creds=dict(aws_access_key_id='AKIA', aws_secret_access_key=SECRET))


class Clock:
    """Time that passes only while somebody sleeps, or a read takes some."""

    def __init__(self) -> None:
        self.now, self.pauses = 100.0, list[float]()

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Notes the pause."""
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> Clock:
    """Takes the place of ``time``; pauses are as long as they can be."""
    clock = Clock()
    monkeypatch.setattr(retry, 'time', clock)
    monkeypatch.setattr(retry._jitter, 'uniform', lambda low, high: high)
    return clock


class Failing:
    """A read that fails some times before it succeeds."""

    def __init__(self, error: Exception, times: int = 10**9) -> None:
        self.error, self.times = error, times
        self.reads = self.opened = 0

    def __call__(self) -> str:
        """Fails, or reads."""
        self.reads += 1
        if self.reads <= self.times:
            raise self.error
        return 'read'

    def reopen(self) -> None:
        """Counts the new handles."""
        self.opened += 1


def lasting(read: Failing, path: str = 's3://lakes/l', **keys: Any) -> str:
    """Reads with timeouts."""
    budget = ReadTimeouts(keys.pop('read_timeout', 60), keys.pop('retry_timeout', 300))
    spec = LakeSpec.from_config(path, keys.pop('creds', KEYS), timeouts=budget)
    return retry_read(spec, 'lake l, row 3', read, read.reopen, **keys)


NETWORK_FAILURES = (ConnectionError, TimeoutError, *_UNREACHABLE)
NETWORK = {kind.__name__: kind('status=503') for kind in NETWORK_FAILURES}
FINAL = [ValueError('wrong'), TypeError('wrong'), FileNotFoundError('none')]


@pytest.mark.parametrize('error', NETWORK.values(), ids=NETWORK)
def test_network_errors_are_tried_until_the_time_is_up(error, clock):
    """Pauses double from half a second to 15 s; each attempt has a new handle."""
    read = Failing(error)
    with pytest.raises(LakeReadError):
        lasting(read, retry_timeout=60)
    assert clock.pauses == [0.5, 1, 2, 4, 8, 15, 15, 14.5]
    assert (read.reads, read.opened) == (9, 9)


def test_what_is_read_in_the_end_is_returned(clock):
    """A failure that passes costs a pause, and nothing else."""
    read = Failing(ConnectionError('reset'), times=2)
    assert lasting(read) == 'read'
    assert (read.reads, read.opened, clock.pauses) == (3, 2, [0.5, 1])


def test_pauses_are_spread(monkeypatch):
    """Processes that failed in one moment do not come back in one moment."""
    spans = []
    monkeypatch.setattr(
        retry._jitter, 'uniform', lambda *span: spans.append(span) or 0.75
    )
    assert lasting(Failing(ConnectionError('reset'), times=2)) == 'read'
    assert spans == [(0.5, 1.0)] * 2


@pytest.mark.parametrize('error', FINAL, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize('path', ['s3://lakes/l', '/lakes/l'], ids=['s3', 'disk'])
def test_what_is_wrong_with_the_question_is_not_asked_again(path, error, clock):
    """The error comes as it is, at once."""
    read = Failing(error)
    with pytest.raises(type(error)) as caught:
        lasting(read, path)
    assert caught.value is error and read.reads == 1 and not clock.pauses


def test_an_error_that_says_all_is_not_wrapped_in_another():
    """A read within a read has tried already."""
    error = LakeReadError('lake l, row 3: dead (9 attempts in 60.0 s)')
    read = Failing(error)
    with pytest.raises(LakeReadError) as caught:
        lasting(read)
    assert caught.value is error and read.reads == 1


@pytest.mark.parametrize('path', ['s3://lakes/l', '/lakes/l'], ids=['s3', 'disk'])
def test_a_broken_image_is_read_twice(path, clock):
    """Once more with a new handle, without a pause: the first bytes may be at fault."""
    error = BrokenImageError('no image is stored (0 bytes)')
    read = Failing(error)
    with pytest.raises(BrokenImageError) as caught:
        lasting(read, path)
    assert caught.value is error and read.reads == 2 and not clock.pauses
    assert lasting(Failing(error, times=1), path) == 'read'


def test_unknown_errors_are_tried_three_times_and_on_a_disk_twice(clock):
    """Whatever Deep Lake says of what it could not make sense of."""
    read = Failing(RuntimeError('serialized buffer of 0 bytes'))
    text = r'^lake l, row 3: serialized buffer of 0 bytes \(3 attempts in 1\.5 s\)$'
    with pytest.raises(LakeReadError, match=text):
        lasting(read)
    assert read.reads == 3
    read = Failing(RuntimeError('serialized buffer of 0 bytes'))
    with pytest.raises(LakeReadError, match=r'\(2 attempts in 0\.0 s\)$'):
        lasting(read, '/lakes/l', creds=None)
    assert read.reads == 2 and clock.pauses == [0.5, 1]


def test_a_refusal_is_tried_for_a_minute_and_says_which_credentials(clock):
    """They may be renewed meanwhile; at the beginning of a run they are wrong."""
    error = RuntimeError('refused status=403')
    text = (
        r"^lake l, row 3: access denied with Credentials\(token='', .*'\*\*\*'.*, resolved "
        r'again at each attempt: refused status=403 \(\d+ attempts in [67]\d\.\d s\)$'
    )
    with pytest.raises(LakeReadError, match=text):
        lasting(Failing(error))
    assert 60 <= clock.now - 100 < 75
    with pytest.raises(LakeReadError, match=r'in 6\.\d s\)$'):
        lasting(Failing(error), retry_timeout=6)
    read = Failing(error)
    with pytest.raises(RuntimeError) as caught:
        lasting(read, try_denied=False)
    assert caught.value is error and read.reads == 1


def test_a_minute_of_refusals_begins_anew_with_renewed_credentials(clock, tmp_path):
    """Where opening takes long, a key may have ended before it is used."""
    file = tmp_path / 'creds'
    file.write_text('{}')
    error = RuntimeError('status=400 code=ExpiredToken')

    class Renewed(Failing):
        def __call__(self) -> str:
            clock.now += 20
            if self.reads < 8:
                file.write_text('{}' + ' ' * self.reads)
                os.utime(file, ns=(0, self.reads))
            return super().__call__()

    assert lasting(Renewed(error, times=9), creds=dict(creds=f'file:{file}')) == 'read'
    assert clock.now - 100 > 180
    with pytest.raises(LakeReadError, match=r'in \d\d\.\d s\)$'):
        lasting(Failing(error), creds=dict(creds=f'file:{file}'))


def test_slow_attempts_count_and_the_last_one_is_short(clock, monkeypatch):
    """No attempt gets more than is left of the time for all, but for a last second."""
    given = []

    def slow(task: Any, seconds: float) -> None:
        given.append(round(seconds, 3))
        clock.now += seconds
        raise TimeoutError(f'no answer within {seconds:g} s')

    monkeypatch.setattr(retry, 'call_with_deadline', slow)
    with pytest.raises(LakeReadError, match=r'no answer .*\(3 attempts in 28\.5 s\)$'):
        lasting(Failing(ConnectionError()), read_timeout=13, retry_timeout=28)
    assert given == [13, 13, 1]


def test_no_message_holds_a_secret(caplog):
    """Neither a literal one nor what signs an address; nor does a chained error."""
    signed = f'GET https://h/k?X-Amz-Signature=abcdef0123&x=1 with {SECRET}: reset\nmore'
    with pytest.raises(LakeReadError) as caught:
        lasting(Failing(ConnectionError(signed)), retry_timeout=1)
    assert str(caught.value) == (
        'lake l, row 3: GET https://h/k?X-Amz-Signature=***&x=1 with ***: reset '
        '(3 attempts in 1.0 s)'
    )
    error = caught.value
    assert error.__cause__ is None and error.__suppress_context__


# ------------------------------------------------------------------------------- within


@pytest.fixture()
def gate() -> Iterator[threading.Event]:
    """What hanging calls wait for."""
    gate = threading.Event()
    yield gate
    gate.set()
    fork_safety._before_fork()


def test_a_call_in_time_gives_its_result_or_its_own_error():
    """Whatever it raises, also a timeout of its own."""
    assert call_with_deadline(lambda: 'read', 10) == 'read'
    for error in (KeyError('own'), TimeoutError('own')):
        with pytest.raises(type(error)) as caught:
            call_with_deadline(Failing(error), 10)
        assert caught.value is error


def test_a_call_that_takes_too_long_is_left_behind(gate):
    """It goes on in a thread that keeps no process alive."""
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r'^no answer within 0\.01 s$'):
        call_with_deadline(gate.wait, 0.01)
    assert time.monotonic() - began < 5
    (thread,) = fork_safety._running()
    assert thread.is_alive() and thread.daemon


def test_a_fork_waits_for_calls_that_were_left_behind(gate, monkeypatch):
    """Forking while Deep Lake is called would crash the process."""
    with pytest.raises(TimeoutError):
        call_with_deadline(gate.wait, 0.01)
    (thread,) = fork_safety._running()
    timer = threading.Timer(0.05, gate.set)
    timer.start()
    fork()
    assert gate.is_set() and not thread.is_alive()
    assert not fork_safety._running()


def test_a_fork_waits_for_calls_that_begin_meanwhile(gate):
    """A call that ends may have left another behind, which began after the wait."""
    began = threading.Event()

    def leave_one_behind() -> None:
        began.wait()
        fork_safety.run_in_thread(gate.wait)

    fork_safety.run_in_thread(leave_one_behind)
    timers = [threading.Timer(0.05, began.set), threading.Timer(0.3, gate.set)]
    for timer in timers:
        timer.start()
    fork()
    assert gate.is_set() and not fork_safety._running()


def test_a_fork_that_waits_in_vain_is_an_error(gate, monkeypatch):
    """Several calls that hang hold forks up once; those fail while the calls are there."""
    monkeypatch.setattr(fork_safety, '_WAIT_BEFORE_FORK', 0.2)
    for _ in range(10):
        with pytest.raises(TimeoutError):
            call_with_deadline(gate.wait, 0.001)
    assert len(fork_safety._running()) == 10
    text = (
        r'^cannot fork while a call of Deep Lake is running, as the process would crash '
        r'or hang; it did not return within 0\.2 s\. Check that the storage is reachable, '
        r"or spawn the workers instead: env_cfg=dict\(mp_cfg=dict\(mp_start_method='spawn'\)\)$"
    )
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=text):
        fork()
    assert 0.2 <= time.monotonic() - began < 1
    with pytest.raises(TimeoutError):
        fork()
    assert time.monotonic() - began < 1
    gate.set()
    for call in fork_safety._running():
        call.join()
    fork()


def fork() -> None:
    """Starts a process that ends, as workers are started."""
    process = multiprocessing.get_context('fork').Process(target=int)
    process.start()
    process.join()
    assert process.exitcode == 0


SCRIPT = """
import os, signal, sys, threading, time
from mmdet_deeplake_plugin.lake.connection import fork_safety

def hang():
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    time.sleep(3600)

try:
    fork_safety.call_with_deadline({call}, {seconds})
except (KeyboardInterrupt, TimeoutError) as error:
    print(type(error).__name__, len(fork_safety._running()), flush=True)
    {then}
"""
ENDS = {
    'Ctrl-C': ('hang', 60, 'raise', 'KeyboardInterrupt 1', -2),
    'error': ('lambda: time.sleep(3600)', 0.1, 'raise', 'TimeoutError 1', 1),
    'with a code': ('lambda: time.sleep(3600)', 0.1, 'sys.exit(3)', 'TimeoutError 1', 3),
    'well': ('lambda: time.sleep(3600)', 0.1, '', 'TimeoutError 1', 0),
}


@pytest.mark.parametrize(
    ('call', 'seconds', 'then', 'said', 'code'), ENDS.values(), ids=ENDS
)
def test_a_process_ends_soon_as_it_would_without_the_call(
    call, seconds, then, said, code
):
    """Ctrl-C interrupts the wait; the end of the process does not wait for the call."""
    script = textwrap.dedent(SCRIPT).format(call=call, seconds=seconds, then=then)
    done = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, timeout=600
    )
    assert done.stdout.startswith(said), done
    assert done.returncode == code, done.stderr
    assert bool(re.search('Traceback', done.stderr)) == (then == 'raise')
