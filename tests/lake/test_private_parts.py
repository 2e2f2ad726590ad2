"""Private parts of Deep Lake: each test fails when a new version changes one of them.

The layout of chunk files is tested in ``images/test_chunk_files.py``.
"""

from __future__ import annotations

import os
from pathlib import Path

import deeplake
import pytest
from deeplake import types
from helpers.chunked import write_chunked

from mmdet_deeplake_plugin.lake.columns.mapping import Columns
from mmdet_deeplake_plugin.lake.columns.roles import kind_of
from mmdet_deeplake_plugin.lake.connection import fork_safety
from mmdet_deeplake_plugin.lake.connection.opening import _FIRST_FILE
from mmdet_deeplake_plugin.lake.connection.resolve_object import _describe
from mmdet_deeplake_plugin.lake.connection.source import LakeSource
from mmdet_deeplake_plugin.lake.connection.spec import LakeSpec, Pin
from mmdet_deeplake_plugin.lake.images.chunk_map import ROWS_OF_A_BLOCK, map_chunks
from mmdet_deeplake_plugin.lake.images.datafiles import list_datafiles
from mmdet_deeplake_plugin.lake.lake import _key

CHUNKS = [70, 20, 40]


@pytest.fixture(scope='module')
def path(tmp_path_factory) -> str:
    """A lake of three chunks."""
    return str(write_chunked(tmp_path_factory.mktemp('lake') / 'lake', CHUNKS))


def test_the_pickle_of_a_handle_has_address_and_queries(path):
    """``__reduce_ex__``: what ``dataset=`` needs to open the lake again."""
    dataset = deeplake.open_read_only(path)
    (own,) = _describe(dataset)
    assert own['reader']['url'].rstrip('/') == path and own['branch_id']
    query = 'SELECT * WHERE image_id < 3'
    first, *links = _describe(dataset.query(query))
    assert first['reader']['url'].rstrip('/') == path
    assert [link['query_string'] for link in links if 'query_string' in link] == [query]


def test_an_unknown_pickle_tells_nothing():
    """Without it the address is unknown, which leads to an error with the remedy."""
    assert _describe(object()) == [{}]


def test_the_report_names_the_files_of_chunks(path):
    """``_datafiles_report``: which rows lie in which file."""
    files = list_datafiles(deeplake.open_read_only(path), 'images')
    assert files.written == CHUNKS
    assert files.starts == [0, 70, 90]
    assert all(Path(path, name).is_file() for name in files.names)
    assert all(files.as_written)


def test_rows_come_in_blocks_without_the_report():
    """The public way: any object with rows."""
    assert not list_datafiles(range(130), 'images').names
    chunks = map_chunks(range(130), 'images')
    assert not chunks.stored
    assert chunks.bounds.tolist() == [0, ROWS_OF_A_BLOCK, 2 * ROWS_OF_A_BLOCK, 130]


def test_a_lake_has_the_file_that_is_read_to_probe_access(path):
    """The path of the log."""
    assert Path(path, _FIRST_FILE).is_file()


@pytest.mark.parametrize(
    ('inner', 'kind'),
    [
        (types.Image(sample_compression='png'), types.TypeKind.Image),
        (types.ClassLabel('int32'), types.TypeKind.ClassLabel),
        (types.BoundingBox(), types.TypeKind.BoundingBox),
        (types.BinaryMask(), types.TypeKind.BinaryMask),
        (types.Text(), types.TypeKind.Text),
    ],
    ids=['image', 'label', 'box', 'mask', 'text'],
)
def test_the_text_of_a_nullable_type_names_what_it_holds(tmp_path, inner, kind):
    """``str(dtype)``: the only place that says so."""
    dataset = deeplake.create(str(tmp_path / 'lake'))
    dataset.add_column('column', types.Nullable(inner))
    assert kind_of(dataset.schema['column'].dtype) == kind


def test_forks_pass_through_deep_lake_and_wait_first():
    """``os.fork``: Deep Lake's own, behind a wait for calls that are still running."""
    assert os.fork.__globals__ is vars(fork_safety) or os.fork.__wrapped__
    assert 'deeplake' in os.fork.__wrapped__.__module__


def test_the_key_of_a_lake_stays_as_it_is():
    """Stored predictions name their lake by it, whatever version wrote them."""
    source = LakeSource(LakeSpec(path='/data/lake'), Pin('main', 'v1', '', False, 3))
    roles = (('img', 'images'), ('gt_bboxes', 'boxes'), ('gt_labels', 'categories'))
    columns = Columns(roles, 'xywh', ('cat', 'dog'), (3, 7), 'coco', (True, False))
    assert _key(source, columns) == '3ba5fbc9c4b93771'
