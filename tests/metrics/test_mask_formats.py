"""Cityscapes, and occluded masks of COCO: numbers and files equal those of stock."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmdet.evaluation import CityScapesMetric, CocoOccludedSeparatedMetric
from mmdet.utils import register_all_modules
from pycocotools import mask as coco_mask
from zoo.lent import lent
from zoo.shapes import make_cityscapes
from zoo.source import Source
from zoo.truth import true_masks

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric
from mmdet_deeplake_plugin.tools.from_coco import from_coco

register_all_modules()

CLASSES = ('person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle')


@pytest.fixture(scope='module')
def streets(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder of files in the layout of Cityscapes, and a lake."""
    folder = tmp_path_factory.mktemp('cityscapes')
    _, lake = make_cityscapes(folder, Source(shared_data / 'coco_cc'), CLASSES)
    return folder, lake


def predict(dataset: DeepLakeDataset, images: Path, own_scores: bool, count: int = 5) -> list[Any]:
    """Masks that are shifted, some with another class; of one image none."""
    random = np.random.default_rng(2)
    samples = []
    for index in range(count):
        info = dataset.get_data_info(index)
        masks = true_masks(info)
        shifts = random.integers(0, 9, len(masks)) * (index != 3)
        masks = np.array([np.roll(m, s, 1) for m, s in zip(masks, shifts)], bool).reshape(masks.shape)
        labels = np.array([part['bbox_label'] for part in info['instances']], np.int64)
        labels[random.random(len(labels)) < 0.2] = 2
        boxes = [part['bbox'] for part in info['instances']]
        kept = slice(0, 0) if index == 1 else slice(None)
        found = dict(
            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)[kept],
            scores=torch.from_numpy(random.random(len(labels)).round(2).astype(np.float32))[kept],
            labels=torch.from_numpy(labels)[kept],
            masks=torch.from_numpy(masks)[kept],
        )
        if own_scores:
            found['mask_scores'] = found['scores'] * 0.7
        name = info['img_path'].rpartition('/')[2]
        shape = info['height'], info['width']
        samples.append(
            {**info, 'file': str(images / name), 'ori_shape': shape, 'pred_instances': found}
        )
    return samples


def scored(metric: Any, samples: list[Any], classes: Any = CLASSES) -> dict[str, Any]:
    metric.dataset_meta = dict(classes=classes)
    metric.process({}, samples)
    with lent():
        return dict(metric.evaluate(len(samples)))


@pytest.mark.parametrize('own_scores', [False, True])
def test_cityscapes_equals_that_of_the_stock_metric(
    streets: tuple[Path, str], tmp_path: Path, own_scores: bool
) -> None:
    """Numbers and written files, with crowds, other labels and an image without masks."""
    pytest.importorskip('cityscapesscripts')
    folder, lake = streets
    images = folder / 'leftImg8bit' / 'val'
    dataset = DeepLakeDataset(lake, test_mode=True)
    samples = predict(dataset, images, own_scores)
    stock = CityScapesMetric(str(tmp_path / 'stock'), seg_prefix=str(folder / 'gtFine' / 'val'))
    expected = scored(stock, [{**sample, 'img_path': sample['file']} for sample in samples])
    ours = DeepLakeMetric('Cityscapes', outfile_prefix=str(tmp_path / 'ours'))
    assert scored(ours, samples) == expected
    assert 0 < expected['cityscapes/mAP'] < 1
    assert scored(ours, samples) == expected  # once more, over its own files
    written = {path.name for path in (tmp_path / 'ours' / 'results').iterdir()}
    others = {path.name for path in (tmp_path / 'stock' / 'results').iterdir()}
    assert written == others - {'gtInstances.json'} and len(written) > 8
    for name in written:
        one, other = (tmp_path / side / 'results' / name for side in ('ours', 'stock'))
        if name.endswith('.txt'):
            assert one.read_text() == other.read_text()


def test_cityscapes_writes_files_only(streets: tuple[Path, str], tmp_path: Path) -> None:
    """For the test server, whose ground truth nobody has."""
    pytest.importorskip('cityscapesscripts')
    with pytest.raises(ValueError, match='outfile_prefix to the folder of the masks'):
        DeepLakeMetric('Cityscapes', format_only=True)
    lake = DeepLakeDataset(streets[1], deeplake_tensors=dict(gt_seg_map=None), test_mode=True)
    samples = predict(lake, tmp_path, False, 2)
    metric = DeepLakeMetric('Cityscapes', format_only=True, outfile_prefix=str(tmp_path))
    assert scored(metric, samples) == {}
    assert len(list((tmp_path / 'results').glob('*_pred.txt'))) == 2
    with pytest.raises(ValueError, match='has no column for gt_seg_map; make the lake by'):
        scored(DeepLakeMetric('Cityscapes'), samples)


