"""What differs from the stock classes on purpose: both results stand side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric
from mmdet_deeplake_plugin.tools.from_coco import from_coco
from mmdet_deeplake_plugin.tools.to_coco import to_coco

CLASSES = ('cat', 'dog')
Change = Callable[[dict[str, Any]], Any]


class Files:
    """Two images with a cat and a dog each, and a detector that finds all of them."""

    def __init__(self, folder: Path, change: Change) -> None:
        content = {
            'images': [
                {'id': i, 'file_name': f'{i}.png', 'width': 64, 'height': 40}
                for i in (1, 2)
            ],
            'categories': [{'id': i, 'name': name} for i, name in enumerate(CLASSES, 1)],
            'annotations': [
                {
                    'id': number + 1,
                    'image_id': number // 2 + 1,
                    'category_id': number % 2 + 1,
                    'bbox': [4 + 8 * number, 4, 20, 20],
                    'area': 400,
                    'iscrowd': 0,
                }
                for number in range(4)
            ],
        }
        self.found = [_found(content['annotations'][2 * i : 2 * i + 2]) for i in (0, 1)]
        change(content)
        self.content, self.folder = content, folder
        for name in ('1.png', '2.png'):
            cv2.imwrite(str(folder / name), np.zeros((40, 64, 3), np.uint8))
        self.ann_file = str(folder / 'ann.json')
        Path(self.ann_file).write_text(json.dumps(content))

    def stock(self) -> CocoDataset:
        return CocoDataset(
            ann_file=self.ann_file,
            data_prefix=dict(img=str(self.folder)),
            metainfo=dict(classes=CLASSES),
            test_mode=True,
        )

    def stock_score(self) -> float:
        paths = [dict(img_id=image['id'], img_path='') for image in self.content['images']]
        return self._score(CocoMetric(ann_file=self.ann_file), paths)

    def ours(self) -> DeepLakeDataset:
        lake = self.folder / 'lake'
        from_coco(self.ann_file, self.folder, lake, overwrite=True)
        metainfo = dict(classes=CLASSES)
        return DeepLakeDataset(str(lake), metainfo=metainfo, test_mode=True)

    def our_score(self) -> float:
        dataset = self.ours()
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        return self._score(DeepLakeMetric(), infos)

    def _score(self, metric: Any, infos: list[dict[str, Any]]) -> float:
        metric.dataset_meta = dict(classes=CLASSES)
        samples = [
            dict(
                img_id=info['img_id'],
                img_path=info['img_path'],
                ori_shape=(40, 64),
                pred_instances=found,
            )
            for info, found in zip(infos, self.found)
        ]
        metric.process({}, samples)
        return metric.evaluate(len(samples))['coco/bbox_mAP']


def _found(annotations: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    corners = [[x, y, x + w, y + h] for x, y, w, h in (a['bbox'] for a in annotations)]
    return {
        'bboxes': torch.tensor(corners, dtype=torch.float32),
        'scores': torch.tensor([0.9, 0.8]),
        'labels': torch.tensor([a['category_id'] - 1 for a in annotations]),
    }


def _of_all(**values: Any) -> Change:
    """Set keys of all annotations; a function gets their number."""

    def change(content: dict[str, Any]) -> None:
        for number, annotation in enumerate(content['annotations']):
            for key, value in values.items():
                annotation[key] = value(number) if callable(value) else value

    return change


def _without(key: str) -> Change:
    def change(content: dict[str, Any]) -> None:
        for annotation in content['annotations']:
            del annotation[key]

    return change


def _counts(dataset: Any) -> list[int]:
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    return [len(info['instances']) for info in infos]


def test_nothing_differs_without_a_reason(tmp_path):
    """The files as they are: a detector that finds everything gets 1 from both."""
    files = Files(tmp_path, lambda content: None)
    assert files.stock_score() == files.our_score() == 1
    assert _counts(files.stock()) == _counts(files.ours()) == [2, 2]


def test_an_annotation_with_the_id_0(tmp_path):
    """pycocotools takes the id of a match for whether there is one."""
    files = Files(tmp_path, _of_all(id=lambda number: number))
    assert files.stock_score() == 0.626
    assert files.our_score() == 1
    assert _counts(files.stock()) == _counts(files.ours()) == [2, 2]


def test_annotations_without_iscrowd(tmp_path):
    """The stock dataset reads them, the stock metric does not; here they are not crowds."""
    files = Files(tmp_path, _without('iscrowd'))
    assert _counts(files.stock()) == _counts(files.ours()) == [2, 2]
    with pytest.raises(KeyError, match='iscrowd'):
        files.stock_score()
    assert files.our_score() == 1


def test_annotations_without_area(tmp_path):
    """Neither stock class reads them; here the area is width times height."""
    files = Files(tmp_path, _without('area'))
    for stock in (lambda: len(files.stock()), files.stock_score):
        with pytest.raises(KeyError, match='area'):
            stock()
    assert _counts(files.ours()) == [2, 2]
    assert files.our_score() == 1


def test_images_with_a_url_in_place_of_a_name(tmp_path):
    """``CocoDataset`` does not read a file of LVIS; here it needs no other class."""

    def change(content: dict[str, Any]) -> None:
        for image in content['images']:
            name = image.pop('file_name')
            image['coco_url'] = f'http://images.cocodataset.org/{name}'

    files = Files(tmp_path, change)
    with pytest.raises(KeyError, match='file_name'):
        len(files.stock())
    assert _counts(files.ours()) == [2, 2]


LEFT_OUT = {
    'image': (
        _of_all(image_id=lambda number: number // 2 * 2),
        [0, 2],
        'has image_id 0, which is not in',
    ),
    'category': (
        _of_all(category_id=lambda number: number % 2 * 2),
        [1, 1],
        'has category_id 0, which is not in',
    ),
}


@pytest.mark.parametrize(('change', 'counts', 'text'), LEFT_OUT.values(), ids=LEFT_OUT)
def test_annotations_of_nothing_in_the_file(tmp_path, change, counts, text):
    """The stock dataset leaves them out in silence; ``from_coco`` refuses the file."""
    files = Files(tmp_path, change)
    assert _counts(files.stock()) == counts
    with pytest.raises(ValueError, match=text):
        files.ours()


TAKEN = {
    'two classes of one name': (
        lambda content: content['categories'][1].update(name='cat'),
        "'categories' must have distinct names",
    ),
    'flags as text': (_of_all(iscrowd='0'), "must have 'iscrowd' 0 or 1, got '0'"),
    'ids of two types': (
        lambda content: content['images'].append({**content['images'][0], 'id': 'a'}),
        "'images' must have ids of one type",
    ),
    'ids of more than 64 bits': (
        lambda content: content['images'].append({**content['images'][0], 'id': 2**64}),
        'write an integer of at most 64 bits',
    ),
    'a box with a number that no double holds': (
        lambda content: content['annotations'][0].update(bbox=[4, 4, 20, 2**53 + 1]),
        "must have a 'bbox' of 4 finite numbers",
    ),
    'a mask of another size': (
        _of_all(segmentation={'size': [4, 4], 'counts': [16]}),
        'a mask must have the size of its image',
    ),
}


@pytest.mark.parametrize(('change', 'text'), TAKEN.values(), ids=TAKEN)
def test_files_that_the_stock_dataset_takes(tmp_path, change, text):
    """The stock dataset reads them, whatever comes of it; ``from_coco`` refuses them."""
    files = Files(tmp_path, change)
    assert len(files.stock()) >= 2
    with pytest.raises(ValueError, match=text):
        files.ours()


def test_further_keys_of_annotations(tmp_path):
    """They are not imported, so that ``to_coco`` does not give them back."""
    files = Files(tmp_path, _of_all(keypoints=[1, 2, 2], num_keypoints=1, track=7))
    files.ours()
    to_coco(str(tmp_path / 'lake'), tmp_path / 'out.json')
    written = json.loads((tmp_path / 'out.json').read_text())['annotations']
    for before, after in zip(files.content['annotations'], written):
        kept = {k: v for k, v in before.items() if k not in ('keypoints', 'track')}
        del kept['num_keypoints']
        assert after == kept


def test_a_box_is_as_good_as_a_mask_for_neither(tmp_path):
    """``segmentation: []`` is an instance without a mask for both, with its box."""
    files = Files(tmp_path, _of_all(segmentation=[]))
    for dataset in (files.stock(), files.ours()):
        assert not any('mask' in each for each in dataset.get_data_info(0)['instances'])
    assert files.stock_score() == files.our_score() == 1
