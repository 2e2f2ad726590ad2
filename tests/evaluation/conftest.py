"""Data for the metrics, and MMDetection's own metrics to compare with."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import mmdet.evaluation.functional.recall as stock_recall
import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric, VOCMetric
from mmengine.logging import MMLogger

from mmdet_deeplake_plugin.evaluation import (
    GroundTruth,
    Prediction,
    evaluate_coco,
    evaluate_voc,
)


@dataclass(frozen=True)
class Case:
    """A COCO file's content, and predictions whose label i is ``classes[i]``."""

    content: dict[str, Any]
    predictions: list[Prediction]
    classes: tuple[str, ...]
    folder: Path

    @cached_property
    def gt(self) -> GroundTruth:
        """The content as flat arrays."""
        images, categories = self.content['images'], self.content['categories']
        per_image = [self._annotations_of(image) for image in images]
        found = [annotation for group in per_image for annotation in group]
        label_of = {category['id']: i for i, category in enumerate(categories)}
        xywh = np.array([a['bbox'] for a in found], dtype=float).reshape(-1, 4)
        return GroundTruth(
            img_ids=[image['id'] for image in images],
            widths=[image['width'] for image in images],
            heights=[image['height'] for image in images],
            file_names=[image['file_name'] for image in images],
            offsets=np.cumsum([0, *map(len, per_image)]),
            boxes_xywh=xywh,
            boxes_xyxy=np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]),
            labels=[label_of[a['category_id']] for a in found],
            category_names=[category['name'] for category in categories],
            category_ids=[category['id'] for category in categories],
            areas=[a['area'] for a in found],
            crowd=[bool(a['iscrowd']) for a in found],
            excluded=[bool(a.get('ignore', 0)) for a in found],
        )

    def with_classes(self, *classes: str) -> Case:
        """The same with other classes, without predictions of the rest."""
        kept = [self.classes.index(name) for name in classes]
        label_of = np.full(len(self.classes), -1)
        label_of[kept] = np.arange(len(kept))
        return replace(self, classes=classes, predictions=self._relabelled(label_of))

    def ours(self, metrics: Any = 'bbox', **options: Any) -> dict[str, float]:
        """What this package's COCO metric says."""
        return evaluate_coco(self.gt, self.predictions, self.classes, metrics, **options)

    def stock(self, metrics: Any = 'bbox', **options: Any) -> dict[str, float]:
        """What MMDetection's ``CocoMetric`` says."""
        ann_file = self.folder / 'annotations.json'
        ann_file.write_text(json.dumps(self.content))
        metric = CocoMetric(ann_file=str(ann_file), metric=metrics, **options)
        metric.dataset_meta = {'classes': self.classes}
        # Stock takes the classes in the file's order, whatever the order in
        # which they are named: give it the labels that it understands.
        categories = self.content['categories']
        if options.get('sort_categories'):
            categories = sorted(categories, key=lambda category: category['id'])
        filed = [c['name'] for c in categories if c['name'] in self.classes]
        label_of = np.array([filed.index(name) for name in self.classes])
        samples = [
            {
                'img_id': image['id'],
                'ori_shape': (image['height'], image['width']),
                'pred_instances': _tensors(prediction),
            }
            for image, prediction in zip(
                self.content['images'], self._relabelled(label_of)
            )
        ]
        return _evaluate(metric, samples)

    def ours_voc(self, metric: str = 'mAP', **options: Any) -> dict[str, float]:
        """What this package's VOC metric says."""
        return evaluate_voc(self.gt, self.predictions, self.classes, metric, **options)

    def stock_voc(self, metric: str = 'mAP', **options: Any) -> dict[str, float]:
        """What MMDetection's ``VOCMetric`` says."""
        voc_metric = VOCMetric(metric=metric, **options)
        voc_metric.dataset_meta = {'classes': self.classes}
        return _evaluate(voc_metric, self.voc_samples())

    def voc_samples(self) -> list[dict[str, Any]]:
        """Data samples as a model and a dataset of the classes would give."""
        names = {c['id']: c['name'] for c in self.content['categories']}
        samples = []
        for image, prediction in zip(self.content['images'], self.predictions):
            found = [
                annotation
                for annotation in self._annotations_of(image)
                if names[annotation['category_id']] in self.classes
            ]
            groups = []
            for crowd in (0, 1):
                group = [a for a in found if a['iscrowd'] == crowd]
                boxes = [_xyxy(a['bbox']) for a in group]
                labels = [self.classes.index(names[a['category_id']]) for a in group]
                groups.append(
                    {
                        'bboxes': torch.tensor(boxes).reshape(-1, 4).float(),
                        'labels': torch.tensor(labels, dtype=torch.int64),
                    }
                )
            samples.append(
                {
                    'gt_instances': groups[0],
                    'ignored_instances': groups[1],
                    'pred_instances': _tensors(prediction),
                }
            )
        return samples

    def without_detections(self) -> Case:
        """The same with a model that finds nothing."""
        nothing = _prediction([])
        return replace(self, predictions=[nothing] * len(self.predictions))

    def without_ground_truth(self) -> Case:
        """The same images and predictions without any annotation."""
        return replace(self, content={**self.content, 'annotations': []})

    def _annotations_of(self, image: dict[str, Any]) -> list[dict[str, Any]]:
        return self._by_image.get(image['id'], [])

    @cached_property
    def _by_image(self) -> dict[Any, list[dict[str, Any]]]:
        groups: dict[Any, list[dict[str, Any]]] = {}
        for annotation in self.content['annotations']:
            groups.setdefault(annotation['image_id'], []).append(annotation)
        return groups

    def _relabelled(self, label_of: np.ndarray) -> list[Prediction]:
        relabelled = []
        for found in self.predictions:
            new = label_of[found.labels]
            kept = new >= 0
            relabelled.append(
                Prediction(found.bboxes[kept], found.scores[kept], new[kept])
            )
        return relabelled


