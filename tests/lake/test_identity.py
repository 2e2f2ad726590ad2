"""Which lake: one that is written anew at the same path is another lake."""

from __future__ import annotations

import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.lakes import append, open_lake, row, tag, write_lake
from mmdet.utils import register_all_modules

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader, DeepLakeMetric
from mmdet_deeplake_plugin.hooks.resume import describe
from mmdet_deeplake_plugin.lake import find_lake

register_all_modules()

LOAD = [dict(type='LoadImageFromFile')]
FORWARDS, BACKWARDS = range(6), range(5, -1, -1)


def _write(path: Path, numbers: Any) -> str:
    shutil.rmtree(path, ignore_errors=True)
    return write_lake(path, [row(number) for number in numbers])


def _ids(dataset: DeepLakeDataset) -> list[int]:
    return [dataset.get_data_info(index)['img_id'] for index in range(len(dataset))]


def _shades(dataset: DeepLakeDataset) -> list[int]:
    """Number of each row, as the shade of its pixels shows it."""
    return [round(float(dataset[i]['img'].mean())) for i in range(len(dataset))]


def _predictions(dataset: DeepLakeDataset) -> list[dict[str, Any]]:
    """Perfect predictions, as ``test.py --out`` stores them."""
    stored = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        instances = list(info['instances'])
        predicted = dict(
            bboxes=torch.tensor([each['bbox'] for each in instances]).reshape(-1, 4),
            labels=torch.tensor([each['bbox_label'] for each in instances]),
            scores=torch.ones(len(instances)),
        )
        stored.append(dict(img_path=info['img_path'], pred_instances=predicted))
    return stored


def _score(dataset: DeepLakeDataset, stored: list[dict[str, Any]]) -> dict[str, float]:
    metric = DeepLakeMetric()
    metric.dataset_meta = dataset.metainfo
    metric.process({}, stored)
    return metric.evaluate(len(stored))


def test_a_new_dataset_shows_the_new_lake_while_an_old_one_lives(tmp_path):
    """Versions are counters, so the version of the new lake is that of the old one."""
    old = DeepLakeDataset(_write(tmp_path / 'lake', FORWARDS), pipeline=LOAD)
    before = _ids(old)
    new = DeepLakeDataset(_write(tmp_path / 'lake', BACKWARDS), pipeline=LOAD)
    assert old.lake.source.pin.version == new.lake.source.pin.version
    assert old.lake.key != new.lake.key
    assert _ids(new) == list(BACKWARDS) == _shades(new)
    assert _ids(old) == before


@pytest.mark.parametrize('view', [False, True], ids=['rows', 'saved view'])
def test_an_old_dataset_does_not_read_a_new_lake(view, tmp_path):
    """Its annotations are those of the old rows, so the pixels must not be new."""
    keys = dict(deeplake_view_id='all') if view else {}
    path = _write(tmp_path / 'lake', FORWARDS)
    if view:
        tag(path, 'SELECT * WHERE image_id >= 0', 'all')
    old = DeepLakeDataset(path, pipeline=LOAD, **keys)
    _write(tmp_path / 'lake', BACKWARDS)
    if view:
        tag(path, 'SELECT * WHERE image_id >= 0', 'all')
    copied = pickle.loads(pickle.dumps(old))
    copied.lake.source.reopen()  # as each worker does
    with pytest.raises(
        ValueError,
        match=f'must be the lake with the id {old.lake.source.pin.lake_id}, as when the '
        'run began, but now it has the id [0-9a-f]{32}: the lake was written anew',
    ):
        copied[0]


