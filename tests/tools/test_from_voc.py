"""What ``from_voc`` writes, against mmdet's own ``XMLDataset``, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import deeplake
import deeplake.types as types
import numpy as np
import pytest
from mmdet.datasets import XMLDataset

from mmdet_deeplake_plugin.tools.from_voc import from_voc, main
from mmdet_deeplake_plugin.version import __version__

CLASSES = ['RBC', 'WBC', 'Platelets']
SUBDIRS: dict[str, Any] = {'img_subdir': 'images', 'ann_subdir': 'voc_annotations'}


def voc_object(name: str, box: tuple[object, ...], difficult: str = '') -> str:
    corners = zip(('xmin', 'ymin', 'xmax', 'ymax'), box)
    bndbox = ''.join(f'<{tag}>{value}</{tag}>' for tag, value in corners)
    flag = f'<difficult>{difficult}</difficult>' if difficult else ''
    return f'<object><name>{name}</name>{flag}<bndbox>{bndbox}</bndbox></object>'


def write_xml(root: Path, image_id: str, objects: str, size: bool = True) -> None:
    head = '<size><width>40</width><height>30</height></size>' if size else ''
    path = root / 'Annotations' / f'{image_id}.xml'
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'<annotation>{head}{objects}</annotation>')


@pytest.fixture
def voc(tmp_path: Path, write_image: Any) -> Path:
    """Images b, a, c (in this order); a without <size> and objects, c difficult."""
    root = tmp_path / 'voc'
    for image_id in 'abc':
        write_image(root / 'JPEGImages' / f'{image_id}.jpg')
    write_xml(root, 'b', voc_object('zebra', (1, 2, 40, 30)))
    write_xml(root, 'a', '', size=False)
    write_xml(
        root,
        'c',
        voc_object('ant', ('3.9', '4.2', '7.999', '1e1'), difficult='1')
        + voc_object('cow', (5, 5, 6, 6))
        + voc_object('zebra', (0, 0, 50, 60), difficult='0'),
    )
    (root / 'ImageSets' / 'Main').mkdir(parents=True)
    (root / 'ImageSets' / 'Main' / 'train.txt').write_text('b\na\nc\n\n')
    return root


def convert(voc: Path, **kwargs: Any) -> Any:
    from_voc(voc, 'train', voc.parent / 'lake', **kwargs)
    return open_lake(voc.parent / 'lake')


def open_lake(path: Path) -> Any:
    # Not typed: Deep Lake declares the values of a row as a union of everything.
    return deeplake.open_read_only(str(path))


def rows_of(lake: Any, name: str) -> list[Any]:
    return [np.asarray(lake[name][row]).tolist() for row in range(len(lake))]


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_real_split_equals_xml_dataset(
    shared_data: Path, tmp_path: Path, split: str
) -> None:
    """Each row holds what ``XMLDataset`` makes of the same files, and the bytes."""
    root = shared_data / 'bccd'
    split_file = root / 'splits' / f'{split}.txt'
    from_voc(root, split_file, tmp_path / 'lake', classes=CLASSES, **SUBDIRS)
    lake = open_lake(tmp_path / 'lake')
    expected = XMLDataset(
        ann_file=str(split_file),
        data_prefix={'sub_data_root': f'{root}/'},
        metainfo={'classes': CLASSES},
        test_mode=True,
        **SUBDIRS,
    )
    assert len(lake) == len(expected)
    for row in range(len(lake)):
        info, stored = expected.get_data_info(row), lake[row]
        assert lake['images'].get_bytes(row) == Path(info['img_path']).read_bytes()
        assert stored['image_id'] == info['img_id']
        assert stored['file_name'] == f'images/{info["img_id"]}.jpg'
        assert (stored['width'], stored['height']) == (info['width'], info['height'])
        instances = info['instances']
        assert stored['boxes'].dtype == np.float64
        assert stored['boxes'].tolist() == [item['bbox'] for item in instances]
        assert list(stored['categories']) == [item['bbox_label'] for item in instances]
        assert stored['difficult'].tolist() == [item['ignore_flag'] for item in instances]


def test_made_up_split_equals_xml_dataset(voc: Path) -> None:
    """Fractions, missing sizes, dropped classes and flags are as in ``XMLDataset``."""
    lake = convert(voc, classes=['zebra', 'ant'])
    expected = XMLDataset(
        ann_file='ImageSets/Main/train.txt',
        data_root=str(voc),
        data_prefix={'sub_data_root': ''},
        metainfo={'classes': ['zebra', 'ant']},
        test_mode=True,
        lazy_init=True,
    )
    split_file = voc / 'ImageSets' / 'Main' / 'train.txt'
    split_file.write_text('b\na\nc\n')  # XMLDataset does not skip the empty line.
    expected.full_init()
    infos = [expected.get_data_info(row) for row in range(3)]
    assert rows_of(lake, 'image_id') == [info['img_id'] for info in infos]
    assert rows_of(lake, 'width') == [info['width'] for info in infos]
    assert rows_of(lake, 'height') == [info['height'] for info in infos]
    for name, key in [
        ('boxes', 'bbox'),
        ('categories', 'bbox_label'),
        ('difficult', 'ignore_flag'),
    ]:
        assert rows_of(lake, name) == [
            [item[key] for item in info['instances']] for info in infos
        ]


def test_boxes_by_hand(voc: Path) -> None:
    """Corners are cut off after the point, then 1 is taken off each."""
    lake = convert(voc, classes=['zebra', 'ant'])
    assert rows_of(lake, 'boxes') == [
        [[0, 1, 39, 29]],
        [],
        [[2, 3, 6, 9], [-1, -1, 49, 59]],
    ]
    assert rows_of(lake, 'difficult') == [[0], [], [1, 0]]
    assert np.asarray(lake['boxes'][1]).shape == (0, 4)


def test_columns_and_metadata(voc: Path) -> None:
    """The lake declares VOC's convention and nothing of COCO's."""
    lake = convert(voc)
    dtypes = {item.name: item.dtype for item in lake.schema.columns}
    assert dtypes['boxes'] == types.BoundingBox('float64', 'ltrb', 'pixel')
    assert list(dtypes) == [
        'images',
        'boxes',
        'categories',
        'difficult',
        'image_id',
        'file_name',
        'width',
        'height',
    ]
    assert lake['boxes'].metadata['annotation_style'] == 'voc'
    converter = f'mmdet_deeplake_plugin.tools.from_voc {__version__}'
    assert lake.metadata['converter'] == converter


def test_classes_are_sorted_unless_given(voc: Path, logged: list[str]) -> None:
    """Without ``--classes`` all names are used; with it others drop and are counted."""
    lake = convert(voc)
    assert list(lake['categories'].metadata['class_names']) == ['ant', 'cow', 'zebra']
    assert rows_of(lake, 'categories') == [[2], [], [0, 1, 2]]
    assert logged == []

    lake = convert(voc, classes=['zebra', 'yak'], overwrite=True)
    assert list(lake['categories'].metadata['class_names']) == ['zebra', 'yak']
    assert rows_of(lake, 'categories') == [[0], [], [0]]
    assert logged == ['Dropping 2 objects that are not of --classes: 1 ant, 1 cow']


def _write(name: str, text: str) -> Any:
    return lambda voc: (voc / name).write_text(text)


BAD_INPUT = [
    pytest.param(
        lambda voc: (voc / 'ImageSets/Main/train.txt').unlink(),
        r'split file .*train.txt does not exist; pass the name of a file in',
        id='no-split',
    ),
    pytest.param(
        _write('ImageSets/Main/train.txt', ' \n\n'),
        'train.txt must not be empty',
        id='empty',
    ),
    pytest.param(
        lambda voc: (voc / 'ImageSets/Main/train.txt').write_bytes(b'\xff\xfe'),
        'train.txt must be a text file in UTF-8',
        id='bytes',
    ),
    pytest.param(
        _write('ImageSets/Main/train.txt', 'a\nb\na\n'),
        "must have distinct image ids, but 1 occur more than once; the first is 'a'",
        id='twice',
    ),
    pytest.param(
        _write('ImageSets/Main/train.txt', 'a\nd -1\n'),
        "1 of 2 images are missing in .*; the first is 'JPEGImages/d -1.jpg'",
        id='no-image',
    ),
    pytest.param(
        lambda voc: (voc / 'Annotations/a.xml').unlink(),
        "1 of 3 XML files are missing in .*; the first is 'a.xml'",
        id='no-xml',
    ),
    pytest.param(
        _write('Annotations/a.xml', '<annotation>'), 'a.xml is not an XML', id='bad-xml'
    ),
    pytest.param(
        _write('Annotations/a.xml', '<a><object/></a>'),
        'a.xml: object 0 must have a <name>',
        id='no-name',
    ),
    pytest.param(
        _write('Annotations/a.xml', '<a><object><name>x</name></object></a>'),
        r'a.xml: object 0 \(x\) must have a <bndbox>',
        id='no-box',
    ),
    pytest.param(
        _write('Annotations/a.xml', f'<a>{voc_object("x", (1, 2, 3))}</a>'),
        r'a.xml: object 0 \(x\) must have a number in <ymax>, got None',
        id='three-corners',
    ),
    pytest.param(
        _write('Annotations/a.xml', f'<a>{voc_object("x", (1, "nan", 3, 4))}</a>'),
        r"object 0 \(x\) must have a number in <ymin>, got 'nan'",
        id='nan',
    ),
    pytest.param(
        _write('Annotations/a.xml', f'<a>{voc_object("x", (1, 2, 3, 4), "no")}</a>'),
        r"a.xml: object 0 must have a number in <difficult>, got 'no'",
        id='difficult-text',
    ),
    pytest.param(
        _write('Annotations/a.xml', '<a><size><width>4</width></size></a>'),
        'a.xml: <size> must have a number in <height>, got None',
        id='half-size',
    ),
    pytest.param(
        lambda voc: (voc / 'JPEGImages/a.jpg').write_bytes(b'\xff\xd8\xff'),
        'JPEGImages/a.jpg cannot be decoded, and its XML file has no <size>',
        id='no-size',
    ),
    pytest.param(
        lambda voc: list(map(write_xml, [voc] * 3, 'abc', [''] * 3)),
        'the split contains no objects; pass --classes',
        id='no-objects',
    ),
]


@pytest.mark.parametrize(('spoil', 'text'), BAD_INPUT)
def test_bad_input(voc: Path, spoil: Any, text: str) -> None:
    """Each mistake is named with its file, and nothing is left behind."""
    spoil(voc)
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        convert(voc)
    assert [path.name for path in voc.parent.iterdir()] == ['voc']


def test_images_in_named_folders_and_corners_from_zero(voc: Path) -> None:
    """As in WIDER Face: ``<folder>`` says where, and nothing is taken off the corners."""
    for image_id, folder in zip('abc', ('one', 'two', 'two')):
        target = voc / 'JPEGImages' / folder / f'{image_id}.jpg'
        target.parent.mkdir(exist_ok=True)
        (voc / 'JPEGImages' / f'{image_id}.jpg').rename(target)
        write_xml(voc, image_id, f'<folder>{folder}</folder>' + voc_object('ant', (1, 2, 8, 9)))
    lake = convert(voc, image_folders=True, minus_one=False)
    assert rows_of(lake, 'file_name') == [
        f'JPEGImages/{name}.jpg' for name in ('two/b', 'one/a', 'two/c')
    ]
    assert rows_of(lake, 'boxes') == [[[1, 2, 8, 9]]] * 3


def test_a_folder_that_is_not_named(voc: Path) -> None:
    """The error names the image and the option."""
    with pytest.raises(ValueError, match=r"XML file of 'b' must name .* <folder>; add it, or"):
        convert(voc, image_folders=True)
    assert [path.name for path in voc.parent.iterdir()] == ['voc']


def test_class_given_twice(voc: Path) -> None:
    """Labels would be ambiguous."""
    with pytest.raises(
        ValueError, match='--classes must be distinct, got ant, zebra, ant'
    ):
        convert(voc, classes=['ant', 'zebra', 'ant'])


def test_command_line(voc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Options reach the converter; a mistake is one line and exit code 2."""
    (voc / 'JPEGImages').rename(voc / 'img')
    (voc / 'Annotations').rename(voc / 'xml')
    dest = str(voc.parent / 'lake')
    split_file = str(voc / 'ImageSets' / 'Main' / 'train.txt')
    argv = [str(voc), split_file, dest, '--img-subdir', 'img', '--ann-subdir', 'xml']
    assert main([*argv, '--classes', 'zebra, ant']) == 0
    summary = 'wrote 3 images, 3 boxes, 2 classes from train.txt\n'
    assert capsys.readouterr().out.endswith(summary)
    lake = open_lake(Path(dest))
    assert rows_of(lake, 'file_name') == ['img/b.jpg', 'img/a.jpg', 'img/c.jpg']
    assert rows_of(lake, 'categories') == [[0], [], [1, 0]]

    assert main(argv) == 2
    assert 'already contains a lake; pass --overwrite' in capsys.readouterr().err
    assert main([*argv, '--overwrite']) == 0
    assert main([str(voc), 'train', dest, '--overwrite']) == 2
    assert 'error: 3 of 3 images are missing' in capsys.readouterr().err
    assert len(open_lake(Path(dest))) == 3
