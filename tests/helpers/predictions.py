"""Writes predictions to small lakes, as the stock ``test.py`` has them written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from helpers.lakes import HEIGHT, WIDTH, row
from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakePredictions

# Every row has the boxes of a cat and of a dog.
CAT, DOG = (2.0, 2.0, 22.0, 22.0), (30.0, 5.0, 60.0, 35.0)
ELSEWHERE = (0.0, 30.0, 9.0, 39.0)
SHIFTED = (38.0, 15.0, 64.0, 39.0)  # of the dog, IoU 0.41
Found = Sequence[tuple[tuple[float, ...], float, int]]
# What is found in an image, and the counts that follow.
CASES: list[tuple[Found, dict[str, int]]] = [
    ([(CAT, 0.9, 0), (DOG, 0.8, 1)], dict(tp=2)),
    ([(CAT, 0.9, 0)], dict(tp=1, fn=1, missed=1)),
    ([(CAT, 0.9, 0), (CAT, 0.7, 0), (DOG, 0.8, 1)], dict(tp=2, fp=1, duplicate=1)),
    (
        [(CAT, 0.9, 0), (DOG, 0.8, 1), (ELSEWHERE, 0.95, 2)],
        dict(tp=2, fp=1, background=1),
    ),
    ([(CAT, 0.9, 1), (DOG, 0.8, 1)], dict(tp=1, fp=1, fn=1, classification=1)),
    ([(CAT, 0.2, 0)], dict(fn=2, missed=2)),
    ([(CAT, 0.9, 0), (SHIFTED, 0.6, 1)], dict(tp=1, fp=1, fn=1, localisation=1)),
]


def rows_of_cases(count: int = len(CASES), **values: Any) -> list[dict]:
    """Rows with a cat and a dog each; a value may be a function of the number."""
    boxes = [[x, y, z - x, b - y] for x, y, z, b in (CAT, DOG)]
    return [
        {
            **row(number, boxes, [0, 1]),
            **{key: value(number) for key, value in values.items()},
        }
        for number in range(count)
    ]


def predict(
    path: str,
    found: Mapping[int, Found],
    masks: bool = False,
    dataset: Mapping[str, Any] | None = None,
    **keys: Any,
) -> str:
    """Writes what is found in each sample, and returns the address of the branch.

    Args:
        path: The lake.
        found: Boxes, scores and labels by the number of the sample.
        masks: Whether masks that fill the boxes are predicted too.
        dataset: Keys of the dataset.
        keys: Keys of ``DeepLakePredictions``.
    """
    keys = {'name': 'net', 'branch': 'runs/a', **keys}
    built = DeepLakeDataset(path, test_mode=True, **(dataset or {}))
    metric = DeepLakePredictions(**keys)
    metric.dataset_meta = built.metainfo
    for index, boxes in found.items():
        metric.process({}, [sample(built, index, boxes, masks)])
    metric.evaluate(len(found))
    return f'{path}@{keys["branch"]}'


def predict_cases(path: str, count: int = len(CASES), **keys: Any) -> str:
    """Writes the cases in turn to the first rows of a lake."""
    found = {number: CASES[number % len(CASES)][0] for number in range(count)}
    return predict(path, found, **keys)


def polygons_of_cases() -> str:
    """The cat's and the dog's masks, which fill their boxes, as lakes store them."""
    return json.dumps([[[x, y, z, y, z, b, x, b]] for x, y, z, b in (CAT, DOG)])


def sample(dataset: Any, index: int, found: Found, masks: bool = False) -> dict:
    """A prediction in the form that metrics take; masks fill the boxes."""
    instances = dict(
        bboxes=torch.tensor([box for box, _, _ in found]).reshape(-1, 4),
        scores=torch.tensor([score for _, score, _ in found]),
        labels=torch.tensor([label for _, _, label in found], dtype=torch.int64),
    )
    if masks:
        layers = np.zeros((len(found), HEIGHT, WIDTH), bool)
        for layer, (box, _, _) in zip(layers, found):
            x, y, z, b = map(int, box)
            layer[y:b, x:z] = True
        instances['masks'] = torch.tensor(layers)
    info = dataset.get_data_info(index)
    return dict(img_path=info['img_path'], pred_instances=instances)
