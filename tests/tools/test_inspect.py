"""tools.inspect shows what a lake holds, and what to write to read it."""

from __future__ import annotations

import ast
import re

import deeplake
import pytest
from helpers.lakes import row, write_lake

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.tools.inspect import inspect, main
from mmdet_deeplake_plugin.tools.to_coco import to_coco


def test_shows_roles_boxes_and_classes(lake):
    """Numbers are those of the files that the lake was made of."""
    text = inspect(lake('bccd_train'))
    assert 'boxes:    2805 in 205 of 205 images' in text
    assert 'rows:     205' in text
    assert 'convention xywh, style coco' in text
    assert '1 without extent' in text
    for role, column in (('img', 'images'), ('gt_bboxes', 'boxes'), ('area', 'area')):
        assert f'{role:16}{column}' in text
    assert '2382  RBC' in text and '209  Platelets' in text


def test_shows_masks(lake):
    """How masks are stored, and their role in the snippet to paste."""
    text = inspect(lake('coco_cc'))
    assert 'masks:    COCO segmentations as JSON, column segmentation' in text
    assert "'gt_masks': 'segmentation'" in text
    assert 'masks:' not in inspect(lake('bccd_val'))


def test_the_snippet_builds_the_same_dataset(lake):
    """What it prints for a config can be pasted, and means the rows it showed."""
    path = lake('bccd_val')
    query = 'SELECT * WHERE image_id > 40'
    text = inspect(path, query=query)
    snippet = text.split('for a config:')[1].split('# and')[0].replace('…', '()')
    arguments = {
        item.arg: ast.literal_eval(item.value)
        for item in ast.parse(snippet.strip()).body[0].value.keywords
    }
    assert arguments.pop('type') == 'DeepLakeDataset'
    built = DeepLakeDataset(**arguments)
    assert f'rows:     87, {len(built)} selected' in text
    assert 0 < len(built) < 87


def test_an_ambiguous_lake_is_shown_with_the_problem(tmp_path):
    """Columns are listed although their roles cannot be told."""
    dataset = deeplake.create(str(tmp_path / 'lake'))
    dataset.add_column('left', deeplake.types.Image())
    dataset.add_column('right', deeplake.types.Image())
    dataset.commit()
    text = inspect(str(tmp_path / 'lake'))
    assert 'left' in text and 'right' in text
    assert "problem: deeplake_tensors['img'] is not set and 2 columns match" in text


def test_no_lake_is_an_error_without_traceback(tmp_path, capsys):
    """The command line says what is missing and ends with 2."""
    assert main([str(tmp_path / 'nothing')]) == 2
    assert 'no Deep Lake dataset was found there' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('columns', 'problem'),
    [
        ({}, 'must have rows, found 0; append rows and commit() them'),
        (dict.fromkeys(row(0)), 'has no columns; add them with add_column'),
    ],
    ids=['no rows', 'no columns'],
)
def test_an_empty_lake_is_shown_with_what_it_misses(columns, problem, tmp_path):
    """The state is shown, and the other tools refuse the lake with the same words."""
    path = write_lake(tmp_path / 'lake', [], columns)
    text = inspect(path)
    assert 'rows:     0' in text and 'problem: ' in text and problem in text
    with pytest.raises(ValueError, match=re.escape(problem)):
        to_coco(path, tmp_path / 'out.json')
