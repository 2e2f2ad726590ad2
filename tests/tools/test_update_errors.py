"""What ``tools.update`` refuses, each with what to write, and nothing is half-written."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.lakes import (
    CLASSES,
    TYPES,
    box_type,
    open_lake,
    row,
    tag,
    version,
    write_lake,
)
from helpers.object_store import Fault, ObjectStore

from mmdet_deeplake_plugin.lake import (
    LakeSpec,
    PredictionBranch,
    PredictionColumn,
    corrections,
)
from mmdet_deeplake_plugin.lake import branch as branch_module
from mmdet_deeplake_plugin.lake import open_lake as open_ours
from mmdet_deeplake_plugin.tools.to_coco import to_coco
from mmdet_deeplake_plugin.tools.update import main, update

WITH_IDS = {'ann_id': TYPES['ints']}
BOXES = ((1, 2, 10, 12), (20, 5, 8, 8))


def with_ids(number: int) -> dict[str, Any]:
    ids = np.array([10 * number + 1, 10 * number + 2], np.int32)
    return {**row(number, BOXES), 'ann_id': ids}


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A lake of three rows with two annotations each, whose ids it stores."""
    rows = [with_ids(number) for number in range(3)]
    return write_lake(tmp_path / 'lake', rows, WITH_IDS)


@pytest.fixture
def content(path: str, tmp_path: Path) -> dict[str, Any]:
    """Its export."""
    return export(path, tmp_path)


def export(path: str, tmp_path: Path) -> dict[str, Any]:
    to_coco(path, tmp_path / 'out.json', overwrite=True)
    return json.loads((tmp_path / 'out.json').read_text())


def write(content: Any, tmp_path: Path) -> Path:
    file = tmp_path / 'corrected.json'
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def _set(key: str, number: int, **values: Any) -> Any:
    return lambda content: content[key][number].update(values)


def _drop(key: str) -> Any:
    return lambda content: content.pop(key)


WRONG = {
    'other-id': (
        _set('images', 0, id=77),
        'has image_id 0, which is not in',
    ),
    'image-not-in-the-lake': (
        lambda content: content['images'].append(
            dict(id=77, file_name='x.jpg', width=64, height=40)
        ),
        r'1 of 4 images are not in lake .*, the first has the id 77; is the file of '
        r'another lake\? .*--by file_name',
    ),
    'other-file-name': (
        _set('images', 1, file_name='other.jpg'),
        r"image 1 has the file name 'other.jpg', but in lake .* it has '000001.jpg'; is "
        r'the file of another lake\?',
    ),
    'other-size': (
        _set('images', 2, width=65),
        r'image 2 has the size \(65, 40\), but in lake .* it has \(64, 40\)',
    ),
    'unknown-class': (
        _set('categories', 0, name='cta'),
        r"the category 'cta' is not a class of .* \(did you mean cat\?\); its classes are "
        r'cat, dog, owl',
    ),
    'other-category-id': (
        lambda content: [
            each.update(id=[2, 1, 0][each['id']]) for each in content['categories']
        ],
        r"the category 'cat' has the id 2, but in lake .* it has 0; is the file of",
    ),
    'foreign-annotation': (
        _set('annotations', 0, id=22, image_id=1),
        'must have distinct ids',
    ),
    'annotation-of-another-image': (
        lambda content: content['annotations'].append(
            {**content['annotations'].pop(5), 'image_id': 0}
        ),
        r'image 0 \(000000.jpg\) has the annotation 22, which in lake .* is one of image '
        r'2; write an id that is not in the lake',
    ),
    'no-annotations': (_drop('annotations'), r"must have 'annotations', got \["),
    'no-categories': (_drop('categories'), 'it must have the keys'),
    'crowd': (
        _set('annotations', 1, iscrowd=1),
        r"annotation 1 has 'iscrowd', but the lake has no column for it",
    ),
    'ignore': (
        lambda content: content['annotations'].append(
            {**content['annotations'][0], 'id': 99, 'ignore': 1}
        ),
        r"annotation 2 has 'ignore', but the lake has no column for it",
    ),
    'mask': (
        _set('annotations', 2, segmentation=[[1, 2, 3, 4, 5, 6]]),
        r"annotation 0 has 'segmentation', but the lake has no column for it",
    ),
    'box': (_set('annotations', 2, bbox=[1, 2, 3]), "must have a 'bbox' of 4 finite"),
    'big-id': (
        lambda content: content['annotations'].append(
            {**content['annotations'][0], 'id': 2**40}
        ),
        r"column 'ann_id', row 0: the column holds int32, got .*; round the values",
    ),
    'panoptic': (
        lambda content: content.update(
            annotations=[dict(image_id=0, segments_info=[], file_name='0.png')],
            categories=[dict(id=0, name='cat', isthing=1)],
        ),
        'must be a COCO file of instances, but its annotations are segments',
    ),
}


