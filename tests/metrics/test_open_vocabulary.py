"""Formats for texts: numbers equal those of the stock metrics on the same predictions."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers.lakes import row, write_lake
from mmdet.evaluation.metrics import (
    DODCocoMetric,
    Flickr30kMetric,
    OVCocoMetric,
    RefExpMetric,
    gRefCOCOMetric,
)
from mmdet.evaluation.metrics.lvis_metric import LVISFixedAPMetric
from mmdet.utils import register_all_modules
from zoo.lent import lent

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeMetric
from mmdet_deeplake_plugin.tools.from_coco import from_coco
from mmdet_deeplake_plugin.tools.from_grounding import from_grounding

register_all_modules()

WIDTH, HEIGHT, COUNT = 90, 70, 12
CLASSES = ('cat', 'dog', 'owl', 'fox', 'hen')


@pytest.fixture(scope='module')
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dozen images."""
    folder = tmp_path_factory.mktemp('images')
    for number in range(COUNT):
        cv2.imwrite(str(folder / f'{number}.jpg'), np.full((HEIGHT, WIDTH, 3), number, np.uint8))
    return folder


def drawn_box(random: np.random.Generator) -> list[float]:
    x, y = random.uniform(0, 40, 2).round(1).tolist()
    return [x, y, *random.uniform(5, 40, 2).round(1).tolist()]


def entries(**more: Any) -> list[dict[str, Any]]:
    """Images of a COCO file, whose ids do not ascend."""
    return [
        {
            'id': 100 - number,
            'file_name': f'{number}.jpg',
            'width': WIDTH,
            'height': HEIGHT,
            **{key: make(number) for key, make in more.items()},
        }
        for number in range(COUNT)
    ]


def write(folder: Path, images: list[Any], annotations: list[Any], categories: list[Any]) -> Path:
    path = folder / 'annotations.json'
    content = dict(images=images, annotations=annotations, categories=categories)
    path.write_text(json.dumps(content))
    return path


def drawn_annotations(random: np.random.Generator, categories: list[int]) -> list[dict[str, Any]]:
    """Up to four boxes of each image."""
    found: list[dict[str, Any]] = []
    for number in range(COUNT):
        for _ in range(int(random.integers(1, 5))):
            x, y, w, h = box = drawn_box(random)
            found.append(
                {
                    'id': len(found) + 1,
                    'image_id': 100 - number,
                    'category_id': int(random.choice(categories)),
                    'bbox': box,
                    'area': w * h,
                    'iscrowd': 0,
                    'segmentation': [[x, y, x + w, y, x + w, y + h, x, y + h]],
                }
            )
    return found


def predict(
    dataset: DeepLakeDataset, random: np.random.Generator, num_labels: Any, masks: bool = False
) -> list[dict[str, Any]]:
    """Moved boxes, false alarms, ties of scores; of one image nothing."""
    samples = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        found = [part['bbox'] for part in info['instances'] if random.random() < 0.9]
        boxes = np.array(found * 2 + [[1, 2, 30, 24.5]], np.float32).reshape(-1, 4)
        boxes[:, :2] += random.normal(0, 2, (len(boxes), 2)).round(1).astype(np.float32)
        scores = np.sort(random.random(len(boxes)).round(1).astype(np.float32))[::-1].copy()
        top = num_labels(info) if callable(num_labels) else num_labels
        labels = random.integers(0, top, len(boxes))
        instances: dict[str, Any] = dict(
            bboxes=torch.from_numpy(boxes),
            scores=torch.from_numpy(scores),
            labels=torch.from_numpy(labels),
        )
        if masks:
            pixels = random.random((len(boxes), HEIGHT, WIDTH)) < 0.5
            instances['masks'] = torch.from_numpy(pixels)
        real = [part['bbox'] for part in info['instances']]
        truth = dict(bboxes=torch.tensor(real, dtype=torch.float32).reshape(-1, 4))
        shape = info['height'], info['width']
        samples.append(
            {**info, 'ori_shape': shape, 'pred_instances': instances, 'gt_instances': truth}
        )
    return samples


def scored(metric: Any, samples: list[dict[str, Any]], meta: dict[str, Any]) -> dict[str, Any]:
    metric.dataset_meta = meta
    for sample in samples:
        metric.process({}, [sample])
    with lent():
        return dict(metric.evaluate(len(samples)))