def test_cityscapes_says_what_it_cannot_score(
    streets: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other classes, no masks, other maps, no package."""
    pytest.importorskip('cityscapesscripts')
    lake = DeepLakeDataset(streets[1], test_mode=True)
    samples = predict(lake, Path(), False, 2)
    named = ('person', 'cat', *CLASSES[2:])
    with pytest.raises(ValueError, match=r"classes of Cityscapes, but metainfo.classes has 'cat'"):
        scored(DeepLakeMetric('Cityscapes'), samples, named)
    del samples[0]['pred_instances']['masks']
    with pytest.raises(ValueError, match='compares masks, but the model predicts none'):
        scored(DeepLakeMetric('Cityscapes'), samples)
    monkeypatch.setitem(sys.modules, 'cityscapesscripts.helpers.labels', None)
    with pytest.raises(ImportError, match=r'pip install .mmdet_deeplake_plugin\[cityscapes\]'):
        DeepLakeMetric('Cityscapes')


def test_maps_of_other_labels_are_an_error(streets: tuple[Path, str], tmp_path: Path) -> None:
    """Maps of semantic labels have none of the ids."""
    pytest.importorskip('cityscapesscripts')
    folder, _ = streets
    maps = tmp_path / 'maps'
    maps.mkdir()
    content = json.loads((folder / 'annotations.json').read_text())
    content['images'] = content['images'][:2]
    ids = {image['id'] for image in content['images']}
    content['annotations'] = [ann for ann in content['annotations'] if ann['image_id'] in ids]
    for image in content['images']:
        file = maps / image['file_name']
        cv2.imwrite(str(file), np.full((image['height'], image['width']), 90, np.uint8))
    (tmp_path / 'file.json').write_text(json.dumps(content))
    from_coco(tmp_path / 'file.json', folder / 'leftImg8bit' / 'val', tmp_path / 'lake', seg_dir=maps)
    lake = DeepLakeDataset(str(tmp_path / 'lake'), test_mode=True)
    samples = predict(lake, Path(), False, 2)
    with pytest.raises(ValueError, match=r'needs maps of Cityscapes. instance ids .* the label 90 is unknown'):
        scored(DeepLakeMetric('Cityscapes'), samples)


@pytest.fixture(scope='module')
def small(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO file of eight images, with its lake beside it."""
    content = json.loads((shared_data / 'coco_cc' / 'instances.json').read_text())
    content['images'] = content['images'][:8]
    ids = {image['id'] for image in content['images']}
    content['annotations'] = [ann for ann in content['annotations'] if ann['image_id'] in ids]
    path = tmp_path_factory.mktemp('small') / 'instances.json'
    path.write_text(json.dumps(content))
    from_coco(path, shared_data / 'coco_cc' / 'images', path.parent / 'lake')
    return path


@pytest.fixture(scope='module')
def subsets(small: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of occluded and separated masks: every third, and every fourth one."""
    content = json.loads(small.read_text())
    names = {image['id']: image for image in content['images']}
    classes = {each['id']: each['name'] for each in content['categories']}
    folder = tmp_path_factory.mktemp('occluded')
    paths = {}
    for key, step in (('occluded_ann', 3), ('separated_ann', 4)):
        items = []
        for ann in [a for a in content['annotations'] if not a['iscrowd']][::step]:
            image = names[ann['image_id']]
            code = coco_mask.merge(
                coco_mask.frPyObjects(ann['segmentation'], image['height'], image['width'])
            )
            items.append((image['file_name'], classes[ann['category_id']], ann['id'], ann['bbox'], code))
        paths[key] = str(folder / f'{key}.pkl')
        Path(paths[key]).write_bytes(pickle.dumps(items))
    return paths


@pytest.mark.parametrize('options', [{}, dict(score_thr=0.6, mask_iou_thr=0.9, metric='segm')])
def test_occluded_masks_are_scored_as_by_stock(
    small: Path, subsets: dict[str, str], options: dict[str, Any]
) -> None:
    """The numbers of COCO and both recalls."""
    dataset = DeepLakeDataset(str(small.parent / 'lake'), test_mode=True)
    samples = predict(dataset, Path(), False, len(dataset))
    classes = dataset.metainfo['classes']
    renamed = {{'mask_iou_thr': 'iou_thr'}.get(key, key): options[key] for key in options}
    stock = CocoOccludedSeparatedMetric(ann_file=str(small), **subsets, **renamed)
    expected = scored(stock, samples, classes)
    ours = DeepLakeMetric('CocoOccludedSeparated', **subsets, **options)
    assert scored(ours, samples, classes) == expected
    assert 0 < expected['coco/occluded_recall'] < 100


def test_occluded_masks_need_their_files(small: Path, subsets: dict[str, str]) -> None:
    """At once, and all images that they name."""
    with pytest.raises(ValueError, match=r'occluded_ann must be the file occluded_coco.pkl .* got None'):
        DeepLakeMetric('CocoOccludedSeparated')
    with pytest.raises(ValueError, match=r"separated_ann must be the file .* got '/x'; write"):
        DeepLakeMetric('CocoOccludedSeparated', **{**subsets, 'separated_ann': '/x'})
    dataset = DeepLakeDataset(str(small.parent / 'lake'), test_mode=True)
    samples = predict(dataset, Path(), False, 2)
    with pytest.raises(ValueError, match='images that were not predicted, the first is'):
        scored(DeepLakeMetric('CocoOccludedSeparated', **subsets), samples, dataset.metainfo['classes'])