@pytest.mark.parametrize('case', WRONG)
def test_a_file_that_does_not_fit(case, path, content, tmp_path):
    """The error says what is wrong, and no branch is made."""
    spoil, text = WRONG[case]
    spoil(content)
    with pytest.raises(ValueError, match=text):
        update(path, write(content, tmp_path), 'relabel')
    assert _branches(path) == ['main']


def test_a_file_name_must_be_one_image(path, content, tmp_path):
    """By file name, neither the lake nor the file may have it twice."""
    content['images'][1]['file_name'] = '000000.jpg'
    with pytest.raises(ValueError, match=r"images must be distinct, .* '000000.jpg'"):
        update(path, write(content, tmp_path), 'relabel', by='file_name')
    twice = write_lake(tmp_path / 'twice', [row(0), row(0), row(1)])
    with pytest.raises(ValueError, match=r"several rows have the id 0 .* --by file_name"):
        update(twice, write(content, tmp_path), 'relabel')


@pytest.mark.parametrize(
    ('keys', 'text'),
    [
        (dict(branch='main'), "branch='main' must not be used for corrections"),
        (dict(branch='a b'), r"--branch must be of letters, .* got 'a b'; write --branch"),
        (dict(by='name'), r"--by='name' is unknown.*; write 'id' or 'file_name'"),
        (dict(tolerance=-1), '--tolerance must be a number of pixels, got -1'),
        (dict(tolerance=float('nan')), '--tolerance must be a number of pixels, got nan'),
    ],
    ids=lambda value: str(value)[:20],
)
def test_options(keys, text, path, content, tmp_path):
    """Each is named with what to write."""
    with pytest.raises(ValueError, match=text):
        update(path, write(content, tmp_path), **{'branch': 'relabel', **keys})


def test_what_is_not_a_branch(path, content, tmp_path):
    """Saved views number their rows in another way."""
    file = write(content, tmp_path)
    tag(path, 'SELECT * WHERE image_id > 0', 'late')
    tag(path, 'SELECT * WHERE image_id > 0', 'moving', fixed=False)
    with pytest.raises(ValueError, match='is a saved view, whose rows have other numbers'):
        update(f'{path}@late', file, 'relabel')
    with pytest.raises(ValueError, match='is a saved view; write the lake'):
        update(f'{path}@moving', file, 'relabel')


