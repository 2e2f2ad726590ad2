"""Columns of JSON, class names in place of labels, and types that no role takes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from deeplake import types as T
from helpers.lakes import CLASSES, TYPES, row, write_lake

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric
from mmdet_deeplake_plugin.lake.connection.json_values import parse_json, split_key

BOXES = ((1, 2, 10, 12), (20, 5, 30, 30))
TEXT = T.Text()


def _lake(path: Any, values: dict[str, Any], types: dict[str, Any], **keys: Any) -> str:
    """A lake of four rows with two boxes each, and further values that are the same."""
    rows = [{**row(number, BOXES, [0, 2]), **values} for number in range(4)]
    return write_lake(path, rows, types, **keys)


def _labels(dataset: DeepLakeDataset) -> list[list[int]]:
    return [dataset.get_cat_ids(index) for index in range(len(dataset))]


# --------------------------------------------------------------------- names as labels

NAMES = json.dumps(['owl', 'cat'])
LISTS = pytest.mark.parametrize(
    ('names', 'dtype'),
    [(NAMES, TEXT), (['owl', 'cat'], T.Sequence(TEXT))],
    ids=['JSON', 'lists'],
)


@LISTS
def test_names_are_labels_in_the_order_of_the_config(names, dtype, tmp_path):
    """Classes that the config leaves out are left out of samples and of the metric."""
    types = {'categories': dtype}
    path = _lake(tmp_path / 'lake', {'categories': names}, types, class_names=None)
    roles = dict(gt_labels='categories')
    for classes, labels in (
        (('cat', 'owl'), [1, 0]),
        (('owl', 'cat'), [0, 1]),
        (('owl',), [0]),
    ):
        dataset = DeepLakeDataset(
            path, deeplake_tensors=roles, metainfo=dict(classes=classes)
        )
        assert _labels(dataset) == [labels] * 4
        assert dataset.metainfo['classes'] == classes


@LISTS
def test_names_are_labels_in_the_order_of_the_lake(names, dtype, tmp_path):
    """If the column has class_names."""
    path = _lake(tmp_path / 'lake', {'categories': names}, {'categories': dtype})
    dataset = DeepLakeDataset(path, deeplake_tensors=dict(gt_labels='categories'))
    assert _labels(dataset) == [[2, 0]] * 4 and dataset.metainfo['classes'] == CLASSES


def test_the_metric_scores_them(tmp_path):
    """Ground truth is read by names too."""
    path = _lake(tmp_path / 'lake', {'categories': NAMES}, {'categories': TEXT})
    keys: dict[str, Any] = dict(deeplake_tensors=dict(gt_labels='categories'))
    dataset = DeepLakeDataset(path, test_mode=True, **keys)
    metric = DeepLakeMetric()
    metric.dataset_meta = dataset.metainfo
    for index in range(4):
        info = dataset.get_data_info(index)
        boxes = torch.tensor([each['bbox'] for each in info['instances']])
        predicted = dict(
            bboxes=boxes, labels=torch.tensor([2, 0]), scores=torch.ones(2)
        )
        metric.process({}, [dict(img_path=info['img_path'], pred_instances=predicted)])
    assert metric.evaluate(4)['coco/bbox_mAP'] == 1


WRONG_NAMES = {
    'without an order': (
        NAMES,
        dict(class_names=None),
        'stores the names of classes in place of labels, so metainfo.classes must say '
        "their order; write metainfo=dict(classes=('cat', 'owl')), or some of them",
    ),
    'unknown': (
        json.dumps(['owl', 'cow']),
        {},
        "column 'categories', row 0: 'cow' is not a class (did you mean owl?); the "
        'classes are cat, dog, owl',
    ),
    'too few': (json.dumps(['owl']), {}, 'found 1 values for 2 boxes in column'),
    'plain text': ('owl', {}, "it is not JSON (Expecting value: line 1 column 1 (char 0))"),
    'cut short': ('["owl", "c', {}, "row 0: it is not JSON (Unterminated string"),
}


@pytest.mark.parametrize('case', WRONG_NAMES)
def test_names_that_are_no_labels(case, tmp_path):
    """Row, value, and what to write."""
    value, keys, text = WRONG_NAMES[case]
    path = _lake(tmp_path / 'lake', {'categories': value}, {'categories': TEXT}, **keys)
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeDataset(path, deeplake_tensors=dict(gt_labels='categories'))


# ----------------------------------------------------------------------- keys of JSON

ANNOTATIONS = [
    dict(box=[1, 2, 10, 12], label=0, area=77.5, crowd=0, info=dict(seen=3)),
    dict(box=[20.25, 5, 30, 30], label=2, area=9, crowd=1, info=dict(seen=4)),
]
ROLES = dict(
    gt_bboxes='extra.box', gt_labels='extra.label', area='extra.area',
    gt_ignore_flags='extra.crowd', img_id='meta.id', file_name='meta.name',
)  # fmt: skip


@pytest.mark.parametrize('meta_type', [T.Dict(), TEXT], ids=['dict', 'text'])
def test_a_role_may_be_a_key(meta_type, tmp_path):
    """Of each dict in a list, or of one dict per row."""
    meta = dict(id=7, name='x.jpg')
    values = {
        'extra': json.dumps(ANNOTATIONS),
        'meta': meta if meta_type != TEXT else json.dumps(meta),
    }
    types = {'extra': TEXT, 'meta': meta_type}
    path = _lake(tmp_path / 'lake', values, types)
    roles = {**ROLES, 'img_id': None}
    classes = dict(classes=CLASSES)
    dataset = DeepLakeDataset(
        path, deeplake_tensors=roles, box_format='xywh', metainfo=classes
    )
    table = dataset.lake.annotations(None)
    assert table.boxes[:2].tolist() == [each['box'] for each in ANNOTATIONS]
    assert table.areas[:2].tolist() == [77.5, 9]
    assert table.ignore_flags[:2].tolist() == [False, True]
    assert _labels(dataset) == [[0, 2]] * 4
    assert table.file_names[3] == 'x.jpg'


def test_a_list_of_numbers_is_read(tmp_path):
    """Areas and flags as JSON, beside boxes of the usual type."""
    values = {'area': '[77.5, 9]', 'iscrowd': '[0, 1]'}
    path = _lake(tmp_path / 'lake', values, {'area': TEXT, 'iscrowd': TEXT})
    table = DeepLakeDataset(path).lake.annotations(None)
    assert table.areas.tolist() == [77.5, 9] * 4
    assert table.ignore_flags.tolist() == [False, True] * 4


WRONG_KEYS = {
    'no such key': (dict(area='extra.size'), "row 0: it has no key 'size', got [{'box'"),
    'no such column': (dict(area='extras.size'), 'the lake has no such column (did you'),
    'not JSON': (
        dict(area='boxes.size'),
        "the column must hold JSON with a key 'size', but its type is kind=bbox",
    ),
    'no convention': (
        dict(gt_bboxes='extra.box'),
        "the box convention of column 'extra.box' (text (compression=lz4)) is not declared",
    ),
    'not numbers': (dict(area='extra.info'), "is not a number; write a column of numbers"),
}


@pytest.mark.parametrize('case', WRONG_KEYS)
def test_keys_that_cannot_be_read(case, tmp_path):
    """Each is told by the role or the row."""
    roles, text = WRONG_KEYS[case]
    path = _lake(tmp_path / 'lake', {'extra': json.dumps(ANNOTATIONS)}, {'extra': TEXT})
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeDataset(path, deeplake_tensors=roles)


def test_a_column_with_a_dot_in_its_name_is_that_column():
    """It takes precedence over a key."""
    assert split_key('a.b', {'a.b', 'a'}) == ('a.b', '')
    assert split_key('a/b.c', {'a/b'}) == ('a/b', 'c')
    assert split_key('a', set()) == ('a', '')


@pytest.mark.parametrize(
    ('value', 'key', 'parsed'),
    [
        (None, 'a', None),
        ('', '', None),
        ('{"a": [1]}', 'a', [1]),
        ('[{"a": 1}, {"a": 2}]', 'a', [1, 2]),
        ('[]', 'a', []),
        ('3', '', 3),
    ],
)
def test_parsed_values(value, key, parsed):
    """No value stays none."""
    assert parse_json(value, key) == parsed


# ----------------------------------------------------------------- types of all roles

NO_ROLE = {
    'areas as lists of texts': (
        {'area': T.Sequence(TEXT)},
        {'area': ['1', '2']},
        {},
        'but its type is sequence[text (compression=lz4)]; write another column, or None',
    ),
    'labels as bytes': (
        {'categories': TYPES['bytes']},
        {'categories': b'owl'},
        dict(gt_labels='categories'),
        'but its type is bytes; write another column',
    ),
    'boxes as images': ({}, {}, dict(gt_bboxes='images'), 'boxes of shape (N, 4), but'),
    'areas as bytes': (
        {'area': TYPES['bytes']},
        {'area': b'1'},
        {},
        "deeplake_tensors['area']='area': the column must hold areas (N,) in square "
        'pixels, but its type is bytes; write another column, or None to leave it out',
    ),
    'flags as words': (
        {'iscrowd': TEXT},
        {'iscrowd': 'no'},
        {},
        "column 'iscrowd', row 0: it is not JSON (Expecting value: line 1 column 1",
    ),
    'names as numbers': (
        {'file_name': T.Int64()},
        {'file_name': 3},
        {},
        'file name of the image, as text, but its type is int64',
    ),
    'widths as bytes': (
        {'width': TYPES['bytes']},
        {'width': b'64'},
        {},
        'width in pixels, but its type is bytes',
    ),
}


@pytest.mark.parametrize('case', NO_ROLE)
def test_types_that_no_role_takes(case, tmp_path):
    """The type is checked when roles are mapped, and a usual name is not passed over."""
    types, values, roles, text = NO_ROLE[case]
    path = _lake(tmp_path / 'lake', values, types)
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeDataset(path, deeplake_tensors=roles)


def test_none_leaves_such_a_column_out(tmp_path):
    """As the error says."""
    path = _lake(tmp_path / 'lake', {'area': b'1'}, {'area': TYPES['bytes']})
    assert len(DeepLakeDataset(path, deeplake_tensors=dict(area=None))) == 4