def _evaluate(metric: Any, samples: list[dict[str, Any]]) -> dict[str, float]:
    metric.process({}, samples)
    results = metric.evaluate(size=len(samples))
    return {name.split('/', 1)[1]: value for name, value in results.items()}


def _tensors(prediction: Prediction) -> dict[str, torch.Tensor]:
    arrays = dict(vars(prediction))
    names = ('bboxes', 'scores', 'labels')
    return {name: torch.from_numpy(arrays[name]) for name in names}


def _xyxy(box: Sequence[float]) -> list[float]:
    return [box[0], box[1], box[0] + box[2], box[1] + box[3]]


def _prediction(rows: list[tuple[list[float], float, int]]) -> Prediction:
    # As a model gives them: the best score first.
    rows = sorted(rows, key=lambda row: -row[1])
    return Prediction(
        np.array([box for box, _, _ in rows], dtype=np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in rows], dtype=np.float32),
        np.array([label for _, _, label in rows], dtype=np.int64),
    )


def _perturbed(content: dict[str, Any], seed: int) -> list[Prediction]:
    """Shifted, missed, doubled and mislabelled boxes with many equal scores."""
    rng = np.random.default_rng(seed)
    labels = {c['id']: i for i, c in enumerate(content['categories'])}
    predictions = []
    for image in content['images']:
        rows = []
        for annotation in content['annotations']:
            if annotation['image_id'] != image['id'] or rng.random() < 0.1:
                continue
            box = np.array(_xyxy(annotation['bbox']))
            size = np.tile(annotation['bbox'][2:], 2)
            for _ in range(rng.integers(1, 3)):
                label = labels[annotation['category_id']]
                if rng.random() < 0.1:
                    label = int(rng.integers(len(labels)))
                moved = box + rng.normal(0, 0.07, 4) * size
                rows.append((moved.tolist(), rng.integers(1, 12) / 12, label))
        for _ in range(rng.integers(0, 6)):
            corner = rng.uniform(0, 300, 2)
            box = [*corner, *(corner + rng.uniform(5, 150, 2))]
            label = int(rng.integers(len(labels)))
            rows.append((box, rng.integers(1, 12) / 12, label))
        predictions.append(_prediction(rows))
    return predictions


