"""Scratch arrays and files with arrays."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from mmdet_deeplake_plugin.utils.scratch import read_value, scratch_array, write_value


def test_an_array_lies_in_a_file_without_a_name(tmp_path, monkeypatch):
    """It can be written and read, and no folder shows it, whatever ends the process."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    array = scratch_array((1000, 4), np.float32)
    assert array.shape == (1000, 4) and array.dtype == np.float32 and not array.any()
    array[:] = np.arange(4000).reshape(-1, 4)
    assert array.sum() == 3999 * 2000
    assert list(tmp_path.iterdir()) == []
    assert scratch_array((0, 4), np.int64).shape == (0, 4)
    child = (
        'import os, sys, signal, tempfile; tempfile.tempdir = sys.argv[1]\n'
        'from mmdet_deeplake_plugin.utils.scratch import scratch_array\n'
        "array = scratch_array((1000,), 'f8'); array[:] = 1\n"
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
        scratch_array((1000,), np.float64)


def test_values_come_back_from_files(tmp_path):
    """Arrays are mapped, also after the file is deleted; other values are as they were."""
    value = {
        'flat': np.arange(10_001, dtype=np.int16),
        'empty': np.zeros((0, 4), np.float32),
        'turned': np.arange(12.0).reshape(3, 4).T,
        'scratch': scratch_array((5,), np.int64),
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
