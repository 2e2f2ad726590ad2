"""What ``to_coco`` gives back of a lake, and that it overwrites nothing unasked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.lakes import TYPES, append, open_lake, row, tag, version, write_lake

from mmdet_deeplake_plugin.tools.from_coco import from_coco
from mmdet_deeplake_plugin.tools.to_coco import main, to_coco

REAL = [
    pytest.param('bccd/train.json', 'bccd/images', id='bccd-train'),
    pytest.param('bccd/val.json', 'bccd/images', id='bccd-val'),
    pytest.param('coco_cc/instances.json', 'coco_cc/images', id='coco_cc'),
]


def exported(lake: Any, tmp_path: Path, **kwargs: Any) -> dict[str, Any]:
    to_coco(str(lake), tmp_path / 'out.json', **kwargs)
    return json.loads((tmp_path / 'out.json').read_text())


@pytest.mark.parametrize(('ann_name', 'img_name'), REAL)
def test_a_file_comes_back_as_it_was(
    shared_data: Path, tmp_path: Path, ann_name: str, img_name: str
) -> None:
    """Every id, float, mask, crowd, category, licence, in the same order."""
    ann_file = shared_data / ann_name
    from_coco(ann_file, shared_data / img_name, tmp_path / 'lake')
    assert exported(tmp_path / 'lake', tmp_path) == json.loads(ann_file.read_text())


@pytest.fixture
def mixed(tmp_path: Path, write_image: Any) -> dict[str, Any]:
    """Annotations of several images in turns, with every kind of segmentation."""
    for name in ('b.jpg', 'a.jpg'):
        write_image(tmp_path / 'images' / name, 4, 3)
    common = {'iscrowd': 0, 'category_id': 7, 'area': 1 / 3}
    masks: list[Any] = [
        [[0.1, 1 / 3, 2, 0, 2, 2.0000000000000004], [1, 1, 3, 1, 3, 2, 1, 2]],
        {'size': [3, 4], 'counts': [2, 3, 7]},
        {'counts': '237', 'size': [3, 4]},
        [],
    ]
    annotations = [
        {
            **common,
            'segmentation': mask,
            'image_id': 30 - number % 2,
            'bbox': [0.1, 0, 2.5, 2],
            'id': 50 - number,
        }
        for number, mask in enumerate(masks)
    ]
    annotations[1]['iscrowd'] = 1
    annotations.append({**common, 'image_id': 30, 'bbox': [1, 1, 2, 2], 'id': 3})
    return {
        'images': [
            {'id': 29, 'file_name': 'b.jpg', 'width': 4, 'height': 3, 'license': 2},
            {'id': 30, 'file_name': 'a.jpg', 'width': 4, 'height': 3},
        ],
        'annotations': annotations,
        'categories': [{'id': 7, 'name': 'ant', 'supercategory': 'insect'}],
        'info': {'year': 2026, 'description': 'fourmis élégantes'},
    }


def lake_of(content: dict[str, Any], tmp_path: Path) -> str:
    (tmp_path / 'in.json').write_text(json.dumps(content))
    from_coco(tmp_path / 'in.json', tmp_path / 'images', tmp_path / 'lake')
    return str(tmp_path / 'lake')


def test_every_kind_of_mask_and_order_comes_back(
    tmp_path: Path, mixed: dict[str, Any]
) -> None:
    """Polygons, both codes, an empty one and none; annotations not image by image."""
    assert exported(lake_of(mixed, tmp_path), tmp_path) == mixed


def test_ignore_marks_come_back(tmp_path: Path, mixed: dict[str, Any]) -> None:
    """A file that marks annotations as ignored gives all its marks back."""
    for number, annotation in enumerate(mixed['annotations']):
        annotation['ignore'] = number % 2
    assert exported(lake_of(mixed, tmp_path), tmp_path) == mixed


def test_a_query_gives_its_rows(tmp_path: Path, mixed: dict[str, Any]) -> None:
    """Only the images of the query, and their annotations, in the file's order."""
    lake = lake_of(mixed, tmp_path)
    found = exported(lake, tmp_path, query='SELECT * WHERE image_id = 30')
    assert found['images'] == mixed['images'][1:]
    kept = [ann for ann in mixed['annotations'] if ann['image_id'] == 30]
    assert found['annotations'] == kept


def test_a_commit_and_a_view_give_their_rows(tmp_path: Path) -> None:
    """--commit and --view choose the state, as in a config."""
    lake = write_lake(tmp_path / 'lake')
    before = version(lake)
    tag(lake, 'SELECT * WHERE image_id > 3', 'late')
    append(lake, [6, 7])
    out = tmp_path / 'out.json'

    def ids(*options: str) -> list[int]:
        assert main([lake, str(out), '--overwrite', *options]) == 0
        return [image['id'] for image in json.loads(out.read_text())['images']]

    assert ids() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert ids('--commit', before) == [0, 1, 2, 3, 4, 5]
    assert ids('--view', 'late') == [4, 5]


