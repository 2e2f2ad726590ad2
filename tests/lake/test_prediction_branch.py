"""Predictions come to a branch of their own, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.lakes import append, box_type, branch, open_lake, tag, version, write_lake
from helpers.object_store import Fault, ObjectStore

from mmdet_deeplake_plugin.lake import (
    LakeSource,
    LakeSpec,
    PredictionBranch,
    PredictionColumn,
    StoredPredictions,
    predictions,
)
from mmdet_deeplake_plugin.lake import branch as branch_module
from mmdet_deeplake_plugin.lake import open_lake as open_ours

COLUMNS = {
    'boxes': PredictionColumn('boxes'),
    'labels': PredictionColumn('labels', ('cat', 'dog', 'owl')),
    'scores': PredictionColumn('numbers'),
    'masks': PredictionColumn('text'),
    'tp': PredictionColumn('count'),
    'f1': PredictionColumn('number'),
}
ROWS = [0, 1, 3, 5]
WRITING = (predictions.__file__, branch_module.__file__)


def _values(rows: list[int]) -> dict[str, list[Any]]:
    """A row has as many boxes as its number says."""
    rng = np.random.default_rng(0)
    return {
        'boxes': [rng.random((row, 4), dtype=np.float32) for row in rows],
        'labels': [np.arange(row, dtype=np.int32) % 3 for row in rows],
        'scores': [rng.random(row, dtype=np.float32) for row in rows],
        'masks': ['[]' if row == 0 else f'[{row}]' for row in rows],
        'tp': list(rows),
        'f1': [row / 7 for row in rows],
    }


def _blocks(rows: list[int] = ROWS) -> list[tuple[Any, dict[str, list[Any]]]]:
    values = _values(rows)
    return [
        (np.array(rows[part]), {name: each[part] for name, each in values.items()})
        for part in (slice(0, 2), slice(2, None))
    ]


def _target(path: str, name: str = 'net', to: str = 'runs/a', **keys: Any):
    lake, _ = open_ours(LakeSpec.from_config(path, **keys))
    return PredictionBranch(lake.source, to, name)


def _write(path: str, *args: Any, rows: list[int] = ROWS, **keys: Any) -> None:
    _target(path, *args, **keys).write(COLUMNS, _blocks(rows), {'rows': len(rows)})


def _read(path: str, name: str = 'net', **keys: Any) -> dict[str, list[Any]]:
    lake, _ = open_ours(LakeSpec.from_config(path, **keys))
    stored = StoredPredictions(lake.source, name)
    rows = np.arange(lake.source.num_rows)
    return {column: stored.values(column, rows) for column in COLUMNS}


def _head(path: str) -> Any:
    return open_lake(f'{path}@runs/a', writable=False)


def _assert_written(found: dict[str, list[Any]], rows: list[int] = ROWS) -> None:
    for name, values in _values(rows).items():
        for row, value in enumerate(found[name]):
            if row in rows:
                expected = values[rows.index(row)]
                assert np.array_equal(value, expected), (name, row)
                assert np.shape(value) == np.shape(expected)
            else:
                assert value is None, (name, row)


def _state(path: str) -> dict[str, str]:
    """Digest of each file that an evaluated lake consists of."""
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in Path(path).rglob('*')
        # Branches have an entry in this log, and locks come and go.
        if file.is_file() and '_meta' not in file.parts and file.suffix != '.lock'
    }


@pytest.fixture
def path(tmp_path) -> str:
    """A lake of six rows."""
    return write_lake(tmp_path / 'lake')


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    """An S3 server."""
    with ObjectStore.start(tmp_path_factory.mktemp('store')) as store:
        yield store


def test_what_was_written_is_read_back(path):
    """Other rows are null, and the evaluated branch has the same files and version."""
    before, files = version(path), _state(path)
    _write(path)
    _assert_written(_read(f'{path}@runs/a'))
    assert version(path) == before
    assert files.items() <= _state(path).items()
    main = open_lake(path, writable=False)
    assert not [each.name for each in main.schema.columns if '/' in each.name]
    head = main.branches['runs/a'].open()
    assert [each.message for each in head.history][1:] == [
        f'Predictions of net ({predictions.SIGNATURE}): rows 4'
    ]


def test_columns_have_the_types_that_the_viewer_shows(path):
    """The format of the boxes is declared, and labels have names."""
    _write(path)
    head = _head(path)
    boxes = box_type('ltrb', 'pixel', 'float32', nullable=True)
    assert head.schema['net/boxes'].dtype == boxes
    assert head['net/labels'].metadata['class_names'] == ['cat', 'dog', 'owl']


def test_the_branch_trains_at_once(path):
    """Predicted boxes are not taken for annotations."""
    _write(path)
    lake, _ = open_ours(LakeSpec.from_config(f'{path}@runs/a'))
    assert lake.columns.of('gt_bboxes') == 'boxes'
    assert lake.columns.of('gt_labels') == 'categories'
    lake, _ = open_ours(
        LakeSpec.from_config(f'{path}@runs/a'),
        {'gt_bboxes': 'net/boxes', 'gt_labels': 'net/labels'},
    )
    assert lake.columns.box_format == 'xyxy'
    assert len(lake.annotations(None).labels) == sum(ROWS)


def test_names_lie_side_by_side(path):
    """A second model is written to the same branch, and to one that was evaluated."""
    _write(path)
    _write(path, 'other', rows=[2, 4])
    _write(f'{path}@runs/a', 'third', rows=[1, 2])
    _assert_written(_read(f'{path}@runs/a'))
    _assert_written(_read(f'{path}@runs/a', 'other'), [2, 4])
    _assert_written(_read(f'{path}@runs/a', 'third'), [1, 2])


def test_an_older_version_and_another_branch(path):
    """Predictions belong to the version that was evaluated."""
    old = version(path)
    append(path, [100])
    branch(path, 'side', [200, 201])
    _write(path, 'net', 'runs/old', commit_id=old)
    assert len(_read(f'{path}@runs/old')['boxes']) == 6
    _write(f'{path}@side', 'net', 'runs/side', rows=[1, 8])
    found = _read(f'{path}@runs/side')
    assert len(found['boxes']) == 9
    _assert_written(found, [1, 8])


def test_rows_of_a_view_are_rows_of_the_lake(path):
    """The rows of a saved view are numbered in it, the columns are of the lake."""
    tag(path, 'SELECT * WHERE image_id > 2 ORDER BY image_id DESC', 'late')
    target = _target(path, view_id='late')
    target.write(COLUMNS, [(np.array([0, 2]), _values([5, 3]))], {})
    found = _read(f'{path}@runs/a')
    assert [value is None for value in found['tp']] == [True] * 3 + [False, True, False]
    assert [int(found['tp'][row]) for row in (3, 5)] == [3, 5]


def test_a_failure_leaves_the_lake_as_it_was(path):
    """A new branch is gone, an old one has no new columns, and a second try succeeds."""

    def fail() -> Any:
        yield _blocks()[0]
        raise RuntimeError('the model is gone')

    for name in ('net', 'second'):
        before = open_lake(path, writable=False)
        branches = list(before.branches.names())
        with pytest.raises(RuntimeError, match='the model is gone'):
            _target(path, name).write(COLUMNS, fail(), {})
        assert list(open_lake(path, writable=False).branches.names()) == branches
        if 'runs/a' in branches:
            head = _head(path)
            assert 'second/boxes' not in [each.name for each in head.schema.columns]
        _write(path, name)
    _assert_written(_read(f'{path}@runs/a', 'second'))


def _killed_at(path: str, line: int) -> int:
    """Write in a child that kills itself at the line-th line, and return how many ran."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        count = 0

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal count
            if frame.f_code.co_filename not in WRITING:
                return None
            count += event == 'line'
            if count == line:
                os.kill(os.getpid(), 9)
            return trace

        sys.settrace(trace)
        try:
            _write(path)
        finally:
            sys.settrace(None)
            os.write(writer, str(count).encode())
            os._exit(0)
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
        before, files = version(path), _state(path)
        assert _killed_at(path, line) == 0
        assert version(path) == before
        assert files.items() <= _state(path).items()
        lake = open_lake(path, writable=False)
        if 'runs/a' in list(lake.branches.names()):
            columns = [each.name for each in _head(path).schema.columns if '/' in each.name]
            if columns:  # it was killed after its commit
                _assert_written(_read(f'{path}@runs/a'))
                continue
            partial += 1
        _write(path)
        _assert_written(_read(f'{path}@runs/a'))
    assert partial


