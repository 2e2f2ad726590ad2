"""Rows read from the chunk files of a local disk: what Deep Lake reads, and when it does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from helpers.chunked import image, run, write_chunked
from helpers.lakes import COLUMNS, HEIGHT, WIDTH, open_lake, write_columns
from mmcv.transforms import BaseTransform
from mmengine.fileio import get

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.lake import (
    ImageColumn,
    LakeSpec,
    find_lake,
    open_source,
)
from mmdet_deeplake_plugin.lake.images import chunk_files, column
from mmdet_deeplake_plugin.structures.image_check import BrokenImageError

# Bytes of the images of each chunk: all alike, some alike, none alike, a single one.
SIZES = [[8000] * 5, [500, 500, 900, 900, 900, 70], [*range(100, 1000, 100)], [3000]]
FLAT = [size for sizes in SIZES for size in sizes]
ROWS = len(FLAT)


@pytest.fixture
def lake(tmp_path: Path) -> str:
    """Path of a lake of four chunks."""
    batches, start = [], 0
    for sizes in SIZES:
        numbers = range(start, start + len(sizes))
        start += len(sizes)
        count = len(sizes)
        batches.append(
            {
                'images': [image(i, size) for i, size in zip(numbers, sizes)],
                'boxes': [np.array([[1.0, 2.0, 10.0, 12.0]])] * count,
                'categories': [np.array([0], np.int32)] * count,
                'image_id': list(numbers),
                'file_name': [f'{number}.jpg' for number in numbers],
                'width': [WIDTH] * count,
                'height': [HEIGHT] * count,
            }
        )
    return write_columns(tmp_path / 'lake', COLUMNS, batches)


@pytest.fixture
def asked(monkeypatch) -> Iterator[list[int]]:
    """Rows for which Deep Lake was asked, one by one, from now on."""
    rows: list[int] = []
    read_image = column.read_image

    def count(handle: Any, column: str, row: int, credentials: Any) -> bytes:
        rows.append(row)
        return read_image(handle, column, row, credentials)

    monkeypatch.setattr(column, 'read_image', count)
    return rows


def images_of(path: str, version: str = '', view: str = '') -> ImageColumn:
    """What reads the images of a lake, in the newest or an older version."""
    source, _ = open_source(LakeSpec.from_config(path, None, version, view, ''))
    return ImageColumn(source, 'images')


def stored(path: str) -> list[bytes]:
    """All images, as Deep Lake reads them."""
    handle = open_lake(path, writable=False)
    return [bytes(handle['images'].get_bytes(row)) for row in range(len(handle))]


def test_the_first_row_of_a_file_is_read_by_deep_lake_and_no_other(lake, asked):
    """In any order, each image is what was written; four files, four questions."""
    reader = images_of(lake)
    order = np.random.default_rng(0).permutation(ROWS).tolist()
    for row in order * 2:
        assert reader.read_row(row) == image(row, FLAT[row])
    assert len(asked) == len(SIZES)


def test_some_files_are_compared_and_then_all_are_known(tmp_path, asked):
    """Of 12 files as many as are compared; each image is what was written."""
    reader = images_of(write_chunked(tmp_path / 'many', [4] * 12))
    for row in np.random.default_rng(0).permutation(48).tolist():
        assert reader.read_row(row) == image(row)
    assert len(asked) == chunk_files.FILES_COMPARED < 12


class OpenedBy(BaseTransform):
    """Ends a pipeline with whether Deep Lake is open in the process, and the bytes."""

    def transform(self, results: dict) -> dict:
        """``content``, ``is_open``, ``process``."""
        content = get(results['img_path'])
        reader = find_lake(results['img_path'])[0].source
        # Else its handle is the one that was inherited, and never used.
        is_open = reader._process == os.getpid()
        row = results['img_id']
        return dict(content=content, is_open=is_open, process=os.getpid(), row=row)


@pytest.mark.parametrize('shuffle', ['full', 'lanes', 'none'])
def test_forked_workers_read_without_deep_lake(shuffle, lake):
    """They have none of its threads; each image is what was written."""
    dataset = DeepLakeDataset(lake, pipeline=[OpenedBy()])
    sampler = DeepLakeLoader(dataset, shuffle, seed=0, lanes=4)
    seen = run(dataset, sampler, num_workers=2, batch_size=2)
    assert sorted(each['row'] for each in seen) == list(range(ROWS))
    for each in seen:
        assert each['content'] == image(each['row'], FLAT[each['row']])
        assert each['process'] != os.getpid() and not each['is_open']


@pytest.mark.parametrize('rows', [slice(5, 11), slice(20, 21), [3, 12, 4, 20], [7, 7]])
def test_lists_and_slices_are_read_from_the_files_too(rows, lake, monkeypatch):
    """Once the files are known: what Deep Lake gives is not even looked at."""
    reader = images_of(lake)
    numbers = list(range(ROWS))[rows] if isinstance(rows, slice) else rows
    expected = [image(row, FLAT[row]) for row in numbers]
    assert reader.read_rows(rows) == expected
    opened: list[str] = []
    monkeypatch.setattr(
        chunk_files.os,
        'open',
        lambda path, flags, inner=os.open: (opened.append(path), inner(path, flags))[1],
    )
    assert reader.read_rows(rows) == expected
    assert len(opened) == len(numbers)


def update(lake: Any) -> None:
    """Gives two rows other images."""
    lake['images'][6] = image(100, 500)
    lake['images'][13] = image(101, 5000)


def delete(lake: Any) -> None:
    """Deletes a row within the second file, and one at the end of the third."""
    lake.delete(19)
    lake.delete(7)


def append(lake: Any) -> None:
    """Appends a row."""
    last = {name: lake[name][0] for name in COLUMNS if name != 'images'}
    lake.append([{**last, 'images': image(100, 700)}])


CHANGES: dict[str, tuple[Callable[[Any], None], set[int]]] = {
    'updated': (update, set(range(ROWS))),
    'deleted': (delete, {*range(5, 10), *range(10, 18)}),
    'appended': (append, set()),
}


@pytest.mark.parametrize('change', CHANGES)
def test_changed_lakes_are_read_as_deep_lake_reads_them(change, lake, asked):
    """Files that rows were deleted from, and columns with updates, by Deep Lake alone."""
    version = open_lake(lake, writable=False).version
    do, by_deep_lake = CHANGES[change]
    writer = open_lake(lake)
    do(writer)
    writer.commit()
    del writer
    expected = stored(lake)
    assert expected != [image(row, size) for row, size in enumerate(FLAT)]
    reader = images_of(lake)
    for _ in range(2):
        for row, content in enumerate(expected):
            assert reader.read_row(row) == content
    for start in range(len(expected)):
        rows = slice(start, len(expected))
        assert reader.read_rows(rows) == expected[start:]
    twice = {row for row in asked if asked.count(row) == 2}
    assert twice == by_deep_lake
    old = images_of(lake, version)
    for row, size in enumerate(FLAT):
        assert old.read_row(row) == image(row, size)


def test_a_saved_view_is_read_by_deep_lake(lake, asked):
    """Its rows are others than those of the files, though the first agree."""
    writer = open_lake(lake)
    writer.query('SELECT * WHERE image_id < 2 OR image_id > 12').tag('part')
    del writer
    reader = images_of(lake, view='part')
    rows = [0, 1, *range(13, ROWS)]
    for number, row in enumerate(rows * 2):
        place = number % len(rows)
        assert reader.read_row(place) == image(row, FLAT[row])
    assert len(asked) == 2 * len(rows)


def test_a_file_with_more_than_its_images_is_left_to_deep_lake(lake, asked):
    """Its layout is not what it seems."""
    for file in (
        open_lake(lake, writable=False)._datafiles_report['images'].insert_datafiles
    ):
        with Path(lake, file.filename).open('ab') as stream:
            stream.write(b'more')
    reader = images_of(lake)
    for row in [*range(ROWS)] * 2:
        assert reader.read_row(row) == image(row, FLAT[row])
    assert len(asked) == 2 * ROWS


def test_a_file_of_another_layout_is_left_to_deep_lake(lake, asked, monkeypatch):
    """What its table says is compared before it is relied on."""
    read_layout = chunk_files.read_layout

    def shifted(stream: BinaryIO, size: int) -> Any:
        layout = read_layout(stream, size)
        layout.begin -= 1
        return layout

    monkeypatch.setattr(chunk_files, 'read_layout', shifted)
    reader = images_of(lake)
    for row in [*range(ROWS)] * 2:
        assert reader.read_row(row) == image(row, FLAT[row])
    assert len(asked) == 2 * ROWS


@pytest.mark.parametrize('way', ['row', 'list'])
def test_a_file_that_is_cut_after_it_was_looked_into_is_noticed(way, lake):
    """The rows that are gone are errors, or empty; the others come as they were."""
    reader = images_of(lake)
    whole = [reader.read_row(row) for row in range(ROWS)]
    name = (
        open_lake(lake, writable=False)
        ._datafiles_report['images']
        .insert_datafiles[2]
        .filename
    )
    file = Path(lake, name)
    os.truncate(file, file.stat().st_size - 1000)  # rows 18 and 19 lose their ends
    if way == 'list':
        assert reader.read_rows([5, 19]) == [b'', b'']
    text = (
        rf"^lake .*, column 'images', row 19: its chunk file {file.name} is cut short: "
        rf'{file.stat().st_size} bytes; correct or delete the row'
    )
    with pytest.raises(BrokenImageError, match=text):
        reader.read_row(19)
    for row in (0, 10, 17, 20):
        assert reader.read_row(row) == whole[row]
