"""Scratch arrays and files with arrays."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from mmdet_deeplake_plugin.utils.scratch import (
    read_value,
    release,
    scratch_arrays,
    write_value,
)


def test_an_array_lies_in_a_file_without_a_name(tmp_path, monkeypatch):
    """It can be written and read, and no folder shows it, whatever ends the process."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    layout = {'boxes': ((1000, 4), np.float32), 'none': ((0, 4), np.int64)}
    array = scratch_arrays(layout)['boxes']
    assert array.shape == (1000, 4) and array.dtype == np.float32 and not array.any()
    array[:] = np.arange(4000).reshape(-1, 4)
    assert array.sum() == 3999 * 2000
    assert list(tmp_path.iterdir()) == []
    child = (
        'import os, sys, signal, tempfile; tempfile.tempdir = sys.argv[1]\n'
        'from mmdet_deeplake_plugin.utils.scratch import scratch_arrays\n'
        "scratch_arrays({'a': ((1000,), 'f8')})['a'][:] = 1\n"
        'os.kill(os.getpid(), signal.SIGKILL)'
    )
    ended = subprocess.run([sys.executable, '-c', child, str(tmp_path)])
    assert ended.returncode == -9
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_that_names_the_folder(monkeypatch):
    """And not the death of the process at a later write."""

    def full(*args: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'posix_fallocate', full)
    with pytest.raises(
        OSError,
        match=r'a temporary file of 8000 bytes, but .* \(No space left on device\); set '
        'the environment variable TMPDIR to a folder with more room',
    ):
        scratch_arrays({'a': ((1000,), np.float64)})


def test_values_come_back_from_files(tmp_path):
    """Arrays are mapped, also after the file is deleted; other values are as they were."""
    value = {
        'flat': np.arange(10_001, dtype=np.int16),
        'empty': np.zeros((0, 4), np.float32),
        'turned': np.arange(12.0).reshape(3, 4).T,
        'scratch': scratch_arrays({'a': ((5,), np.int64)})['a'],
        'others': [None, 'text', (1, 2.5)],
    }
    path = tmp_path / 'value'
    with path.open('wb') as file:
        write_value(value, file)
    with path.open('rb') as file:
        found = read_value(file)
    path.unlink()
    assert found.keys() == value.keys() and found['others'] == value['others']
    for key in ('flat', 'empty', 'turned', 'scratch'):
        assert np.array_equal(found[key], value[key])
        assert found[key].dtype == value[key].dtype
    assert not found['flat'].flags.writeable and not found['flat'].flags.owndata


def test_all_arrays_of_a_file_take_one_descriptor():
    """Of any shape and type, also empty ones; it is closed with the last of them."""
    before = _descriptors()
    layout = {
        'odd': ((3,), np.uint8),
        'boxes': ((5, 4), np.float64),
        'none': ((0, 2), np.int32),
        'flags': ((9,), bool),
    }
    arrays = scratch_arrays(layout)
    assert _descriptors() == before + 1
    for number, (name, (shape, dtype)) in enumerate(layout.items(), start=1):
        assert arrays[name].shape == shape and arrays[name].dtype == dtype
        assert not arrays[name].any()
        arrays[name][:] = number
    sums = [float(each.sum()) for each in arrays.values()]
    assert sums == [3, 40, 0, 9]
    last = arrays.pop('flags')[2:]
    arrays.clear()
    assert _descriptors() == before + 1
    del last
    assert _descriptors() == before
    assert scratch_arrays({'none': ((0, 4), np.int64)})['none'].shape == (0, 4)
    assert _descriptors() == before


def test_released_pages_come_back():
    """They are not held any more, and have their contents when they are read."""
    arrays = scratch_arrays({'a': ((1 << 20,), np.int64), 'b': ((1 << 20,), np.int64)})
    for each in arrays.values():
        each[:] = 7
    held = _held()
    release(arrays['a'][5:].reshape(-1, 1))
    assert _held() < held - 15 * 1024
    assert all((each == 7).all() for each in arrays.values())
    plain = np.ones(1000)
    for other in (plain, None):
        release(other)
    assert plain.all()


def _descriptors() -> int:
    return len(os.listdir('/proc/self/fd'))


def _held() -> int:
    """Memory of this process in KiB that lies in files."""
    status = Path('/proc/self/status').read_text()
    found = re.findall(r'Rss(?:File|Shmem):\s+(\d+)', status)
    return sum(map(int, found))
