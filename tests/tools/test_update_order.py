"""Values of a box that a COCO file does not have stay with it, or the file is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeplake import types as T
from helpers.lakes import TYPES, open_lake, picture, row, write_lake

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.tools.from_grounding import from_grounding
from mmdet_deeplake_plugin.tools.from_odvg import from_odvg
from mmdet_deeplake_plugin.tools.to_coco import to_coco
from mmdet_deeplake_plugin.tools.update import update

BOXES = ((1, 2, 10, 12), (20, 5, 8, 8))
CAT, DOG = [5, 5, 20, 20], [60, 60, 35, 35]  # left, top, width, height
REFUSED = r'can be moved and relabelled, but not added or removed, .* \({}\); correct the'


def reversed_file(path: str, tmp_path: Path, **values: Any) -> Path:
    """The export with all annotations in reverse order; the first box of row 0 has values."""
    content = export(path, tmp_path)
    first = content['annotations'][0]
    first.update(values)
    del first['area']
    content['annotations'].reverse()
    return write(content, tmp_path)


def export(path: str, tmp_path: Path) -> dict[str, Any]:
    to_coco(path, tmp_path / 'out.json', overwrite=True)
    return json.loads((tmp_path / 'out.json').read_text())


def write(content: Any, tmp_path: Path) -> Path:
    (tmp_path / 'corrected.json').write_text(json.dumps(content))
    return tmp_path / 'corrected.json'


def without_first(path: str, tmp_path: Path) -> Path:
    content = export(path, tmp_path)
    del content['annotations'][0]
    return write(content, tmp_path)


def branches_of(path: str) -> list[str]:
    lake = open_lake(path, False)  # its branches end with it
    return list(lake.branches.names())


def lake_of(tmp_path: Path, dtype: Any, *values: Any) -> str:
    """A lake with a column ``own`` beside boxes: two in the first row, one in others."""
    rows = [
        {**row(n, BOXES[: 1 + (n == 0)]), 'own': value} for n, value in enumerate(values)
    ]
    return write_lake(tmp_path / 'lake', rows, {'own': dtype})


@pytest.mark.parametrize('by', ['id', 'file_name'])
@pytest.mark.parametrize('with_ids', [True, False], ids=['ids', 'no-ids'])
def test_the_same_annotations_stay_in_the_stored_order(with_ids, by, tmp_path):
    """Whatever the order of the file is: other columns of the row have the stored one."""
    boxes, stored = [*BOXES, (40, 20, 9, 9)], np.array([1, 0, 2], np.int32)
    rows = [{**row(n, boxes, [0, 1, 2]), 'occluded': stored} for n in range(2)]
    columns = {'occluded': TYPES['ints']}
    if with_ids:
        columns['ann_id'] = TYPES['ints']
        rows = [{**each, 'ann_id': 10 * n + stored} for n, each in enumerate(rows)]
    path = write_lake(tmp_path / 'lake', rows, columns)
    file = reversed_file(path, tmp_path, bbox=[2, 3, 10, 12], category_id=2)
    text = update(path, file, 'fixed', by=by)
    assert '1 of 2 images change: 1 moved, 1 relabelled;' in text
    head = open_lake(f'{path}@fixed', False)
    assert head['boxes'][0].tolist() == [[2, 3, 10, 12], *map(list, boxes[1:])]
    assert head['categories'][0].tolist() == [2, 1, 2]
    assert head['occluded'][0].tolist() == stored.tolist()
    if with_ids:
        assert head['ann_id'][0].tolist() == stored.tolist()


@pytest.mark.parametrize('by', ['id', 'file_name'])
def test_phrases_stay_with_their_boxes(by, tmp_path, write_image):
    """Of an ODVG file; another set of boxes is refused."""
    write_image(tmp_path / 'x.jpg', 100, 100)
    regions = [
        dict(bbox=[5, 5, 25, 25], phrase='a cat', tokens_positive=[[0, 5]]),
        dict(bbox=[60, 60, 95, 95], phrase='a dog', tokens_positive=[[10, 15]]),
    ]
    grounding = dict(caption='a cat and a dog', regions=regions)
    line = dict(filename='x.jpg', width=100, height=100, grounding=grounding)
    from_odvg(write(line, tmp_path), tmp_path, tmp_path / 'lake')
    path = str(tmp_path / 'lake')
    update(path, reversed_file(path, tmp_path, bbox=[6, 6, 20, 20]), 'fixed', by=by)
    info = DeepLakeDataset(f'{path}@fixed', test_mode=True).get_data_info(0)
    found = {
        info['phrases'][each['bbox_label']]['phrase']: each['bbox']
        for each in info['instances']
    }
    assert found == {'a cat': [6, 6, 26, 26], 'a dog': [60, 60, 95, 95]}
    with pytest.raises(ValueError, match=REFUSED.format('phrases')):
        update(path, without_first(path, tmp_path), 'removed', by=by)
    assert 'removed' not in branches_of(path)


def test_grounding_stays_with_its_boxes(tmp_path, write_image):
    """The phrase of each box of Flickr30k; another set of boxes is refused."""
    write_image(tmp_path / 'x.jpg', 100, 100)
    image = dict(
        id=1, file_name='x.jpg', width=100, height=100, caption='a cat and a dog'
    )
    content = dict(
        images=[
            {**image, 'dataset_name': 'd', 'tokens_positive_eval': [[[0, 5]], [[10, 15]]]}
        ],
        annotations=[
            dict(
                id=n, image_id=1, category_id=1, bbox=box, area=1, iscrowd=0, phrase_ids=n
            )
            for n, box in enumerate((CAT, DOG))
        ],
        categories=[dict(id=1, name='object')],
    )
    from_grounding('flickr30k', write(content, tmp_path), tmp_path, tmp_path / 'lake')
    path = str(tmp_path / 'lake')
    update(path, reversed_file(path, tmp_path, bbox=[6, 6, 20, 20]), 'fixed')
    info = DeepLakeDataset(f'{path}@fixed', test_mode=True).get_data_info(0)
    boxes = [each['bbox'] for each in info['instances']]
    assert (info['phrases'], info['phrase_ids']) == (['a cat', 'a dog'], [0, 1])
    assert boxes == [[6, 6, 26, 26], [60, 60, 95, 95]]
    added = export(path, tmp_path)
    added['annotations'].append(
        {**added['annotations'][0], 'id': 9, 'bbox': [50, 5, 9, 9]}
    )
    for file in (write(added, tmp_path), without_first(path, tmp_path)):
        with pytest.raises(ValueError, match=REFUSED.format('grounding')):
            update(path, file, 'other')
    assert 'other' not in branches_of(path)


POINT = np.zeros((2, 3), np.float64)
PER_BOX: dict[str, tuple[Any, ...]] = {
    'numbers': (TYPES['ints'], np.array([1, 0]), np.array([1])),
    'some-rows': (TYPES['ints'], np.array([1, 0]), np.zeros(0), np.array([1])),
    'numbers-or-null': (T.Nullable(TYPES['ints']), np.array([1, 0]), None),
    'table': (TYPES['table'], POINT, POINT[:1]),
    'sequence': (T.Sequence(T.Int32()), [1, 0], [1]),
    'texts': (T.Sequence(T.Text()), ['a', 'b'], ['c']),
    'json': (T.Text(), '["a", "b"]', '["c"]'),
    'json-of-dicts': (T.Text(), '[{"age": 3}, {}]', '[{}]'),
    'json-of-lists': (T.Text(), '{"age": [3, 4], "by": [1]}', '{"age": [5], "by": [1]}'),
    'dict-of-lists': (T.Dict(), {'age': [3, 4], 'by': 'me'}, {'age': [5], 'by': 'me'}),
    'regions': (T.Text(), '[{"boxes": [0, 1]}]', '[{"boxes": [0]}, {"boxes": []}]'),
    'bitmaps': (
        TYPES['bitmaps'],
        np.zeros((40, 64, 2), bool),
        np.zeros((40, 64, 1), bool),
    ),
    'polygons': (
        TYPES['polygons'],
        [np.array([[0, 0], [9, 0], [9, 9]], np.float32)] * 2,
        [np.array([[0, 0], [9, 0], [9, 9]], np.float32)],
    ),
}


CASES = [(kind, 'removed') for kind in PER_BOX]
CASES += [('numbers', 'added'), ('some-rows', 'added'), ('json', 'added-to-another-row')]


@pytest.mark.parametrize(('kind', 'change'), CASES)
def test_own_values_per_box_refuse_another_set_of_boxes(kind, change, tmp_path):
    """Their lengths tell; the error names the column, and nothing is written."""
    keys = {'tensors': {'gt_masks': None}} if kind in ('bitmaps', 'polygons') else {}
    path = lake_of(tmp_path, *PER_BOX[kind])
    to_coco(path, tmp_path / 'out.json', **keys)
    content = json.loads((tmp_path / 'out.json').read_text())
    first = content['annotations'][0]
    if change == 'removed':
        del content['annotations'][0]
    else:
        image = 1 if change == 'added-to-another-row' else 0
        content['annotations'].append(
            {**first, 'id': 99, 'image_id': image, 'bbox': [40, 20, 9, 9]}
        )
    with pytest.raises(ValueError, match=REFUSED.format('own')):
        update(path, write(content, tmp_path), 'other', **keys)
    assert branches_of(path) == ['main']


PER_IMAGE: dict[str, tuple[Any, ...]] = {
    'number': (T.Int64(), 2, 1),
    'text': (T.Text(), 'at', 'a'),
    'text-of-digits': (T.Text(), '12', '1'),
    'list-of-some-length': (TYPES['ints'], np.array([1, 2]), np.array([1, 2, 3])),
    'other-length-where-it-changes': (TYPES['ints'], np.array([4, 5, 6]), np.array([1])),
    'fixed-length': (T.Embedding(2), np.zeros(2, np.float32), np.ones(2, np.float32)),
    'table': (TYPES['table'], np.zeros((40, 64)), np.zeros((40, 64))),
    'json': (T.Text(), '{"tags": ["a", "b"]}', '{"tags": ["a", "b", "c"]}'),
    'json-of-some-lengths': (T.Text(), '["a", "b"]', '["a", "b"]'),
    'empty': (TYPES['ints'], np.zeros(0), np.zeros(0)),
}


@pytest.mark.parametrize('kind', PER_IMAGE)
def test_values_of_images_do_not(kind, tmp_path):
    """Boxes are removed, and the column keeps what it has."""
    path = lake_of(tmp_path, *PER_IMAGE[kind])
    update(path, without_first(path, tmp_path), 'fixed')
    heads = open_lake(path, False), open_lake(f'{path}@fixed', False)
    assert len(heads[1]['boxes'][0]) == 1
    for number in range(2):
        assert np.array_equal(*(head['own'][number] for head in heads))


@pytest.mark.parametrize('kind', ['ints', 'texts', 'pictures'])
def test_one_value_in_images_of_one_box_is_that_of_the_image(kind, tmp_path):
    """Nothing tells that it is one per box; files are not read to find out."""
    value, dtype = {
        'ints': (np.array([7], np.int32), TYPES['ints']),
        'texts': (['a'], T.Sequence(T.Text())),
        'pictures': ([picture(1), picture(2)], T.Sequence(TYPES['image'])),
    }[kind]
    boxes = BOXES if kind == 'pictures' else BOXES[:1]
    rows = [{**row(n, boxes), 'own': value} for n in range(2)]
    path = write_lake(tmp_path / 'lake', rows, {'own': dtype})
    content = export(path, tmp_path)
    content['annotations'].append({**content['annotations'][0], 'id': 99})
    assert '1 added' in update(path, write(content, tmp_path), 'other')


def test_a_first_box_for_an_image_without_any(tmp_path):
    """The rows that have boxes tell that it would lack a value."""
    rows = [{**row(n, BOXES[:n]), 'own': np.arange(n)} for n in range(3)]
    path = write_lake(tmp_path / 'lake', rows, {'own': TYPES['ints']})
    content = export(path, tmp_path)
    content['annotations'].append({**content['annotations'][0], 'id': 99, 'image_id': 0})
    with pytest.raises(ValueError, match=r'row 0: .* \(own\)'):
        update(path, write(content, tmp_path), 'other')


def test_columns_of_images_that_have_known_names(tmp_path):
    """Further keys of COCO's images are not per box, however many there are."""
    rows = [
        {**row(n, BOXES), 'coco_image': '{"neg_category_ids": [1, 2]}'} for n in range(2)
    ]
    path = write_lake(tmp_path / 'lake', rows, {'coco_image': TYPES['text']})
    assert '1 removed' in update(path, without_first(path, tmp_path), 'fixed')
