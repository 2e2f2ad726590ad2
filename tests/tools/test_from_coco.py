"""What ``from_coco`` writes, and what it refuses."""

from __future__ import annotations

import gc
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import deeplake
import deeplake.types as types
import numpy as np
import pytest

from mmdet_deeplake_plugin.lake import writer
from mmdet_deeplake_plugin.tools.from_coco import from_coco, main
from mmdet_deeplake_plugin.version import __version__

Coco = dict[str, Any]
REAL = [
    pytest.param('bccd/train.json', 'bccd/images', id='bccd'),
    pytest.param('coco_cc/instances.json', 'coco_cc/images', id='coco_cc'),
]


@pytest.fixture
def coco(tmp_path: Path, write_image: Any) -> Coco:
    """Three images in ``tmp_path/images``, the second without annotations."""
    names = ('b.jpg', 'sub/a.jpg', 'c.jpg')
    for name in names:
        write_image(tmp_path / 'images' / name)
    return {
        'images': [
            {'id': 30 - index, 'file_name': name, 'width': 40, 'height': 30 + index}
            for index, name in enumerate(names)
        ],
        'categories': [{'id': 90, 'name': 'zebra'}, {'id': 7, 'name': 'ant'}],
        'annotations': [
            {
                'id': 2**40,
                'image_id': 28,
                'category_id': 7,
                'bbox': [0.1, 0.2, 1 / 3, 12.345678901234567],
                'area': 3.3,
                'iscrowd': 1,
            },
            {'id': 5, 'image_id': 30, 'category_id': 90, 'bbox': [1, 2, 3, 4]},
            {
                'id': 4,
                'image_id': 28,
                'category_id': 90,
                'bbox': [-5, 50, 0, 9],
                'area': 0,
            },
        ],
    }


def write_json(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(content))
    return path


def convert(tmp_path: Path, content: Any, **kwargs: Any) -> Any:
    ann_file = write_json(tmp_path, content)
    from_coco(ann_file, tmp_path / 'images', tmp_path / 'lake', **kwargs)
    return open_lake(tmp_path / 'lake')


def open_lake(path: Path) -> Any:
    # Not typed: Deep Lake declares the values of a row as a union of everything.
    return deeplake.open_read_only(str(path))


def column(lake: Any, name: str) -> list[np.ndarray]:
    return [np.asarray(lake[name][row]) for row in range(len(lake))]


@pytest.mark.parametrize(('ann_name', 'img_name'), REAL)
def test_real_files_are_stored_exactly(
    shared_data: Path, tmp_path: Path, ann_name: str, img_name: str
) -> None:
    """Every byte and every number of the files is in the lake, in their order."""
    ann_file, img_dir = shared_data / ann_name, shared_data / img_name
    from_coco(ann_file, img_dir, tmp_path / 'lake')
    lake = open_lake(tmp_path / 'lake')
    coco = json.loads(ann_file.read_text())
    labels = {cat['id']: label for label, cat in enumerate(coco['categories'])}

    assert len(lake) == len(coco['images'])
    for row, image in enumerate(coco['images']):
        stored = lake[row]
        anns = [ann for ann in coco['annotations'] if ann['image_id'] == image['id']]
        data = (img_dir / image['file_name']).read_bytes()
        assert lake['images'].get_bytes(row) == data
        for name in ('file_name', 'width', 'height'):
            assert stored[name] == image[name]
        assert stored['image_id'] == image['id']
        assert stored['boxes'].dtype == np.float64
        assert stored['boxes'].tolist() == [ann['bbox'] for ann in anns]
        assert stored['area'].tolist() == [ann['area'] for ann in anns]
        assert stored['ann_id'].tolist() == [ann['id'] for ann in anns]
        if any('segmentation' in ann for ann in coco['annotations']):
            masks = json.loads(stored['segmentation'])
            assert masks == [ann['segmentation'] for ann in anns]
        assert stored['iscrowd'].tolist() == [ann['iscrowd'] for ann in anns]
        expected = [labels[ann['category_id']] for ann in anns]
        assert list(stored['categories']) == expected


