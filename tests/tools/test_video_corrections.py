"""Lakes of videos with tools and hooks that were made for images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeplake import types as T
from helpers.clips import write_mot
from helpers.lakes import open_lake, row, write_lake
from mmdet.utils import register_all_modules
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import (
    DeepLakeClassCheckHook,
    DeepLakeDataset,
    DeepLakeLoader,
    DeepLakeLossHook,
    DeepLakeVideoDataset,
)
from mmdet_deeplake_plugin.datasets.class_comparison import _latest
from mmdet_deeplake_plugin.hooks.image_annotations import ImageAnnotations
from mmdet_deeplake_plugin.hooks.mid_epoch import find_sampler
from mmdet_deeplake_plugin.tools.from_coco import from_coco
from mmdet_deeplake_plugin.tools.from_mot import from_mot
from mmdet_deeplake_plugin.tools.inspect import inspect
from mmdet_deeplake_plugin.tools.to_coco import to_coco
from mmdet_deeplake_plugin.tools.update import update

register_all_modules()
FIRST = 'MOT17-02-FRCNN'


@pytest.fixture()
def lake(tmp_path: Path) -> Path:
    """A lake of one drawn sequence of MOT."""
    from_mot(write_mot(tmp_path), tmp_path / 'lake', sequences=[FIRST])
    return tmp_path / 'lake'


def exported(path: Path | str, folder: Path) -> dict[str, Any]:
    to_coco(str(path), folder / 'out.json', overwrite=True)
    return json.loads((folder / 'out.json').read_text())


def corrected(lake: Path, change: Callable[[list[dict[str, Any]]], Any]) -> Path:
    content = exported(lake, lake.parent)
    change(content['annotations'])
    file = lake.parent / 'corrected.json'
    file.write_text(json.dumps(content))
    return file


def test_a_box_that_is_moved_stays_that_of_its_object(lake: Path) -> None:
    """On the branch every other number is as before."""
    before = exported(lake, lake.parent)
    file = corrected(lake, lambda boxes: boxes[0].update(bbox=[1, 2, 9, 9]))
    update(str(lake), file, 'fixed')
    after = exported(f'{lake}@fixed', lake.parent)
    before['annotations'][0]['bbox'] = [1, 2, 9, 9]
    assert after == before
    assert DeepLakeVideoDataset(f'{lake}@fixed')[0]['images'][0]['instances']


@pytest.mark.parametrize('kind', ['removed', 'added'])
def test_boxes_are_not_added_and_not_removed(kind: str, lake: Path) -> None:
    """A file of COCO does not say whose numbers a box would have; nothing is written."""

    def change(boxes: list[dict[str, Any]]) -> None:
        if kind == 'removed':
            del boxes[0]
        else:
            boxes.append({**boxes[0], 'id': 999})

    with pytest.raises(ValueError, match=r'but not added or removed, .* \(instance_id\)'):
        update(str(lake), corrected(lake, change), 'fixed')
    assert 'fixed' not in list(open_lake(str(lake), False).branches.names())


@pytest.mark.parametrize('column', ['gt_instance_ids', 'instance_id', 'track'])
def test_boxes_in_another_order_keep_their_objects(column: str, tmp_path: Path) -> None:
    """In lakes of one's own too, whatever the column is named; other boxes are refused."""
    rows = [
        {**row(n, [(2 + n, 2, 10, 12), (40, 20, 15, 15)], [0, 0]), 'video_id': 1, 'frame_id': n, column: np.array([7, 8])}
        for n in range(2)
    ]
    types = {'video_id': T.Int64(), 'frame_id': T.Int64(), column: T.Array('int64', 1)}
    lake = Path(write_lake(tmp_path / 'lake', rows, types))

    def change(boxes: list[dict[str, Any]]) -> None:
        boxes.reverse()
        boxes[-1].update(bbox=[4, 3, 10, 12])

    update(str(lake), corrected(lake, change), 'fixed')
    keys = dict(test_mode=True, deeplake_tensors={'gt_instance_ids': column})
    frame = DeepLakeVideoDataset(f'{lake}@fixed', **keys).get_data_info(0)['images'][0]
    found = {each['instance_id']: each['bbox'] for each in frame['instances']}
    assert found == {7: [4, 3, 14, 15], 8: [40, 20, 55, 35]}
    with pytest.raises(ValueError, match=rf'but not added or removed, .* \({column}\)'):
        update(str(lake), corrected(lake, lambda boxes: boxes.pop()), 'other')
    assert 'other' not in list(open_lake(str(lake), False).branches.names())


