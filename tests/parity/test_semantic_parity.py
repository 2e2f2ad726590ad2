"""Segmentation maps from a lake reach LoadAnnotations as those of files do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.lakes import HEIGHT, TYPES, WIDTH, row, write_lake
from helpers.panoptic_data import CLASSES
from helpers.samples import assert_equal, handed_over, seeded, stock_config
from mmdet.datasets import BaseSegDataset, CocoDataset, CocoSegDataset
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.utils import register_all_modules
from mmengine.fileio import get

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.lake import ImageColumn
from mmdet_deeplake_plugin.structures.seg_maps import colours_of, decode_ids, encode_map

register_all_modules()

INSTANCE_CLASSES = CocoDataset.METAINFO['classes']
NO_BOXES = dict(gt_bboxes=None, gt_labels=None)


def _assert_same_samples(ours: Any, stock: Any, prepare: Callable = lambda s: s) -> None:
    assert len(ours) == len(stock) > 0
    for index in range(len(stock)):
        assert_equal(
            handed_over(prepare(seeded(lambda: ours[index], index))),  # noqa: B023
            prepare(seeded(lambda: stock[index], index)),  # noqa: B023
            f'row {index}',
        )


# ------------------------------------------------------------ instances and maps of stuff


def test_instances_and_maps_are_those_of_coco_dataset(
    semantic_lake, coco_files, panoptic_root
):
    """The pipeline of HTC: boxes, masks and a map that goes through each transform."""
    pipeline = stock_config('htc/htc_r50_fpn_1x_coco.py').train_pipeline
    kwargs = dict(pipeline=pipeline, metainfo=dict(classes=INSTANCE_CLASSES))
    files = coco_files('coco_cc')
    files['data_prefix']['seg'] = str(panoptic_root / 'semantic')
    stock = CocoDataset(seg_map_suffix='.png', **files, **kwargs)
    ours = DeepLakeDataset(semantic_lake, **kwargs)
    _assert_same_samples(ours, stock)
    assert ours[2]['data_samples'].gt_sem_seg.sem_seg.unique().numel() > 2


def test_the_stored_map_is_the_file(semantic_lake, panoptic_root):
    """No map is decoded and encoded again."""
    dataset = DeepLakeDataset(semantic_lake)
    for index in range(3):
        path = dataset.get_data_info(index)['seg_map_path']
        file = panoptic_root / 'semantic' / Path(path).name
        assert get(path) == file.read_bytes()


# --------------------------------------------------------------------------- maps alone


class _OurClasses(BaseSegDataset):
    METAINFO = dict(classes=CLASSES)  # noqa: RUF012


def _pair(lake: str, root: Path, **kwargs: Any) -> tuple[DeepLakeDataset, Any]:
    prefix = dict(img_path=str(root / 'images'), seg_map_path=str(root / 'semantic'))
    stock = _OurClasses(data_prefix=prefix, use_label_map=True, **kwargs)
    kwargs.setdefault('metainfo', dict(classes=stock.metainfo['classes']))
    ours = DeepLakeDataset(lake, deeplake_tensors=NO_BOXES, **kwargs)
    # The stock class takes files as the disk lists them.
    order = {Path(stock.get_data_info(i)['img_path']).name: i for i in range(len(stock))}
    names = [Path(ours.get_data_info(i)['img_path']).name for i in range(len(ours))]
    stock.get_subset_([order[name] for name in names])
    return ours, stock


def _plain(sample: dict) -> dict:
    """A sample without what the stock class of semantic data does not know."""
    if 'data_samples' in sample:
        data_sample = sample['data_samples']
        data_sample.set_metainfo({'img_id': 0})
        return sample
    unknown = ('img_id', 'height', 'width', 'instances', 'seg_map_path', 'sample_idx')
    return {key: value for key, value in sample.items() if key not in unknown}


@pytest.mark.parametrize('split', ['train', 'val'])
def test_every_sample_of_the_semantic_pipeline_is_that_of_the_files(
    split, semantic_lake, panoptic_root
):
    """Images and maps are the same, in training and testing."""
    config = stock_config('_base_/datasets/coco_semantic.py')
    pipeline = config[f'{split}_dataloader'].dataset.pipeline
    ours, stock = _pair(semantic_lake, panoptic_root, pipeline=pipeline)
    _assert_same_samples(ours, stock, _plain)
    assert ours.metainfo['classes'] == CLASSES


@pytest.mark.parametrize('reduce_zero_label', [False, True])
@pytest.mark.parametrize('classes', [CLASSES, CLASSES[::-1], CLASSES[3:90]], ids=len)
def test_labels_are_those_of_the_stock_class(
    classes, reduce_zero_label, semantic_lake, panoptic_root
):
    """label_map and reduce_zero_label: other orders, fewer classes, with their quirks."""
    load = dict(
        type='LoadAnnotations',
        with_bbox=False,
        with_label=False,
        with_seg=True,
        reduce_zero_label=reduce_zero_label,
    )
    kwargs = dict(pipeline=[load], metainfo=dict(classes=classes))
    ours, stock = _pair(semantic_lake, panoptic_root, **kwargs)
    _assert_same_samples(ours, stock, _plain)
    assert (ours.get_data_info(0)['label_map'] is None) is (classes == CLASSES)


def test_the_text_of_classes_is_that_of_the_stock_class(semantic_lake, panoptic_root):
    """return_classes hands on the names as ADE20KSegDataset and CocoSegDataset do."""
    prefix = dict(img_path=str(panoptic_root / 'images'), seg_map_path='maps')
    kwargs = dict(metainfo=dict(classes=CLASSES), return_classes=True)
    stock = CocoSegDataset(data_prefix=prefix, **kwargs)
    ours = DeepLakeDataset(semantic_lake, deeplake_tensors=NO_BOXES, **kwargs)
    left, right = (_plain(each.get_data_info(0)) for each in (ours, stock))
    assert left.keys() == right.keys() - {'seg_map_path'}
    assert left['text'] == right['text'] == list(CLASSES)


def test_a_lake_of_maps_alone_needs_no_roles_named(tmp_path):
    """Images, a SegmentMask column with class names: nothing else is asked for."""
    labels = np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) % 3
    rows = [{**row(number), 'seg_map': labels.astype(np.uint8)} for number in range(2)]
    columns = {'boxes': None, 'categories': None, 'seg_map': TYPES['map']}
    path = write_lake(tmp_path / 'lake', rows, columns)
    dataset = DeepLakeDataset(
        path,
        metainfo=dict(classes=('a', 'b', 'c')),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[dict(type='LoadAnnotations', with_seg=True)],
    )
    assert len(dataset) == 2 and dataset.get_data_info(0)['instances'] == []
    assert_equal(dataset[0]['gt_seg_map'], labels.astype(np.uint8))


# --------------------------------------------------------------------- ways of storing


def _labels(most: int, dtype: Any) -> np.ndarray:
    values = np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) * 7 % (most + 1)
    values[3] = most
    return values.astype(dtype)


def _file(labels: np.ndarray) -> bytes:
    return cv2.imencode('.png', labels)[1].tobytes()


STORED: dict[str, tuple[str, Any, Callable]] = {
    'array': ('map', _labels(255, np.uint8), np.array),
    'array-with-channel': ('map', _labels(9, np.uint8), lambda m: m[:, :, None]),
    'nullable': ('map or null', _labels(9, np.uint8), np.array),
    'lz4': ('lz4 map', _labels(9, np.uint8), np.array),
    '16-bit': ('map-16-bit', _labels(900, np.uint16), np.array),
    '16-bit-small-labels': ('map-16-bit', _labels(9, np.uint16), np.array),
    '32-bit': ('map-32-bit', _labels(65535, np.uint16), lambda m: m.astype(np.int32)),
    '32-bit-small-labels': (
        'map-32-bit',
        _labels(9, np.uint8),
        lambda m: m.astype(np.int32),
    ),
    'plain-array': ('bytes table', _labels(9, np.uint8), np.array),
    'png-of-array': ('png map', _labels(9, np.uint8), np.array),
    'png-file': ('png map', _labels(255, np.uint8), _file),
    '16-bit-png-file': ('png map', _labels(65535, np.uint16), _file),
    'png-image': ('png image', _labels(9, np.uint8), _file),
    'bytes': ('bytes', _labels(9, np.uint8), _file),
}


@pytest.mark.parametrize('kind', STORED)
@pytest.mark.parametrize('decoder', ['cv2', 'pillow'])
def test_however_maps_are_stored_loaders_read_the_same(kind, decoder, tmp_path):
    """Labels and their type are those of a PNG file with them."""
    dtype, labels, store = STORED[kind]
    values = {**row(0), 'seg_map': store(labels)}
    path = write_lake(tmp_path / 'lake', [values] * 2, {'seg_map': TYPES[dtype]})
    dataset = DeepLakeDataset(path)
    (tmp_path / 'map.png').write_bytes(_file(labels))
    load = LoadAnnotations(with_bbox=False, with_seg=True, imdecode_backend=decoder)
    ours, stock = (
        load.transform({'instances': [], 'seg_map_path': found})['gt_seg_map']
        for found in (
            dataset.get_data_info(1)['seg_map_path'],
            str(tmp_path / 'map.png'),
        )
    )
    assert_equal(ours, stock)
    if decoder == 'cv2':
        assert_equal(ours, labels)


@pytest.mark.parametrize(
    'values',
    [
        _labels(2**24 - 1, np.int32),
        _labels(200, np.uint8),
        _labels(60000, np.uint16),
        colours_of(_labels(2**24 - 1, np.int64)),
    ],
    ids=['int32', 'uint8', 'uint16', 'colours'],
)
def test_ids_of_segments_become_colours_and_back(values):
    """A panoptic map that is stored as an array keeps each of 2 ** 24 ids."""
    ids = decode_ids(encode_map(values, panoptic=True))
    expected = values if values.ndim == 2 else _labels(2**24 - 1, np.int64)
    assert np.array_equal(ids, expected)


def test_maps_of_a_batch_are_read_at_one_time(semantic_lake, monkeypatch):
    """On object storage; and not at all where no transform loads them."""
    load = dict(type='LoadAnnotations', with_seg=True)
    both, alone = (
        DeepLakeDataset(semantic_lake, pipeline=[load]),
        DeepLakeDataset(semantic_lake),
    )
    alone.pipeline.transforms.append(LoadAnnotations())
    monkeypatch.setattr(type(both.lake.source.spec), 'is_remote', True)
    column = both.lake.seg_maps.column
    asked = []
    read_rows = ImageColumn.read_rows

    def counted(this: Any, rows: Any) -> Any:
        asked.append((this.name, rows))
        return read_rows(this, rows)

    monkeypatch.setattr(ImageColumn, 'read_rows', counted)
    expected = [both[index]['gt_seg_map'] for index in (7, 2, 7)]
    monkeypatch.setattr(ImageColumn, 'read_row', None)
    both.reader.in_lists = alone.reader.in_lists = False
    found = both.__getitems__([7, 2])
    assert asked == [(column, [2, 7])]
    assert_equal([sample['gt_seg_map'] for sample in found], expected[:2])
    assert len(alone.__getitems__([7, 2])) == 2 and len(asked) == 1


def test_class_names_of_maps_are_stored_with_them(semantic_lake):
    """--seg-classes reach the dataset as its classes."""
    dataset = DeepLakeDataset(semantic_lake, deeplake_tensors=NO_BOXES)
    assert dataset.metainfo['classes'] == CLASSES
    assert json.dumps(dataset.metainfo['classes'])