def test_real_files_hold_the_hard_cases(shared_data: Path, tmp_path: Path) -> None:
    """The exact test above meets crowds, sub-pixel boxes and zero-area boxes."""
    coco_cc = json.loads((shared_data / 'coco_cc' / 'instances.json').read_text())
    bccd = [
        json.loads((shared_data / 'bccd' / f'{split}.json').read_text())
        for split in ('train', 'val', 'test')
    ]
    boxes = [ann['bbox'] for ann in coco_cc['annotations']]
    assert sum(ann['iscrowd'] for ann in coco_cc['annotations']) == 6
    assert any(float(np.float32(value)) != value for box in boxes for value in box)
    assert any(not ann['area'] for part in bccd for ann in part['annotations'])


def test_classes_keep_order_ids_and_dicts(shared_data: Path, tmp_path: Path) -> None:
    """Class names follow the JSON, with original ids and the verbatim dicts."""
    ann_file = shared_data / 'coco_cc' / 'instances.json'
    from_coco(ann_file, shared_data / 'coco_cc' / 'images', tmp_path / 'lake')
    lake = open_lake(tmp_path / 'lake')
    categories = json.loads(ann_file.read_text())['categories']
    metadata = lake['categories'].metadata
    assert list(metadata['class_names']) == [cat['name'] for cat in categories]
    assert list(metadata['category_ids']) == [cat['id'] for cat in categories]
    assert json.loads(metadata['categories']) == categories


def test_columns_declare_their_types(tmp_path: Path, coco: Coco) -> None:
    """The box convention is declared, and there are no other columns."""
    lake = convert(tmp_path, coco)
    dtypes = {item.name: item.dtype for item in lake.schema.columns}
    assert dtypes['boxes'] == types.BoundingBox('float64', 'ltwh', 'pixel')
    assert dtypes['images'] == types.Image(dtype='uint8', sample_compression='jpeg')
    assert dtypes['categories'] == types.ClassLabel(types.Array('int32', 1))
    assert str(dtypes['image_id']) == 'int64'
    assert list(dtypes) == [
        'images',
        'boxes',
        'categories',
        'iscrowd',
        'area',
        'ann_id',
        'ann_position',
        'image_id',
        'file_name',
        'width',
        'height',
    ]


def test_lake_says_who_wrote_it(tmp_path: Path, coco: Coco) -> None:
    """Style and converter stand in the metadata, and there is one commit."""
    lake = convert(tmp_path, coco)
    converter = f'mmdet_deeplake_plugin.tools.from_coco {__version__}'
    assert lake['boxes'].metadata['annotation_style'] == 'coco'
    assert lake.metadata['converter'] == converter
    messages = [version.message for version in lake.history]
    assert messages == [
        'Dataset created',
        f'Imported 3 images, 3 boxes, 2 classes from ann.json ({converter})',
    ]


def test_order_is_the_order_of_the_json(tmp_path: Path, coco: Coco) -> None:
    """Neither images nor annotations are sorted by id, and empty images stay."""
    lake = convert(tmp_path, coco)
    assert lake['image_id'][:].tolist() == [30, 29, 28]
    assert list(lake['file_name'][:]) == ['b.jpg', 'sub/a.jpg', 'c.jpg']
    assert lake['height'][:].tolist() == [30, 31, 32]
    assert [boxes.shape for boxes in column(lake, 'boxes')] == [(1, 4), (0, 4), (2, 4)]
    assert column(lake, 'ann_id')[2].tolist() == [2**40, 4]
    assert column(lake, 'categories')[2].tolist() == [1, 0]
    assert column(lake, 'iscrowd')[2].tolist() == [1, 0]


def test_doubles_survive(tmp_path: Path, coco: Coco) -> None:
    """Boxes come back as the very doubles of the JSON, also outside the image."""
    boxes = column(convert(tmp_path, coco), 'boxes')[2]
    assert boxes.tolist() == [[0.1, 0.2, 1 / 3, 12.345678901234567], [-5, 50, 0, 9]]


def test_missing_area_is_width_times_height(tmp_path: Path, coco: Coco) -> None:
    """A box without ``area`` gets its own; a given one is kept, also zero."""
    areas = column(convert(tmp_path, coco), 'area')
    assert [area.tolist() for area in areas] == [[12.0], [], [3.3, 0.0]]


def test_sizes_may_be_whole_floats(tmp_path: Path, coco: Coco) -> None:
    """A width that some tool wrote as 40.0 is 40 pixels."""
    coco['images'][0]['width'] = 40.0
    lake = convert(tmp_path, coco)
    assert lake['width'][:].tolist() == [40, 40, 40]


