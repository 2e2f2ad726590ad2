"""tools.inspect shows what a lake holds, and what to write to read it."""

from __future__ import annotations

import ast
import re

import deeplake
import numpy as np
import pytest
from helpers.lakes import branch, open_lake, row, version, write_lake

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.lake.branch_differences import _changed_rows
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


@pytest.fixture
def branched(tmp_path) -> str:
    """A lake with three branches: of updated rows, of further columns, of more rows."""
    path = write_lake(tmp_path / 'lake')
    main = open_lake(path)
    main[3]['file_name'] = 'before.jpg'  # belongs to main, not to a branch
    main.commit('renamed')
    main.branch('relabel')
    head = main.branches['relabel'].open()
    head['boxes'][1:3] = [np.ones((1, 4)), np.zeros((2, 4))]
    head['categories'][2:3] = [np.array([0, 1], np.int32)]
    head.commit('corrected two')
    main.branch('runs/a')
    head = main.branches['runs/a'].open()
    for name in ('net/tp', 'net/fp', 'note'):
        head.add_column(name, deeplake.types.Nullable(deeplake.types.Int32()))
    head.commit('predictions of net')
    branch(path, 'more', [7, 8])
    return path


def test_shows_how_branches_differ(branched):
    """Commits, rows and columns of each, not those of what it was made of."""
    made_of = f'made of main (version {version(branched)}):'
    shown = inspect(branched).split('\nbranches:\n')[1].split('\n\n')[0]
    lines = [re.sub(r'[0-9a-z]{19}  \S+ \S+', 'ID', line) for line in shown.split('\n')]
    assert lines == [
        f'  more, {made_of}',
        '    ID  ',
        '    8 rows, where main had 6',
        f'  relabel, {made_of}',
        '    ID  corrected two',
        '    rows changed: 2, in boxes (2), categories (1)',
        f'  runs/a, {made_of}',
        '    ID  predictions of net',
        '    columns added: net/… (2), note',
    ]
    assert '\nbranches:\n' in inspect(f'{branched}@relabel')


def test_rows_are_compared_by_value_without_a_list_of_files(branched, monkeypatch):
    """The same rows, by the public way."""
    base, head = open_lake(branched, False), open_lake(f'{branched}@relabel', False)
    columns = ('boxes', 'categories', 'file_name', 'images')
    found = [_changed_rows(head, base, column) for column in columns]
    assert found == [{1, 2}, {2}, set(), set()]
    module = 'mmdet_deeplake_plugin.lake.branch_differences.list_updates'
    monkeypatch.setattr(module, lambda *_: None)
    assert [_changed_rows(head, base, column) for column in columns] == found


def test_a_branch_can_be_merged(branched):
    """As docs/loop.md shows it: corrections and further columns come to main."""
    dataset = open_lake(branched)
    for name in ('relabel', 'runs/a'):
        dataset.merge(name, message=f'Merge {name}')
    head = open_lake(branched, False)
    assert head['boxes'][1].tolist() == [[1, 1, 1, 1]]
    assert head['categories'][2].tolist() == [0, 1]
    assert head['boxes'][0].tolist() == [[1, 2, 10, 12]]
    assert head['file_name'][3] == 'before.jpg'
    assert 'net/tp' in [column.name for column in head.schema.columns]
    assert len(head) == 6
    assert [each.message for each in head.history][-2:] == ['Merge relabel', 'Merge runs/a']


def test_a_branch_whose_base_was_deleted(tmp_path):
    """It is shown, without differences to what is not there."""
    path = write_lake(tmp_path / 'lake')
    main = open_lake(path)
    main.branch('one')
    one = main.branches['one'].open()
    one['image_id'][0] = 99
    one.commit()
    one.branch('two')
    main.branches['one'].delete()
    shown = inspect(path)
    assert 'two, made of a branch that was deleted (version ' in shown
    assert 'no difference' not in shown
