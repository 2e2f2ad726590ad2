"""Corrected annotations come to a branch: what differs, nothing else, and all of it."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.lakes import TYPES, box_type, open_lake, row, version, write_lake
from helpers.object_store import ObjectStore
from helpers.samples import assert_equal
from mmdet.datasets import CocoDataset
from mmdet.utils import register_all_modules
from pycocotools import mask as coco_mask

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.tools.from_coco import from_coco
from mmdet_deeplake_plugin.tools.to_coco import to_coco
from mmdet_deeplake_plugin.tools.update import update

register_all_modules()

Coco = dict[str, Any]
LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
]
# What readers of main need; a branch has an entry in the log, and locks come and go.
LEFT_OUT = ('_meta',)


def rle(height: int, width: int) -> dict[str, Any]:
    """A code of some pixels, as text."""
    pixels = np.zeros((height, width), np.uint8, order='F')
    pixels[3:9, 5:20] = 1
    code = coco_mask.encode(pixels)
    return {'size': code['size'], 'counts': code['counts'].decode()}


@pytest.fixture
def coco(tmp_path: Path, write_image: Any) -> Coco:
    """Four images in ``tmp_path/images`` with masks of every kind, as a lake too."""
    names = ('b.jpg', 'sub/a.jpg', 'c.jpg', 'd.jpg')
    for name in names:
        write_image(tmp_path / 'images' / name)
    polygon = [[1.25, 2, 11.5, 2, 11.5, 14, 1.25, 14.125]]

    def ann(ann_id: int, image_id: int, **keys: Any) -> dict[str, Any]:
        box = [1 / 3, 2, 10.1, 12]
        return {
            **dict(id=ann_id, image_id=image_id, category_id=7, iscrowd=0, area=77.7),
            **dict(bbox=box, segmentation=polygon),
            **keys,
        }

    content = {
        'images': [
            {'id': 30 - index, 'file_name': name, 'width': 40, 'height': 30}
            for index, name in enumerate(names)
        ],
        'annotations': [
            ann(5, 30),
            ann(9, 28, category_id=90, segmentation=rle(30, 40), iscrowd=1),
            ann(4, 30, bbox=[20, 10, 8, 9.5]),
            ann(2**40, 28, bbox=[4, 4, 20, 20]),
            ann(6, 27, bbox=[4, 4, 20, 20]),
        ],
        'categories': [{'id': 90, 'name': 'zebra'}, {'id': 7, 'name': 'ant'}],
    }
    (tmp_path / 'in.json').write_text(json.dumps(content))
    from_coco(tmp_path / 'in.json', tmp_path / 'images', tmp_path / 'lake')
    return content


@pytest.fixture
def lake(coco: Coco, tmp_path: Path) -> str:
    """The lake of :func:`coco`."""
    return str(tmp_path / 'lake')


def export(path: str, tmp_path: Path, **keys: Any) -> Coco:
    to_coco(path, tmp_path / 'out.json', overwrite=True, **keys)
    return json.loads((tmp_path / 'out.json').read_text())


def write(content: Any, tmp_path: Path) -> Path:
    (tmp_path / 'corrected.json').write_text(json.dumps(content))
    return tmp_path / 'corrected.json'


def find(content: Coco, ann_id: int) -> dict[str, Any]:
    return next(each for each in content['annotations'] if each['id'] == ann_id)


def only(content: Coco, *image_ids: int) -> Coco:
    """The same file with some images."""
    return {
        **content,
        'images': [each for each in content['images'] if each['id'] in image_ids],
        'annotations': [
            each for each in content['annotations'] if each['image_id'] in image_ids
        ],
    }


def branches_of(path: str) -> list[str]:
    head = open_lake(path, False)  # its branches end with it
    return list(head.branches.names())


def files_of(path: str) -> dict[str, str]:
    """Digest of each file that a lake consists of."""
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in Path(path).rglob('*')
        if file.is_file() and '_meta' not in file.parts and file.suffix != '.lock'
    }


def corrected_of(content: Coco) -> Coco:
    """The four corrections: added, removed, moved, relabelled."""
    content = copy.deepcopy(content)
    content['annotations'].remove(find(content, 4))
    find(content, 9)['category_id'] = 7
    moved = find(content, 2**40)
    moved.update(bbox=[4.5, 1 / 7, 20, 20], area=400, segmentation=rle(30, 40))
    content['annotations'].append(
        dict(
            id=77,
            image_id=29,
            category_id=90,
            bbox=[2.2, 3.3, 4.4, 5.5],
            area=24.2,
            iscrowd=0,
            segmentation=[[2, 3, 6, 3, 6, 8]],
        )
    )
    return content


def assert_as_coco_dataset(path: str, file: Path, images: Path, pipeline: Any) -> None:
    content = json.loads(file.read_text())
    meta = dict(classes=tuple(each['name'] for each in content['categories']))
    stock = CocoDataset(
        ann_file=str(file), data_prefix=dict(img=str(images)), metainfo=meta,
        pipeline=pipeline,
    )
    ours = DeepLakeDataset(path, metainfo=meta, pipeline=pipeline)
    assert len(ours) == len(stock) > 0
    for index in range(len(stock)):
        assert_equal(ours[index], stock[index], f'row {index}')


def test_the_branch_reads_as_the_corrected_file(coco, lake, tmp_path):
    """Samples and export are those of the file, and main has the version and bytes of before."""
    before, files = version(lake), files_of(lake)
    corrected = corrected_of(export(lake, tmp_path))
    file = write(corrected, tmp_path)
    text = update(lake, file, 'relabel')
    assert text.splitlines()[-1] == (
        '3 of 4 images change: 1 added, 1 removed, 1 moved, 1 relabelled, 1 other mask; '
        f"written to branch 'relabel' of lake {lake}@main (version {before})"
    )
    assert_as_coco_dataset(f'{lake}@relabel', file, tmp_path / 'images', LOAD)
    assert export(f'{lake}@relabel', tmp_path) == corrected
    assert version(lake) == before
    assert files.items() <= files_of(lake).items()
    assert export(lake, tmp_path) == coco
    assert_as_coco_dataset(lake, tmp_path / 'in.json', tmp_path / 'images', LOAD)


def test_the_difference_is_shown(lake, tmp_path):
    """One line per annotation, the same with --dry-run, which writes nothing."""
    file = write(corrected_of(export(lake, tmp_path)), tmp_path)
    files = files_of(lake)
    expected = [
        "image 30 (b.jpg):",
        '  - 4 ant [20, 10, 8, 9.5]',
        "image 29 (sub/a.jpg):",
        '  + 77 zebra [2.2, 3.3, 4.4, 5.5]',
        "image 28 (c.jpg):",
        '  ~ 9 zebra [0.333333, 2, 10.1, 12]: relabelled ant',
        f'  ~ {2**40} ant [4, 4, 20, 20]: moved to [4.5, 0.142857, 20, 20], other mask',
    ]
    shown = update(lake, file, 'relabel', dry_run=True).splitlines()
    assert shown[:-1] == expected
    assert shown[-1].endswith('; nothing was written')
    assert files_of(lake) == files
    assert branches_of(lake) == ['main']
    assert update(lake, file, 'relabel').splitlines()[:-1] == expected


def test_only_what_differs_is_written(lake, tmp_path):
    """One commit; other rows, ids, areas and images are those of main."""
    corrected = export(lake, tmp_path)
    find(corrected, 5)['category_id'] = 90
    update(lake, write(corrected, tmp_path), 'relabel')
    main_head, head = open_lake(lake, False), open_lake(f'{lake}@relabel', False)
    assert [each.message for each in head.history][1:] == [
        f'Corrected annotations ({_signature()}): 1 of 4 images change: 1 relabelled '
        '(corrected.json)'
    ]
    for name in (column.name for column in main_head.schema.columns):
        for number in range(4):
            same = np.array_equal(head[number][name], main_head[number][name])
            assert same == ((name, number) != ('categories', 0)), (name, number)
    assert head[0]['categories'].tolist() == [0, 1]
    images = [each['images'].get_bytes(0) for each in (head, main_head)]
    assert images[0] == images[1]


def _signature() -> str:
    from mmdet_deeplake_plugin.lake.branch import SIGNATURE

    return SIGNATURE


def test_nothing_to_correct(lake, tmp_path):
    """The file as it was exported makes no branch."""
    file = write(export(lake, tmp_path), tmp_path)
    text = update(lake, file, 'relabel')
    assert text == '0 of 4 images change: nothing; nothing was written'
    assert branches_of(lake) == ['main']


def test_some_images_are_enough(lake, coco, tmp_path):
    """Images that the file does not have stay; one without annotations loses its own."""
    part = only(coco, 27, 28)
    part['annotations'].remove(find(part, 6))
    update(lake, write(part, tmp_path), 'relabel')
    found = export(f'{lake}@relabel', tmp_path)
    expected = copy.deepcopy(coco)
    expected['annotations'].remove(find(expected, 6))
    assert found == expected


def test_files_that_are_numbered_anew(lake, coco, tmp_path):
    """By file name: what did not change keeps ids, areas and digits, within a tolerance."""
    tool = corrected_of(coco)
    order = [each['id'] for each in tool['images']]
    for number, image in enumerate(tool['images'], start=1):
        image['id'] = number
    tool['categories'] = [{'id': 1, 'name': 'ant'}, {'id': 2, 'name': 'zebra'}]
    for number, each in enumerate(tool['annotations'], start=1):
        each['id'], each['image_id'] = number, order.index(each['image_id']) + 1
        each['category_id'] = {7: 1, 90: 2}[each['category_id']]
        each['bbox'] = [round(value, 2) for value in each['bbox']]
        each['area'] = each['bbox'][2] * each['bbox'][3]
    file = write(tool, tmp_path)
    text = update(lake, file, 'relabel', by='file_name', tolerance=0.01)
    assert '3 of 4 images change: 1 added, 1 removed, 1 moved, 1 relabelled, 1 other' in text
    found = {each['id']: each for each in export(f'{lake}@relabel', tmp_path)['annotations']}
    stored = {each['id']: each for each in coco['annotations']}
    assert sorted(found) == [5, 6, 9, 2**40, 2**40 + 1]
    for ann_id in (5, 6):
        assert found[ann_id] == stored[ann_id]
    assert found[9] == {**stored[9], 'category_id': 7}
    assert found[2**40]['bbox'] == [4.5, 0.14, 20, 20]
    assert found[2**40]['area'] == 400
    assert found[2**40 + 1]['image_id'] == 29
    with pytest.raises(ValueError, match=r'images are not in .* write --by file_name'):
        update(lake, file, 'other')


def test_keys_that_are_left_out_keep_what_is_stored(lake, coco, tmp_path):
    """Crowd, area and mask; what moved gets the area of its box."""
    part = only(coco, 28, 30)
    for each in part['annotations']:
        del each['area'], each['iscrowd'], each['segmentation']
    assert 'nothing; nothing' in update(lake, write(part, tmp_path), 'relabel')
    find(part, 4).update(bbox=[20, 10, 4, 5], segmentation=None)
    text = update(lake, write(part, tmp_path), 'relabel')
    assert '~ 4 ant [20, 10, 8, 9.5]: moved to [20, 10, 4, 5], no mask' in text
    found = find(export(f'{lake}@relabel', tmp_path), 4)
    assert found['area'] == 20 and 'segmentation' not in found


def test_crowds_and_areas_can_be_corrected(lake, coco, tmp_path):
    """And an area that was forgotten is pointed out."""
    coco = copy.deepcopy(coco)
    find(coco, 5).update(iscrowd=1, segmentation=rle(30, 40))
    find(coco, 6)['area'] = 12.5
    find(coco, 4)['bbox'] = [21, 10, 8, 9.5]
    text = update(lake, write(coco, tmp_path), 'relabel')
    assert '5 ant [0.333333, 2, 10.1, 12]: other mask, iscrowd 0 -> 1' in text
    assert 'area 77.7 -> 12.5' in text
    assert 'note: 1 of the moved annotations have the area of before' in text
    assert export(f'{lake}@relabel', tmp_path) == coco


def test_merged_branches_leave_rows_whole(lake, coco, tmp_path):
    """Two corrections of one image: the one that is merged last wins, in all columns."""
    added = copy.deepcopy(only(coco, 28))
    added['annotations'].append({**find(added, 9), 'id': 99})
    update(lake, write(added, tmp_path), 'first')
    second = copy.deepcopy(only(coco, 28, 30))
    find(second, 9)['category_id'] = 7
    del find(second, 5)['segmentation']
    find(second, 5)['iscrowd'] = 1
    update(lake, write(second, tmp_path), 'second')
    main = open_lake(lake)
    main.merge('first')
    main.merge('second')
    expected = copy.deepcopy(coco)
    find(expected, 9)['category_id'] = 7
    find(expected, 5)['iscrowd'] = 1
    assert export(lake, tmp_path) == expected


def test_corrections_go_on_from_the_branch(lake, coco, tmp_path):
    """The branch itself is corrected, in a second commit; the lake of before is refused."""
    coco = corrected_of(coco)
    update(lake, write(coco, tmp_path), 'relabel')
    find(coco, 6)['category_id'] = 90
    file = write(coco, tmp_path)
    with pytest.raises(ValueError, match=r"'relabel' of .* exists; .* write LAKE@relabel"):
        update(lake, file, 'relabel')
    assert '1 of 4 images change: 1 relabelled' in update(
        f'{lake}@relabel', file, 'relabel'
    )
    assert export(f'{lake}@relabel', tmp_path) == coco
    update(f'{lake}@relabel', write(only(coco, 30), tmp_path), 'third')
    find(coco, 5)['category_id'] = 90
    head = open_lake(f'{lake}@relabel', False)
    old = list(head.history)[-2].id
    with pytest.raises(ValueError, match='so the corrections are of an older one'):
        update(f'{lake}@relabel', write(coco, tmp_path), 'relabel', commit_id=old)
    update(f'{lake}@relabel', write(coco, tmp_path), 'next')
    assert export(f'{lake}@next', tmp_path) == coco


ORDERS = [(order, unit) for order in ('ltrb', 'ltwh', 'ccwh') for unit in ('pixel', 'fractional')]


@pytest.mark.parametrize(('order', 'unit'), ORDERS, ids=lambda value: value)
@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_boxes_are_stored_as_the_lake_declares(order, unit, dtype, tmp_path):
    """In every convention; what did not move keeps its stored numbers."""
    columns = {'boxes': box_type(order, unit, dtype), 'ann_id': TYPES['ints']}
    stored = np.array([[0.5, 0.25, 0.75, 0.5], [0.125, 0.125, 0.25, 0.1]])
    rows = [
        {**row(n, stored), 'width': 64, 'height': 32, 'ann_id': np.array([2 * n, 2 * n + 1], 'int32')}
        for n in range(3)
    ]
    path = write_lake(tmp_path / 'lake', rows, columns)
    content = export(path, tmp_path)
    moved = content['annotations'][2]
    moved['bbox'] = [16.0, 8.0, 32.0, 4.0]
    del moved['area'], content['annotations'][3]['area']
    text = update(path, write(content, tmp_path), 'relabel')
    assert '1 of 3 images change: 1 moved' in text
    found = export(f'{path}@relabel', tmp_path)['annotations']
    assert found[2]['bbox'] == [16.0, 8.0, 32.0, 4.0]
    assert found[2]['area'] == 128.0
    before, after = open_lake(path, False), open_lake(f'{path}@relabel', False)
    assert np.array_equal(after['boxes'][1][1], before['boxes'][1][1])
    assert after['boxes'][1].dtype == dtype


@pytest.mark.parametrize('kind', ['bitmaps', 'polygons', 'text'])
def test_masks_of_every_kind_of_column(kind, tmp_path):
    """Moved, removed and new masks read as the file has them."""
    corners = [[2, 3, 12, 3, 12, 13, 2, 13], [4, 4, 30, 4, 30, 20]]
    boxes = [[2, 3, 10, 10], [4, 4, 26, 16]]
    packed: Any = json.dumps([[each] for each in corners])
    if kind == 'polygons':
        packed = [np.array(each, np.float32).reshape(-1, 2) for each in corners]
    if kind == 'bitmaps':
        codes = coco_mask.frPyObjects(corners, 40, 64)
        packed = coco_mask.decode(codes).astype(bool)
    rows = [{**row(number, boxes), 'segmentation': packed} for number in range(2)]
    path = write_lake(tmp_path / 'lake', rows, {'segmentation': TYPES[kind]})
    content = export(path, tmp_path)
    first, second, third, _ = content['annotations']
    triangle = [[30.0, 20.0, 40.0, 20.0, 40.0, 30.0]]
    content['annotations'].remove(second)
    first.update(bbox=[30, 20, 10, 10], area=50, segmentation=triangle)
    content['annotations'].append(
        {**third, 'id': 99, 'segmentation': triangle, 'bbox': [30, 20, 10, 10]}
    )
    update(path, write(content, tmp_path), 'relabel')
    found = export(f'{path}@relabel', tmp_path)['annotations']
    expected = content['annotations']
    assert len(found) == len(expected) == 4
    for one, other in zip(found, [expected[0], *expected[1:]]):
        assert one['bbox'] == other['bbox']
        assert np.array_equal(_pixels(one), _pixels(other))


def _pixels(annotation: dict[str, Any]) -> np.ndarray:
    mask = annotation['segmentation']
    if isinstance(mask, list):
        mask = coco_mask.merge(coco_mask.frPyObjects(mask, 40, 64))
    return coco_mask.decode(mask)


def test_polygon_columns_hold_one_polygon(tmp_path):
    """A mask of another kind is an error that names the row, and no branch is left."""
    polygon = [np.array([[2, 3], [12, 3], [12, 13]], np.float32)]
    rows = [{**row(0), 'segmentation': polygon}]
    path = write_lake(tmp_path / 'lake', rows, {'segmentation': TYPES['polygons']})
    content = export(path, tmp_path)
    content['annotations'][0]['segmentation'] = rle(40, 64)
    with pytest.raises(ValueError, match=r'row 0: instance 0: the column holds one polygon'):
        update(path, write(content, tmp_path), 'relabel')
    assert branches_of(path) == ['main']


def test_lakes_without_further_columns(tmp_path):
    """Neither ids, areas nor crowds are stored: annotations are paired by their place."""
    boxes = [[1, 2, 10, 12], [20, 5, 8, 8], [30, 8, 12, 12]]
    path = write_lake(
        tmp_path / 'lake', [row(number, boxes, [0, 1, 2]) for number in range(3)]
    )
    content = export(path, tmp_path, query='SELECT * WHERE image_id > 0')
    content['annotations'][0]['category_id'] = 2
    del content['annotations'][1]
    content['annotations'][1]['bbox'] = [31, 8, 12, 12]
    for each in content['annotations']:
        del each['area']
    text = update(path, write(content, tmp_path), 'relabel')
    assert '1 of 2 images change: 1 removed, 1 moved, 1 relabelled' in text
    head = open_lake(f'{path}@relabel', False)
    assert head['categories'][1].tolist() == [2, 2]
    assert head['boxes'][1].tolist() == [[1, 2, 10, 12], [31, 8, 12, 12]]
    assert head['boxes'][0].tolist() == boxes and head['boxes'][2].tolist() == boxes


def test_real_photographs(shared_data, tmp_path):
    """Random corrections of 41 photographs with 421 masks: as CocoDataset on the file."""
    ann_file, images = shared_data / 'coco_cc/instances.json', shared_data / 'coco_cc/images'
    from_coco(ann_file, images, tmp_path / 'lake')
    content = json.loads(ann_file.read_text())
    rng = np.random.default_rng(0)
    ids = [each['id'] for each in content['categories']]
    kept = []
    for annotation in content['annotations']:
        draw = rng.random()
        if draw < 0.1:
            continue
        if draw < 0.2:
            annotation['category_id'] = int(rng.choice(ids))
        elif draw < 0.3:
            annotation['bbox'] = [value + float(rng.random()) for value in annotation['bbox']]
        elif draw < 0.4:
            kept.append({**annotation, 'id': annotation['id'] + 10**12})
        kept.append(annotation)
    content['annotations'] = kept
    file = write(content, tmp_path)
    update(str(tmp_path / 'lake'), file, 'relabel')
    assert_as_coco_dataset(f'{tmp_path / "lake"}@relabel', file, images, LOAD)


def test_on_object_storage(lake, coco, tmp_path, tmp_path_factory):
    """The same on S3, also when the first try is refused."""
    with ObjectStore.start(tmp_path_factory.mktemp('store')) as store:
        url, keys = store.upload(lake, 'lake'), dict(credentials=dict(creds=store.creds))
        corrected = corrected_of(coco)
        update(url, write(corrected, tmp_path), 'relabel', **keys)
        assert export(f'{url}@relabel', tmp_path, **keys) == corrected
        assert export(url, tmp_path, **keys) == coco
