"""Panoptic files and folders of maps: into a lake and back, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.lakes import HEIGHT, TYPES, WIDTH, row, write_lake

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.structures.seg_maps import colours_of
from mmdet_deeplake_plugin.tools.from_coco import from_coco, main
from mmdet_deeplake_plugin.tools.inspect import inspect
from mmdet_deeplake_plugin.tools.to_coco import to_coco


def test_a_panoptic_file_comes_back_as_it_was(panoptic_lake, panoptic_root, tmp_path):
    """Segments, ids, areas, crowds, categories, their order, and each byte of the PNG."""
    said = to_coco(panoptic_lake, tmp_path / 'out.json', maps_dir=tmp_path / 'maps')
    expected = json.loads((panoptic_root / 'panoptic.json').read_text())
    found = json.loads((tmp_path / 'out.json').read_text())
    assert found == expected
    assert 'segments, 133 categories of' in said and said.endswith(str(tmp_path / 'maps'))
    order = [entry['image_id'] for entry in expected['annotations']]
    assert order != [image['id'] for image in expected['images']]
    files = list((panoptic_root / 'panoptic').iterdir())
    assert len(files) == 41
    for file in files:
        assert (tmp_path / 'maps' / file.name).read_bytes() == file.read_bytes()


@pytest.fixture
def small(tmp_path: Path, write_image: Any) -> dict[str, Any]:
    """Two images, the second without an entry; names of maps unlike those of images."""
    for name in ('a.jpg', 'b.jpg'):
        write_image(tmp_path / 'images' / name, 4, 3)
    ids = np.zeros((3, 4), np.int64)
    ids[1] = 70000
    ids[2, 1:] = 9
    _write(tmp_path / 'panoptic' / 'map of a.png', ids)
    _write(tmp_path / 'panoptic' / 'b.png', np.zeros((3, 4), np.int64))
    segments = [
        dict(id=9, category_id=4, iscrowd=1, bbox=[1, 2, 3, 1], area=3),
        dict(id=70000, category_id=2, iscrowd=0, bbox=[0, 1, 4, 1], area=4.5),
    ]
    entry = dict(image_id=7, file_name='map of a.png', segments_info=segments, note='x')
    return dict(
        images=[
            dict(id=7, file_name='a.jpg', width=4, height=3),
            dict(id=8, file_name='b.jpg', width=4, height=3),
        ],
        annotations=[entry],
        categories=[
            dict(id=2, name='sky', isthing=0, color=[1, 2, 3]),
            dict(id=4, name='cat', isthing=1),
        ],
    )


def _write(file: Path, ids: np.ndarray) -> None:
    file.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(file), colours_of(ids)[:, :, ::-1])


def _convert(content: dict[str, Any], tmp_path: Path, **kwargs: Any) -> str:
    (tmp_path / 'panoptic.json').write_text(json.dumps(content))
    lake = tmp_path / 'lake'
    from_coco(tmp_path / 'panoptic.json', tmp_path / 'images', lake, **kwargs)
    return str(lake)


def test_what_else_an_entry_says_comes_back(small, tmp_path):
    """Own names of maps, further keys, areas that are not whole, images without entry."""
    to_coco(_convert(small, tmp_path), tmp_path / 'out.json', maps_dir=tmp_path / 'maps')
    assert json.loads((tmp_path / 'out.json').read_text()) == small
    for name in ('map of a.png', 'b.png'):
        stored = (tmp_path / 'panoptic' / name).read_bytes()
        assert (tmp_path / 'maps' / name).read_bytes() == stored


def test_maps_may_lie_elsewhere(small, tmp_path):
    """--panoptic-dir names a folder that is not called like the file."""
    (tmp_path / 'panoptic').rename(tmp_path / 'maps')
    dataset = DeepLakeDataset(_convert(small, tmp_path, panoptic_dir=tmp_path / 'maps'))
    assert dataset.get_data_info(0)['segments_info'] == [
        {'id': 9, 'category': 1, 'is_thing': 0},
        {'id': 70000, 'category': 0, 'is_thing': 0},
    ]


def test_a_lake_of_another_origin_becomes_a_panoptic_file(tmp_path):
    """Without an entry from a file, maps are called like images."""
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    ids[3:9] = 66000
    values = {**row(0), 'seg_map': ids, 'segment_id': np.array([66000])}
    columns = {'seg_map': TYPES['map-32-bit'], 'segment_id': TYPES['ints']}
    lake = write_lake(tmp_path / 'lake', [values], columns)
    to_coco(lake, tmp_path / 'out.json', maps_dir=tmp_path / 'maps')
    entry = json.loads((tmp_path / 'out.json').read_text())['annotations'][0]
    assert entry['file_name'] == '000000.png'
    assert [segment['id'] for segment in entry['segments_info']] == [66000]
    written = cv2.imread(str(tmp_path / 'maps' / '000000.png'))[:, :, ::-1]
    assert np.array_equal(written, colours_of(ids))


def _renamed(content: dict, tmp_path: Path) -> None:
    (tmp_path / 'panoptic' / 'map of a.png').unlink()


def _resized(content: dict, tmp_path: Path) -> None:
    _write(tmp_path / 'panoptic' / 'b.png', np.zeros((4, 4), np.int64))


def _lossy(content: dict, tmp_path: Path) -> None:
    file = tmp_path / 'panoptic' / 'b.png'
    file.write_bytes(cv2.imencode('.jpg', np.zeros((3, 4, 3), np.uint8))[1].tobytes())


def _cut(content: dict, tmp_path: Path) -> None:
    file = tmp_path / 'panoptic' / 'map of a.png'
    file.write_bytes(file.read_bytes()[:45])


def _segment(content: dict) -> dict:
    return content['annotations'][0]['segments_info'][0]


WRONG: dict[str, tuple[Any, str]] = {
    'map-not-there': (_renamed, r'map of a.png of image .a.jpg. does not exist'),
    'map-of-another-size': (
        _resized,
        r'b.png must have the size of its image, 3 x 4 pixels \(height x width\), got 4 x 4',
    ),
    'map-that-is-a-jpeg': (_lossy, 'b.png must be a PNG; other formats may lose labels'),
    'map-cut-short': (_cut, 'map of a.png: OpenCV cannot decode it'),
    'segment-without-pixels': (
        lambda content, _: _segment(content).update(id=10),
        r'map of a.png \(image id 7\): the map has segment 9, which the list of segments '
        'does not have; correct the map or the file',
    ),
    'pixels-without-segment': (
        lambda content, _: content['annotations'][0]['segments_info'].append(
            dict(_segment(content), id=77)
        ),
        'the list of segments has segment 77, which the map does not have; correct the '
        'map or the file',
    ),
    'id-of-void': (
        lambda content, _: _segment(content).update(id=0),
        r"annotations\[0\], segment 0 must have an 'id' from 1 to 16777215, the colour",
    ),
    'id-twice': (
        lambda content, _: _segment(content).update(id=70000),
        r'annotations\[0\], segment 1 has the id 70000 of another segment',
    ),
    'no-area': (
        lambda content, _: _segment(content).pop('area'),
        r"annotations\[0\], segment 0 \(id 9\) must have an 'area' in pixels",
    ),
    'unknown-image': (
        lambda content, _: content['annotations'][0].update(image_id=70),
        r"annotations\[0\] has image_id 70, which is not in 'images'",
    ),
    'image-twice': (
        lambda content, _: content['annotations'].append(content['annotations'][0]),
        r'annotations\[1\] is the second entry of image 7',
    ),
    'no-list-of-segments': (
        lambda content, _: content['annotations'][0].update(segments_info={}),
        r"annotations\[0\] must have 'segments_info', a list of segments",
    ),
    'neither-thing-nor-stuff': (
        lambda content, _: content['categories'][1].pop('isthing'),
        r"categories\[1\] \('cat'\) must have 'isthing', 1 for things or 0 for stuff, got",
    ),
}


@pytest.mark.parametrize('fault', WRONG)
def test_a_file_that_contradicts_its_maps_is_refused(fault, small, tmp_path):
    """The error names the file or the entry, and nothing is written."""
    change, text = WRONG[fault]
    change(small, tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        _convert(small, tmp_path)
    assert not (tmp_path / 'lake').exists()


OPTIONS: dict[str, tuple[bool, list[str], str]] = {
    'no-folder': (True, [], 'does not exist; name it with --panoptic-dir'),
    'maps-of-stuff-for-a-panoptic-file': (
        True,
        ['--seg-dir', 'x'],
        'is a panoptic file, which has its own maps; remove --seg-dir',
    ),
    'panoptic-maps-for-instances': (
        False,
        ['--panoptic-dir', 'x'],
        'has no segments_info; for semantic maps write --seg-dir',
    ),
    'names-without-maps': (
        False,
        ['--seg-classes', '{names}'],
        '--seg-classes names the labels of maps, but --seg-dir is missing; write both',
    ),
}


@pytest.mark.parametrize('fault', OPTIONS)
def test_options_that_do_not_fit_the_file_are_refused(fault, small, tmp_path, capsys):
    """One line names the option and what to write."""
    panoptic, options, text = OPTIONS[fault]
    if not panoptic:
        small['annotations'] = []
    (tmp_path / 'other.json').write_text(json.dumps(small))
    (tmp_path / 'names').write_text('a\nb\n')
    options = [option.format(names=tmp_path / 'names') for option in options]
    args = [tmp_path / 'other.json', tmp_path / 'images', tmp_path / 'lake']
    assert main([*map(str, args), *options]) == 2
    assert text in capsys.readouterr().err


def test_maps_of_a_lake_without_any_cannot_be_written(tmp_path):
    """--maps-dir says that there are none."""
    lake = write_lake(tmp_path / 'lake', [row(0)])
    with pytest.raises(ValueError, match='--maps-dir needs a column for gt_seg_map, but'):
        to_coco(lake, tmp_path / 'out.json', maps_dir=tmp_path / 'maps')


def test_the_command_converts_panoptic_data_both_ways(small, tmp_path):
    """The folder of maps is found beside the file."""
    (tmp_path / 'panoptic.json').write_text(json.dumps(small))
    tools = [sys.executable, '-m', 'mmdet_deeplake_plugin.tools.']
    for tool, args in (
        ('from_coco', ['panoptic.json', 'images', 'lake']),
        ('to_coco', ['lake', 'out.json', '--maps-dir', 'maps']),
    ):
        command = [*tools[:2], tools[2] + tool, *args]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert '2 segments' in done.stdout
    assert json.loads((tmp_path / 'out.json').read_text()) == small


def test_inspect_shows_maps_and_numbers_of_classes(panoptic_lake):
    """What is in the column, and what the heads of a model need."""
    text = inspect(panoptic_lake)
    assert 'maps:     segment ids, column seg_map' in text
    assert "'gt_seg_map': 'seg_map'" in text and "'segment_ids': 'segment_id'" in text
    assert '# and num_things_classes=80, num_stuff_classes=53 in the head' in text