def test_lakes_that_cannot_be_corrected(tmp_path, path, content):
    """Each says why, and how to correct it instead."""
    file = write(content, tmp_path)
    bare = [{k: v for k, v in row(n).items() if k not in ('boxes', 'categories')} for n in (0, 1)]
    empty = write_lake(tmp_path / 'empty', bare, dict(boxes=None, categories=None))
    with pytest.raises(ValueError, match='has no annotations to correct; choose their'):
        update(empty, file, 'a', tensors=dict(gt_bboxes=None, gt_labels=None))
    rows = [{**row(n), 'vbox': np.array([[1.0, 2, 3, 4]])} for n in range(3)]
    people = write_lake(
        tmp_path / 'people', rows, {'vbox': box_type('ltwh', 'pixel')},
        metadata=dict(annotation_style='crowdhuman'),
    )
    crowd = export(people, tmp_path)
    crowd['annotations'][1]['bbox'] = [2, 2, 10, 12]
    assert '1 moved' in update(people, write(crowd, tmp_path), 'moved')
    del crowd['annotations'][0]
    with pytest.raises(ValueError, match=r'row 0: annotations can be moved .* \(vbox\)'):
        update(people, write(crowd, tmp_path), 'b')
    assert 'b' not in _branches(people)


@pytest.mark.parametrize(
    ('column', 'tensors'),
    [('segment_id', {}), ('track', {'gt_instance_ids': 'track'})],
    ids=['segments', 'tracks of another name'],
)
def test_every_column_with_a_value_per_box_is_known(column, tensors, tmp_path):
    """Without an annotation it would have more values than boxes, and not be read."""
    rows = [{**row(n, BOXES), column: np.array([1, 2], np.int32)} for n in range(2)]
    path = write_lake(tmp_path / 'lake', rows, {column: TYPES['ints']})
    content = export(path, tmp_path)
    content['annotations'][1]['category_id'] = 2
    assert '1 relabelled' in update(path, write(content, tmp_path), 'a', tensors=tensors)
    del content['annotations'][1]
    for dry_run in (True, False):
        with pytest.raises(ValueError, match=rf'row 0: .* not added or removed, .* \({column}\)'):
            update(path, write(content, tmp_path), 'b', tensors=tensors, dry_run=dry_run)


def test_verdicts_are_about_the_annotations_that_they_saw(path, content, tmp_path):
    """A branch with predictions is not corrected; the lake that was predicted on is."""
    lake, _ = open_ours(LakeSpec.from_config(path))
    columns = {
        'boxes': PredictionColumn('boxes'),
        'labels': PredictionColumn('labels', CLASSES),
        'gt_fate': PredictionColumn('integers'),
    }
    values = {
        'boxes': [np.zeros((1, 4), np.float32)],
        'labels': [np.zeros(1, np.int32)],
        'gt_fate': [np.zeros(2, np.int32)],
    }
    PredictionBranch(lake.source, 'runs/a', 'net').write(
        columns, [(np.array([0]), values)], {}
    )
    content['annotations'][0]['category_id'] = 2
    with pytest.raises(ValueError, match=r"has predictions 'net', whose verdicts are about"):
        update(f'{path}@runs/a', write(content, tmp_path), 'relabel')
    assert '1 relabelled' in update(path, write(content, tmp_path), 'relabel')


def test_integers_do_not_hold_fractions(tmp_path):
    """A column of whole pixels is not rounded in silence."""
    columns = {'boxes': box_type('ltwh', 'pixel', 'int32')}
    rows = [{**row(n), 'boxes': np.array([[1, 2, 10, 12]], np.int32)} for n in range(2)]
    path = write_lake(tmp_path / 'lake', rows, columns)
    content = export(path, tmp_path)
    content['annotations'][1]['bbox'] = [1.5, 2, 10, 12]
    with pytest.raises(ValueError, match=r"column 'boxes', row 1: the column holds int32"):
        update(path, write(content, tmp_path), 'relabel')
    content['annotations'][1]['bbox'] = [3, 2, 10, 12]
    update(path, write(content, tmp_path), 'relabel')
    head = open_lake(f'{path}@relabel', False)
    assert head['boxes'][1].tolist() == [[3, 2, 10, 12]]


