"""Chunk files of images that a disk lost or spoiled: which rows, and no others."""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.chunked import Seen, image, intact, run, write_chunked
from helpers.lakes import open_lake
from mmdet.utils import register_all_modules

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader
from mmdet_deeplake_plugin.structures.image_check import BrokenImageError

register_all_modules()

SIZES = [10] * 4  # rows 10 to 19 are in the chunk that is spoiled
SPOILED = range(10, 20)
PER_IMAGE = len(image(0))
# What a test says of the damage -> the file after it, and the first row that it hits.
DAMAGES: dict[str, tuple[Callable[[bytes], bytes | None], int]] = {
    'deleted': (lambda content: None, 10),
    'empty': (lambda content: b'', 10),
    'cut in its header': (lambda content: content[:10], 10),
    'cut behind its header': (lambda content: content[:60], 10),
    'cut in the middle': (lambda content: content[: len(content) // 2], 14),
    'without its last byte': (lambda content: content[:-1], 19),
    'zeroed': (lambda content: bytes(len(content)), 10),
    'zeroed from the middle on': (
        lambda content: content[: len(content) // 2].ljust(len(content), b'\0'),
        14,
    ),
}
WHY = (
    r'(no image is stored \(0 bytes\)|the JPEG image is cut short: .*|'
    r'\d+ bytes that begin with .* are not an image .*|'
    r'its stored chunk is missing \(Key not found: .*\)|'
    r'its chunk file \w+ is cut short: \d+ bytes)'
)


@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> Path:
    """A lake of 40 images in four chunks."""
    return Path(write_chunked(tmp_path_factory.mktemp('whole') / 'lake', SIZES))


@pytest.fixture(params=DAMAGES)
def spoiled(request, whole, tmp_path) -> tuple[str, list[int]]:
    """Path of a copy whose second chunk of images is damaged, and the rows that are."""
    path = tmp_path / 'lake'
    shutil.copytree(whole, path)
    chunks = open_lake(str(path))._datafiles_report['images'].insert_datafiles
    file = path / chunks[1].filename
    damage, first = DAMAGES[request.param]
    content = damage(file.read_bytes())
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    return str(path), list(range(first, SPOILED.stop))


def dataset_of(path: str, way: str, **keys) -> tuple[DeepLakeDataset, DeepLakeLoader]:
    """A dataset and a sampler that read rows, or lists of them, or whole chunks."""
    dataset = DeepLakeDataset(path, pipeline=[Seen()], **keys)
    shuffle = 'lanes' if way == 'chunks' else 'full'
    engine = 'python' if way == 'rows' else 'c++'
    return dataset, DeepLakeLoader(dataset, shuffle, seed=0, loader_type=engine, lanes=2)


@pytest.mark.parametrize('way', ['rows', 'lists', 'chunks'])
def test_each_row_of_a_damaged_chunk_is_an_error_and_no_other(way, spoiled):
    """The error names lake, column, row and cause; what is left is read as it was."""
    path, lost = spoiled
    dataset, _ = dataset_of(path, way)
    for row in range(40):
        if row not in lost:
            assert dataset[row]['crc'] == zlib.crc32(image(row))
            continue
        text = (
            rf"^lake {re.escape(path)}@main \(version \w+\), column 'images', "
            rf'row {row}: {WHY}; correct or delete the row, or leave it out with '
            r"deeplake_query or on_broken_image='skip'$"
        )
        with pytest.raises(BrokenImageError, match=text):
            dataset.__getitems__([row, (row + 20) % 40])


@pytest.mark.parametrize('way', ['rows', 'lists', 'chunks'])
def test_rows_of_a_damaged_chunk_are_skipped_on_request(way, spoiled):
    """The rows are listed; all others come, in their places, intact."""
    path, lost = spoiled
    dataset, sampler = dataset_of(path, way, on_broken_image='skip')
    order = sampler.global_order().tolist()
    seen = run(dataset, sampler, num_workers=2)
    assert intact(seen) and len(seen) == 40
    for row, each in zip(order, seen):
        assert each['img_id'] == (row if row not in lost else 20)
    assert dataset.take_skipped_rows() == lost


@pytest.mark.parametrize('spoiled', ['deleted', 'zeroed'], indirect=True)
def test_the_error_of_a_worker_arrives_in_the_main_process(spoiled):
    """Its type and text survive the way through a dataloader."""
    path, _ = spoiled
    dataset, sampler = dataset_of(path, 'chunks')
    with pytest.raises(BrokenImageError, match=r"column 'images', row 1\d: "):
        run(dataset, sampler, num_workers=2)


def test_a_lake_whose_images_are_all_lost_is_an_error_even_if_they_may_be_skipped(
    whole, tmp_path
):
    """Nothing is trained on nothing."""
    path = tmp_path / 'lake'
    shutil.copytree(whole, path)
    for chunk in open_lake(str(path))._datafiles_report['images'].insert_datafiles:
        (path / chunk.filename).unlink()
    dataset, _ = dataset_of(str(path), 'rows', on_broken_image='skip')
    with pytest.raises(BrokenImageError, match=r'none of the 40 images of lake .* can'):
        dataset[0]
