"""Samples of Cityscapes: images of crowds alone are left out where the config asks."""

from __future__ import annotations

import json

import pytest
from helpers.samples import assert_equal
from mmdet.datasets import CityscapesDataset

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.tools.from_coco import from_coco

CLASSES = CityscapesDataset.METAINFO['classes']


@pytest.fixture
def files(shared_data, tmp_path):
    """A COCO file: of five images, two have crowds alone, one has boxes without extent."""
    content = json.loads((shared_data / 'coco_cc' / 'instances.json').read_text())
    images = content['images'][:5]
    place = {image['id']: index for index, image in enumerate(images)}
    annotations = [a for a in content['annotations'] if a['image_id'] in place]
    for number, ann in enumerate(annotations):
        index = place[ann['image_id']]
        ann['category_id'] = 1 + number % len(CLASSES)
        ann['iscrowd'] = int(index in (1, 3) or number % 3 == 0)
        if index == 4:
            ann['bbox'] = [*ann['bbox'][:2], 0.5, 0.5]
    categories = [{'id': 1 + i, 'name': name} for i, name in enumerate(CLASSES)]
    path = tmp_path / 'instances.json'
    path.write_text(
        json.dumps(dict(images=images, annotations=annotations, categories=categories))
    )
    from_coco(path, shared_data / 'coco_cc' / 'images', tmp_path / 'lake')
    return path, shared_data / 'coco_cc' / 'images'


def test_images_of_crowds_alone_are_left_out(files, tmp_path):
    """As by ``CityscapesDataset``; without the key they stay, as by ``CocoDataset``."""
    ann_file, images = files
    filter_cfg = dict(filter_empty_gt=True, min_size=32)
    stock = CityscapesDataset(
        ann_file=str(ann_file), data_prefix=dict(img=str(images)), filter_cfg=filter_cfg
    )
    path = str(tmp_path / 'lake')
    lake = DeepLakeDataset(path, filter_cfg=dict(**filter_cfg, filter_crowds=True))
    assert [i['img_id'] for i in lake] == [i['img_id'] for i in stock]
    assert 0 < len(lake) < len(DeepLakeDataset(path, filter_cfg=filter_cfg))
    for index in range(len(lake)):
        ours, theirs = lake.get_data_info(index), stock.get_data_info(index)
        for info in (ours, theirs):
            info['instances'] = [
                {key: part[key] for key in ('bbox', 'bbox_label', 'ignore_flag')}
                for part in info['instances']
            ]
        shared = ours.keys() & theirs.keys()
        assert_equal(*({key: info[key] for key in shared} for info in (ours, theirs)))
