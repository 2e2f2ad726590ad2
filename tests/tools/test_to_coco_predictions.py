"""``to_coco --predictions``: what a model predicted becomes labels to correct."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.lakes import HEIGHT, WIDTH, row, write_lake
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mmdet_deeplake_plugin.lake import (
    LakeSpec,
    PredictionBranch,
    PredictionColumn,
    open_source,
)
from mmdet_deeplake_plugin.structures.masks import (
    pack_segmentations,
    segmentations_of_bitmaps,
)
from mmdet_deeplake_plugin.tools.to_coco import main, to_coco

BOXES = np.float32([[1, 2, 11, 22], [0.1, 0.2, 3.7, 4.9]])
SCORES = np.float32([0.9, 0.3])


def _predict(path: str, judged: bool = True, masks: str | None = None) -> str:
    """Write predictions of the rows 1 and 3."""
    source, _ = open_source(LakeSpec.from_config(path))
    columns = {
        'boxes': PredictionColumn('boxes'),
        'labels': PredictionColumn('labels', ('cat', 'dog', 'owl')),
        'scores': PredictionColumn('numbers'),
    }
    none = np.zeros((0, 4), np.float32)
    values: dict[str, list[Any]] = {
        'boxes': [BOXES, none],
        'labels': [np.int32([2, 0]), np.zeros(0, np.int32)],
        'scores': [SCORES, np.zeros(0, np.float32)],
    }
    if judged:
        columns['verdict'] = PredictionColumn('labels', ('wrong', 'right'))
        values['verdict'] = [np.int32([0, 0]), np.zeros(0, np.int32)]
    if masks is not None:
        columns['masks'] = PredictionColumn('text')
        values['masks'] = [masks, '[]']
    branch = PredictionBranch(source, 'runs/a', 'net')
    branch.write(columns, [(np.array([1, 3]), values)], {})
    return f'{path}@runs/a'


def _exported(path: str, folder: Path, **keys: Any) -> dict[str, Any]:
    to_coco(path, folder / 'out.json', predictions='net', **keys)
    return json.loads((folder / 'out.json').read_text())


def test_predictions_become_annotations(tmp_path):
    """Of the predicted images alone, with scores, in doubles of the stored values."""
    content = _exported(_predict(write_lake(tmp_path / 'lake')), tmp_path)
    assert [image['id'] for image in content['images']] == [1, 3]
    assert [each['name'] for each in content['categories']] == ['cat', 'dog', 'owl']
    first, second = content['annotations']
    assert first == dict(
        id=1,
        image_id=1,
        category_id=2,
        bbox=[1, 2, 10, 20],
        area=200,
        iscrowd=0,
        score=float(SCORES[0]),
    )
    corners = BOXES[1].astype(float)
    assert second['bbox'] == [*corners[:2], *(corners[2:] - corners[:2])]
    assert second['category_id'] == 0


def test_a_score_threshold(tmp_path):
    """Leaves out the others; images stay."""
    path = _predict(write_lake(tmp_path / 'lake'))
    content = _exported(path, tmp_path, score_thr=0.4)
    assert [each['score'] for each in content['annotations']] == [float(SCORES[0])]
    assert len(content['images']) == 2
    query = 'SELECT * WHERE image_id == 3'
    content = _exported(path, tmp_path, query=query, overwrite=True)
    assert [image['id'] for image in content['images']] == [3]
    assert content['annotations'] == []


def test_masks(tmp_path):
    """As run-length codes, with their areas."""
    layers = np.zeros((HEIGHT, WIDTH, 2), bool)
    layers[2:22, 1:11, 0] = layers[0:5, 0:4, 1] = True
    packed = pack_segmentations(segmentations_of_bitmaps(layers))
    content = _exported(
        _predict(write_lake(tmp_path / 'lake'), masks=packed), tmp_path
    )
    assert [each['area'] for each in content['annotations']] == [200, 20]
    for number, annotation in enumerate(content['annotations']):
        decoded = coco_mask.decode(annotation['segmentation'])
        assert np.array_equal(decoded, layers[..., number])


def test_a_lake_without_annotations(tmp_path, capsys):
    """Its categories count from 1; the file is read by pycocotools."""
    rows = [
        {key: value for key, value in row(n).items() if key not in ('boxes', 'categories')}
        for n in range(4)
    ]
    path = write_lake(tmp_path / 'lake', rows, dict(boxes=None, categories=None))
    arguments = [_predict(path, judged=False), str(tmp_path / 'out.json')]
    arguments += ['--predictions', 'net', '--score-thr', '0.4']
    assert main([*arguments, '--images-dir', str(tmp_path / 'images')]) == 0
    assert "wrote 2 images, 1 predictions of 'net', 3 categories" in capsys.readouterr().out
    assert (tmp_path / 'images' / '000003.jpg').read_bytes() == rows[3]['images']
    coco = COCO(str(tmp_path / 'out.json'))
    (annotation,) = coco.loadAnns(coco.getAnnIds())
    assert coco.loadCats(annotation['category_id'])[0] == {'id': 3, 'name': 'owl'}


MISTAKES = {
    'no name': (
        ['--score-thr', '0.4'],
        '--score-thr selects predictions, but --predictions is not set',
    ),
    'wrong name': (
        ['--predictions', 'nets'],
        "does not have predictions 'nets' (did you mean net?); found: net",
    ),
    'score': (
        ['--predictions', 'net', '--score-thr', '40'],
        '--score-thr must be a number from 0 to 1, got 40.0',
    ),
    'no rows': (
        ['--predictions', 'net', '--query', 'SELECT * WHERE image_id == 0'],
        "none of the 1 selected rows has predictions 'net'",
    ),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_mistakes(mistake, tmp_path, capsys):
    """Each ends with a message, and no file."""
    path = _predict(write_lake(tmp_path / 'lake'))
    options, text = MISTAKES[mistake]
    assert main([path, str(tmp_path / 'out.json'), *options]) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / 'out.json').exists()
