"""``tools.triage`` shows verdicts only beside the annotations that they are about."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.lakes import TYPES, open_lake, write_lake
from helpers.predictions import (
    CASES,
    CAT,
    DOG,
    polygons_of_cases,
    predict,
    predict_cases,
    rows_of_cases,
)
from helpers.triage_data import data_of

from mmdet_deeplake_plugin.tools.to_coco import to_coco
from mmdet_deeplake_plugin.tools.triage import triage
from mmdet_deeplake_plugin.tools.triage_page.comparison import CHANGES
from mmdet_deeplake_plugin.tools.update import update

COUNT = len(CASES)
ROWS = [2, 3]  # which are corrected
REST = 'SELECT * WHERE image_id < 2 OR image_id > 3'
OWL = 2


def _correct(path: str, folder: Path, values: dict[str, Any] | None = None) -> None:
    """Changes the dogs of some rows on the branch ``relabel``: to owls by default."""
    to_coco(path, folder / 'corrected.json')
    content = json.loads((folder / 'corrected.json').read_text())
    for annotation in content['annotations']:
        if annotation['image_id'] in ROWS and annotation['category_id'] == 1:
            annotation.update(values or {'category_id': OWL})
    (folder / 'corrected.json').write_text(json.dumps(content))
    update(path, folder / 'corrected.json', 'relabel')


def _merge(path: str, *branches: str) -> None:
    lake = open_lake(path)
    for name in branches:
        lake.merge(name, message=f'Merge {name}')


def _refused(name: str, where: str, than: str, rows: Sequence[int] = ROWS) -> Any:
    """Expects the error, with all that it says."""
    path = than.partition('@')[0]
    text = (
        rf"^'{name}' of lake {re.escape(where)} \(.*\) was judged by other annotations than lake "
        rf'{re.escape(than)} \(.*\) has, in {len(rows)} of {COUNT} images \(the first in row '
        rf"{rows[0]}\): .*; run tools/test\.py again with deeplake_path='{re.escape(path)}.*' and "
        r'another name= in DeepLakePredictions, or make the page of the branch'
    )
    return pytest.raises(ValueError, match=text)


@pytest.mark.parametrize('order', [('relabel', 'runs/a'), ('runs/a', 'relabel')], ids='-'.join)
def test_corrections_that_are_merged_with_predictions(order, path, tmp_path):
    """Their page is refused; the branch, other images, and new predictions have one."""
    _correct(path, tmp_path)
    _merge(path, *order)
    with _refused('net', f'{path}@main', f'{path}@main'):
        triage(path, tmp_path / 'page')
    assert not (tmp_path / 'page').exists()
    triage(path, tmp_path / 'rest', query=REST)
    assert data_of(tmp_path / 'rest')['images']['row'] == [0, 1, 4, 5, 6]
    triage(f'{path}@runs/a', tmp_path / 'before')
    assert OWL not in data_of(tmp_path / 'before')['annotations']['labels']
    predict_cases(path, name='new', branch='runs/new')
    triage(f'{path}@runs/new', tmp_path / 'new', name='new')
    assert OWL in data_of(tmp_path / 'new')['annotations']['labels']
    with _refused('net', f'{path}@runs/new', f'{path}@runs/new'):
        triage(f'{path}@runs/new', tmp_path / 'both', name='new', compare='runs/new')


def test_predictions_that_are_merged_alone(path, tmp_path):
    """Their page is that of their branch."""
    triage(f'{path}@runs/a', tmp_path / 'branch')
    _merge(path, 'runs/a')
    triage(path, tmp_path / 'main')
    one, other = (data_of(tmp_path / name) for name in ('branch', 'main'))
    for key in ('numbers', 'curves', 'images'):
        assert one[key] == other[key]
    assert (one['runs'][0]['verdicts'] == other['runs'][0]['verdicts']).all()


def test_runs_on_two_branches(path, tmp_path):
    """Are compared on the images whose annotations are the same on both."""
    _correct(path, tmp_path)
    predict_cases(f'{path}@relabel', branch='runs/b')
    for this, other in (('runs/a', 'runs/b'), ('runs/b', 'runs/a')):
        with _refused('net', f'{path}@{other}', f'{path}@{this}'):
            triage(f'{path}@{this}', tmp_path / 'page', compare=other)
        triage(f'{path}@{this}', tmp_path / 'rest', query=REST, compare=other, overwrite=True)
        compare = data_of(tmp_path / 'rest')['compare']
        assert [CHANGES[each] for each in compare['change']] == ['same'] * (COUNT - len(ROWS))


CORRECTIONS: dict[str, tuple[dict[str, Any], str]] = {
    'box': (dict(bbox=[30, 5, 30, 29.5]), 'bbox'),
    'crowd': (dict(iscrowd=1, segmentation=dict(size=[40, 64], counts=[0, 60, 2500])), 'bbox'),
    'mask': (dict(segmentation=[[30, 5, 60, 5, 60, 35]]), 'segm'),
}


@pytest.mark.parametrize('name', CORRECTIONS)
def test_each_correction_counts(name, tmp_path):
    """Boxes, crowds, and masks if those were compared."""
    values, iou_type = CORRECTIONS[name]
    rows = rows_of_cases(
        COUNT,
        segmentation=lambda _: polygons_of_cases(),
        iscrowd=lambda _: np.zeros(2, np.int32),
    )
    kinds = dict(segmentation='text', iscrowd='ints')
    columns = {column: TYPES[kind] for column, kind in kinds.items()}
    path = write_lake(tmp_path / 'lake', rows, columns)
    found = {number: [(CAT, 0.9, 0), (DOG, 0.8, 1)] for number in range(COUNT)}
    predict(path, found, masks=True, iou_type=iou_type)
    triage(f'{path}@runs/a', tmp_path / 'before')
    _correct(path, tmp_path, values)
    _merge(path, 'relabel', 'runs/a')
    with _refused('net', f'{path}@main', f'{path}@main'):
        triage(path, tmp_path / 'page')


def test_predictions_of_which_that_is_not_known(path, tmp_path):
    """An earlier version did not write it."""
    lake = open_lake(path)  # branches end with their lake
    head = lake.branches['runs/a'].open()
    head.remove_column('net/gt_digest')
    head.commit()
    with pytest.raises(ValueError, match=r'must have a column gt_digest.*; run tools/test.py again'):
        triage(f'{path}@runs/a', tmp_path / 'page')


def test_annotations_of_other_columns(tmp_path):
    """Which the page does not show."""
    rows = rows_of_cases(COUNT, other=lambda _: rows_of_cases(1)[0]['boxes'][::-1])
    path = write_lake(tmp_path / 'lake', rows, {'other': TYPES['table']})
    keys = dict(deeplake_tensors=dict(gt_bboxes='other'), box_format='xywh')
    predict_cases(path, dataset=keys)
    with _refused('net', f'{path}@runs/a', f'{path}@runs/a', range(COUNT)):
        triage(f'{path}@runs/a', tmp_path / 'page')
