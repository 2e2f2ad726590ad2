"""How long does an evaluation take, and what memory?

5,000 images, COCO's validation set, with 100 detections each: true boxes that were moved,
and false alarms. ``CocoMetric`` reads its annotation file and ``DeepLakeMetric`` the lake
of the same annotations; both are given the same predictions, as codes of masks where
masks are compared. Measured is all of it: reading the ground truth, ``process`` for each
image and ``evaluate``; not the making of the predictions.
"""

from __future__ import annotations

import pickle
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _children import NotRunError, memory_of, run_child, serve
from _common import (
    Bars,
    Report,
    interleaved,
    make_parser,
    median,
    progress,
    ratio,
    shown,
)
from _contenders import PIPELINES, PLAIN, coco, plugin
from _data import CLASSES, draw, masks, polygon
from _sizes import sizes
from mmdet.evaluation import CocoMetric
from mmdet.utils import register_all_modules
from pycocotools import mask as coco_mask

from mmdet_deeplake_plugin import DeepLakeMetric

DETECTIONS = 100  # of an image
BACKENDS = ('pycocotools', 'faster_coco_eval')
METRICS = ('bbox', 'segm')
COCO = 'CocoMetric'
CONTENDERS = (COCO, *(f'DeepLakeMetric, {backend}' for backend in BACKENDS))


def measure(contender: str, metric: str, count: int) -> dict[str, Any]:
    """Seconds, memory in MiB above that before, and the numbers.

    Args:
        contender: Name of the contender.
        metric: ``'bbox'`` or ``'segm'``.
        count: Number of images.
    """
    register_all_modules()
    data = masks(count)
    if contender == COCO:
        dataset: Any = coco(data, PIPELINES[PLAIN], test_mode=True)
    else:
        dataset = plugin(data.lake, PIPELINES[PLAIN], test_mode=True)
    samples = predictions_of(dataset, metric, count)
    before = memory_of()['rss']
    began = time.perf_counter()
    if contender == COCO:
        evaluator: Any = CocoMetric(ann_file=data.ann_file, metric=metric)
    else:
        try:
            backend = contender.partition(', ')[2]
            evaluator = DeepLakeMetric(metric=metric, backend=backend)
            evaluator.dataset_meta = dataset.metainfo
            evaluator.process({}, samples[:1])
            evaluator.evaluate(1)
        except (KeyError, ValueError, ImportError) as error:
            raise NotRunError(str(error.args[0])[:120]) from error
        began = time.perf_counter()
        evaluator = DeepLakeMetric(metric=metric, backend=backend)
    evaluator.dataset_meta = dataset.metainfo
    for sample in samples:
        evaluator.process({}, [sample])
    numbers = evaluator.evaluate(len(samples))
    return {
        'seconds': time.perf_counter() - began,
        'memory': memory_of()['peak'] - before,
        'numbers': {key.rpartition('/')[2]: value for key, value in numbers.items()},
    }


def main() -> None:
    """Measures, and reports."""
    serve({'measure': measure})
    args = make_parser(__doc__).parse_args()
    repetitions = args.repetitions or 1
    count = sizes(args.quick).evaluated
    masks(count)
    for metric in METRICS:
        write_predictions_of(metric, count)
    report = Report('evaluation', 'How long does an evaluation take?', args.quick)
    report.settings = {
        'images': count,
        'detections per image': DETECTIONS,
        'repetitions': repetitions,
    }
    chart = Bars('Evaluation', 's', [], {})
    report.bars.append(chart)
    for metric in METRICS:
        cases = {name: partial(_run, name, metric, count) for name in CONTENDERS}
        found = interleaved(cases, repetitions, metric)
        report.raw[metric] = found
        _add(report, chart, metric, found)
    report.write()


def _run(contender: str, metric: str, count: int) -> dict[str, Any]:
    keys = dict(contender=contender, metric=metric, count=count)
    try:
        return run_child(__file__, 'measure', **keys)
    except NotRunError as error:
        return {'not_run': str(error)}