def test_stored_predictions_of_a_lake_that_was_written_anew(tmp_path):
    """The metric refuses them: row numbers name other images now."""
    dataset = DeepLakeDataset(_write(tmp_path / 'lake', FORWARDS), test_mode=True)
    stored = _predictions(dataset)
    assert _score(dataset, stored)['coco/bbox_mAP'] == 1
    del dataset
    new = DeepLakeDataset(_write(tmp_path / 'lake', BACKWARDS), test_mode=True)
    with pytest.raises(KeyError) as error:
        _score(new, stored)
    path = re.escape(stored[0]['img_path'])
    assert re.search(
        f'{path}: the lake with the key .* is not open in this process .*'
        f'{re.escape(new.lake.name)}.* if the lake was written anew since, predict again',
        str(error.value),
    )


def test_a_copy_of_a_lake_that_went_another_way(tmp_path):
    """Copies share the id, and versions count alike: the names of images tell."""
    path = _write(tmp_path / 'lake', range(3))
    shutil.copytree(path, tmp_path / 'copy')
    append(path, [3, 4])
    append(str(tmp_path / 'copy'), [4, 3])
    stored = _predictions(DeepLakeDataset(path, test_mode=True))
    shutil.rmtree(path)
    shutil.move(tmp_path / 'copy', path)
    dataset = DeepLakeDataset(path, test_mode=True)
    with pytest.raises(
        ValueError,
        match=r"row 3 contains the image '000004.jpg', but the prediction was made for "
        "'000003.jpg': the lake was written anew since; predict again",
    ):
        _score(dataset, stored)


@pytest.mark.parametrize(
    'names',
    [
        ['a.jpg', 'b.jpg', 'c.jpg'],
        ['x/a.jpg', 'y/a.jpg', 'b.jpg'],
        ['x\\a.png', 'y\\a.png', 'a.png'],
        ['a', 'b.c', ''],
        ['a', 'a', 'a'],
    ],
)
def test_names_of_any_shape_are_those_of_their_rows(names, tmp_path):
    """Samples have names with an extension, without folders and without repeats."""
    rows = [{**row(i), 'file_name': name} for i, name in enumerate(names)]
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake', rows), test_mode=True)
    assert _score(dataset, _predictions(dataset))['coco/bbox_mAP'] == 1


def test_predictions_with_a_former_key_still_find_their_lake(tmp_path):
    """Keys did not contain the id of the lake; the names of images are compared."""
    dataset = DeepLakeDataset(_write(tmp_path / 'lake', FORWARDS), test_mode=True)
    key, former = dataset.lake.key, dataset.lake.former_key
    assert key != former
    stored = _predictions(dataset)
    for each in stored:
        each['img_path'] = each['img_path'].replace(key, former)
    assert find_lake(stored[2]['img_path']) == (dataset.lake, 2)
    assert _score(dataset, stored)['coco/bbox_mAP'] == 1
    new = DeepLakeDataset(_write(tmp_path / 'lake', BACKWARDS), test_mode=True)
    with pytest.raises(KeyError, match='is not open in this process'):
        _score(new, stored)  # two lakes have this key
    del dataset
    with pytest.raises(ValueError, match=r"row 0 contains the image '000005\.jpg'"):
        _score(new, stored)


def test_an_open_dataset_is_known_by_its_id(tmp_path):
    """Also one that is passed open, as a dataset or as a view."""
    path = _write(tmp_path / 'lake', FORWARDS)
    by_path = DeepLakeDataset(path)
    lake = open_lake(path, writable=False)
    view = lake.query('SELECT * WHERE image_id > 2')
    for opened in (lake, view):
        assert DeepLakeDataset(dataset=opened).lake is by_path.lake


def test_the_resume_state_names_the_lake(tmp_path):
    """So a training does not continue on a lake that was written anew."""
    from torch.utils.data import DataLoader

    def state(numbers: Any) -> dict[str, Any]:
        dataset = DeepLakeDataset(_write(tmp_path / 'lake', numbers))
        loader = DeepLakeLoader(dataset, seed=0)
        return describe(DataLoader(dataset, batch_size=2, sampler=loader))['lakes']['0']

    before, now = state(FORWARDS), state(BACKWARDS)
    assert before.pop('id') != now.pop('id')
    assert before == now