def _synthetic(seed: int = 0) -> dict[str, Any]:
    """Images without boxes, crowds, ignored boxes, areas smaller than the box."""
    rng = np.random.default_rng(seed)
    names = {3: 'cat', 7: 'dog', 8: 'owl', 90: 'fox'}
    images, annotations = [], []
    for img_id in rng.permutation(200)[:40].tolist():
        images.append(
            {'id': img_id, 'width': 400, 'height': 300, 'file_name': f'{img_id}.jpg'}
        )
        for _ in range(rng.integers(0, 9)):
            x, y = rng.uniform(0, 250, 2)
            width, height = np.exp(rng.uniform(np.log(6), np.log(150), 2))
            annotations.append(
                {
                    'id': 1000 - len(annotations),
                    'image_id': img_id,
                    'bbox': [x, y, width, height],
                    # The owl has no annotations at all.
                    'category_id': int(rng.choice([3, 7, 90])),
                    'area': width * height * rng.uniform(0.3, 1),
                    'iscrowd': int(rng.random() < 0.1),
                    'ignore': int(rng.random() < 0.1),
                }
            )
    # Files need not keep the annotations of an image together.
    rng.shuffle(annotations)
    categories = [{'id': cat_id, 'name': name} for cat_id, name in names.items()]
    return {'images': images, 'annotations': annotations, 'categories': categories}


def _case(content: dict[str, Any], folder: Path) -> Case:
    classes = tuple(category['name'] for category in content['categories'])
    return Case(content, _perturbed(content, seed=1), classes, folder)


@pytest.fixture
def synthetic(tmp_path: Path) -> Case:
    """40 drawn images with everything that a COCO file may hold."""
    return _case(_synthetic(), tmp_path)


@pytest.fixture(params=['synthetic', 'bccd', 'coco_cc'])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    """Drawn data, blood cells (VOC-like), and photographs of COCO."""
    if request.param == 'synthetic':
        return request.getfixturevalue('synthetic')
    folder = request.getfixturevalue('shared_data')
    file = {'bccd': 'bccd/val.json', 'coco_cc': 'coco_cc/instances.json'}[request.param]
    return _case(json.loads((folder / file).read_text()), tmp_path)


@pytest.fixture
def ragged_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stock's recall stack matrices of different shapes, as numpy < 1.24 did."""

    class Numpy:
        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

        def array(self, values: Any, *args: Any, **options: Any) -> np.ndarray:
            if not (isinstance(values, list) and isinstance(values[0], np.ndarray)):
                return np.array(values, *args, **options)
            stacked = np.empty(len(values), dtype=object)
            stacked[:] = values
            return stacked

    monkeypatch.setattr(stock_recall, 'np', Numpy())


class Records(logging.Handler):
    """Keeps the messages of a logger."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def table(self, word: str) -> str:
        """The one message that contains ``word``."""
        (message,) = [text for text in self.messages if word in text]
        return message


@pytest.fixture
def log() -> Iterator[Records]:
    """What MMEngine's current logger is told."""
    logger, handler = MMLogger.get_current_instance(), Records()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


class Same:
    """Equality of results: the same names and digits, NaN equal to NaN."""

    def __call__(self, ours: dict[str, float], stock: dict[str, float]) -> bool:
        assert sorted(ours) == sorted(stock)
        assert all(type(value) is float for value in ours.values())
        different = {
            name: (ours[name], stock[name])
            for name in ours
            if ours[name] != stock[name]
            and not (math.isnan(ours[name]) and math.isnan(stock[name]))
        }
        assert different == {}
        return True


@pytest.fixture
def same() -> Same:
    """Exact comparison of two results."""
    return Same()