def nothing(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same samples, in which a model finds nothing."""
    empty = dict(
        bboxes=torch.zeros((0, 4)), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.int64)
    )
    return [{**sample, 'pred_instances': empty} for sample in samples]


@pytest.fixture(scope='module')
def lvis_file(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An LVIS file, and its lake beside it."""
    folder = tmp_path_factory.mktemp('lvis')
    random = np.random.default_rng(3)
    categories = [
        {'id': 3 + 2 * i, 'name': name, 'frequency': 'rcf'[i % 3]} for i, name in enumerate(CLASSES)
    ]
    ids = [each['id'] for each in categories]
    annotations = drawn_annotations(random, ids)
    listed = entries(
        neg_category_ids=lambda number: [ids[number % 5]],
        not_exhaustive_category_ids=lambda number: [ids[(number + 2) % 5]],
    )
    path = write(folder, listed, annotations, categories)
    from_coco(path, images, folder / 'lake')
    return path


@pytest.mark.parametrize('topk', [10000, 7, 1])
def test_fixed_ap_equals_that_of_the_stock_metric(lvis_file: Path, topk: int) -> None:
    """The best of each class count, whatever their image; sizes are those of float32."""
    pytest.importorskip('lvis')
    dataset = DeepLakeDataset(str(lvis_file.parent / 'lake'), test_mode=True)
    samples = predict(dataset, np.random.default_rng(topk), len(CLASSES))
    meta = dict(classes=CLASSES)
    with lent():
        stock = LVISFixedAPMetric(str(lvis_file), topk=topk)
    expected = scored(stock, samples, meta)
    assert scored(DeepLakeMetric('LVISFixedAP', topk=topk), samples, meta) == expected
    assert set(expected) == {f'lvis_fixed_ap/AP{item}' for item in ('', 50, 75, *'smlrcf')}


def test_fixed_ap_without_detections(lvis_file: Path) -> None:
    """Zeros, where stock fails; several numbers of detections are refused."""
    dataset = DeepLakeDataset(str(lvis_file.parent / 'lake'), test_mode=True)
    samples = nothing(predict(dataset, np.random.default_rng(0), 1))
    numbers = scored(DeepLakeMetric('LVISFixedAP'), samples, dict(classes=CLASSES))
    assert numbers['lvis_fixed_ap/AP'] == 0
    with pytest.raises(ValueError, match=r'topk must be a positive integer, got \(1, 5\)'):
        DeepLakeMetric('LVISFixedAP', topk=(1, 5))


@pytest.mark.parametrize('metric', ['bbox', 'segm', ['bbox', 'segm']])
def test_base_and_novel_classes_are_scored_as_by_ov_coco_metric(
    lvis_file: Path, metric: Any
) -> None:
    """Each number, also of a group without ground truth, with both backends."""
    path = str(lvis_file.parent / 'lake')
    meta = dict(classes=CLASSES, base_classes=CLASSES[:3], novel_classes=CLASSES[3:])
    dataset = DeepLakeDataset(path, metainfo=meta, test_mode=True)
    assert dataset.metainfo == meta
    samples = predict(dataset, np.random.default_rng(5), len(CLASSES), masks='segm' in metric)
    expected = scored(OVCocoMetric(ann_file=str(lvis_file), metric=metric), samples, meta)
    assert {'coco/base_ap', 'coco/novel_ap', 'coco/base_ap50', 'coco/novel_ap50'} < set(expected)
    for backend in ('pycocotools', 'faster_coco_eval'):
        ours = DeepLakeMetric('OVCoco', metric=metric, backend=backend)
        assert scored(ours, samples, meta) == expected
    with pytest.raises(ValueError, match=r'metainfo.novel_classes is None; write metainfo=dict'):
        scored(DeepLakeMetric('OVCoco'), samples, {**meta, 'novel_classes': None})


def expressions(images: Path, folder: Path, random: np.random.Generator) -> Path:
    """A box for each expression; every fourth means nothing."""
    listed = entries(
        caption=lambda number: 'a cat',
        dataset_name=lambda number: ('refcoco', 'refcoco+', 'refcocog')[number % 3],
    )
    annotations = [
        {
            'id': i,
            'image_id': image['id'],
            'category_id': -1 if i % 4 == 3 else 1,
            'bbox': drawn_box(random),
        }
        for i, image in enumerate(listed)
    ]
    path = write(folder, listed, annotations, [{'id': 1, 'name': 'object'}])
    from_grounding('mdetr', path, images, folder / 'lake')
    return path


@pytest.mark.parametrize('seed', range(3))
def test_expressions_are_scored_as_by_stock(images: Path, tmp_path: Path, seed: int) -> None:
    """``RefExpMetric`` and ``gRefCOCOMetric``, with the options of both."""
    random = np.random.default_rng(seed)
    path = expressions(images, tmp_path, random)
    dataset = DeepLakeDataset(str(tmp_path / 'lake'), test_mode=True)
    samples = predict(dataset, random, 1)
    file = str(path)
    for ours, stock in (
        (DeepLakeMetric('RefExp'), RefExpMetric(ann_file=file)),
        (
            DeepLakeMetric('RefExp', 'bbox', topk=(1, 2, 4), iou_thrs=0.7),
            RefExpMetric(ann_file=file, topk=(1, 2, 4), iou_thrs=0.7),
        ),
        (DeepLakeMetric('gRefCOCO'), gRefCOCOMetric(ann_file=file)),
        (
            DeepLakeMetric('gRefCOCO', iou_thrs=0.3, thresh_score=0.4, thresh_f1=0.5),
            gRefCOCOMetric(ann_file=file, iou_thrs=0.3, thresh_score=0.4, thresh_f1=0.5),
        ),
    ):
        expected = scored(stock, samples, {})
        assert scored(ours, samples, dataset.metainfo) == expected
        assert expected
    found = scored(DeepLakeMetric('RefExp'), nothing(samples), dataset.metainfo)
    assert set(found.values()) == {0}


@pytest.mark.parametrize('seed', range(3))
def test_phrases_are_scored_as_by_flickr30k_metric(
    images: Path, tmp_path: Path, seed: int
) -> None:
    """Recalls among some and among all boxes, with phrases of several boxes."""
    random = np.random.default_rng(seed)
    listed = entries(
        caption=lambda number: 'a cat and a dog',
        tokens_positive_eval=lambda number: [[[2, 5]], [[12, 15]]],
    )
    annotations = [
        {'id': i, 'image_id': 100 - i // 3, 'bbox': drawn_box(random), 'category_id': 1}
        | {'iscrowd': 0, 'phrase_ids': (4, 9, 9)[i % 3]}
        for i in range(3 * COUNT)
    ]
    path = write(tmp_path, listed, annotations, [{'id': 1, 'name': 'object'}])
    from_grounding('flickr30k', path, images, tmp_path / 'lake')
    dataset = DeepLakeDataset(str(tmp_path / 'lake'), test_mode=True)
    samples = predict(dataset, random, 2)
    for keys in ({}, dict(topk=(1, 3, -1), iou_thrs=0.7)):
        expected = scored(Flickr30kMetric(**keys), samples, {})
        assert scored(DeepLakeMetric('Flickr30k', **keys), samples, dataset.metainfo) == expected
        assert expected['-1']['all'] >= expected['1']['all']


def test_a_phrase_without_a_box_is_an_error(images: Path, tmp_path: Path) -> None:
    """Stock fails on it without a word of the image."""
    listed = entries(caption=lambda n: 'a cat', tokens_positive_eval=lambda n: [[[2, 5]]])
    path = write(tmp_path, listed, [], [])
    from_grounding('flickr30k', path, images, tmp_path / 'lake')
    dataset = DeepLakeDataset(str(tmp_path / 'lake'), test_mode=True)
    samples = predict(dataset, np.random.default_rng(0), 1)
    with pytest.raises(ValueError, match="needs a box for each phrase, but 'cat' of image 89"):
        scored(DeepLakeMetric('Flickr30k'), samples, dataset.metainfo)


def descriptions(images: Path, folder: Path, random: np.random.Generator, words: int) -> Path:
    """Descriptions of one to ``words`` words in two groups."""
    sentences = {i: {'id': i, 'raw_sent': ' '.join(f'w{i}' for _ in range(i))} for i in range(1, words + 1)}
    groups = {g: {'inner_sent_id': [i for i in sentences if i % 2 == g]} for g in (0, 1)}
    listed = {100 - n: {**image, 'group_id': n % 2} for n, image in enumerate(entries())}
    annotations = [
        {**ann, 'category_id': int(random.choice(groups[listed[ann['image_id']]['group_id']]['inner_sent_id']))}
        for ann in drawn_annotations(random, [1]) + drawn_annotations(random, [1])
    ]
    for number, ann in enumerate(annotations, 1):
        ann['id'] = number
    for name, value in dict(sentences=sentences, groups=groups, images=listed).items():
        (folder / f'{name}.pkl').write_bytes(pickle.dumps(value))
    categories = [{'id': i, 'name': each['raw_sent']} for i, each in sentences.items()]
    path = write(folder, list(listed.values()), annotations, categories)
    from_grounding('dod', path, images, folder / 'lake', anno_dir=folder)
    return path


@pytest.mark.parametrize('seed', range(3))
def test_descriptions_are_scored_as_by_dod_coco_metric(
    images: Path, tmp_path: Path, seed: int
) -> None:
    """The means by the number of words too; labels are those of the image's texts."""
    random = np.random.default_rng(seed)
    path = descriptions(images, tmp_path, random, 12)
    dataset = DeepLakeDataset(str(tmp_path / 'lake'), test_mode=True)
    samples = predict(dataset, random, lambda info: len(info['text']))
    expected = scored(DODCocoMetric(ann_file=str(path)), samples, {})
    assert scored(DeepLakeMetric('DOD'), samples, dataset.metainfo) == expected
    assert expected['dod/mAP_50'] > 0 and len(expected) == 10
    numbers = scored(DeepLakeMetric('DOD'), nothing(samples), dataset.metainfo)
    assert numbers['dod/mAP'] == 0


def test_descriptions_of_one_length_are_an_error(images: Path, tmp_path: Path) -> None:
    """Stock divides by zero; a label without a description is an error too."""
    random = np.random.default_rng(0)
    descriptions(images, tmp_path, random, 3)
    dataset = DeepLakeDataset(str(tmp_path / 'lake'), test_mode=True)
    samples = predict(dataset, random, 1)
    with pytest.raises(ValueError, match='no annotation for those of some length'):
        scored(DeepLakeMetric('DOD'), samples, dataset.metainfo)
    samples[0]['pred_instances']['labels'][0] = 5
    with pytest.raises(ValueError, match=r'predicts label 5, but image 100 has [12] descriptions'):
        scored(DeepLakeMetric('DOD'), samples, dataset.metainfo)


@pytest.mark.parametrize('name', ['RefExp', 'gRefCOCO', 'Flickr30k', 'DOD'])
def test_a_lake_without_texts_is_an_error(tmp_path: Path, name: str) -> None:
    """The message says how to make one."""
    dataset = DeepLakeDataset(write_lake(tmp_path / 'lake', [row(0)]), test_mode=True)
    samples = predict(dataset, np.random.default_rng(0), 1)
    with pytest.raises(ValueError, match=f"{name}' needs a column for grounding, but .*from_grounding"):
        scored(DeepLakeMetric(name), samples, dataset.metainfo)


def test_files_that_a_metric_cannot_score(images: Path, tmp_path: Path) -> None:
    """Several boxes of an expression, another dataset, and expressions of one kind."""
    listed = entries(caption=lambda n: 'x', dataset_name=lambda n: 'grefcoco')
    annotations = [
        {'id': i, 'image_id': 100 - i, 'category_id': 1, 'bbox': [1, 2, 3, 4]} for i in range(COUNT)
    ]
    path = write(tmp_path, listed, annotations, [])
    from_grounding('mdetr', path, images, tmp_path / 'one')
    write(tmp_path, listed, [*annotations, annotations[0]], [])
    from_grounding('mdetr', path, images, tmp_path / 'two')
    for lake, name, text in (
        ('one', 'RefExp', "knows the datasets refcoco, refcoco\\+, refcocog, but image 100 is of 'grefcoco'"),
        ('one', 'gRefCOCO', '12 of 12 have a box, 0 of which mean nothing'),
        ('two', 'RefExp', r"needs one box per expression, but image 100 \('0.jpg'\) has 2"),
    ):
        dataset = DeepLakeDataset(str(tmp_path / lake), test_mode=True)
        samples = predict(dataset, np.random.default_rng(0), 1)
        with pytest.raises(ValueError, match=text):
            scored(DeepLakeMetric(name), samples, dataset.metainfo)


def test_options_of_stock_are_told_apart() -> None:
    """What to write for stock's keys."""
    with pytest.raises(ValueError, match=r'merge_boxes=True has no meaning .*; leave it out'):
        DeepLakeMetric('Flickr30k', merge_boxes=True)
    with pytest.raises(ValueError, match=r'iou_thrs must be one number, got \[0.5\]'):
        DeepLakeMetric('RefExp', iou_thrs=[0.5])
    with pytest.raises(ValueError, match='topk must be a list of positive integers, got 3'):
        DeepLakeMetric('RefExp', topk=3)
    with pytest.raises(ValueError, match=r"topk=5 has no meaning for metrics_format='COCO'; .*LVISFixedAP, RefExp"):
        DeepLakeMetric(topk=5)
