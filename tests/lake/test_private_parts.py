"""The private parts of Deep Lake that the package uses, one test for each.

A test that fails after an upgrade names the part that changed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from deeplake.types import TypeKind
from helpers.chunked import image, write_chunked
from helpers.lakes import IMAGE_TYPES, TYPES, box_type, change, open_lake

from mmdet_deeplake_plugin.lake.columns.roles import kind_of
from mmdet_deeplake_plugin.lake.connection import fork_safety
from mmdet_deeplake_plugin.lake.connection.opening import _FIRST_FILE
from mmdet_deeplake_plugin.lake.connection.resolve_object import _describe
from mmdet_deeplake_plugin.lake.images.chunk_files import read_layout
from mmdet_deeplake_plugin.lake.images.chunk_map import ROWS_OF_A_BLOCK, map_chunks
from mmdet_deeplake_plugin.lake.images.datafiles import DataFiles, list_datafiles

SIZES = [4, 4, 5]
NULLABLE = {
    'bitmaps or null': (TYPES['bitmaps or null'], TypeKind.BinaryMask),
    'polygons or null': (TYPES['polygons or null'], TypeKind.Polygon),
    'text or null': (TYPES['text or null'], TypeKind.Text),
    'map or null': (TYPES['map or null'], TypeKind.SegmentMask),
    'image or null': (IMAGE_TYPES['nullable-jpeg'], TypeKind.Image),
    'boxes or null': (box_type('ltwh', 'pixel', nullable=True), TypeKind.BoundingBox),
    'int or null': (TYPES['int or null'], TypeKind.Generic),
}


@pytest.fixture(scope='module')
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a lake with three stored chunks; no test changes it."""
    return write_chunked(tmp_path_factory.mktemp('private') / 'lake', SIZES)


class Pickled:
    """An object with a given state in its pickle."""

    def __init__(self, reduced: Any) -> None:
        self._reduced = reduced

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._reduced


@pytest.mark.parametrize('writable', [True, False])
def test_the_pickle_of_a_dataset_has_its_address_and_branch(path, writable):
    """``__reduce_ex__``: ``url`` and the ``branch_id`` that the branches have."""
    handle = open_lake(path, writable)
    (state,) = _describe(handle)
    assert Path(state['reader']['url']) == Path(path)
    assert state['branch_id'] == handle.branches['main'].id


def test_the_pickle_of_a_view_has_its_queries(path):
    """``__reduce_ex__``: the dataset first, then one query per link of the chain."""
    handle = open_lake(path, writable=False)
    view = handle.query('SELECT * WHERE image_id > 1').query('SELECT * LIMIT 2')
    dataset, *links = _describe(view)
    assert Path(dataset['reader']['url']) == Path(path)
    assert dataset['branch_id'] == handle.branches['main'].id
    assert [link['query_string'] for link in links] == [
        'SELECT * WHERE image_id > 1',
        'SELECT * LIMIT 2',
    ]


@pytest.mark.parametrize(
    'reduced',
    [
        (object, ()),
        (object, (), ()),
        (object, (), None),
        (object, (), ('not JSON',)),
        (object, (), {'url': 'x'}),
    ],
)
def test_an_unknown_pickle_describes_nothing(reduced):
    """The error for users then says what to write instead."""
    assert _describe(Pickled(reduced)) == [{}]
    known = json.dumps({'reader': {'url': 'x'}})
    assert _describe(Pickled((object, (), (known,)))) == [{'reader': {'url': 'x'}}]


def test_the_first_file_of_the_log_exists(path):
    """The access check reads it from object storage."""
    assert Path(path, _FIRST_FILE).is_file()


def test_the_report_of_data_files_lists_files_and_rows(path):
    """``_datafiles_report``: paths below the folder, first rows and numbers of rows."""
    files = list_datafiles(open_lake(path, writable=False), 'images')
    assert len(set(files.names)) == len(SIZES)
    assert all(Path(path, name).is_file() for name in files.names)
    assert not any(os.path.isabs(name) for name in files.names)
    assert files.starts == [0, 4, 8]
    assert files.written == SIZES
    assert files.as_written == [True] * len(SIZES)


def test_the_report_of_data_files_shows_deleted_and_updated_rows(tmp_path):
    """Deleted rows change the starts of later files; updates are listed."""
    path = write_chunked(tmp_path / 'lake', SIZES)
    change(path, delete=[5])
    files = list_datafiles(open_lake(path, writable=False), 'images')
    assert files.starts == [0, 4, 7]
    assert files.as_written == [True, False, True]
    change(path, update=[(0, image(99))])
    files = list_datafiles(open_lake(path, writable=False), 'images')
    assert files.as_written == [False] * len(SIZES)


@pytest.mark.parametrize(
    'handle_type',
    [
        type('NoReport', (), {'__len__': lambda self: 100}),
        type('NoColumn', (), {'__len__': lambda self: 100, '_datafiles_report': {}}),
        type(
            'OtherReport',
            (),
            {
                '__len__': lambda self: 100,
                '_datafiles_report': {'images': SimpleNamespace(files=[])},
            },
        ),
    ],
)
def test_without_the_report_rows_are_grouped_in_blocks(handle_type):
    """No files are known, and the chunks are blocks of rows."""
    handle = handle_type()
    assert list_datafiles(handle, 'images') == DataFiles([], [], [], [])
    chunks = map_chunks(handle, 'images')
    assert not chunks.stored
    assert chunks.bounds.tolist() == [0, ROWS_OF_A_BLOCK, 100]


def test_a_view_has_no_report(path):
    """Rows of a view are read by Deep Lake."""
    view = open_lake(path, writable=False).query('SELECT * WHERE image_id > 1')
    assert list_datafiles(view, 'images') == DataFiles([], [], [], [])


def test_a_chunk_file_has_the_known_layout(path):
    """Its images fill it exactly and are those that Deep Lake reads."""
    handle = open_lake(path, writable=False)
    files = list_datafiles(handle, 'images')
    for name, start, count in zip(files.names, files.starts, SIZES):
        with Path(path, name).open('rb') as stream:
            layout = read_layout(stream, Path(path, name).stat().st_size)
        assert layout.is_exact and layout.whole == layout.total == count
        content = Path(path, name).read_bytes()
        for number in range(count):
            size, begin = layout.place(number)
            stored = bytes(handle['images'].get_bytes(start + number))
            assert content[begin : begin + size] == stored == image(start + number)


@pytest.mark.parametrize('name', NULLABLE)
def test_the_text_of_a_nullable_type_names_what_it_holds(name):
    """``str(dtype)``: its ``kind`` is only ``Nullable``."""
    dtype, kind = NULLABLE[name]
    assert dtype.kind == TypeKind.Nullable
    assert kind_of(dtype) == kind


def test_forks_go_through_deep_lake_and_wait_for_its_calls():
    """Deep Lake replaces ``os.fork``; the package's own waits and then calls it."""
    assert os.fork.__code__.co_filename == fork_safety.__file__
    assert os.fork.__wrapped__.__module__.split('.')[0] == 'deeplake'
