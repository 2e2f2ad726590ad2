"""A lake below a folder with an @, which Deep Lake finds by a relative path only."""

from __future__ import annotations

import json
import os
import pickle
import re

import pytest
from helpers.lakes import branch, open_lake, picture, row, tag, write_lake
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.lake import LakeSpec
from mmdet_deeplake_plugin.tools.from_coco import from_coco

LOAD = [dict(type='LoadImageFromFile')]


@pytest.fixture()
def folder(tmp_path, monkeypatch) -> str:
    """The working folder, with a lake ``data/lake`` that has a branch and a view."""
    path = tmp_path / 'me@home'
    path.mkdir()
    monkeypatch.chdir(path)
    write_lake('data/lake', [row(number) for number in range(4)])
    branch('data/lake', 'side', [100])
    tag('data/lake', 'SELECT * WHERE image_id > 1', 'late')
    return str(path)


WAYS = {
    'relative': ('data/lake', 4),
    'with a dot': ('./data/lake', 4),
    'absolute': ('{folder}/data/lake', 4),
    'as a file': ('file://{folder}/data/lake', 4),
    'a branch': ('data/lake@side', 5),
    'a view': ('{folder}/data/lake@late', 2),
}


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('way', WAYS)
def test_the_lake_is_read(way, workers, folder):
    """By every way of writing its path, also in a worker."""
    path, count = WAYS[way]
    dataset = DeepLakeDataset(path.format(folder=folder), pipeline=LOAD)
    assert dataset.lake.source.spec.path == f'{folder}/data/lake'
    loader = DataLoader(dataset, num_workers=workers, collate_fn=pseudo_collate)
    assert sum(1 for _ in loader) == count


def test_a_query_names_the_lake(folder):
    """In its FROM clause."""
    assert len(DeepLakeDataset(deeplake_query='SELECT * FROM "data/lake" LIMIT 2')) == 2


def test_an_open_dataset_is_read(folder):
    """It tells a relative address."""
    opened = open_lake('data/lake', writable=False)
    dataset = DeepLakeDataset(dataset=opened.query('SELECT * WHERE image_id > 2'))
    assert len(dataset) == 1


def test_from_another_folder(folder, tmp_path, monkeypatch):
    """The path from there, if it has no @; else an error that says what to do."""
    state = pickle.dumps(DeepLakeDataset('data/lake', pipeline=LOAD))
    (tmp_path / 'me@home' / 'other').mkdir()
    monkeypatch.chdir(tmp_path / 'me@home' / 'other')
    moved = pickle.loads(state)
    moved.lake.source.reopen()
    assert moved[0]['img'].shape == (40, 64, 3)
    monkeypatch.chdir(tmp_path)
    text = (
        f"'{folder}/data/lake' has a folder with an @ in its name, after which Deep Lake "
        'expects a branch or tag; start the program in or below that folder'
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeDataset(f'{folder}/data/lake')


def test_a_converter_writes_there(folder):
    """DEST is relative, absolute, or new."""
    with open('a.json', 'w') as file:
        image = dict(id=1, file_name='a.jpg', width=64, height=40)
        categories = [dict(id=1, name='cat')]
        json.dump(dict(images=[image], annotations=[], categories=categories), file)
    with open('a.jpg', 'wb') as file:
        file.write(picture(9))
    for dest in ('new/lake', os.path.abspath('another')):
        from_coco('a.json', '.', dest)
        assert len(open_lake(os.path.relpath(dest), writable=False)) == 1
    for dest in ('new/la@ke', 'la@ke'):
        with pytest.raises(ValueError, match='DEST must be a path'):
            from_coco('a.json', '.', dest)


@pytest.mark.parametrize('path', ['s3://a@b/c', 'data/la@k@e', 's3://a/b@c@d'])
def test_what_deep_lake_would_split_is_refused(path):
    """A second @, or one in a folder of a URL."""
    with pytest.raises(ValueError, match='Deep Lake takes what follows the first @'):
        LakeSpec.from_config(path)