def test_numbers_as_json_are_not_corrected(tmp_path):
    """They can be read, but not written; the error names the column."""
    rows = [{**row(n, BOXES), 'area': '[120.0, 64.0]'} for n in range(2)]
    path = write_lake(tmp_path / 'lake', rows, {'area': TYPES['text']})
    content = export(path, tmp_path)
    content['annotations'][1]['category_id'] = 2
    with pytest.raises(ValueError, match=r"column 'area': corrections can be written to"):
        update(path, write(content, tmp_path), 'relabel')


def test_the_command_line(path, content, tmp_path, capsys):
    """A line on stderr and 2, or the differences and 0."""
    content['annotations'][0]['bbox'] = [2, 2, 10, 12]
    file = write(content, tmp_path)
    arguments = [path, str(file), '--branch', 'relabel']
    assert main([*arguments, '--dry-run']) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1] == '  ~ 1 cat [1, 2, 10, 12]: moved to [2, 2, 10, 12]'
    assert main(arguments) == 0
    assert "written to branch 'relabel'" in capsys.readouterr().out
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: branch 'relabel' of lake")
    assert main([path, 'nothing.json', '--branch', 'x']) == 2
    assert 'annotation file nothing.json does not exist' in capsys.readouterr().err
    assert main([path, str(write('{', tmp_path)), '--branch', 'x']) == 2
    assert 'is not a JSON file' in capsys.readouterr().err


def test_without_write_access_and_storage_that_fails(path, content, tmp_path):
    """Nothing is changed, the error has no secret, and a second try succeeds."""
    content['annotations'][0]['category_id'] = 2
    file = write(content, tmp_path)
    with ObjectStore.start(tmp_path) as store:
        url, keys = store.upload(path, 'lake'), dict(credentials=dict(creds=store.creds))
        store.set_faults(Fault('AccessDenied', methods='PUT POST DELETE'))
        with pytest.raises(PermissionError) as error:
            update(url, file, 'relabel', **keys)
        assert 'must be writable, but the storage refused' in str(error.value)
        assert '--creds' in str(error.value)
        assert store.creds['aws_secret_access_key'] not in str(error.value)
        assert '1 relabelled' in update(url, file, 'relabel', dry_run=True, **keys)
        store.clear()
        assert 'written to branch' in update(url, file, 'relabel', **keys)


def _branches(path: str) -> list[str]:
    lake = open_lake(path, False)  # its branches end with it
    return list(lake.branches.names())


def _killed_at(path: str, file: Path, line: int) -> int:
    """Update in a child that kills itself at the line-th line; return how many ran."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        count = 0
        traced = (branch_module.__file__, corrections.__file__)

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal count
            if frame.f_code.co_filename not in traced:
                return None
            count += event == 'line'
            if count == line:
                os.kill(os.getpid(), 9)
            return trace

        sys.settrace(trace)
        try:
            update(path, file, 'relabel')
        finally:
            sys.settrace(None)
            os.write(writer, str(count).encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as answer:
        return int(answer.read() or 0)


def test_killed_at_any_point(path, content, tmp_path):
    """The lake reads as before, or all is written; and the next try succeeds."""
    content['annotations'][0]['category_id'] = 2
    del content['annotations'][3]
    file, before = write(content, tmp_path), version(path)
    shutil.copytree(path, tmp_path / 'whole')
    lines = _killed_at(str(tmp_path / 'whole'), file, -1)
    assert lines > 80
    left = 0
    for number, line in enumerate(random.Random(1).sample(range(1, lines), 8)):
        copy = str(shutil.copytree(path, tmp_path / str(number)))
        assert _killed_at(copy, file, line) == 0
        assert version(copy) == before
        names = _branches(copy)
        left += 'relabel' in names
        head = open_lake(f'{copy}@relabel', False) if 'relabel' in names else None
        if head is None or len(list(head.history)) == 1:
            update(copy, file, 'relabel')
        found = export(f'{copy}@relabel', tmp_path)['annotations']
        assert [each['id'] for each in found] == [1, 2, 11, 21, 22]
        assert found[0]['category_id'] == 2
    assert left
