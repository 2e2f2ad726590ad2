"""Lakes of Deep Lake's own managed ingestion equal the COCO files that they came from.

The ingestion itself needs a service; what it hands over (``normalize`` and
``post_ingest``'s metadata) is Deep Lake's own code, and the types are those it declares.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import deeplake
import numpy as np
import pytest
from deeplake import types as T
from deeplake.managed.formats import Coco, CocoPanoptic
from helpers.panoptic_data import THINGS
from helpers.samples import assert_equal
from mmdet.datasets import CocoDataset, CocoPanopticDataset
from mmdet.evaluation import CocoMetric
from mmdet.utils import register_all_modules

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric
from mmdet_deeplake_plugin.tools.to_coco import to_coco

register_all_modules()

LOAD = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs'),
]
BOXES = T.BoundingBox(dtype='float32', format='ltwh', bbox_type='pixel')
LABELS = T.ClassLabel(T.Array('int32', 1))
TYPES = {
    'images': T.Image(sample_compression='jpeg'),
    'mask': T.SegmentMask(sample_compression='png'),
    'boxes': BOXES,
    'categories': LABELS,
    'stuff/mask': T.SegmentMask(sample_compression='png'),
    'stuff/boxes': BOXES,
    'stuff/categories': LABELS,
    'pose/boxes': BOXES,
    'pose/categories': LABELS,
    'num_objects': T.Int64(),
    'image': T.Image(sample_compression='jpeg'),
    'panoptic/categories': LABELS,
    'coco_image_id': T.Int64(),
    'width': T.Int64(),
    'height': T.Int64(),
}


def _ingest(path: Path, source: Any, classes: dict[str, list[str]], **types: Any) -> str:
    lake = deeplake.create(str(path))
    for batch in source.normalize():
        for column in batch:
            if column not in [each.name for each in lake.schema.columns]:
                lake.add_column(column, {**TYPES, **types}.get(column, T.Text()))
        for index in range(len(next(iter(batch.values())))):
            values = {column: batch[column][index] for column in batch}
            for column, value in values.items():
                if column.endswith('boxes'):
                    values[column] = np.array(value or [], np.float32).reshape(-1, 4)
                elif column.endswith('categories'):
                    values[column] = np.array(value, np.int32)
                elif column in types:
                    values[column] = json.loads(value)
            lake.append({column: [value] for column, value in values.items()})
    for column, names in classes.items():
        lake[column].metadata['class_names'] = names
    # Each image column also gets thumbnails.
    lake.add_column('images_thumbnail', T.Nullable(T.Image(sample_compression='jpeg')))
    lake.commit()
    return str(path)


@pytest.fixture(scope='module', params=[{}, {'images_meta': T.Dict()}], ids=['text', 'dict'])
def managed(request, shared_data, tmp_path_factory) -> str:
    """COCO instances, with stuff and poses beside them."""
    root, folder = shared_data / 'coco_cc', tmp_path_factory.mktemp('managed')
    content = json.loads((root / 'instances.json').read_text())
    names = [category['name'] for category in content['categories']]
    poses = [{**each, 'keypoints': [0] * 51} for each in content['annotations'][:40]]
    (folder / 'poses.json').write_text(json.dumps({**content, 'annotations': poses}))
    source = Coco(
        root / 'images',
        instances_json=root / 'instances.json',
        stuff_json=root / 'instances.json',
        keypoints_json=folder / 'poses.json',
    )
    columns = ('categories', 'stuff/categories', 'pose/categories')
    classes = dict.fromkeys(columns, names)
    return _ingest(folder / 'lake', source, classes, **request.param)


def _stock(shared_data: Path, **keys: Any) -> CocoDataset:
    root = shared_data / 'coco_cc'
    return CocoDataset(
        ann_file=str(root / 'instances.json'),
        data_prefix=dict(img=str(root / 'images')),
        pipeline=LOAD,
        **keys,
    )


@pytest.mark.parametrize('test_mode', [False, True])
def test_samples_are_those_of_the_file(test_mode, managed, shared_data):
    """Boxes in double precision, ids, names, sizes, crowds, and no maps."""
    ours = DeepLakeDataset(managed, pipeline=LOAD, test_mode=test_mode)
    stock = _stock(shared_data, test_mode=test_mode)
    assert len(ours) == len(stock) == 41
    for index in range(41):
        left, right = ours.get_data_info(index), stock.get_data_info(index)
        masks = [each.pop('mask', None) for each in right['instances']]
        paths = {'img_path', 'seg_map_path', 'custom_entities', 'text'}
        assert {k: v for k, v in left.items() if k not in paths} == {
            k: v for k, v in right.items() if k not in paths
        }
        assert left['seg_map_path'] is None and len(masks) == len(left['instances'])
        assert_equal(ours[index], stock[index], f'row {index}')


def test_numbers_and_results_are_those_of_the_file(managed, shared_data, tmp_path):
    """With the category ids of the file, also in the results that are written."""
    ours = DeepLakeDataset(managed, test_mode=True, pipeline=LOAD)
    results = {}
    for name in ('ours', 'stock'):
        prefix = str(tmp_path / name)
        if name == 'ours':
            metric: Any = DeepLakeMetric(outfile_prefix=prefix, classwise=True)
        else:
            ann_file = str(shared_data / 'coco_cc' / 'instances.json')
            metric = CocoMetric(
                ann_file=ann_file, metric='bbox', outfile_prefix=prefix, classwise=True
            )
        metric.dataset_meta = ours.metainfo
        for index in range(len(ours)):
            sample = ours[index]['data_samples'].to_dict()
            boxes, labels = (sample['gt_instances'][k] for k in ('bboxes', 'labels'))
            boxes = boxes.tensor + index % 3
            scores = 1 / (2 + labels + np.arange(len(labels)))
            sample['pred_instances'] = dict(bboxes=boxes, labels=labels, scores=scores)
            metric.process({}, [sample])
        results[name] = metric.evaluate(len(ours))
        written = json.loads(Path(f'{prefix}.bbox.json').read_text())
        pairs = {(each['image_id'], each['category_id']) for each in written}
        results[name]['/written'] = sorted(pairs)
    ours_plain, stock_plain = (
        {key.partition('/')[2]: str(value) for key, value in numbers.items()}
        for numbers in (results['ours'], results['stock'])
    )
    assert ours_plain == stock_plain  # as text: nan differs from itself


def test_it_becomes_the_file_again(managed, shared_data, tmp_path):
    """All that detection needs of it."""
    to_coco(managed, tmp_path / 'out.json')
    written = json.loads((tmp_path / 'out.json').read_text())
    original = json.loads((shared_data / 'coco_cc' / 'instances.json').read_text())
    keys = ('bbox', 'area', 'iscrowd', 'category_id', 'image_id')

    def plain(content: dict[str, Any]) -> list[Any]:
        return sorted([[each[key] for key in keys] for each in content['annotations']])

    assert plain(written) == plain(original)


def test_the_config_may_choose_other_columns(managed):
    """Such as stuff, with the declared convention of its boxes."""
    roles = dict(gt_bboxes='stuff/boxes', gt_labels='stuff/categories', area=None)
    stuff = DeepLakeDataset(managed, deeplake_tensors=roles)
    assert dict(stuff.lake.columns.roles)['gt_bboxes'] == 'stuff/boxes'
    assert stuff.lake.columns.box_format == 'xywh'


def test_panoptic_samples_are_those_of_the_file(panoptic_root, tmp_path):
    """Which classes are things is not stored: the config says it."""
    pytest.importorskip('panopticapi', reason='the loader needs panopticapi')
    file = panoptic_root / 'panoptic.json'
    content = json.loads(file.read_text())
    source = CocoPanoptic(panoptic_root / 'images', panoptic_root / 'panoptic', file)
    categories = sorted(content['categories'], key=lambda each: each['id'])
    names = [category['name'] for category in categories]
    path = _ingest(tmp_path / 'lake', source, {'panoptic/categories': names})
    with pytest.raises(ValueError, match='does not say which classes are things'):
        DeepLakeDataset(path)
    steps = [LOAD[0], dict(type='LoadPanopticAnnotations', with_seg=True), LOAD[2]]
    meta = CocoPanopticDataset.METAINFO
    ours = DeepLakeDataset(
        path,
        pipeline=steps,
        metainfo=dict(classes=meta['classes'], thing_classes=THINGS),
    )
    stock = CocoPanopticDataset(
        ann_file=str(file),
        data_prefix=dict(
            img=str(panoptic_root / 'images'), seg=str(panoptic_root / 'panoptic')
        ),
        pipeline=steps,
    )
    assert len(ours) == len(stock)
    for index in range(len(stock)):
        assert_equal(ours[index], stock[index], f'row {index}')
