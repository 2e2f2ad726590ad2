"""ODVG files: what ``from_odvg`` writes and refuses, its samples, and the way back."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers.samples import assert_equal, seeded
from mmdet.datasets import ODVGDataset
from mmdet.registry import DATASETS
from mmdet.utils import register_all_modules

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.tools.from_odvg import from_odvg, main
from mmdet_deeplake_plugin.tools.to_odvg import main as to_odvg_main
from mmdet_deeplake_plugin.tools.to_odvg import to_odvg

register_all_modules()

NAMES = {'0': 'cat', '1': 'dog/puppy', '2': 'owl'}
DETECTIONS: list[Any] = [
    [([1.5, 2, 20.25, 30], 2), ([3, 3, 3.5, 9], 0), ([60, 3, 90, 39], 1)],
    [],
    [([70, 2, 90, 30], 1), ([0.1, 0.2, 64, 40], 0)],
]
CAPTIONS: list[Any] = [
    (
        'A cat and two dogs',
        [
            ('A cat', [[0, 5]], [1.5, 2, 20, 30]),
            (['two', 'dogs'], [[10, 13], [14, 18]], [[5.5, 6, 30, 20], [30, 3, 60, 39]]),
            ('cat', [[2, 5]], [3, 3, 3.5, 9]),  # left out: not a pixel wide
        ],
    ),
    ('Nothing', []),
    ('eine Käuzin', [('Käuzin', [[5, 11]], [70, 2, 90, 30])]),  # outside of the image
]
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='LoadTextAnnotations'),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'text', 'tokens_positive', 'dataset_mode'),
    ),
]


def detection(boxes: list[Any]) -> dict[str, Any]:
    names = list(NAMES.values())
    found = [dict(bbox=box, label=label, category=names[label]) for box, label in boxes]
    return {'detection': {'instances': found}}


def grounding(caption: str, regions: list[Any]) -> dict[str, Any]:
    found = [
        dict(bbox=box, phrase=phrase, tokens_positive=spans) for phrase, spans, box in regions
    ]
    return {'grounding': {'caption': caption, 'regions': found}}


def lines_of(contents: list[Any]) -> list[dict[str, Any]]:
    return [
        {'filename': f'part/{i}.jpg', 'height': 40, 'width': 64, **content}
        for i, content in enumerate(contents)
    ]


OD = lines_of([detection(boxes) for boxes in DETECTIONS])
VG = lines_of([grounding(*each) for each in CAPTIONS])


@pytest.fixture
def root(tmp_path: Path, write_image: Any) -> Path:
    """A folder with both files, a label map and three images."""
    folder = tmp_path / 'data'
    for number in range(3):
        write_image(folder / 'images' / 'part' / f'{number}.jpg', 64, 40)
    (folder / 'map.json').write_text(json.dumps(NAMES))
    for name, lines in (('od', OD), ('vg', VG)):
        write(folder, name, lines)
    return folder


def write(folder: Path, name: str, lines: list[Any]) -> None:
    text = ''.join(f'{json.dumps(line, ensure_ascii=False)}\n' for line in lines)
    (folder / f'{name}.json').write_text(text)


def convert(folder: Path, name: str, **kwargs: Any) -> str:
    lake = folder.parent / f'lake_{name}'
    label_map = folder / 'map.json' if name == 'od' else None
    from_odvg(folder / f'{name}.json', folder / 'images', lake, label_map, **kwargs)
    return str(lake)


@pytest.mark.parametrize('need_text', [True, False])
@pytest.mark.parametrize('name', ['od', 'vg'])
def test_samples_equal_those_of_odvg_dataset(root: Path, name: str, need_text: bool) -> None:
    """Before and after a pipeline; as in stock, no image is filtered, and none has an id."""
    keys: dict[str, Any] = dict(filter_cfg=dict(filter_empty_gt=True, min_size=99))
    steps = [s for s in PIPELINE if need_text or s['type'] != 'LoadTextAnnotations']
    stock = ODVGDataset(
        data_root=str(root),
        ann_file=f'{name}.json',
        label_map_file='map.json' if name == 'od' else None,
        need_text=need_text,
        data_prefix=dict(img='images'),
        return_classes=True,
        pipeline=steps,
        **keys,
    )
    ours = DeepLakeDataset(convert(root, name), return_classes=need_text, pipeline=steps, **keys)
    assert len(ours) == len(stock) == 3
    for index in range(3):
        info, expected = ours.get_data_info(index), stock.get_data_info(index)
        assert info.keys() - expected.keys() == {'seg_map_path'}
        assert_equal({key: info[key] for key in expected}, expected)
        assert ours.get_cat_ids(index) == stock.get_cat_ids(index)
        one, other = (seeded(partial(data.__getitem__, index), 3) for data in (ours, stock))
        assert_equal(one, other)


@pytest.mark.parametrize(('name', 'lines'), [('od', OD), ('vg', VG)])
def test_round_trip(root: Path, name: str, lines: list[Any]) -> None:
    """The file, the label map and the images are those that went in."""
    path = convert(root, name)
    out = root.parent / 'out'
    label_map = out / 'map.json' if name == 'od' else None
    to_odvg(path, out / f'{name}.json', label_map, images_dir=out / 'images')
    assert [json.loads(line) for line in (out / f'{name}.json').open()] == lines
    if label_map:
        assert json.loads(label_map.read_text()) == NAMES
    for number in range(3):
        image = Path('images', 'part', f'{number}.jpg')
        assert (out / image).read_bytes() == (root / image).read_bytes()


def test_a_coco_lake_becomes_odvg(lake: Any, tmp_path: Path) -> None:
    """Training on the file that ``to_odvg`` writes sees the boxes that the lake gives."""
    out = tmp_path / 'od.json'
    said = to_odvg(lake('coco_cc'), out, tmp_path / 'map.json')
    stock = ODVGDataset(
        ann_file=str(out),
        label_map_file=str(tmp_path / 'map.json'),
        data_prefix=dict(img=''),
        return_classes=True,
    )
    ours = DeepLakeDataset(lake('coco_cc'), return_classes='label_map')
    crowds = 0
    for index in range(len(ours)):
        info, expected = ours.get_data_info(index), stock.get_data_info(index)
        kept = [part for part in info['instances'] if not part['ignore_flag']]
        crowds += len(info['instances']) - len(kept)
        keys = ('bbox', 'bbox_label', 'ignore_flag')
        shown = [{key: part[key] for key in keys} for part in kept]
        assert_equal(shown, expected['instances'])
        assert info['text'] == expected['text']
    assert crowds and f'({crowds} crowds or ignored ones left out)' in said


def test_joined_for_training_whatever_their_classes(root: Path) -> None:
    """Detections without their classes as text, captions, and a label map side by side."""
    od, vg = convert(root, 'od'), convert(root, 'vg')
    parts = [
        dict(type='DeepLakeDataset', deeplake_path=path, return_classes=flag)
        for path, flag in ((od, True), (vg, True), (od, False))
    ]
    joined = DATASETS.build(dict(type='ConcatDataset', datasets=parts))
    modes = [joined.get_data_info(index)['dataset_mode'] for index in range(9)]
    assert modes == ['OD'] * 3 + ['VG'] * 3 + ['OD'] * 3


def _line(**changes: Any) -> list[Any]:
    return [{**OD[0], **changes}]


def _found(**changes: Any) -> list[Any]:
    return _line(detection={'instances': [{'bbox': [1, 2, 9, 9], 'label': 1, **changes}]})


def _region(caption: Any = 'A cat', **changes: Any) -> list[Any]:
    region = {'bbox': [1, 2, 9, 9], 'phrase': 'cat', 'tokens_positive': [[2, 5]], **changes}
    return [{**VG[0], 'grounding': {'caption': caption, 'regions': [region]}}]


BAD = {
    'not an object': ('od', [[1]], r'line 1 must be an object, got \[1\]'),
    'no name': ('od', _line(filename=''), "line 1: filename must be the path of the image, got ''"),
    'size': ('od', _line(width=0), 'width must be a positive integer of pixels, got 0'),
    'size as text': ('od', _line(height='40'), "height must be a positive integer .* got '40'"),
    'captions': ('od', [VG[0]], "must have 'detection', got filename.*; for a file of captions leave out --label-map"),
    'detections': ('vg', [OD[0]], "must have 'grounding', got .*; for a file of detections write --label-map"),
    'instances': ('od', _line(detection={'instances': 3}), 'instances must be a list of objects'),
    'instance': ('od', _line(detection={'instances': [3]}), r'instances\[0\] must be an object, got 3'),
    'three numbers': ('od', _found(bbox=[1, 2, 3]), r'instances\[0\].bbox must be four finite numbers .left, top, right, bottom'),
    'nan': ('od', _found(bbox=[1, 2, 3, float('nan')]), 'bbox must be four finite numbers'),
    'label': ('od', _found(label=3), r'label must be one of the label map, 0 to 2, got 3'),
    'label as text': ('od', _found(label='cat'), "0 to 2, got 'cat'"),
    'no label': ('od', _found(label=None), '0 to 2, got None'),
    'no caption': ('vg', _region(caption=''), "grounding: caption must be a text, got ''"),
    'no box': ('vg', _region(bbox=[]), r'regions\[0\].bbox must be four finite numbers .* got \[\]'),
    'phrase': ('vg', _region(phrase=None), r'regions\[0\].phrase must be a text or a list of texts'),
    'spans': ('vg', _region(tokens_positive=[2, 5]), 'tokens_positive must be a list of pairs'),
    'beyond': ('vg', _region(tokens_positive=[[2, 6]]), r'must lie in the caption of 5 characters, .* got \[2, 6\]'),
    'backwards': ('vg', _region(tokens_positive=[[5, 2]]), r'the first before the last, got \[5, 2\]'),
    'no image': ('od', _line(filename='b.jpg'), "1 of 1 images are missing in .*; the first is 'b.jpg'"),
}


@pytest.mark.parametrize('kind', BAD)
def test_bad_lines(root: Path, kind: str) -> None:
    """Each mistake is named with its line, and nothing is left behind."""
    name, lines, text = BAD[kind]
    write(root, name, lines)
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        convert(root, name)
    assert [path.name for path in root.parent.iterdir()] == ['data']


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        ('{', 'map.json is not a JSON file'),
        ('[]', r'must be a JSON object of all labels from "0" and their names, got \[\]'),
        ('{"1": "cat"}', 'all labels from "0"'),
        ('{"0": "cat", "2": "owl"}', 'all labels from "0"'),
        ('{"0": 3}', 'the name of label 0 must be a text, got 3'),
        ('{"0": ""}', "the name of label 0 must be a text, got ''"),
        ('{"0": "cat", "1": "cat"}', "names must be unique, but 2 labels are 'cat'; rename"),
        (None, 'label map .*map.json does not exist'),
    ],
)
def test_bad_label_maps(root: Path, content: str | None, text: str) -> None:
    """The file is named, and nothing is left behind."""
    file = root / 'map.json'
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        convert(root, 'od')
    assert [path.name for path in root.parent.iterdir()] == ['data']


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        (None, r'annotation file .*vg\.json does not exist'),
        (b'', 'must have a line for each image, but is empty'),
        (b'\xff\xfe', r'vg\.json, line 1 is not JSON'),
        (b'{"filename": 1}\n', 'line 1: filename must be the path'),
    ],
    ids=['none', 'empty', 'bytes', 'name'],
)
def test_bad_files(root: Path, content: bytes | None, text: str) -> None:
    """The file is named."""
    file = root / 'vg.json'
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        convert(root, 'vg')


def test_the_label_map_belongs_to_detections(root: Path) -> None:
    """``to_odvg`` says what is missing, or too much; stock keys are told apart."""
    od, vg = convert(root, 'od'), convert(root, 'vg')
    with pytest.raises(ValueError, match='--label-map must name the file for the names'):
        to_odvg(od, root / 'out.json')
    with pytest.raises(ValueError, match='has phrases, which need no label map; remove'):
        to_odvg(vg, root / 'out.json', root / 'names.json')
    with pytest.raises(FileExistsError, match=r'--label-map .* already exists; pass --overwrite'):
        to_odvg(od, root / 'out.json', root / 'map.json')
    with pytest.raises(ValueError, match=r'need_text=False .*; write return_classes=False'):
        DeepLakeDataset(od, need_text=False)
    assert not (root / 'out.json').exists()


def test_command_lines(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A summary, or one line and exit code 2."""
    lake = str(root / 'lake')
    argv = [str(root / 'od.json'), str(root / 'images'), lake, '--label-map', str(root / 'map.json')]
    assert main(argv) == 0
    assert 'wrote 3 images, 5 boxes, 3 classes from od.json\n' in capsys.readouterr().out
    assert main(argv) == 2
    assert 'already contains a lake; pass --overwrite' in capsys.readouterr().err
    out = [lake, str(root / 'out.json'), '--label-map', str(root / 'names.json')]
    assert to_odvg_main(out) == 0
    assert 'out.json: wrote 3 images, 5 boxes of ' in capsys.readouterr().out
    assert to_odvg_main(out) == 2