def test_ignore_column_only_if_used(tmp_path: Path, coco: Coco) -> None:
    """``ignore`` is a column as soon as one annotation has it true."""
    coco['annotations'][1]['ignore'] = 0
    names = [item.name for item in convert(tmp_path, coco).schema.columns]
    assert 'ignore' not in names
    coco['annotations'][2]['ignore'] = True
    ignored = column(convert(tmp_path, coco, overwrite=True), 'ignore')
    assert [row.tolist() for row in ignored] == [[0], [], [0, 1]]


def test_text_ids(tmp_path: Path, coco: Coco) -> None:
    """Image ids that are texts stay texts."""
    for image, img_id in zip(coco['images'], ('30', 'x-1', '28')):
        image['id'] = img_id
    for annotation in coco['annotations']:
        annotation['image_id'] = str(annotation['image_id'])
    lake = convert(tmp_path, coco)
    assert list(lake['image_id'][:]) == ['30', 'x-1', '28']
    assert column(lake, 'ann_id')[0].tolist() == [5]


def test_all_png_is_a_png_column(tmp_path: Path, coco: Coco, write_image: Any) -> None:
    """The column is declared png if all files are; their bytes stay in any case."""
    files = [image['file_name'] for image in coco['images']]
    renamed = [name.replace('.jpg', '.png') for name in files]
    data = [write_image(tmp_path / 'images' / name) for name in renamed]
    for image, name in zip(coco['images'], renamed):
        image['file_name'] = name
    lake = convert(tmp_path, coco)
    png = types.Image(dtype='uint8', sample_compression='png')
    assert lake.schema['images'].dtype == png
    assert [bytes(lake['images'].get_bytes(row)) for row in range(3)] == data

    coco['images'][0]['file_name'] = files[0]
    lake = convert(tmp_path, coco, overwrite=True)
    assert lake.schema['images'].dtype != png
    data[0] = (tmp_path / 'images' / files[0]).read_bytes()
    assert [bytes(lake['images'].get_bytes(row)) for row in range(3)] == data


@pytest.mark.parametrize(
    ('name', 'kind'), [('b.bmp', 'BMP'), ('b.jp2', 'JPEG 2000')], ids=['bmp', 'jp2']
)
def test_other_image_kinds_are_kept_with_a_warning(
    tmp_path: Path, coco: Coco, write_image: Any, logged: list[str], name: str, kind: str
) -> None:
    """All kinds that are read are stored verbatim; the log says what does not read them."""
    data = write_image(tmp_path / 'images' / name)
    coco['images'][0]['file_name'] = name
    lake = convert(tmp_path, coco)
    assert bytes(lake['images'].get_bytes(0)) == data
    assert f'1 {kind} files are stored as they are' in logged[0]


def test_image_list_of_a_test_set(tmp_path: Path, coco: Coco, logged: list[str]) -> None:
    """Without ``annotations`` all images get a row without boxes, and a log line."""
    del coco['annotations']
    lake = convert(tmp_path, coco)
    assert [boxes.shape for boxes in column(lake, 'boxes')] == [(0, 4)] * 3
    text = "ann.json has no 'annotations': storing all 3 images without boxes"
    assert [message.endswith(text) for message in logged] == [True]


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No batch exceeds the limit of rows, or goes on after the limit of bytes."""
    monkeypatch.setattr(writer, 'MAX_BATCH_ROWS', 3)
    monkeypatch.setattr(writer, 'MAX_BATCH_BYTES', 10)
    sizes = [1, 1, 1, 1, 9, 1, 20, 4]
    rows = [{'images': bytes(size)} for size in sizes]
    batches = [
        [len(row['images']) for row in batch] for batch in writer._batches(iter(rows))
    ]
    assert batches == [[1, 1, 1], [1, 9], [1, 20], [4]]


def test_rows_are_the_same_for_any_batch(
    tmp_path: Path, coco: Coco, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are written in several batches keep their order."""
    monkeypatch.setattr(writer, 'MAX_BATCH_ROWS', 2)
    lake = convert(tmp_path, coco)
    assert lake['image_id'][:].tolist() == [30, 29, 28]


def _set(*path: Any) -> Any:
    """A change of the COCO dict: the value at the end is put at the path."""
    *keys, last, value = path

    def change(coco: Coco) -> None:
        target: Any = coco
        for key in keys:
            target = target[key]
        target[last] = value

    return change


