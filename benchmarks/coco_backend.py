"""How much faster is ``backend='faster_coco_eval'`` than pycocotools?

Drawn data of COCO's kind (80 classes, 7 boxes and 100 detections per image, 300 of them
for a tenth of the images), both backends in one run, and a check that the numbers are
the same:

    python benchmarks/coco_backend.py --images 1000
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from mmdet_deeplake_plugin.evaluation import GroundTruth, Prediction, evaluate_coco

CLASSES = tuple(f'class {number}' for number in range(80))


def drawn(images: int, seed: int = 0) -> tuple[GroundTruth, list[Prediction]]:
    """Ground truth and predictions that hit about half of it."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 14, images)
    total = int(counts.sum())
    corners = rng.uniform(0, 400, (total, 2))
    sizes = np.exp(rng.uniform(np.log(8), np.log(240), (total, 2)))
    truth = GroundTruth(
        img_ids=list(range(images)),
        widths=np.full(images, 640),
        heights=np.full(images, 640),
        file_names=[''] * images,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        boxes_xywh=np.hstack([corners, sizes]),
        boxes_xyxy=np.hstack([corners, corners + sizes]),
        labels=rng.integers(0, 80, total),
        category_names=CLASSES,
        category_ids=tuple(range(1, 81)),
        areas=sizes.prod(axis=1) * 0.7,
        crowd=rng.random(total) < 0.01,
        excluded=np.zeros(total, dtype=bool),
    )
    predictions = []
    for index in range(images):
        rows = truth.instances(index)
        num = 300 if rng.random() < 0.1 else 100
        source = rng.integers(rows.start, rows.stop, num)
        boxes = truth.boxes_xyxy[source] + rng.normal(0, 10, (num, 4))
        labels = np.where(
            rng.random(num) < 0.5, truth.labels[source], rng.integers(0, 80, num)
        )
        scores = np.sort(rng.random(num))[::-1]
        predictions.append(
            Prediction(boxes.astype(np.float32), scores.astype(np.float32), labels)
        )
    return truth, predictions


def main() -> None:
    """Prints the seconds of each backend and metric, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--images', type=int, default=1000)
    args = parser.parse_args()
    truth, predictions = drawn(args.images)
    for metric in ('bbox', 'proposal'):
        seconds, results = {}, {}
        for backend in ('pycocotools', 'faster_coco_eval'):
            start = time.perf_counter()
            results[backend] = _evaluated(truth, predictions, metric, backend)
            seconds[backend] = time.perf_counter() - start
        slow, fast = seconds.values()
        same = len(set(map(str, results.values()))) == 1
        print(
            f'{metric:9} pycocotools {slow:6.1f} s, faster_coco_eval {fast:6.1f} s, '
            f'ratio {slow / fast:4.1f}, {"the same digits" if same else "OTHER DIGITS"}'
        )


def _evaluated(truth: Any, predictions: Any, metric: str, backend: str) -> dict:
    return evaluate_coco(
        truth, predictions, CLASSES, metric, backend=backend, logger='silent'
    )


if __name__ == '__main__':
    main()