def test_on_object_storage(path, store):
    """The same on S3."""
    url, keys = store.upload(path, 'lake'), dict(credentials=dict(creds=store.creds))
    _write(url, **keys)
    _assert_written(_read(f'{url}@runs/a', **keys))
    lake, _ = open_ours(LakeSpec.from_config(url, **keys))
    assert not [name for name in lake.source.handle.schema.columns if '/' in name.name]


def test_without_write_access(path, store):
    """The error comes at the check, and nothing is changed."""
    url, creds = store.upload(path, 'read_only'), dict(creds=store.creds)
    target = _target(url, credentials=creds)
    store.set_faults(Fault('AccessDenied', methods='PUT POST DELETE'))
    try:
        with pytest.raises(PermissionError) as error:
            target.check()
    finally:
        store.clear()
    assert "branch 'runs/a' of lake s3://" in str(error.value)
    assert 'write deeplake_credentials that may write' in str(error.value)
    assert store.creds['aws_secret_access_key'] not in str(error.value)
    target.check()


def test_without_write_access_to_a_folder():
    """On a disk too; the child that tries is not root, who may write anywhere."""
    folder = Path(tempfile.mkdtemp())
    try:
        target = _target(write_lake(folder / 'lake'))
        for each in (folder, *folder.rglob('*')):
            each.chmod(0o555 if each.is_dir() else 0o444)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            text = 'it can be written to'
            try:
                if not os.getuid():
                    os.setuid(65534)
                target.check()
            except PermissionError as error:
                text = str(error)
            finally:
                os.write(writer, text.encode())
                os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        with os.fdopen(reader) as answer:
            text = answer.read()
    finally:
        for each in (folder, *folder.rglob('*')):
            each.chmod(0o755)
        shutil.rmtree(folder)
    assert 'must be writable, but the storage refused: ' in text
    assert 'lake is read-only for this user; write deeplake_credentials that may' in text


