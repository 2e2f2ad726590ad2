"""Maps and segments that do not fit: each error names the place, the finding, the remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers.lakes import HEIGHT, TYPES, WIDTH, row, write_lake
from mmdet.utils import register_all_modules
from mmengine.registry import DATASETS

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric

register_all_modules()

LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=False, with_label=False, with_seg=True),
]
LABELS = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 3
THINGS = dict(metainfo=dict(thing_classes=('cat', 'dog')))


def _fails(error: type[Exception], *texts: str) -> Any:
    """Expects an error whose text holds the parts in this order."""
    return pytest.raises(error, match='(?s)' + '.*'.join(map(re.escape, texts)))


def _jpeg(pixels: np.ndarray) -> bytes:
    return cv2.imencode('.jpg', pixels)[1].tobytes()


def _png(pixels: np.ndarray) -> bytes:
    return cv2.imencode('.png', pixels)[1].tobytes()


# -------------------------------------------------------------------- maps, when loaded

MAPS: dict[str, tuple[str, Any, list[str]]] = {
    'map-of-another-size': (
        'png map',
        _png(np.zeros((HEIGHT - 1, WIDTH), np.uint8)),
        [
            "column 'seg_map', row 1: the map must have the size of its image, 40 x 64 "
            'pixels (height x width), but has 39 x 64; store a map of that size'
        ],
    ),
    'array-of-another-size': (
        'map',
        np.zeros((HEIGHT, WIDTH + 2), np.uint8),
        ["column 'seg_map', row 1: the map must have the size", 'but has 40 x 66'],
    ),
    'map-with-loss': (
        'png image',
        _jpeg(LABELS.astype(np.uint8)),
        ['row 1: the map must have lossless compression, but is a JPEG', '; store a PNG'],
    ),
    'no-map': (
        'png map',
        b'',
        ['row 1: no image is stored (0 bytes); store a map in the row, or leave the row'],
    ),
    'null-map': (
        'map or null',
        None,
        ['row 1: no map is stored (null); store a map in the row, or leave the row out'],
    ),
    'map-cut-short': (
        'png map',
        _png(LABELS.astype(np.uint8))[:-9],
        ['row 1: the PNG image is cut short', '; store a map in the row'],
    ),
    'negative-label': (
        'map-32-bit',
        (LABELS - 1).astype(np.int32),
        [
            'row 1: each label of a map must fit into a PNG, 0 to 65535, got -1; renumber '
            'it, and write 255 for pixels to ignore'
        ],
    ),
    'label-too-large': (
        'map-32-bit',
        (LABELS * 40000).astype(np.int32),
        ['row 1: each label of a map must fit into a PNG, 0 to 65535, got 80000'],
    ),
    'several-numbers-a-pixel': (
        'colours',
        np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        [
            'row 1: a map must be an integer array of shape (H, W), got shape (40, 64, 3) '
            'and type uint8; store a label for each pixel'
        ],
    ),
}


@pytest.mark.parametrize('fault', MAPS)
def test_a_wrong_map_is_an_error_that_names_lake_column_and_row(fault, tmp_path):
    """It comes when the map is loaded; images without one are no matter of it."""
    dtype, stored, texts = MAPS[fault]
    good = LABELS.astype(np.int32) if '32' in dtype else LABELS.astype(np.uint8)
    whole = good if TYPES[dtype].is_segment_mask and 'png' not in dtype else _png(good)
    if dtype == 'map or null':
        whole = good
    rows = [
        {**row(number), 'seg_map': value} for number, value in enumerate([whole, stored])
    ]
    path = write_lake(tmp_path / 'lake', rows, {'seg_map': TYPES[dtype]})
    dataset = DeepLakeDataset(path, pipeline=LOAD)
    assert dataset[0]['gt_seg_map'].shape == (HEIGHT, WIDTH)
    with _fails(ValueError, 'lake ', *texts):
        dataset[1]
    assert DeepLakeDataset(path, pipeline=LOAD[:1])[1]


def test_a_broken_map_is_skipped_as_a_broken_image_is(tmp_path):
    """on_broken_image='skip' puts the next sample in its place."""
    stored = [_png(LABELS.astype(np.uint8)), b'', _png(LABELS.astype(np.uint8))]
    rows = [{**row(number), 'seg_map': value} for number, value in enumerate(stored)]
    path = write_lake(tmp_path / 'lake', rows, {'seg_map': TYPES['png map']})
    dataset = DeepLakeDataset(path, pipeline=LOAD, on_broken_image='skip')
    assert dataset[1]['img_id'] == 2 and dataset.take_skipped_rows() == [1]


# --------------------------------------------------------- roles and panoptic columns


def _panoptic(number: int, ids: Any = (5, 9), **others: Any) -> dict:
    pixels = np.zeros((HEIGHT, WIDTH), np.int32)
    pixels[2:12, 1:11] = 5
    pixels[20:30, 1:11] = 9
    boxes = [(1, 2, 10, 10), (1, 20, 10, 10)]
    return {
        **row(number, boxes, [0, 2]),
        'seg_map': pixels,
        'segment_id': np.asarray(ids),
        **others,
    }


PANOPTIC = {'seg_map': TYPES['map-32-bit'], 'segment_id': TYPES['ints']}

BUILDS: dict[str, tuple[list[dict], dict, dict, list[str]]] = {
    'column-that-cannot-be-a-map': (
        [row(0)],
        {},
        dict(deeplake_tensors=dict(gt_seg_map='categories')),
        [
            "deeplake_tensors['gt_seg_map']='categories': the column must hold "
            'segmentation maps, one per row: SegmentMask, PNG images',
            ', but its type is ',
        ],
    ),
    'two-columns-of-maps': (
        [{**row(0), 'one': LABELS.astype(np.uint8), 'two': LABELS.astype(np.uint8)}],
        {'one': TYPES['map'], 'two': TYPES['map']},
        {},
        [
            "deeplake_tensors['gt_seg_map'] is not set and 2 columns match: one, two; "
            'write one of them, or None for no column'
        ],
    ),
    'things-not-told': (
        [_panoptic(0)],
        PANOPTIC,
        {},
        [
            'does not say which classes are things (metadata isthing of the column of '
            "labels); write metainfo=dict(thing_classes=('NAME', …)); all other classes are "
            'stuff'
        ],
    ),
    'things-none': (
        [_panoptic(0)],
        PANOPTIC,
        dict(metainfo=dict(thing_classes=None)),
        ['does not say which classes are things', 'write metainfo=dict(thing_classes=('],
    ),
    'things-misspelt': (
        [_panoptic(0)],
        PANOPTIC,
        dict(metainfo=dict(thing_classes=['cat', 'dgo'])),
        [
            "metainfo.thing_classes holds 'dgo', which is not a class of lake ",
            '(did you mean dog?); its classes are cat, dog, owl',
        ],
    ),
    'more-ids-than-boxes': (
        [_panoptic(0, [5, 9, 11])],
        PANOPTIC,
        THINGS,
        ["column 'segment_id', row 0: ", "found 3 values for 2 boxes in column 'boxes'"],
    ),
    'id-of-void': (
        [_panoptic(0, [5, 0])],
        PANOPTIC,
        THINGS,
        ["column 'segment_id', row 0: the segment id 0 must be 1 to 16777215"],
    ),
    'id-twice': (
        [_panoptic(0), _panoptic(1, [5, 5])],
        PANOPTIC,
        THINGS,
        ["column 'segment_id', row 1: the segment id 5 must be unique within an image"],
    ),
    'panoptic-without-ids': (
        [row(0)],
        {},
        dict(annotation_style='panoptic'),
        [
            "annotation_style='panoptic' needs a column for segment_ids, which links "
            'boxes to segments of the map, but none was found; write deeplake_tensors='
        ],
    ),
}


@pytest.mark.parametrize('fault', BUILDS)
def test_wrong_columns_are_found_when_the_dataset_is_built(fault, tmp_path):
    """Before the first sample: the error names the key or the row."""
    rows, columns, kwargs, texts = BUILDS[fault]
    path = write_lake(tmp_path / 'lake', rows, columns)
    with _fails(ValueError, *texts):
        DATASETS.build(dict(type='DeepLakeDataset', deeplake_path=path, **kwargs))


def test_a_column_of_images_with_a_role_in_its_name_is_not_taken_for_the_image(tmp_path):
    """images and seg_map, both of type Image: each plays its own role."""
    values = {**row(0), 'seg_map': _png(LABELS.astype(np.uint8))}
    path = write_lake(tmp_path / 'lake', [values], {'seg_map': TYPES['png image']})
    columns = DeepLakeDataset(path).lake.columns
    assert (columns.img, columns.of('gt_seg_map')) == ('images', 'seg_map')


# ------------------------------------------------------------------------------ metrics


def _metric(path: str, values: Any, key: str, found: dict, **kwargs: Any) -> Any:
    dataset = DeepLakeDataset(path, test_mode=True, **values)
    metric = DeepLakeMetric(**kwargs)
    metric.dataset_meta = dataset.metainfo
    sample = {'img_path': dataset.get_data_info(0)['img_path'], key: found}
    metric.process({}, [sample])
    return metric.evaluate(1)


def _pixels(value: int = 0, height: int = HEIGHT) -> dict:
    return dict(sem_seg=torch.full((1, height, WIDTH), value, dtype=torch.int64))


@pytest.fixture
def panoptic(tmp_path: Path) -> str:
    """A lake with a panoptic row."""
    return write_lake(tmp_path / 'lake', [_panoptic(0)], PANOPTIC)


def test_the_small_panoptic_lake_is_scored(panoptic):
    """Arrays of ids and thing_classes of the config do as well as files."""
    pixels = np.full((1, HEIGHT, WIDTH), 3)
    pixels[0, 2:12, 1:11] = 0 + 1000
    pixels[0, 20:30, 1:11] = 2
    found = dict(sem_seg=torch.tensor(pixels))
    numbers = _metric(
        panoptic, THINGS, 'pred_panoptic_seg', found, metrics_format='Panoptic'
    )
    assert [numbers[f'coco_panoptic/PQ{s}'] for s in ('', '_th', '_st')] == [100.0] * 3


METRICS: dict[str, tuple[dict, str, dict, type[Exception], list[str]]] = {
    'prediction-of-another-size': (
        dict(metrics_format='Panoptic'),
        'pred_panoptic_seg',
        _pixels(0, HEIGHT + 1),
        ValueError,
        [
            'row 0: the model predicts 41 x 64 pixels (height x width), but the map of the '
            'ground truth has 40 x 64'
        ],
    ),
    'label-beyond-the-classes': (
        dict(metrics_format='Panoptic'),
        'pred_panoptic_seg',
        _pixels(1007),
        ValueError,
        [
            'row 0: the model predicts label 7, but the dataset has 3 classes: set '
            'num_things_classes and num_stuff_classes'
        ],
    ),
    'model-of-boxes': (
        dict(metrics_format='Panoptic'),
        'pred_instances',
        {},
        KeyError,
        ["metrics_format='Panoptic' compares maps, but the model does not ", '_seg; use'],
    ),
    'semantic-scores-of-segments': (
        dict(metrics_format='SemSeg'),
        'pred_sem_seg',
        _pixels(),
        ValueError,
        ["metrics_format='SemSeg' compares maps of labels, but lake ", 'has no column'],
    ),
}


@pytest.mark.parametrize('fault', METRICS)
def test_predictions_that_cannot_be_compared_are_refused(fault, panoptic):
    """The error says what the model predicts and what the lake has."""
    options, key, found, error, texts = METRICS[fault]
    with _fails(error, *texts):
        _metric(panoptic, THINGS, key, found, **options)


def test_a_segment_that_is_not_listed_is_found_when_it_is_scored(tmp_path):
    """Its pixels would silently count for nobody."""
    values = {**_panoptic(0), 'segment_id': np.array([5, 8])}
    path = write_lake(tmp_path / 'lake', [values], PANOPTIC)
    with _fails(
        ValueError,
        'image 0: the map holds segment 9, which segment_ids of the row do not',
    ):
        _metric(path, THINGS, 'pred_panoptic_seg', _pixels(), metrics_format='Panoptic')


OPTIONS: dict[str, tuple[dict, list[str]]] = {
    'option-of-another-format': (
        dict(metrics_format='Panoptic', beta=2),
        ["beta=2 has no meaning for metrics_format='Panoptic'; leave it out"],
    ),
    'unknown-metric': (
        dict(metrics_format='SemSeg', metric='mIOU'),
        [
            "`metric` of metrics_format='SemSeg' must be one or more of mIoU, mDice",
            "'mIOU'",
        ],
    ),
    'no-place-for-maps': (
        dict(metrics_format='SemSeg', format_only=True),
        [
            'needs output_dir, but it is not set; set output_dir to the folder for the maps'
        ],
    ),
    'no-place-for-segments': (
        dict(metrics_format='Panoptic', format_only=True),
        ['but it is not set; set outfile_prefix to the path prefix of the JSON files'],
    ),
}


@pytest.mark.parametrize('fault', OPTIONS)
def test_wrong_options_are_refused_at_once(fault):
    """The error names the key and what to write."""
    options, texts = OPTIONS[fault]
    with _fails(ValueError, *texts):
        DeepLakeMetric(**options)
