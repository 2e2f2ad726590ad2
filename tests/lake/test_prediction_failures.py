"""Whatever ends the writing of predictions, the lake reads as before, or has them all."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers.lakes import open_lake, version, write_lake
from helpers.object_store import Fault, ObjectStore
from helpers.prediction_columns import (
    COLUMNS,
    assert_written,
    blocks,
    branch_of,
    read,
    state,
    write,
)

from mmdet_deeplake_plugin.lake import (
    LakeSpec,
    PredictionWrite,
    branch,
    prediction_draft,
    predictions,
    write_predictions,
)
from mmdet_deeplake_plugin.lake import open_lake as open_ours

WRITES = 'PUT POST DELETE'


@pytest.fixture
def path(tmp_path) -> str:
    """A lake of six rows."""
    return write_lake(tmp_path / 'lake')


@pytest.fixture(scope='module')
def store(tmp_path_factory) -> Iterator[ObjectStore]:
    """An S3 server."""
    with ObjectStore.start(tmp_path_factory.mktemp('store')) as store:
        yield store


def _branches(path: str) -> list[str]:
    lake = open_lake(path, writable=False)  # branches end with their lake
    return list(lake.branches.names())


def _columns(path: str, **keys: Any) -> list[str]:
    """Columns of predictions on the branch; none if there is no such branch."""
    try:
        lake, _ = open_ours(LakeSpec.from_config(f'{path}@runs/a', **keys))
    except ValueError as error:
        assert "does not have a branch or tag 'runs/a'" in str(error)
        return []
    return [each.name for each in lake.source.handle.schema.columns if '/' in each.name]


def test_a_failure_leaves_the_lake_as_it_was(path):
    """A new branch is gone, an old one has no new columns, and a second try succeeds."""

    def fail() -> Any:
        yield blocks()[0]
        raise RuntimeError('the model is gone')

    for name in ('net', 'second'):
        branches = _branches(path)
        with pytest.raises(RuntimeError, match='the model is gone'):
            branch_of(path, name).write(COLUMNS, fail(), {})
        assert _branches(path) == branches
        assert not any(each.startswith(name) for each in _columns(path))
        write(path, name)
    assert_written(read(f'{path}@runs/a', 'second'))


# ------------------------------------------------------------------------------- killed


def _forked(task: Callable[[], None]) -> int:
    """Start a process that does something and ends, and return its id."""
    child = os.fork()
    if not child:
        try:
            task()
        finally:
            os._exit(0)
    return child


def _killed_at(path: str, line: int) -> int:
    """Write in a process that kills itself at the line-th line; how many ran, if not."""
    reader, writer = os.pipe()
    traced = {predictions.__file__, prediction_draft.__file__, branch.__file__}

    def task() -> None:
        count = 0

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal count
            if frame.f_code.co_filename not in traced:
                return None
            count += event == 'line'
            if count == line:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        write(path)
        sys.settrace(None)
        os.write(writer, str(count).encode())

    child = _forked(task)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as answer:
        return int(answer.read() or 0)


def test_killed_at_any_point(tmp_path):
    """The lake reads as before, or all is written; and the next try succeeds."""
    lines = _killed_at(write_lake(tmp_path / 'whole'), -1)
    assert lines > 50
    partial = 0
    for number, line in enumerate(random.Random(0).sample(range(1, lines), 10)):
        path = write_lake(tmp_path / str(number))
        before, files = version(path), state(path)
        assert _killed_at(path, line) == 0
        assert version(path) == before
        assert files.items() <= state(path).items()
        if not _columns(path):  # else it was killed after its commit
            branches = _branches(path)
            partial += 'runs/a' in branches
            write(path)
        assert_written(read(f'{path}@runs/a'))
    assert partial


def _evaluated(store: ObjectStore, name: str) -> dict[str, bytes]:
    """The objects that an evaluated lake consists of, as in ``state``."""
    objects = store.objects(name).items()
    return {key: content for key, content in objects if '/_meta/' not in key}


def _killed_while_it_writes(store: ObjectStore, url: str, number: int) -> None:
    """Write in a process that is killed at a request that changes the storage."""
    store.reset_log()
    store.set_faults(Fault('hang', every=number, limit=1, methods=WRITES, seconds=60))
    child = _forked(lambda: write(url, credentials=dict(creds=store.creds)))
    while not store.totals().faults:
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    store.clear()


def _locks(store: ObjectStore, name: str) -> list[str]:
    return [key for key in store.objects(name) if key.endswith('.lock')]


@pytest.fixture
def writes(path, store) -> list[str]:
    """Keys of the requests that change the storage when predictions are written."""
    url = store.upload(path, 'counted')
    store.reset_log()
    write(url, credentials=dict(creds=store.creds))
    return [each.key for each in store.requests() if each.method in WRITES.split()]


def test_killed_while_it_writes_to_object_storage(path, store, writes):
    """At ten of its requests that change the storage, Deep Lake's own among them."""
    keys = dict(credentials=dict(creds=store.creds))
    partial = 0
    for number in random.Random(0).sample(range(1, len(writes) + 1), 10):
        name = f'killed_{number}'
        url, before = store.upload(path, name), _evaluated(store, name)
        _killed_while_it_writes(store, url, number)
        assert before.items() <= _evaluated(store, name).items()
        for lock in _locks(store, name):
            store.remove(lock)  # it would lapse after half a minute
        if not _columns(url, **keys):
            partial += 1
            write(url, **keys)
        assert_written(read(f'{url}@runs/a', **keys))
    assert partial