def test_storage_that_fails_in_the_middle(path, store):
    """The error says that the lake reads as before, and the next try succeeds."""
    url, keys = store.upload(path, 'failing'), dict(credentials=dict(creds=store.creds))

    def blocks() -> Any:
        yield from _blocks()
        store.set_faults(Fault('AccessDenied', methods='PUT POST'))

    target = _target(url, **keys)
    try:
        with pytest.raises(OSError, match=r"branch 'runs/a' of .* cannot commit to it"):
            target.write(COLUMNS, blocks(), {})
    finally:
        store.clear()
    with pytest.raises(ValueError, match="does not have predictions 'net'"):
        _read(url, **keys)
    _write(url, **keys)
    _assert_written(_read(f'{url}@runs/a', **keys))


def test_branches_and_names_that_are_taken(path):
    """Each is an error at the check that says what to write."""
    _write(path)
    branch(path, 'side', [100])
    with pytest.raises(ValueError, match=r"the name 'net' is taken by its columns .*name="):
        _target(path).check()
    with pytest.raises(ValueError, match="branch='main' must not be used"):
        _target(path, to='main').check()
    with pytest.raises(ValueError, match=r"'side' .* exists, and it has other changes"):
        _target(path, to='side').check()
    append(path, [101])
    with pytest.raises(ValueError, match='exists, and it was not made from the version'):
        _target(path, 'later').check()
    _write(f'{path}@runs/a', 'second')
    old = next(iter(_head(path).history)).id
    with pytest.raises(ValueError, match='exists, and its newest version is'):
        _target(f'{path}@runs/a', 'third', commit_id=old).check()


def test_a_lake_that_was_written_anew(path):
    """Its rows may be others."""
    target = _target(path)
    shutil.rmtree(path)
    write_lake(path)
    with pytest.raises(ValueError, match='was written anew since it was opened; predict'):
        target.check()


def test_a_lake_of_deep_lake_3(path):
    """It can only be read."""
    source = _target(path).source
    older = LakeSource(source.spec, replace(source.pin, is_v3=True))
    with pytest.raises(ValueError, match='cannot be written to; convert it with deeplake'):
        PredictionBranch(older, 'runs/a', 'net').check()


def test_predictions_that_are_not_there(path):
    """The error lists those that are."""
    _write(path)
    with pytest.raises(ValueError, match=r"'nett' \(did you mean net\?\); found: net"):
        _read(f'{path}@runs/a', 'nett')
    with pytest.raises(ValueError, match=r'found: none\. Write the branch'):
        _read(path)