def test_images_come_back_byte_for_byte(tmp_path: Path, mixed: dict[str, Any]) -> None:
    """--images-dir writes each image as it is stored, under its file name."""
    lake = lake_of(mixed, tmp_path)
    exported(lake, tmp_path, images_dir=tmp_path / 'back')
    for name in ('a.jpg', 'b.jpg'):
        stored = (tmp_path / 'images' / name).read_bytes()
        assert (tmp_path / 'back' / name).read_bytes() == stored


def test_a_lake_of_another_origin_is_numbered(tmp_path: Path) -> None:
    """Without ids and names: annotations from 1, rows as ids and names, dense masks."""
    dense = np.zeros((40, 64, 2), bool)
    dense[3:9, 5:20, 0] = dense[1, 1, 1] = True
    values = {**row(0, [(1, 2, 3, 4), (5, 6, 7, 8)], [2, 0]), 'masks': dense}
    columns = {'masks': TYPES['bitmaps'], 'image_id': None, 'file_name': None}
    lake = write_lake(tmp_path / 'lake', [values], columns)
    found = exported(lake, tmp_path)
    assert found['images'] == [{'id': 0, 'file_name': '0.jpg', 'width': 64, 'height': 40}]
    assert [ann['id'] for ann in found['annotations']] == [1, 2]
    assert [ann['category_id'] for ann in found['annotations']] == [2, 0]
    assert found['annotations'][0]['segmentation']['size'] == [40, 64]
    assert found['categories'][2] == {'id': 2, 'name': 'owl'}


def test_nothing_is_overwritten_unasked(tmp_path: Path, mixed: dict[str, Any]) -> None:
    """An existing file stops it before anything is written; --overwrite replaces it."""
    lake, out = lake_of(mixed, tmp_path), tmp_path / 'out.json'
    out.write_text('mine')
    with pytest.raises(FileExistsError, match=r'out\.json already exists; pass --over'):
        to_coco(lake, out)
    assert out.read_text() == 'mine'
    (tmp_path / 'back').mkdir()
    (tmp_path / 'back' / 'a.jpg').write_text('mine too')
    with pytest.raises(FileExistsError, match=r'--images-dir: .*a\.jpg already exists'):
        to_coco(lake, tmp_path / 'new.json', images_dir=tmp_path / 'back')
    assert not (tmp_path / 'new.json').exists()
    to_coco(lake, out, images_dir=tmp_path / 'back', overwrite=True)
    assert json.loads(out.read_text()) == mixed
    assert (tmp_path / 'back' / 'a.jpg').read_bytes()[:2] == b'\xff\xd8'


@pytest.mark.parametrize('name', ['../escaped.jpg', '/escaped.jpg'])
def test_no_image_is_written_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    """A file name that must stay inside --images-dir is refused."""
    lake = write_lake(tmp_path / 'lake', [{**row(0), 'file_name': name}])
    with pytest.raises(ValueError, match='must stay inside --images-dir'):
        to_coco(lake, tmp_path / 'out.json', images_dir=tmp_path / 'back')
    assert not (tmp_path / 'out.json').exists()


def test_images_of_one_name_are_refused(tmp_path: Path) -> None:
    """Two rows with one file name would overwrite each other."""
    rows = [{**row(number), 'file_name': 'same.jpg'} for number in range(2)]
    lake = write_lake(tmp_path / 'lake', rows)
    with pytest.raises(ValueError, match='1 images have the name of another image'):
        to_coco(lake, tmp_path / 'out.json', images_dir=tmp_path / 'back')


def test_rows_of_one_id_are_refused(tmp_path: Path) -> None:
    """A COCO file cannot hold two images of one id; row numbers are a way out."""
    lake = write_lake(tmp_path / 'lake', [row(0), row(0)])
    with pytest.raises(ValueError, match='1 rows have the id of another row'):
        to_coco(lake, tmp_path / 'out.json')
    found = exported(lake, tmp_path, tensors={'img_id': None})
    assert [image['id'] for image in found['images']] == [0, 1]


def test_a_lake_that_was_changed_still_goes_back(
    tmp_path: Path, mixed: dict[str, Any]
) -> None:
    """After a row was deleted, the rest comes back in its old order."""
    lake = lake_of(mixed, tmp_path)
    opened = open_lake(lake)
    opened.delete(0)
    opened.commit()
    del opened
    found = exported(lake, tmp_path)
    kept = [ann for ann in mixed['annotations'] if ann['image_id'] == 30]
    assert found['annotations'] == kept


def test_the_command_says_what_it_did(tmp_path: Path, mixed: dict[str, Any]) -> None:
    """One line on stdout, a progress bar on stderr, and help."""
    command = [sys.executable, '-m', 'mmdet_deeplake_plugin.tools.to_coco']
    lake, out = lake_of(mixed, tmp_path), str(tmp_path / 'out.json')
    done = subprocess.run([*command, lake, out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f'{out}: wrote 2 images, 5 annotations, 1 categories')
    assert 'reading annotations' in done.stderr
    done = subprocess.run([*command, '--help'], capture_output=True, text=True)
    assert done.returncode == 0 and '--images-dir' in done.stdout


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A lake that is not there ends with exit code 2 and no file."""
    assert main([str(tmp_path / 'no'), str(tmp_path / 'out.json')]) == 2
    assert 'no Deep Lake dataset was found there' in capsys.readouterr().err
    assert not (tmp_path / 'out.json').exists()
