"""Predictions come to a branch of their own, whole or not at all."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.lakes import append, box_type, branch, open_lake, tag, version, write_lake
from helpers.object_store import Fault, ObjectStore
from helpers.prediction_columns import (
    COLUMNS,
    ROWS,
    assert_written,
    branch_of,
    read,
    state,
    values,
    write,
)

from mmdet_deeplake_plugin.lake import LakeSource, LakeSpec, PredictionBranch
from mmdet_deeplake_plugin.lake import open_lake as open_ours
from mmdet_deeplake_plugin.lake.branch import SIGNATURE


def _head(path: str) -> Any:
    return open_lake(f'{path}@runs/a', writable=False)


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
    before, files = version(path), state(path)
    write(path)
    assert_written(read(f'{path}@runs/a'))
    assert version(path) == before
    assert files.items() <= state(path).items()
    main = open_lake(path, writable=False)
    assert not [each.name for each in main.schema.columns if '/' in each.name]
    head = main.branches['runs/a'].open()
    assert [each.message for each in head.history][1:] == [
        f'Predictions of net ({SIGNATURE}): rows 4'
    ]


def test_columns_have_the_types_that_the_viewer_shows(path):
    """The format of the boxes is declared, and labels have names."""
    write(path)
    head = _head(path)
    boxes = box_type('ltrb', 'pixel', 'float32', nullable=True)
    assert head.schema['net/boxes'].dtype == boxes
    assert head['net/labels'].metadata['class_names'] == ['cat', 'dog', 'owl']


def test_the_branch_trains_at_once(path):
    """Predicted boxes are not taken for annotations."""
    write(path)
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
    write(path)
    write(path, 'other', rows=[2, 4])
    write(f'{path}@runs/a', 'third', rows=[1, 2])
    assert_written(read(f'{path}@runs/a'))
    assert_written(read(f'{path}@runs/a', 'other'), [2, 4])
    assert_written(read(f'{path}@runs/a', 'third'), [1, 2])


def test_an_older_version_and_another_branch(path):
    """Predictions belong to the version that was evaluated."""
    old = version(path)
    append(path, [100])
    branch(path, 'side', [200, 201])
    write(path, 'net', 'runs/old', commit_id=old)
    assert len(read(f'{path}@runs/old')['boxes']) == 6
    write(f'{path}@side', 'net', 'runs/side', rows=[1, 8])
    found = read(f'{path}@runs/side')
    assert len(found['boxes']) == 9
    assert_written(found, [1, 8])


def test_rows_of_a_view_are_rows_of_the_lake(path):
    """The rows of a saved view are numbered in it, the columns are of the lake."""
    tag(path, 'SELECT * WHERE image_id > 2 ORDER BY image_id DESC', 'late')
    target = branch_of(path, view_id='late')
    target.write(COLUMNS, [(np.array([0, 2]), values([5, 3]))], {})
    found = read(f'{path}@runs/a')
    assert [value is None for value in found['tp']] == [True] * 3 + [False, True, False]
    assert [int(found['tp'][row]) for row in (3, 5)] == [3, 5]


def test_on_object_storage(path, store):
    """The same on S3."""
    url, keys = store.upload(path, 'lake'), dict(credentials=dict(creds=store.creds))
    write(url, **keys)
    assert_written(read(f'{url}@runs/a', **keys))
    lake, _ = open_ours(LakeSpec.from_config(url, **keys))
    assert not [name for name in lake.source.handle.schema.columns if '/' in name.name]


def test_without_write_access(path, store):
    """The error comes at the check, and nothing is changed."""
    url, creds = store.upload(path, 'read_only'), dict(creds=store.creds)
    target = branch_of(url, credentials=creds)
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
        target = branch_of(write_lake(folder / 'lake'))
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


def test_branches_and_names_that_are_taken(path):
    """Each is an error at the check that says what to write."""
    write(path)
    branch(path, 'side', [100])
    with pytest.raises(ValueError, match=r"the name 'net' is taken by its columns .*name="):
        branch_of(path).check()
    with pytest.raises(ValueError, match="branch='main' must not be used"):
        branch_of(path, to='main').check()
    with pytest.raises(ValueError, match=r"'side' .* exists, and it has other changes"):
        branch_of(path, to='side').check()
    append(path, [101])
    with pytest.raises(ValueError, match='exists, and it was not made from the version'):
        branch_of(path, 'later').check()
    write(f'{path}@runs/a', 'second')
    old = next(iter(_head(path).history)).id
    with pytest.raises(ValueError, match='exists, and its newest version is'):
        branch_of(f'{path}@runs/a', 'third', commit_id=old).check()


def test_a_lake_that_was_written_anew(path):
    """Its rows may be others."""
    target = branch_of(path)
    shutil.rmtree(path)
    write_lake(path)
    with pytest.raises(ValueError, match='was written anew since it was opened; predict'):
        target.check()


def test_a_lake_of_deep_lake_3(path):
    """It can only be read."""
    source = branch_of(path).source
    older = LakeSource(source.spec, replace(source.pin, is_v3=True))
    with pytest.raises(ValueError, match='cannot be written to; convert it with deeplake'):
        PredictionBranch(older, 'runs/a', 'net').check()


def test_predictions_that_are_not_there(path):
    """The error lists those that are."""
    write(path)
    with pytest.raises(ValueError, match=r"'nett' \(did you mean net\?\); found: net"):
        read(f'{path}@runs/a', 'nett')
    with pytest.raises(ValueError, match=r'found: none\. Write the branch'):
        read(path)


def test_a_last_value_that_is_nan_was_written(path):
    """Such as the loss of a model that has diverged."""
    found = values([0, 1])
    found['f1'][-1] = math.nan
    branch_of(path).write(COLUMNS, [(np.array([0, 1]), found)], {})
    assert math.isnan(read(f'{path}@runs/a')['f1'][1])
