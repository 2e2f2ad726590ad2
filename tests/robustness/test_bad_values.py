"""Values that other packages would take without a word: an error, or the right number."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers.lakes import HEIGHT, TYPES, WIDTH, row, write_lake
from mmdet.evaluation import CocoMetric
from pycocotools import mask as coco_mask

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric
from mmdet_deeplake_plugin.tools.from_coco import from_coco

BACKENDS = ['pycocotools', 'faster_coco_eval']
FORMATS = ['COCO', 'PascalVOC']


def _files(folder: Path, content: dict[str, Any]) -> tuple[str, str]:
    """Write the JSON and a grey picture per image; return the JSON and the lake."""
    (folder / 'images').mkdir(exist_ok=True)
    for image in content['images']:
        pixels = np.full((image['height'], image['width'], 3), 90, np.uint8)
        cv2.imwrite(str(folder / 'images' / image['file_name']), pixels)
    ann_file = folder / 'ann.json'
    ann_file.write_text(json.dumps(content))
    from_coco(ann_file, folder / 'images', folder / 'lake', overwrite=True)
    return str(ann_file), str(folder / 'lake')


def _content(
    image_ids: Any = (1, 2), category_ids: Any = (1, 2), annotation_ids: Any = (1, 2)
) -> dict[str, Any]:
    """Two images with a box each, of the first and of the second class."""
    return {
        'images': [
            {'id': i, 'file_name': f'{n}.png', 'width': WIDTH, 'height': HEIGHT}
            for n, i in enumerate(image_ids)
        ],
        'categories': [{'id': i, 'name': f'c{n}'} for n, i in enumerate(category_ids)],
        'annotations': [
            {
                'id': ann_id,
                'image_id': image_ids[n],
                'category_id': category_ids[n],
                'bbox': [4, 4, 20, 20],
                'area': 400,
                'iscrowd': 0,
                'segmentation': [[4, 4, 24, 4, 24, 24, 4, 24]],
            }
            for n, ann_id in enumerate(annotation_ids)
        ],
    }


def _sample(info: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """One box of the first class, found right."""
    found = {
        'bboxes': torch.tensor([[4.0, 4.0, 24.0, 24.0]]),
        'scores': torch.tensor([0.9]),
        'labels': torch.tensor([0]),
        **changes,
    }
    shape = info['height'], info['width']
    keys = {key: info[key] for key in ('img_id', 'img_path')}
    return {**keys, 'ori_shape': shape, 'pred_instances': found}


def _scores(metric: Any, dataset: Any, samples: Any, meta: Any = None) -> dict[str, float]:
    metric.dataset_meta = dataset.metainfo if meta is None else meta
    metric.process({}, samples)
    return metric.evaluate(len(samples))


BIG = 2**53
IDS = {
    'categories': dict(category_ids=(BIG + 1, BIG)),
    'images': dict(image_ids=(BIG + 1, BIG)),
    'annotations': dict(annotation_ids=(BIG + 1, BIG)),
    'negative': dict(category_ids=(-1, 0), image_ids=(-(2**62), -(2**62) - 1)),
    'text': dict(image_ids=('a', 'a\0')),
}


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('ids', IDS.values(), ids=IDS)
def test_ids_of_any_size_give_right_numbers(tmp_path, ids, backend):
    """Each backend tells ids apart that are equal as doubles or in arrays of text."""
    _, lake = _files(tmp_path, _content(**ids))
    dataset = DeepLakeDataset(lake, test_mode=True)
    samples = [
        _sample(dataset.get_data_info(i), scores=torch.tensor([0.9 - i / 2]))
        for i in range(2)
    ]
    metric = DeepLakeMetric(classwise=True, backend=backend)
    numbers = _scores(metric, dataset, samples)
    assert numbers['coco/c0_precision'] == 1
    assert numbers['coco/c1_precision'] == 0


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')], ids=str)
@pytest.mark.parametrize(
    ('key', 'where', 'at'), [('bboxes', 'bboxes[0][2]', (0, 2)), ('scores', 'scores[0]', 0)]
)
@pytest.mark.parametrize('name', FORMATS)
def test_predictions_that_are_not_finite_are_refused(tmp_path, name, key, where, at, value):
    """A diverged model has no score; the error names image and number."""
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake'), test_mode=True)
    good = _sample(dataset.get_data_info(0))['pred_instances'][key]
    bad = good.clone()
    bad[at] = value
    samples = [_sample(dataset.get_data_info(0))]
    samples.append(_sample(dataset.get_data_info(3), **{key: bad}))
    with pytest.raises(ValueError) as caught:
        _scores(DeepLakeMetric(name), dataset, samples)
    text = str(caught.value)
    assert text.startswith(
        "image 3 ('000003.jpg'): boxes and scores must be finite numbers, but the model "
        f'predicts {value} for {where}; '
    )
    assert 'clip_grad' in text


def test_nothing_is_written_of_predictions_that_are_not_finite(tmp_path):
    """No result file holds NaN, which is not JSON."""
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake'), test_mode=True)
    options = dict(format_only=True, outfile_prefix=str(tmp_path / 'out'))
    bad = _sample(dataset.get_data_info(0), scores=torch.tensor([float('nan')]))
    with pytest.raises(ValueError, match='must be finite numbers'):
        _scores(DeepLakeMetric(**options), dataset, [bad])
    assert not list(tmp_path.glob('out*'))


def _codes(height: int, width: int) -> list[dict[str, Any]]:
    return [coco_mask.encode(np.zeros((height, width), np.uint8, order='F'))]


OTHERS = {
    'five numbers': (
        dict(bboxes=torch.zeros(1, 5)),
        "image 0 ('000000.jpg'): bboxes must have shape (n, 4)",
    ),
    'labels': (
        dict(labels=torch.tensor([0.5])),
        "image 0 ('000000.jpg'): labels must be integers, got float32",
    ),
    'label': (
        dict(labels=torch.tensor([3])),
        "set num_classes=3 in the model's head(s) (image 0 ('000000.jpg'))",
    ),
    'mask scores': (
        dict(mask_scores=torch.tensor([float('nan')])),
        'predicts nan for mask_scores[0]',
    ),
    'size of tensors': (
        dict(masks=torch.zeros(1, WIDTH, HEIGHT, dtype=torch.bool)),
        f'the stored image, {HEIGHT} x {WIDTH} pixels (height x width), but masks[0] has '
        f'{WIDTH} x {HEIGHT}',
    ),
    'size of codes': (
        dict(masks=_codes(WIDTH, HEIGHT)),
        f'but masks[0] has {WIDTH} x {HEIGHT}; rescale the predictions to ori_shape',
    ),
    'counts': (
        dict(masks=[{'size': [HEIGHT, WIDTH], 'counts': [HEIGHT * WIDTH]}]),
        'masks[0] has counts of type list',
    ),
}


@pytest.mark.parametrize(('changes', 'text'), OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize('name', FORMATS)
def test_predictions_of_a_wrong_form_are_refused(tmp_path, name, changes, text):
    """Shapes, types, labels and sizes of masks, with the image that they are of."""
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake'), test_mode=True)
    sample = _sample(dataset.get_data_info(0), **changes)
    with pytest.raises(ValueError) as caught:
        _scores(DeepLakeMetric(name), dataset, [sample])
    assert text in str(caught.value)


SHORT = {
    'two points': [[1, 2, 3, 4]],
    'one point': [[1, 2]],
    'nothing': [[]],
    'none': [],
}


@pytest.mark.parametrize('polygons', SHORT.values(), ids=SHORT)
def test_a_stored_mask_that_pycocotools_cannot_read_is_named(tmp_path, polygons):
    """The stock metric fails inside of pycocotools; the error names image and instance."""
    content = _content()
    content['annotations'][1]['segmentation'] = polygons
    ann_file, lake = _files(tmp_path, content)
    dataset = DeepLakeDataset(lake, test_mode=True)
    codes = _codes(HEIGHT, WIDTH)
    samples = [_sample(dataset.get_data_info(i), masks=codes) for i in range(2)]
    with pytest.raises(Exception) as stock:
        metric = CocoMetric(ann_file=ann_file, metric='segm')
        _scores(metric, dataset, copy.deepcopy(samples))
    assert not isinstance(stock.value, ValueError)
    for backend in BACKENDS:
        with pytest.raises(ValueError, match=r"instance 0 of image 2 .*metric='bbox'"):
            _scores(DeepLakeMetric(metric='segm', backend=backend), dataset, samples)


@pytest.mark.parametrize('segmentation', [[], None], ids=str)
def test_an_instance_without_a_mask_is_named_when_masks_are_loaded(
    tmp_path, segmentation
):
    """The stock pipeline fails with KeyError: 'mask'; this says which one, and where."""
    content = _content()
    content['annotations'][1]['segmentation'] = segmentation
    _, lake = _files(tmp_path, content)

    def dataset(with_mask: bool) -> DeepLakeDataset:
        load = dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=with_mask)
        return DeepLakeDataset(lake, pipeline=[dict(type='LoadImageFromFile'), load])

    assert len(dataset(False)[1]['gt_bboxes']) == 1
    assert 'gt_masks' in dataset(True)[0]
    with pytest.raises(ValueError) as caught:
        dataset(True)[1]
    text = str(caught.value)
    assert "column 'segmentation', row 1: LoadAnnotations(with_mask=True) needs" in text
    assert 'the one with the box [4.0, 4.0, 24.0, 24.0] is stored without' in text
    instance = dataset(True).get_data_info(1)['instances'][0]
    assert instance.get('mask') is None and 'mask' not in instance
    for copied in (copy.deepcopy(instance), pickle.loads(pickle.dumps(instance))):
        assert copied == instance
        with pytest.raises(ValueError, match='row 1'):
            copied['mask']
    with pytest.raises(KeyError, match='keypoints'):
        instance['keypoints']


@pytest.mark.parametrize(
    ('column', 'values', 'text'),
    [
        ('area', [100, np.nan], "deeplake_tensors['area'] must be finite numbers, got nan"),
        ('area', [np.inf, 1], "deeplake_tensors['area'] must be finite numbers, got inf"),
        ('iscrowd', [0, np.nan], 'must be finite numbers, got nan'),
        ('categories', [0, 0.5], "['gt_labels'] must be integers, got 0.5"),
        ('categories', [0, np.nan], "['gt_labels'] must be integers, got nan"),
    ],
)
def test_stored_numbers_that_would_change_are_refused(tmp_path, column, values, text):
    """NaN areas leave boxes out in silence, and fractions of labels become others."""
    boxes = [(1, 2, 10, 12), (3, 4, 10, 12)]
    rows = [{**row(i, boxes), column: np.array([0.0, 1.0])} for i in range(3)]
    rows[1][column] = np.array(values, dtype=np.float64)
    path = write_lake(tmp_path / 'lake', rows, {column: TYPES['floats']}, None)
    names = {'area': 'area', 'iscrowd': 'gt_ignore_flags', 'categories': 'gt_labels'}
    with pytest.raises(ValueError) as caught:
        DeepLakeDataset(
            path,
            deeplake_tensors={names[column]: column},
            metainfo=dict(classes=('a', 'b', 'c')),
            test_mode=True,
        )
    assert f'column {column!r}, row 1' in str(caught.value)
    assert text in str(caught.value)
