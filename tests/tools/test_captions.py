"""COCO's captions go into a lake and come back as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.lakes import TYPES, row, write_lake

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.tools.from_coco import from_coco, main
from mmdet_deeplake_plugin.tools.to_coco import to_coco


@pytest.fixture
def files(shared_data: Path, tmp_path: Path) -> dict[str, Any]:
    """Real photographs with their annotations, and captions in mixed order."""
    ann_file = shared_data / 'coco_cc' / 'instances.json'
    images = json.loads(ann_file.read_text())['images']
    annotations = [
        {
            'image_id': image['id'],
            'id': 1000 - len(images) * turn - number,
            'caption': f'“{image["file_name"]}”, told {turn} times. ',
        }
        for turn in range(3)
        for number, image in enumerate(images[1:])  # the first has none
    ]
    content = {
        'info': {'description': 'captions'},
        'licenses': [{'id': 1}],
        'images': images,
        'annotations': annotations,
    }
    (tmp_path / 'captions.json').write_text(json.dumps(content))
    return dict(
        ann_file=ann_file,
        img_dir=shared_data / 'coco_cc' / 'images',
        captions=tmp_path / 'captions.json',
        content=content,
    )


def _import(files: dict[str, Any], dest: Path) -> str:
    return from_coco(
        files['ann_file'], files['img_dir'], dest, captions=files['captions']
    )


def test_both_files_come_back_as_they_were(files: dict, tmp_path: Path) -> None:
    """Captions, ids, order, information of the file; and the boxes beside them."""
    assert _import(files, tmp_path / 'lake').endswith('120 captions')
    to_coco(str(tmp_path / 'lake'), tmp_path / 'a.json', captions=tmp_path / 'b.json')
    instances, captions = (
        json.loads((tmp_path / name).read_text()) for name in ('a.json', 'b.json')
    )
    assert captions == files['content']
    assert instances == json.loads(files['ann_file'].read_text())


def test_samples_carry_the_captions_of_their_image(files: dict, tmp_path: Path) -> None:
    """A list in the order of the file, empty where there are none."""
    _import(files, tmp_path / 'lake')
    dataset = DeepLakeDataset(str(tmp_path / 'lake'), test_mode=True)
    expected: dict[int, list[str]] = {}
    for annotation in files['content']['annotations']:
        expected.setdefault(annotation['image_id'], []).append(annotation['caption'])
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        assert info['gt_caption'] == expected.get(info['img_id'], [])


def test_plain_captions_are_numbered(tmp_path: Path) -> None:
    """A lake with one caption an image gives a captions file too."""
    values = [
        {**row(i), 'caption': text} for i, text in enumerate(['a cat', '', 'an owl'])
    ]
    path = write_lake(tmp_path / 'lake', values, {'caption': TYPES['text']})
    to_coco(path, tmp_path / 'a.json', captions=tmp_path / 'b.json')
    assert json.loads((tmp_path / 'b.json').read_text())['annotations'] == [
        {'image_id': 0, 'id': 1, 'caption': 'a cat'},
        {'image_id': 2, 'id': 3, 'caption': 'an owl'},
    ]


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        pytest.param(
            lambda content: content.pop('annotations'),
            "is not a COCO captions file; it must have a list 'annotations'",
            id='no-captions',
        ),
        pytest.param(
            lambda content: content['annotations'][2].update(image_id=5),
            'annotations[2] has image_id 5, which is not an image id in ANN_JSON',
            id='image',
        ),
        pytest.param(
            lambda content: content['annotations'][3].update(caption=None),
            "annotations[3] must have a string 'caption', got ",
            id='text',
        ),
        pytest.param(
            lambda content: content['annotations'][3].update(id=1000),
            "each of 'annotations' must have a distinct 'id', got 1000",
            id='ids',
        ),
    ],
)
def test_wrong_captions_are_named(
    files: dict, change: Any, text: str, tmp_path: Path, capsys: Any
) -> None:
    """Before anything is written; the message says where."""
    change(files['content'])
    files['captions'].write_text(json.dumps(files['content']))
    arguments = [files[key] for key in ('ann_file', 'img_dir')]
    arguments += [tmp_path / 'lake', '--captions', files['captions']]
    assert main([str(value) for value in arguments]) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / 'lake').exists()


def test_captions_that_are_not_there_are_not_written(tmp_path: Path) -> None:
    """to_coco says which role has no column, before it writes anything."""
    path = write_lake(tmp_path / 'lake')
    with pytest.raises(
        ValueError, match=r'--captions needs a column of captions, but lake .* has none'
    ):
        to_coco(path, tmp_path / 'a.json', captions=tmp_path / 'b.json')
    assert not (tmp_path / 'a.json').exists()
