"""Masks of lakes that other tools wrote: dense ones, polygons, and what is wrong in them."""

from __future__ import annotations

import logging
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import PYTHON_V3
from helpers.lakes import (
    HEIGHT,
    TYPES,
    WIDTH,
    deeplake_from_coco,
    picture,
    row,
    write_lake,
)
from helpers.samples import assert_equal, seeded, stock_config
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric
from mmdet_deeplake_plugin.tools.to_coco import to_coco

register_all_modules()

CLASSES = CocoDataset.METAINFO['classes']
LABELS = dict(gt_labels='categories')
BOXES = [(1, 2, 10, 12), (20, 5, 30, 30)]
SQUARE = [(1, 2), (11, 2), (11, 14), (1, 14)]
TRIANGLE = [(20, 5), (50, 5), (20, 35)]
LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs'),
]


def _bitmaps(*polygons: Any, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    flat = [np.ravel(polygon).astype(float).tolist() for polygon in polygons]
    codes = [coco_mask.merge(coco_mask.frPyObjects([one], height, width)) for one in flat]
    return coco_mask.decode(codes).astype(bool)


def _lake(path: Path, kind: str, *values: Any, **others: Any) -> str:
    rows = [
        {**row(number, BOXES), 'masks': value, **others}
        for number, value in enumerate(values)
    ]
    return write_lake(path, rows, {'masks': TYPES[kind]})


def _masks(dataset: DeepLakeDataset, index: int = 0) -> list[Any]:
    return [i['mask'] for i in dataset.get_data_info(index)['instances']]


# ------------------------------------------------------------------ other column types


def test_dense_masks_reach_the_pipeline_pixel_by_pixel(tmp_path):
    """What LoadAnnotations makes of a BinaryMask column is the stored array."""
    dense = [_bitmaps(SQUARE, TRIANGLE), _bitmaps(TRIANGLE, SQUARE)]
    dataset = DeepLakeDataset(_lake(tmp_path / 'lake', 'bitmaps', *dense), pipeline=LOAD)
    for index, stored in enumerate(dense):
        loaded = dataset[index]['data_samples'].gt_instances.masks.masks
        assert np.array_equal(np.moveaxis(loaded, 0, 2), stored)


def test_polygons_reach_the_pipeline_as_they_are(tmp_path):
    """A Polygon column gives one polygon an instance, of any number of points."""
    path = _lake(
        tmp_path / 'lake',
        'polygons',
        [np.array(SQUARE, np.float32), np.array(TRIANGLE, np.float32)],
        [np.array(SQUARE, np.float32), np.array(SQUARE, np.float32) + 0.5],
    )
    dataset = DeepLakeDataset(path, pipeline=LOAD)
    assert _masks(dataset) == [
        [np.ravel(SQUARE).astype(float).tolist()],
        [np.ravel(TRIANGLE).astype(float).tolist()],
    ]
    assert _masks(dataset, 1)[1] == [(np.ravel(SQUARE) + 0.5).tolist()]
    masks = dataset[0]['data_samples'].gt_instances.masks.masks
    assert np.array_equal(np.moveaxis(masks, 0, 2), _bitmaps(SQUARE, TRIANGLE))


@pytest.mark.parametrize(
    ('kind', 'empty', 'filled'),
    [
        ('bitmaps', np.zeros((HEIGHT, WIDTH, 0), bool), _bitmaps(SQUARE, TRIANGLE)),
        ('bitmaps', np.zeros((0, 0, 0), bool), _bitmaps(SQUARE, TRIANGLE)),
        ('bitmaps or null', None, _bitmaps(SQUARE, TRIANGLE)),
        ('polygons', np.zeros((0, 0, 2), np.float32), [SQUARE, SQUARE]),
        ('polygons or null', None, [SQUARE, SQUARE]),
        ('text', '[]', '[[[1,2,3,4,5,6]],[[1,2,3,4,5,6]]]'),
        ('text', '', '[[[1,2,3,4,5,6]],[[1,2,3,4,5,6]]]'),
        ('text or null', None, '[[[1,2,3,4,5,6]],[[1,2,3,4,5,6]]]'),
    ],
    ids='dense no-pixels null-dense polygons null-polygons text no-text null-text'.split(),
)
def test_rows_without_instances_have_no_masks(kind, empty, filled, tmp_path):
    """An image without boxes is read, in whatever way its masks are empty."""
    if 'polygons' in kind:
        filled = [np.array(points, np.float32) for points in filled]
    rows = [{**row(0, []), 'masks': empty}, {**row(1, BOXES), 'masks': filled}]
    rows[0]['boxes'] = np.zeros((0, 4))
    path = write_lake(tmp_path / 'lake', rows, {'masks': TYPES[kind]})
    dataset = DeepLakeDataset(
        path, deeplake_tensors=dict(gt_masks='masks'), pipeline=LOAD
    )
    assert len(dataset[0]['data_samples'].gt_instances) == 0
    assert len(_masks(dataset, 1)) == 2


def test_masks_stay_with_their_boxes(tmp_path):
    """Where a box is left out, the masks of the others are still theirs."""
    masks = _bitmaps(SQUARE, TRIANGLE)
    values = {**row(0, [(1, 2, 0, 0), (20, 5, 30, 30)]), 'masks': masks}
    path = write_lake(tmp_path / 'lake', [values], {'masks': TYPES['bitmaps']})
    (code,) = _masks(DeepLakeDataset(path))
    assert np.array_equal(coco_mask.decode(code), masks[..., 1])


def test_masks_can_be_left_out(tmp_path):
    """gt_masks=None gives samples without masks."""
    path = _lake(tmp_path / 'lake', 'bitmaps', _bitmaps(SQUARE, TRIANGLE))
    dataset = DeepLakeDataset(path, deeplake_tensors=dict(gt_masks=None))
    assert [set(i) for i in dataset.get_data_info(0)['instances']] == [
        {'bbox', 'bbox_label', 'ignore_flag'}
    ] * 2


V3_WRITER = """
import sys
import deeplake, numpy as np
ds = deeplake.empty(sys.argv[1])
ds.create_tensor('images', htype='image', sample_compression='jpeg')
ds.create_tensor('boxes', htype='bbox', coords={'type': 'pixel', 'mode': 'LTWH'})
ds.create_tensor('categories', htype='class_label', class_names=['cat', 'dog'])
ds.create_tensor('masks', htype='binary_mask', sample_compression='lz4')
ds.create_tensor('outlines', htype='polygon')
masks = np.zeros((40, 64, 2), bool)
masks[2:14, 1:11, 0] = masks[5:35, 20:50, 1] = True
square = [[1, 2], [11, 2], [11, 14], [1, 14]]
ds.append({
    'images': deeplake.read(sys.argv[2]),
    'boxes': np.array([[1, 2, 10, 12], [20, 5, 30, 30]], np.float32),
    'categories': np.array([0, 1], np.uint32),
    'masks': masks,
    'outlines': [np.array(p, np.float32) for p in (square, square[:3])],
})
ds.commit('one row')
"""


def test_masks_and_polygons_of_a_v3_lake_are_read(tmp_path):
    """Both kinds of the old format give the pixels and points that were written."""
    if not PYTHON_V3.exists():
        pytest.skip('lakes in the v3 format need .venv-v3 (make .venv-v3/.ready)')
    (tmp_path / 'image.jpg').write_bytes(picture(128))
    path = str(tmp_path / 'lake')
    command = [str(PYTHON_V3), '-c', V3_WRITER, path, str(tmp_path / 'image.jpg')]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    dense = DeepLakeDataset(path, deeplake_tensors=dict(gt_masks='masks'))
    outlines = DeepLakeDataset(path, deeplake_tensors=dict(gt_masks='outlines'))
    expected = np.zeros((HEIGHT, WIDTH, 2), np.uint8)
    expected[2:14, 1:11, 0] = expected[5:35, 20:50, 1] = 1
    assert np.array_equal(coco_mask.decode(_masks(dense)), expected)
    square = np.ravel(SQUARE).astype(float).tolist()
    assert _masks(outlines) == [[square], [square[:6]]]


# ------------------------------------------------------- lakes of deeplake.from_coco


@pytest.fixture(scope='module')
def foreign(coco_files, tmp_path_factory) -> str:
    files = coco_files('coco_cc')
    path = tmp_path_factory.mktemp('foreign') / 'lake'
    return deeplake_from_coco(files['ann_file'], files['data_prefix']['img'], path)


def _file_index(dataset: DeepLakeDataset, stock: CocoDataset) -> list[int]:
    """Where each row stands in the file, told by the bytes of its image."""
    paths = [stock.get_data_info(index)['img_path'] for index in range(len(stock))]
    found = {Path(path).read_bytes(): index for index, path in enumerate(paths)}
    return [found[dataset.lake.reader.read_row(row)] for row in range(len(dataset))]


def test_samples_of_deeplakes_own_converter_have_the_masks_of_the_file(
    foreign, coco_files
):
    """Its dense masks are, pixel by pixel, what the file's polygons and codes give."""
    options = dict(pipeline=LOAD, metainfo=dict(classes=CLASSES))
    ours = DeepLakeDataset(foreign, deeplake_tensors=LABELS, **options)
    stock = CocoDataset(**coco_files('coco_cc'), **options)
    for index, position in enumerate(_file_index(ours, stock)):
        sample, expected = ours[index]['data_samples'], stock[position]['data_samples']
        for name in ('gt_instances', 'ignored_instances'):
            found, wanted = getattr(sample, name), getattr(expected, name)
            assert_equal(found.masks, wanted.masks)
            assert_equal(found.labels, wanted.labels)


def test_deeplakes_own_converter_is_told_what_it_lost(foreign, lake):
    """A warning says so, and only for such a lake."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, handler = MMLogger.get_current_instance(), Collector(logging.WARNING)
    logger.addHandler(handler)
    DeepLakeDataset(lake('coco_cc'))
    assert messages == []
    DeepLakeDataset(foreign, deeplake_tensors=LABELS)
    logger.removeHandler(handler)
    (message,) = messages
    assert 'keeps neither the ids' in message and 'areas to integers' in message


@pytest.mark.parametrize('kind', ['segm', 'bbox'])
def test_lakes_of_deeplakes_own_converter_are_evaluated(kind, foreign, coco_files):
    """Predictions score as on the file, but for what depends on the cut areas."""
    ours = DeepLakeDataset(
        foreign,
        deeplake_tensors=LABELS,
        metainfo=dict(classes=CLASSES),
        test_mode=True,
        pipeline=LOAD,
    )
    stock = CocoDataset(**coco_files('coco_cc'), metainfo=dict(classes=CLASSES))
    rng = np.random.default_rng(0)
    order = _file_index(ours, stock)
    items = ['mAP', 'mAP_50', 'mAP_75']
    metrics = (
        DeepLakeMetric(metric=kind, metric_items=items),
        CocoMetric(coco_files('coco_cc')['ann_file'], kind, metric_items=items),
    )
    for metric in metrics:
        metric.dataset_meta = ours.metainfo
    for index, position in enumerate(order):
        truth = ours[index]['data_samples'].gt_instances
        count = len(truth)
        moved = [np.roll(mask, rng.integers(-5, 6), 1) for mask in truth.masks.masks]
        layers = np.asfortranarray(np.moveaxis(np.array(moved, np.uint8), 0, 2))
        boxes = truth.bboxes.tensor
        shift = boxes.new_tensor(rng.normal(0, 5, (count, 4)))
        prediction = dict(
            bboxes=boxes + shift,
            labels=truth.labels,
            scores=truth.labels.new_tensor(rng.random(count), dtype=float).float(),
            masks=coco_mask.encode(layers) if count else [],
        )
        for metric, dataset, at in (
            (metrics[0], ours, index),
            (metrics[1], stock, position),
        ):
            info = dataset.get_data_info(at)
            metric.process(
                {},
                [
                    dict(
                        img_id=info['img_id'],
                        img_path=info['img_path'],
                        ori_shape=(info['height'], info['width']),
                        pred_instances=dict(prediction),
                    )
                ],
            )
    results = [metric.evaluate(len(ours)) for metric in metrics]
    assert results[0] == results[1] and results[0][f'coco/{kind}_mAP'] > 0.3


def test_a_lake_of_deeplakes_own_converter_becomes_a_file(foreign, coco_files, tmp_path):
    """to_coco gives its boxes, classes and crowds, and masks of the same pixels."""
    to_coco(foreign, tmp_path / 'out.json', tensors=LABELS)
    found = COCO(str(tmp_path / 'out.json'))
    file = COCO(coco_files('coco_cc')['ann_file'])
    names = [
        {c['id']: c['name'] for c in one.dataset['categories']} for one in (found, file)
    ]
    told = [
        sorted(
            (
                *np.float32(ann['bbox']).tolist(),
                names[which][ann['category_id']],
                ann['iscrowd'],
                int(coco_mask.area(one.annToRLE(ann))),
            )
            for ann in one.dataset['annotations']
        )
        for which, one in enumerate((found, file))
    ]
    assert told[0] == told[1] and len(told[0]) == 421


@pytest.mark.parametrize('which', ['ours', 'foreign'])
def test_a_model_of_masks_trains(which, foreign, lake):
    """A shrunken Mask R-CNN gets finite losses, the mask's among them, and steps."""
    config = stock_config('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    config.model.backbone.update(depth=18, init_cfg=None)
    config.model.neck.update(in_channels=[64, 128, 256, 512])
    pipeline = [*config.train_pipeline]
    pipeline[2] = dict(type='Resize', scale=(160, 128), keep_ratio=True)
    path, tensors = (lake('coco_cc'), None) if which == 'ours' else (foreign, LABELS)
    dataset = DeepLakeDataset(path, deeplake_tensors=tensors, pipeline=pipeline)

    def losses() -> dict:
        model = MODELS.build(config.model)
        batch = pseudo_collate([dataset[0], dataset[1]])
        return model(**model.data_preprocessor(batch, True), mode='loss')

    found = seeded(losses, 0)
    total = sum(
        sum(v) if isinstance(v, list) else v for k, v in found.items() if 'loss' in k
    )
    total.backward()
    assert np.isfinite(total.item()) and found['loss_mask'].item() > 0


# ----------------------------------------------------------------------- wrong masks

TEXT = dict(gt_masks='masks')
SMALL = np.zeros((HEIGHT - 1, WIDTH, 2), bool)
TWO_POINTS = [np.array(SQUARE, np.float32), np.array(SQUARE[:2], np.float32)]
CODE = '{"size":[10,20],"counts":"01"}'
WRONG: dict[str, tuple[str, Any, list[str]]] = {
    'size-of-a-dense-mask': (
        'bitmaps',
        SMALL,
        [
            "column 'masks', row 0: instance 0: a mask must have the size of its image: "
            'found a mask of 39 x 64 pixels (height x width) in an image of 40 x 64'
        ],
    ),
    'too-many-dense-masks': (
        'bitmaps',
        np.zeros((HEIGHT, WIDTH, 3), bool),
        ["column 'masks', row 0: there must be one mask per box: found 3 masks for 2"],
    ),
    'no-masks-for-boxes': (
        'bitmaps',
        np.zeros((0, 0, 0), bool),
        ["column 'masks', row 0: there must be one mask per box: found 0 masks for 2"],
    ),
    'polygon-of-two-points': (
        'polygons',
        TWO_POINTS,
        [
            "column 'masks', row 0: instance 1: a polygon must have at least 3 points, got "
            '2; add points, or leave the instance out'
        ],
    ),
    'too-few-polygons': (
        'polygons',
        [np.array(SQUARE, np.float32)],
        ["column 'masks', row 0: there must be one mask per box: found 1 masks for 2"],
    ),
    'text-that-is-no-json': (
        'text',
        '[[[1,2,3,4,5,6]],',
        [
            "column 'masks', row 0: masks must be stored as JSON, got '[[[1,2,3,4,5,6]],' (",
            '); write a list with one COCO segmentation per box',
        ],
    ),
    'json-that-is-no-list': (
        'text',
        '{"a":1}',
        [
            """row 0: masks must be stored as a JSON list, got '{"a":1}'; write a list """
            'with one COCO segmentation per box'
        ],
    ),
    'too-few-segmentations': (
        'text',
        '[[[1,2,3,4,5,6]]]',
        ["column 'masks', row 0: there must be one mask per box: found 1 masks for 2"],
    ),
    'flat-polygon': (
        'text',
        '[[1,2,3,4,5,6],null]',
        [
            'row 0: instance 0: polygons must be a list of lists, got [1, 2, 3, 4, 5, 6]; '
            'write [[x, y, x'
        ],
    ),
    'code-without-counts': (
        'text',
        '[null,{"size":[40,64]}]',
        [
            "row 0: instance 1: {'size': [40, 64]} is not a COCO segmentation; write a list "
        ],
    ),
    'size-of-a-code': (
        'text',
        f'[null,{CODE}]',
        [
            'row 0: instance 1: a mask must have the size of its image: found a mask of 10 '
            'x 20 pixels (height x width) in an image of 40'
        ],
    ),
    'a-number': (
        'text',
        '[null,7]',
        ['row 0: instance 1: 7 is not a COCO segmentation; write a list of polygons, or'],
    ),
}


@pytest.mark.parametrize('case', WRONG)
def test_wrong_masks_are_named(case, tmp_path):
    """The error names lake, column, row and instance, and what to write."""
    kind, value, texts = WRONG[case]
    path = _lake(tmp_path / 'lake', kind, value)
    dataset = DeepLakeDataset(path, deeplake_tensors=TEXT, pipeline=LOAD)
    text = '(?s)lake .*' + '.*'.join(map(re.escape, texts))
    with pytest.raises(ValueError, match=text):
        dataset[0]
    with pytest.raises(ValueError, match=text):
        list(dataset.get_data_info(0)['instances'])


def test_a_wrong_mask_does_not_stop_boxes(tmp_path):
    """A detector that loads no masks trains on a lake whose masks are broken."""
    path = _lake(tmp_path / 'lake', 'bitmaps', SMALL)
    boxes = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    assert len(DeepLakeDataset(path, pipeline=boxes)[0]['gt_bboxes']) == 2


def test_a_column_of_another_type_is_refused(tmp_path):
    """Numbers cannot play the role of masks."""
    with pytest.raises(
        ValueError,
        match=r"deeplake_tensors\['gt_masks'\]='width': the column must hold N masks per "
        'row: BinaryMask .*, but its type is int32; write another column',
    ):
        DeepLakeDataset(
            write_lake(tmp_path / 'lake'), deeplake_tensors=dict(gt_masks='width')
        )


def test_two_columns_of_masks_are_an_error(tmp_path):
    """Which of two columns is meant is not guessed."""
    values = {**row(0, BOXES), 'fine': _bitmaps(SQUARE, TRIANGLE)}
    values['coarse'] = values['fine']
    columns = {'fine': TYPES['bitmaps'], 'coarse': TYPES['bitmaps']}
    path = write_lake(tmp_path / 'lake', [values], columns)
    with pytest.raises(
        ValueError,
        match=r"deeplake_tensors\['gt_masks'\] is not set and 2 columns match: fine, "
        'coarse; write one of them, or None for no column',
    ):
        DeepLakeDataset(path)


# ----------------------------------------------------------------------------- memory


def _resident() -> int:
    """Memory of this process in bytes."""
    with open('/proc/self/status') as file:
        (line,) = [line for line in file if line.startswith('VmRSS')]
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='needs Linux')
def test_dense_masks_do_not_pile_up(tmp_path):
    """Memory stays within 5 % while 150 samples of 3 MB of masks each go by."""
    width, height, count, rows = 640, 480, 10, 50
    rng = np.random.default_rng(0)
    masks = np.zeros((rows, height, width, count), bool)
    for index in range(rows):
        for layer in range(count):
            x, y = rng.integers(0, 500), rng.integers(0, 350)
            masks[index, y : y + 90, x : x + 110, layer] = True
    boxes = [(1, 2, 30, 40)] * count
    common = {'images': picture(9, width, height), 'width': width, 'height': height}
    path = write_lake(
        tmp_path / 'lake',
        [{**row(i, boxes), **common, 'masks': masks[i]} for i in range(rows)],
        {'masks': TYPES['bitmaps']},
    )
    dataset = DeepLakeDataset(path, pipeline=LOAD)
    for index in range(rows):
        dataset[index]
    before = _resident()
    for index in rng.integers(0, rows, 150).tolist():
        dataset[index]
    assert _resident() < 1.05 * before