def _delete(*path: Any) -> Any:
    *keys, last = path

    def change(coco: Coco) -> None:
        target: Any = coco
        for key in keys:
            target = target[key]
        del target[last]

    return change


BAD_JSON = [
    pytest.param(
        _delete('images'), "must have the keys .* without 'images'", id='no-images'
    ),
    pytest.param(
        _delete('categories'),
        "must have the keys .* without 'categories'",
        id='no-categories',
    ),
    pytest.param(_set('images', {}), "'images' must be a list", id='images-dict'),
    pytest.param(_set('images', []), "'images' must not be empty", id='images-empty'),
    pytest.param(
        _set('annotations', [1]), "'annotations' must be a list", id='annotations-int'
    ),
    pytest.param(
        _set('images', 1, 'id', 30),
        "'images' must have distinct ids, but 1 occur more than once; the first is 30",
        id='image-id-twice',
    ),
    pytest.param(
        _set('images', 1, 'id', '30'),
        "'images' must have distinct ids, but 1 occur more than once; the first is 30",
        id='image-id-twice-as-text',
    ),
    pytest.param(
        _set('images', 1, 'id', None),
        r"images\[1\] must have an integer or string 'id'",
        id='image-id-none',
    ),
    pytest.param(
        _delete('images', 2, 'file_name'),
        r"images\[2\] \(id 28\) must have a 'file_name'",
        id='no-file-name',
    ),
    pytest.param(
        _set('images', 0, 'width', 40.5),
        r"images\[0\] \(id 30\) must have a positive integer 'width' in pixels",
        id='width-half',
    ),
    pytest.param(
        _set('categories', 1, 'id', 90),
        "'categories' must have distinct ids",
        id='cat-id',
    ),
    pytest.param(
        _set('categories', 1, 'name', 'zebra'),
        "'categories' must have distinct names, but 1 occur more than once; the first is zebra",
        id='cat-name',
    ),
    pytest.param(
        _set('categories', 0, 'id', 'x'),
        r"categories\[0\] must have an integer 'id'",
        id='cat-text',
    ),
    pytest.param(
        _delete('categories', 0, 'name'),
        r"categories\[0\] \(id 90\) must have a 'name'",
        id='cat-no-name',
    ),
    pytest.param(
        _delete('annotations', 0, 'id'),
        r"annotations\[0\] must have an integer 'id'",
        id='ann-no-id',
    ),
    pytest.param(
        _set('annotations', 0, 'id', 5),
        "'annotations' must have distinct ids",
        id='ann-id',
    ),
    pytest.param(
        _set('annotations', 1, 'image_id', 99),
        r"annotations\[1\] \(id 5\) has image_id 99, which is not in 'images'",
        id='unknown-image',
    ),
    pytest.param(
        _set('annotations', 2, 'category_id', 1),
        r"annotations\[2\] \(id 4\) has category_id 1, which is not in 'categories'",
        id='unknown-category',
    ),
    *(
        pytest.param(
            _set('annotations', 1, 'bbox', bbox),
            r"annotations\[1\] \(id 5\) must have a 'bbox' of 4 finite numbers",
            id=f'bbox-{name}',
        )
        for name, bbox in {
            'none': None,
            'three': [1, 2, 3],
            'five': [1, 2, 3, 4, 5],
            'text': [1, 2, 3, '4'],
            'nan': [1, 2, 3, float('nan')],
            'inf': [1, 2, float('inf'), 4],
            'bool': [1, 2, 3, True],
        }.items()
    ),
    pytest.param(
        _set('annotations', 1, 'area', 'big'),
        r"annotations\[1\] \(id 5\) must have a finite 'area'",
        id='area-text',
    ),
    pytest.param(
        _set('annotations', 1, 'area', None),
        r"must have a finite 'area', got None; write a number .*, or leave the key out",
        id='area-null',
    ),
    *(
        pytest.param(
            _set('annotations', 1, key, value),
            rf"annotations\[1\] \(id 5\) must have '{key}' 0 or 1, got "
            rf'{value!r}; write 0 for false and 1 for true',
            id=f'{key}-{value!r}',
        )
        for key in ('iscrowd', 'ignore')
        for value in ('0', 'false', 2, None, -1, float('nan'))
    ),
    *(
        pytest.param(
            _set(*path, value),
            rf"must have .*'{path[-1]}'.*, got {re.escape(repr(value))}; write",
            id=f'{path[0]}-{path[-1]}-{value!r:.10}',
        )
        for path, values in (
            (('images', 1, 'id'), (True, 1.0, 2**63, '', [])),
            (('images', 1, 'width'), (True, '40', 40.5, 0, float('nan'))),
            (('categories', 1, 'id'), (True, 7.0, '7', 2**62, -(2**63))),
            (('categories', 1, 'isthing'), ('1', 2, None)),
            (('annotations', 1, 'id'), (True, '5', 5.0, None, -(2**63) - 1)),
            (('annotations', 1, 'area'), (float('inf'), 2**53 + 1, True)),
        )
        for value in values
    ),
    pytest.param(
        _set('annotations', 1, 'image_id', True),
        r'has image_id True, which is not in .*, of the same type',
        id='image_id-true',
    ),
    pytest.param(
        _set('annotations', 1, 'image_id', '30'),
        r"has image_id '30', which is not in .*, of the same type",
        id='image_id-text',
    ),
    pytest.param(
        _set('images', 1, 'id', 'x'),
        r'must have ids of one type, but images\[1\] has a text and images\[0\] an '
        'integer; write all ids as integers, or all as texts',
        id='mixed-ids',
    ),
    *(
        pytest.param(
            _set('annotations', 1, 'bbox', bbox), "'bbox'.*; write 4 numbers", id=name
        )
        for name, bbox in {
            'bbox-no-double': [2**53 + 1, 2, 3, 4],
            'bbox-400-digits': [10**400, 2, 3, 4],
            'bbox-sum': [1.7e308, 2, 1.7e308, 4],
            'bbox-product': [1, 2, 1e200, 1e200],
        }.items()
    ),
    *(
        pytest.param(
            _set(*path, value), f'{where} has {what}', id=f'{path[0]}-{path[-1]}-{number}'
        )
        for number, (value, what) in enumerate(
            {
                float('nan'): 'a number that is NaN or infinite, .*; write null',
                'x\ud800': r"a text that is not Unicode, '\\ud800'; write whole",
            }.items()
        )
        for path, where in (
            (('images', 1, 'licence'), r"images\[1\] \(id 29\): 'licence'"),
            (('categories', 1, 'supercategory'), r"categories\[1\] \(id 7\): 'super.*'"),
            (('info',), "'info'"),
        )
    ),
]