def _add(report: Report, chart: Bars, metric: str, found: dict[str, list[Any]]) -> None:
    base = found[COCO]
    rows, best = [], None
    chart.groups.append(metric)
    for name, runs in found.items():
        failed = [run['not_run'] for run in runs if 'not_run' in run]
        chart.series.setdefault(name, []).append(None)
        if failed:
            rows.append([name, f'not run: {failed[0]}', None, None, None, None])
            continue
        seconds = [run['seconds'] for run in runs]
        times = ratio(seconds, [run['seconds'] for run in base])
        memory = [run['memory'] for run in runs]
        same = all(_same(run['numbers'], base[0]['numbers']) for run in runs)
        digits = 'the same' if same else '**others**'
        mean = runs[0]['numbers'][f'{metric}_mAP']
        rows.append([name, times, median(seconds), median(memory), mean, digits])
        chart.series[name][-1] = median(seconds)
        if name != COCO and (best is None or times < best[0]):
            best = times, name, same
    head = ['', 'of CocoMetric', 's', 'MiB above the predictions', 'mAP', 'all numbers']
    report.table(metric, head, rows)
    if best:
        report.goal(
            f'{metric}: ≤ 1/3 of the time with the faster backend, same digits',
            f'{shown(best[0])} ({best[1]})',
            best[0] <= 1 / 3 and best[2] and 'faster' in best[1],
        )


def _same(numbers: dict[str, float], others: dict[str, float]) -> bool:
    return numbers.keys() == others.keys() and all(
        numbers[key] == others[key] for key in numbers
    )


def predictions_of(dataset: Any, metric: str, count: int) -> list[dict[str, Any]]:
    """The same predictions for whatever dataset gives the images.

    Args:
        dataset: The images.
        metric: ``'bbox'`` or ``'segm'``.
        count: Number of images.
    """
    found = pickle.loads(_file_of_predictions(metric, count).read_bytes())
    samples = []
    for number, instances in enumerate(found):
        info = dataset.get_data_info(number)
        samples.append(
            {
                'img_id': info['img_id'],
                'img_path': info['img_path'],
                'ori_shape': (info['height'], info['width']),
                'pred_instances': instances,
            }
        )
    return samples


def _file_of_predictions(metric: str, count: int) -> Path:
    return masks(count).folder / f'predictions_{metric}_{DETECTIONS}.pkl'


def write_predictions_of(metric: str, count: int) -> None:
    """True boxes that were moved, and false alarms; written once.

    Args:
        metric: ``'bbox'`` or ``'segm'``.
        count: Number of images.
    """
    path = _file_of_predictions(metric, count)
    if path.exists():
        return
    truth = draw(count)
    predictions = []
    for number in progress(range(count), f'making predictions of {metric}'):
        dice = np.random.default_rng((2, number))
        height, width = int(truth.heights[number]), int(truth.widths[number])
        part = slice(truth.offsets[number], truth.offsets[number + 1])
        boxes = np.tile(truth.boxes[part], (2, 1))[: DETECTIONS // 2]
        labels = np.tile(truth.labels[part], 2)[: len(boxes)]
        boxes = boxes + dice.normal(0, 0.08, boxes.shape) * np.tile(boxes[:, 2:], 2)
        missing = DETECTIONS - len(boxes)
        extent = dice.uniform(0.02, 0.5, (missing, 2)) * (width, height)
        corner = dice.random((missing, 2)) * ((width, height) - extent)
        boxes = np.concatenate([boxes, np.concatenate([corner, extent], 1)])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], 2)
        labels = np.concatenate([labels, dice.integers(0, CLASSES, missing)])
        scores = dice.beta(2, 2, DETECTIONS) * np.where(
            np.arange(DETECTIONS) < DETECTIONS - missing, 1.0, 0.6
        )
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        found = {
            'bboxes': torch.tensor(corners, dtype=torch.float32),
            'scores': torch.tensor(scores, dtype=torch.float32),
            'labels': torch.tensor(labels),
        }
        if metric == 'segm':
            polygons = [polygon(box) for box in boxes]
            found['masks'] = coco_mask.frPyObjects(polygons, height, width)
        predictions.append(found)
    draft = path.with_suffix('.new')
    draft.write_bytes(pickle.dumps(predictions))
    draft.replace(path)


if __name__ == '__main__':
    main()