def test_numbers_that_are_not_one_per_box_are_an_error(lake: Path) -> None:
    """They would be those of other boxes."""
    dataset = open_lake(str(lake))
    dataset['instance_id'][1] = dataset['instance_id'][1][:-1]
    dataset.commit()
    with pytest.raises(ValueError, match=r"'instance_id', row 1: there must be one number per box"):
        exported(lake, lake.parent)


def test_columns_of_these_names_in_lakes_of_images(tmp_path: Path) -> None:
    """They are the user's, whatever they hold."""
    rows = [{**row(number, [(1, 2, 10, 12)], [0]), 'instance_id': 'obj-a'} for number in range(2)]
    path = write_lake(tmp_path / 'lake', rows, {'instance_id': T.Text()})
    assert 'instance_id' not in exported(path, tmp_path)['annotations'][0]


def test_keys_that_some_annotations_lack(tmp_path: Path) -> None:
    """But for the number of the object, they are left out."""
    from_mot(write_mot(tmp_path), tmp_path / 'lake', sequences=[FIRST])
    content = exported(tmp_path / 'lake', tmp_path)
    del content['annotations'][0]['visibility']
    file = tmp_path / 'file.json'
    file.write_text(json.dumps(content))
    from_coco(file, tmp_path / 'train', tmp_path / 'again')
    again = exported(tmp_path / 'again', tmp_path)
    for annotation in content['annotations']:
        annotation.pop('visibility', None)
    assert again['annotations'] == content['annotations']


@pytest.fixture()
def messages(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The warnings about classes."""
    found: list[str] = []
    import mmdet_deeplake_plugin.datasets.class_comparison as comparison
    import mmdet_deeplake_plugin.hooks.class_check as class_check

    _latest.clear()
    for module in (comparison, class_check):
        monkeypatch.setattr(module, 'warn', found.append)
    yield found
    _latest.clear()


def test_distractors_of_the_test_set_are_not_other_classes(lake: Path, messages: list[str]) -> None:
    """MOT needs them to score a model of pedestrians."""
    classes = dict(metainfo=dict(classes=('pedestrian',)))
    keep = [DeepLakeVideoDataset(str(lake), **classes), DeepLakeVideoDataset(str(lake), test_mode=True)]

    class Runner:
        val_dataloader = DataLoader(keep[1])

    hook = DeepLakeClassCheckHook()
    hook.after_load_checkpoint(Runner, dict(meta=dict(dataset_meta=classes['metainfo'])))
    hook.before_val(Runner)
    assert not messages
    other = DeepLakeVideoDataset(str(lake), test_mode=True, metainfo=dict(classes=('car', 'pedestrian')))
    (message,) = messages
    assert "write metainfo=dict(classes=('pedestrian',)) for the test set" in message
    assert other is not None


def test_hooks_of_images_refuse_videos(lake: Path) -> None:
    """By the name of the dataset."""
    dataset = DeepLakeVideoDataset(str(lake))
    loader = DataLoader(dataset, sampler=DeepLakeLoader(dataset))
    with pytest.raises(TypeError, match=r'videos cannot be resumed in mid-epoch, .* has a DeepLakeVideoDataset'):
        find_sampler(loader)
    with pytest.raises(ValueError, match=f'{DeepLakeLossHook.__name__} computes the loss of single images'):
        ImageAnnotations(dataset, 'val')


def test_inspect_names_the_dataset_of_videos(lake: Path) -> None:
    """Beside that of single frames."""
    text = inspect(str(lake))
    assert text.endswith(
        "  # rows are frames of videos: type='DeepLakeVideoDataset' reads them as such"
    )


def test_frames_can_be_sliced(lake: Path) -> None:
    """As the list of stock can."""
    images = DeepLakeVideoDataset(str(lake), test_mode=True).get_data_info(0)['images']
    assert [each['frame_id'] for each in images[1:3]] == [1, 2]


def test_what_else_folders_of_mot_hold(tmp_path: Path) -> None:
    """A byte-order mark, a percent sign, hidden files and empty lines."""
    folder = write_mot(tmp_path)
    ini = folder / FIRST / 'seqinfo.ini'
    ini.write_text('\ufeff' + ini.read_text() + 'note=100 %\n', encoding='utf-8')
    (folder / FIRST / 'img1/.DS_Store').write_text('')
    with (folder / FIRST / 'gt/gt.txt').open('a') as file:
        file.write('\n')
    assert 'wrote 1 videos, 6 frames' in from_mot(folder, tmp_path / 'lake', sequences=[FIRST])
    assert len(DeepLakeDataset(str(tmp_path / 'lake'), test_mode=True)) == 6