@pytest.mark.parametrize(('change', 'text'), BAD_JSON)
def test_bad_json(tmp_path: Path, coco: Coco, change: Any, text: str) -> None:
    """A file that is no valid COCO file is refused by name, before writing."""
    change(coco)
    with pytest.raises(ValueError, match=text) as caught:
        convert(tmp_path, coco)
    assert 'ann.json' in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['ann.json', 'images']


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        pytest.param('{"images": [', 'is not a JSON file', id='cut-off'),
        pytest.param('[]', 'is not a COCO annotation file', id='list'),
    ],
)
def test_not_coco_at_all(tmp_path: Path, content: str, text: str) -> None:
    """Files that are not JSON, or not an object, are refused."""
    path = tmp_path / 'ann.json'
    path.write_text(content)
    with pytest.raises(ValueError, match=text):
        from_coco(path, tmp_path, tmp_path / 'lake')


def test_missing_files(tmp_path: Path, coco: Coco) -> None:
    """Missing JSON, folder and images are named, images with their number."""
    with pytest.raises(FileNotFoundError, match=r'no.json does not exist'):
        from_coco(tmp_path / 'no.json', tmp_path / 'images', tmp_path / 'lake')
    ann_file = write_json(tmp_path, coco)
    with pytest.raises(FileNotFoundError, match=r'image folder .*nowhere does not'):
        from_coco(ann_file, tmp_path / 'nowhere', tmp_path / 'lake')
    for name in ('sub/a.jpg', 'c.jpg'):
        (tmp_path / 'images' / name).unlink()
    with pytest.raises(
        FileNotFoundError, match=r"2 of 3 images are missing .* first is 'sub/a.jpg'"
    ):
        convert(tmp_path, coco)


def test_file_that_is_no_image(tmp_path: Path, coco: Coco) -> None:
    """A pointer file of Git LFS in the place of an image is refused."""
    pointer = b'version https://git-lfs.github.com/spec/v1\n'
    (tmp_path / 'images' / 'c.jpg').write_bytes(pointer)
    with pytest.raises(ValueError, match=r"1 of 3 files .* the first is 'c.jpg'"):
        convert(tmp_path, coco)