def test_the_lock_of_a_process_that_was_killed_is_waited_for(path, store, writes):
    """The next try goes on when it has lapsed, which is hastened once it has met it."""
    keys = dict(credentials=dict(creds=store.creds))
    first = next(number for number, key in enumerate(writes, 1) if key.endswith('.lock'))
    url = store.upload(path, 'locked')
    _killed_while_it_writes(store, url, first + 1)
    (lock,) = _locks(store, 'locked')
    store.reset_log()

    def lapse() -> None:
        tries: list[Any] = []
        # Deep Lake itself tries for 5 seconds.
        while not tries or tries[-1].start < tries[0].start + 6:
            tries = [each for each in store.requests(lock) if each.method == 'PUT']
        store.remove(lock)

    with ThreadPoolExecutor(1) as threads:
        lapsed = threads.submit(lapse)
        write(url, **keys)
        lapsed.result()
    assert_written(read(f'{url}@runs/a', **keys))


def test_storage_that_fails_in_the_middle(path, store):
    """The error says that the lake reads as before, and the next try succeeds."""
    url, keys = store.upload(path, 'failing'), dict(credentials=dict(creds=store.creds))
    target = branch_of(url, **keys)
    try:
        with pytest.raises(OSError, match=r"branch 'runs/a' of .* cannot commit to it"):
            target.write(COLUMNS, _then_denied(store), {})
    finally:
        store.clear()
    with pytest.raises(ValueError, match="does not have predictions 'net'"):
        read(url, **keys)
    write(url, **keys)
    assert_written(read(f'{url}@runs/a', **keys))


def _then_denied(store: ObjectStore) -> Iterator[Any]:
    yield from blocks()
    store.set_faults(Fault('AccessDenied', methods='PUT POST'))


# ------------------------------------------------------------------------ several lakes


def test_if_one_of_several_lakes_fails_none_is_written(tmp_path):
    """The first, whose values were all there, has no branch then."""

    def fail() -> Any:
        yield blocks()[0]
        raise RuntimeError('the model is gone')

    first, second = (write_lake(tmp_path / name) for name in ('first', 'second'))
    before = [(version(path), state(path)) for path in (first, second)]
    with pytest.raises(RuntimeError, match='the model is gone'):
        write_predictions(
            PredictionWrite(branch_of(path), COLUMNS, found, {})
            for path, found in ((first, blocks()), (second, fail()))
        )
    for path, (its_version, files) in zip((first, second), before):
        assert _branches(path) == ['main']
        assert version(path) == its_version
        assert files.items() <= state(path).items()
    write_predictions(
        PredictionWrite(branch_of(path), COLUMNS, blocks(), {}) for path in (first, second)
    )
    for path in (first, second):
        assert_written(read(f'{path}@runs/a'))


@pytest.mark.parametrize('others', [[], ['other']], ids=['new branch', 'other names'])
def test_what_was_committed_to_another_lake_is_taken_back(others, path, store):
    """The branch is deleted if it was made; else the columns are removed from it."""
    for name in others:
        write(path, name)
    url = store.upload(write_lake(Path(path).parent / 'second'), f'second_{len(others)}')
    keys = dict(credentials=dict(creds=store.creds))
    try:
        with pytest.raises(OSError, match=r'second_.* cannot commit to it, .*as before$'):
            write_predictions(
                [
                    PredictionWrite(branch_of(path), COLUMNS, blocks(), {}),
                    PredictionWrite(
                        branch_of(url, **keys), COLUMNS, _then_denied(store), {}
                    ),
                ]
            )
    finally:
        store.clear()
    assert _columns(path) == [f'{name}/{each}' for name in others for each in COLUMNS]
    assert _columns(url, **keys) == []
    for lake, its_keys in ((path, {}), (url, keys)):
        write(lake, **its_keys)
        assert_written(read(f'{lake}@runs/a', **its_keys))
    for name in others:
        assert_written(read(f'{path}@runs/a', name))


class _Denied(dict):
    """Provenance at whose second use, when it is committed, the storage fails."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(rows=4)
        self._store, self._uses = store, 0

    def items(self) -> Any:
        self._uses += 1
        if self._uses == 2:
            self._store.set_faults(Fault('AccessDenied', methods=WRITES))
        return super().items()


def test_what_cannot_be_taken_back_is_named(path, store):
    """Both lakes are on a storage that fails between the two commits."""
    keys = dict(credentials=dict(creds=store.creds))
    first, second = (store.upload(path, f'both_{each}') for each in '12')
    try:
        with pytest.raises(
            OSError,
            match=r'both_2.* cannot commit to it.*\. Predictions were committed to branch '
            r"'runs/a' of lake s3://lakes/both_1@main .* and could not be taken back",
        ):
            write_predictions(
                PredictionWrite(branch_of(url, **keys), COLUMNS, blocks(), provenance)
                for url, provenance in ((first, {}), (second, _Denied(store)))
            )
    finally:
        store.clear()
    assert_written(read(f'{first}@runs/a', **keys))
    assert _columns(second, **keys) == []
