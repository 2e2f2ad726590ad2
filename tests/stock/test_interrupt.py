"""Ctrl-C ends a training that waits for a server, and all of its processes, at once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.chunked import write_chunked
from helpers.lakes import open_lake
from helpers.object_store import Fault, ObjectStore
from stock_tools import HERE, TOOLS

SOON = 5.0  # seconds
EVERYTHING = ''
CASES = {
    'in the main process': ('images', 0),
    'in workers': ('images', 2),
    'while it opens the lake': (EVERYTHING, 2),
}


@pytest.fixture(scope='module')
def lake(tmp_path_factory) -> str:
    """Path of a lake on disk."""
    return write_chunked(tmp_path_factory.mktemp('lake') / 'lake', [10] * 6)


@pytest.fixture()
def store(tmp_path, lake) -> Iterator[ObjectStore]:
    """A store with the lake in it."""
    with ObjectStore.start(tmp_path) as store:
        store.upload(lake, 'lake')
        yield store


def keys_of(lake: str, column: str) -> str:
    """Expression that matches the files of a column."""
    files = open_lake(lake)._datafiles_report[column].insert_datafiles
    return '|'.join(re.escape(file.filename) for file in files)


def start_training(store: ObjectStore, work_dir: Path, workers: int) -> subprocess.Popen:
    """Starts ``train.py`` as the first of a new group of processes."""
    options = [
        f'train_dataloader.num_workers={workers}',
        f'train_dataloader.persistent_workers={bool(workers)}',
    ]
    command = [sys.executable, TOOLS / 'train.py', HERE / 'on_s3.py']
    command += ['--work-dir', work_dir, '--cfg-options', *options]
    with (work_dir / 'output').open('w') as output:
        return subprocess.Popen(
            [str(word) for word in command],
            env={
                **os.environ,
                # Read by a base of the config, and not used.
                'BCCD_TRAIN_LAKE': 'none',
                'BCCD_VAL_LAKE': 'none',
                'CUDA_VISIBLE_DEVICES': '-1',
                'OMP_NUM_THREADS': '1',
                'S3_CREDS': json.dumps(store.creds),
                'S3_LAKE': store.url('lake'),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def group_lives(group: int) -> bool:
    """Whether a group has a process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(('column', 'workers'), CASES.values(), ids=CASES)
def test_ctrl_c_in_a_hang_ends_training_within_seconds(
    column, workers, store, lake, tmp_path, record_property
):
    """Nobody is left, and the end is Python's own for Ctrl-C, no crash."""
    store.set_faults(Fault('hang', seconds=600, keys=column and keys_of(lake, column)))
    training = start_training(store, tmp_path, workers)
    try:
        while not any(record.fault for record in store.requests()):
            assert training.poll() is None, (tmp_path / 'output').read_text()[-3000:]
            time.sleep(0.1)
        began = time.monotonic()
        os.killpg(training.pid, signal.SIGINT)
        training.wait(timeout=60)
        while group_lives(training.pid) and time.monotonic() - began < 60:
            time.sleep(0.02)
        seconds = time.monotonic() - began
    finally:
        if group_lives(training.pid):
            os.killpg(training.pid, signal.SIGKILL)
            training.wait()
    record_property('seconds', round(seconds, 2))
    output = (tmp_path / 'output').read_text()
    assert seconds < SOON, output[-3000:]
    assert 'KeyboardInterrupt' in output
    assert training.returncode == -signal.SIGINT, output[-3000:]