def test_existing_lake_needs_overwrite(tmp_path: Path, coco: Coco) -> None:
    """A lake is replaced only when that is asked for, and then as a whole."""
    convert(tmp_path, coco)
    coco['images'] = coco['images'][2:]
    del coco['annotations'][1]
    with pytest.raises(
        FileExistsError, match='already contains a lake; pass --overwrite to replace it'
    ):
        convert(tmp_path, coco)
    assert len(open_lake(tmp_path / 'lake')) == 3
    assert len(convert(tmp_path, coco, overwrite=True)) == 1
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ['ann.json', 'images', 'lake']


def test_overwrite_of_nothing(tmp_path: Path, coco: Coco) -> None:
    """``--overwrite`` does not need a lake, and creates the parent folders."""
    ann_file, dest = write_json(tmp_path, coco), tmp_path / 'new' / 'lake'
    from_coco(ann_file, tmp_path / 'images', f'file://{dest}', overwrite=True)
    assert len(open_lake(dest)) == 3


@pytest.mark.parametrize('overwrite', [False, True])
def test_other_files_are_never_replaced(
    tmp_path: Path, coco: Coco, overwrite: bool
) -> None:
    """A folder that is no lake stays as it is, even with ``--overwrite``."""
    (tmp_path / 'lake').mkdir()
    (tmp_path / 'lake' / 'thesis.txt').write_text('years of work')
    with pytest.raises(FileExistsError, match='neither a lake nor an empty folder'):
        convert(tmp_path, coco, overwrite=overwrite)
    assert (tmp_path / 'lake' / 'thesis.txt').read_text() == 'years of work'


def test_empty_folder_is_a_place(tmp_path: Path, coco: Coco) -> None:
    """An empty folder at the destination is filled."""
    (tmp_path / 'lake').mkdir()
    assert len(convert(tmp_path, coco)) == 3


@pytest.mark.parametrize('dest', ['', 'lake@branch', 'file://', 'mem://x@y'])
def test_destination_that_is_no_place(tmp_path: Path, coco: Coco, dest: str) -> None:
    """Deep Lake would read what follows '@' as a branch: refused."""
    ann_file = write_json(tmp_path, coco)
    with pytest.raises(ValueError, match="DEST must be a path, without '@'"):
        from_coco(ann_file, tmp_path / 'images', dest)


@pytest.mark.parametrize('failure', [OSError('disk gone'), KeyboardInterrupt()])
def test_failure_keeps_the_old_lake(
    tmp_path: Path, coco: Coco, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    """A failure in mid-write leaves the old lake readable and no other files."""
    convert(tmp_path, coco)
    break_reading_of(monkeypatch, 'c.jpg', failure)
    with pytest.raises(type(failure)):
        convert(tmp_path, coco, overwrite=True)
    gc.collect()
    lake = open_lake(tmp_path / 'lake')
    assert len(lake) == 3
    assert len(lake['images'].get_bytes(2)) > 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ['ann.json', 'images', 'lake']


def test_failure_leaves_no_half_lake(
    tmp_path: Path, coco: Coco, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failure in mid-write a new destination does not exist."""
    break_reading_of(monkeypatch, 'c.jpg', KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path, coco)
    # A handle that is destroyed only now would write its folder once more.
    gc.collect()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['ann.json', 'images']


def test_lake_that_came_meanwhile_is_kept(
    tmp_path: Path, coco: Coco, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ``--overwrite`` a lake that appears during the import is not lost."""
    ann_file, dest = write_json(tmp_path, coco), tmp_path / 'lake'
    read_bytes = Path.read_bytes

    def read(path: Path) -> bytes:
        (dest / 'theirs').mkdir(parents=True, exist_ok=True)
        return read_bytes(path)

    monkeypatch.setattr(Path, 'read_bytes', read)
    with pytest.raises(OSError, match='not empty'):
        from_coco(ann_file, tmp_path / 'images', dest)
    assert [path.name for path in dest.iterdir()] == ['theirs']


def test_bad_input_keeps_a_lake_that_cannot_be_renamed(
    tmp_path: Path, coco: Coco, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Off the local disk the old lake outlives bad input; a half one is deleted."""
    ann_file, images = write_json(tmp_path, coco), tmp_path / 'images'
    dest = 'mem://test_bad_input_keeps'
    from_coco(ann_file, images, dest)
    with pytest.raises(FileExistsError, match='pass --overwrite'):
        from_coco(ann_file, images, dest)
    with pytest.raises(FileNotFoundError):
        from_coco(tmp_path / 'no.json', images, dest, overwrite=True)
    assert len(deeplake.open_read_only(dest)) == 3
    from_coco(ann_file, images, dest, overwrite=True)
    assert len(deeplake.open_read_only(dest)) == 3
    break_reading_of(monkeypatch, 'c.jpg', OSError('disk gone'))
    with pytest.raises(OSError, match='disk gone'):
        from_coco(ann_file, images, dest, overwrite=True)
    gc.collect()
    assert not deeplake.exists(dest)


def test_storage_errors_are_explained(
    tmp_path: Path, coco: Coco, capsys: pytest.CaptureFixture[str]
) -> None:
    """What Deep Lake cannot open is one line and exit code 2, not a traceback."""
    ann_file = write_json(tmp_path, coco)
    code = main([str(ann_file), str(tmp_path / 'images'), 'nosuch://bucket/lake'])
    assert code == 2
    assert capsys.readouterr().err.startswith('error: cannot ')


def break_reading_of(
    monkeypatch: pytest.MonkeyPatch, name: str, failure: BaseException
) -> None:
    """From now on reading this file fails, when the rows before it are written."""
    monkeypatch.setattr(writer, 'MAX_BATCH_ROWS', 1)
    read_bytes = Path.read_bytes

    def read(path: Path) -> bytes:
        if path.name == name:
            raise failure
        return read_bytes(path)

    monkeypatch.setattr(Path, 'read_bytes', read)


def test_command_line(
    tmp_path: Path, coco: Coco, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says what it wrote; a mistake is one line and exit code 2."""
    argv = [str(write_json(tmp_path, coco)), str(tmp_path / 'images')]
    argv.append(str(tmp_path / 'lake'))
    assert main(argv) == 0
    captured = capsys.readouterr()
    assert captured.out.endswith('wrote 3 images, 3 boxes, 2 classes from ann.json\n')
    assert 'writing images' in captured.err
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.err == (
        f'error: DEST {tmp_path / "lake"} already contains a lake; pass --overwrite to '
        'replace it\n'
    )
    assert main([*argv, '--overwrite']) == 0


def test_interrupt_is_an_exit_code(
    tmp_path: Path, coco: Coco, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends the command with the shell's code for it."""
    break_reading_of(monkeypatch, 'b.jpg', KeyboardInterrupt())
    argv = [str(write_json(tmp_path, coco)), str(tmp_path / 'images')]
    assert main([*argv, str(tmp_path / 'lake')]) == 130


def test_module_runs_as_a_command(tmp_path: Path) -> None:
    """``python -m`` hands the exit code and the error line to the shell."""
    command = [sys.executable, '-m', 'mmdet_deeplake_plugin.tools.from_coco']
    argv = ['no.json', str(tmp_path), str(tmp_path / 'lake')]
    done = subprocess.run([*command, *argv], capture_output=True, text=True)
    assert done.returncode == 2
    assert 'error: annotation file no.json does not exist' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.filterwarnings('ignore:.*found in sys.modules:RuntimeWarning')
@pytest.mark.parametrize('name', ['from_coco', 'from_voc', 'to_coco', 'inspect', 'plan'])
def test_help_shows_an_example(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--help`` of each tool ends with a command to copy."""
    module = f'mmdet_deeplake_plugin.tools.{name}'
    monkeypatch.setattr(sys, 'argv', [name, '--help'])
    with pytest.raises(SystemExit) as exit_info:
        runpy.run_module(module, run_name='__main__')
    assert exit_info.value.code == 0
    assert f'example: python -m {module} ' in capsys.readouterr().out


# --------------------------------------------------------------------------- masks


def with_mask(coco: Coco, segmentation: Any) -> Coco:
    """The same file with a mask for the annotation of the first image (40 x 30)."""
    coco['annotations'][1]['segmentation'] = segmentation
    return coco


@pytest.mark.parametrize(
    'segmentation',
    [
        [[0.1, 1 / 3, 5, 6, 7, 2.0000000000000004], [1, 2, 3, 4, 5, 6, 7, 8]],
        {'size': [30, 40], 'counts': [600, 1, 599]},
        {'size': [30, 40], 'counts': 'hb01gb0'},
        [],
    ],
    ids=['polygons', 'counts', 'compressed', 'empty'],
)
def test_masks_are_stored_as_they_are(
    tmp_path: Path, coco: Coco, segmentation: Any
) -> None:
    """One JSON list a row, null for annotations without, every digit as in the file."""
    lake = convert(tmp_path, with_mask(coco, segmentation))
    rows = [json.loads(text) for text in lake['segmentation'][:]]
    assert rows == [[segmentation], [], [None, None]]


def test_a_file_without_masks_makes_no_column_of_masks(
    tmp_path: Path, coco: Coco
) -> None:
    """Boxes alone stay boxes alone."""
    lake = convert(tmp_path, coco)
    assert 'segmentation' not in [item.name for item in lake.schema.columns]


@pytest.mark.parametrize(
    ('segmentation', 'text'),
    [
        pytest.param(
            {'size': [40, 30], 'counts': [1200]},
            'a mask must have the size of its image: found a mask of 40 x 30 pixels',
            id='size',
        ),
        pytest.param(
            {'size': [30, 40], 'counts': [600, 1]},
            'its counts must add up to the 1200 pixels of the image, got 601',
            id='sum',
        ),
        pytest.param(
            {'size': [30, 40], 'counts': [1201, -1]},
            'its counts must be integers, 0 or more',
            id='negative',
        ),
        pytest.param(
            {'size': [30, 40]},
            "{'size': [30, 40]} is not a COCO segmentation; write a list of polygons,",
            id='no-counts',
        ),
        pytest.param(
            [1, 2, 3, 4, 5, 6],
            'polygons must be a list of lists, got [1, 2, 3, 4, 5, 6]; write [[x, y, x, y, …]',
            id='flat',
        ),
        pytest.param(
            [[1, 2, 3, 4, 5, 'six']],
            "polygons must have finite numbers, got [1, 2, 3, 4, 5, 'six']",
            id='text',
        ),
        pytest.param(
            [[1, 2, 3, 4, 5, float('nan')]],
            'polygons must have finite numbers, got [1, 2, 3, 4, 5, nan]',
            id='nan',
        ),
        pytest.param('whole', "'whole' is not a COCO segmentation", id='string'),
        pytest.param(
            [[1, 2, 3, 4, 5, 1e9]],
            'polygons must stay within 1000000 pixels, got [1, 2, 3, 4, 5, 1000000000.0]',
            id='far',
        ),
        pytest.param(
            {'size': [30, 40], 'counts': 'hb01'},
            'its counts must add up to the 1200 pixels of the image, got 601',
            id='compressed-sum',
        ),
        pytest.param(
            {'size': [30, 40], 'counts': 'hb01O'},
            'its counts must be integers, 0 or more',
            id='compressed-negative',
        ),
        *(
            pytest.param(
                {'size': [30, 40], 'counts': text},
                f'{text!r} is not a compressed run-length code',
                id=f'compressed-{name}',
            )
            for name, text in {'cut': 'Tb`', 'space': 'Tb `0', 'long': 'o' * 20 + '0'}.items()
        ),
    ],
)
def test_a_wrong_mask_is_named_before_anything_is_written(
    tmp_path: Path, coco: Coco, segmentation: Any, text: str
) -> None:
    """The error names the annotation, what is wrong and what to write."""
    where = "annotations[1] (id 5) has an invalid 'segmentation': "
    with pytest.raises(ValueError, match=re.escape(where + text)):
        convert(tmp_path, with_mask(coco, segmentation))
    assert not (tmp_path / 'lake').exists()


@pytest.mark.parametrize('polygon', [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7]])
def test_polygons_that_mmdetection_leaves_out_are_counted(
    tmp_path: Path, coco: Coco, polygon: list, logged: list[str]
) -> None:
    """Two points, or half a point: stored, as CocoDataset has them, with a warning."""
    lake = convert(tmp_path, with_mask(coco, [polygon]))
    assert json.loads(lake['segmentation'][0]) == [[polygon]]
    (message,) = [text for text in logged if 'polygon' in text]
    assert '1 annotations have a polygon with fewer than three points' in message
    assert 'the first is id 5' in message
