"""How long does an evaluation take, and what memory?

5,000 images, COCO's validation set, with 100 detections each: true boxes that were moved,
and false alarms. ``CocoMetric`` reads its annotation file and ``DeepLakeMetric`` the lake
of the same annotations; both are given the same predictions, as codes of masks where
masks are compared. Measured is all of it: reading the ground truth, ``process`` for each
image and ``evaluate``; not the making of the predictions.

Then the same on two ranks, and the memory of data sets as large as Objects365, with
predictions that are made image by image and a limit on what the process may allocate.
"""

from __future__ import annotations

import json
import pickle
import resource
import tempfile
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
from _data import CLASSES, Drawn, annotations, draw, masks, polygon
from _sizes import sizes
from mmdet.evaluation import CocoMetric
from mmdet.utils import register_all_modules
from pycocotools import mask as coco_mask
from torch import multiprocessing

from mmdet_deeplake_plugin import DeepLakeMetric

DETECTIONS = 100  # of an image
BACKENDS = ('pycocotools', 'faster_coco_eval')
METRICS = ('bbox', 'segm')
COCO = 'CocoMetric'
CONTENDERS = (COCO, *(f'DeepLakeMetric, {backend}' for backend in BACKENDS))
LARGE = (('bbox', 80_000), ('proposal', 80_000), ('segm', 20_000))
MEMORY_MIB = 2048  # that a large evaluation may take above the imports


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


def measure_ranks(ranks: int, metric: str, count: int) -> dict[str, Any]:
    """Seconds of an evaluation by the faster backend on some ranks, and the numbers.

    Args:
        ranks: Number of ranks.
        metric: ``'bbox'`` or ``'segm'``.
        count: Number of images.
    """
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_rank, (ranks, metric, count, folder), nprocs=ranks)
        found: dict[str, Any] = json.loads(Path(folder, 'found.json').read_text())
    return found


def _rank(rank: int, ranks: int, metric: str, count: int, folder: str) -> None:
    register_all_modules()
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=ranks
    )
    dataset = plugin(masks(count).lake, PIPELINES[PLAIN], test_mode=True)
    samples = predictions_of(dataset, metric, count)
    keys = dict(metric=metric, backend='faster_coco_eval', collect_dir=f'{folder}/shared')
    for _ in range(2):  # the first time, the lake reads what it keeps
        evaluator = DeepLakeMetric(**keys)
        evaluator.dataset_meta = dataset.metainfo
        torch.distributed.barrier()
        began = time.perf_counter()
        for sample in samples[rank::ranks]:
            evaluator.process({}, [sample])
        numbers = evaluator.evaluate(count)
        seconds = time.perf_counter() - began
    if rank == 0:
        found = {'seconds': seconds, 'numbers': numbers}
        Path(folder, 'found.json').write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def measure_memory(metric: str, count: int, backend: str) -> dict[str, Any]:
    """Peak in MiB above the imports, the lake included, and seconds without the model.

    Args:
        metric: ``'bbox'``, ``'segm'`` or ``'proposal'``.
        count: Number of images.
        backend: Backend of ``DeepLakeMetric``.
    """
    register_all_modules()
    before = memory_of()['rss']
    _limit_memory(MEMORY_MIB)
    data = masks(count) if metric == 'segm' else annotations(count)
    dataset = plugin(data.lake, PIPELINES[PLAIN], test_mode=True)
    evaluator = DeepLakeMetric(metric=metric, backend=backend)
    evaluator.dataset_meta = dataset.metainfo
    truth, seconds = draw(count), 0.0
    for number in range(count):
        info = dataset.get_data_info(number)
        sample = {
            'img_path': info['img_path'],
            'pred_instances': _prediction(truth, number, metric == 'segm'),
        }
        began = time.perf_counter()
        evaluator.process({}, [sample])
        seconds += time.perf_counter() - began
    began = time.perf_counter()
    numbers = evaluator.evaluate(count)
    seconds += time.perf_counter() - began
    first = next(iter(numbers.values()))
    peak = memory_of()['peak'] - before
    return {'seconds': seconds, 'memory': peak, 'number': first}


def _limit_memory(mib: int) -> None:
    """Let this process allocate only so much more; it fails with a MemoryError beyond."""
    status = Path('/proc/self/status').read_text()
    (used,) = (int(v.split()[1]) for v in status.splitlines() if v.startswith('VmData'))
    most = used * 1024 + (mib << 20)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def main() -> None:
    """Measures, and reports."""
    serve(
        {
            'measure': measure,
            'measure_ranks': measure_ranks,
            'measure_memory': measure_memory,
        }
    )
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
    _add_ranks(report, count, repetitions)
    _add_memory(report, args.quick)
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
    if best and metric == 'bbox':
        report.goal(
            'bbox: ≤ 1/14 of the time with the faster backend on one rank',
            f'{shown(best[0])} ({best[1]})',
            best[0] <= 1 / 14 and best[2],
        )


def _add_ranks(report: Report, count: int, repetitions: int) -> None:
    rows: list[list[Any]] = []
    for metric in METRICS:
        cases = {
            str(ranks): partial(
                run_child,
                __file__,
                'measure_ranks',
                ranks=ranks,
                metric=metric,
                count=count,
            )
            for ranks in (1, 2)
        }
        found = interleaved(cases, repetitions, f'ranks, {metric}')
        report.raw[f'ranks_{metric}'] = found
        seconds = {
            name: [run['seconds'] for run in runs] for name, runs in found.items()
        }
        share = ratio(seconds['2'], seconds['1'])
        same = _same(found['2'][0]['numbers'], found['1'][0]['numbers'])
        digits = 'the same' if same else '**others**'
        one, two = median(seconds['1']), median(seconds['2'])
        rows.append([metric, one, two, share, digits])
        if metric == 'bbox':
            report.goal(
                'bbox: two ranks ≤ 0.6 of the time of one',
                shown(share),
                share <= 0.6 and same,
            )
    head = ['', 'one rank, s', 'two ranks, s', 'of one', 'all numbers']
    report.table('Ranks, faster_coco_eval, the ground truth read before', head, rows)


def _add_memory(report: Report, quick: bool) -> None:
    rows, most = list[list[Any]](), 0.0
    failed = False
    for metric, count in LARGE if not quick else ((name, 60) for name, _ in LARGE):
        try:
            found = run_child(
                __file__,
                'measure_memory',
                timeout=3000,
                metric=metric,
                count=count,
                backend='faster_coco_eval',
            )
        except NotRunError as error:
            rows.append([metric, count, None, None, None, f'not run: {error}'])
            failed = True
            continue
        report.raw[f'memory_{metric}'] = found
        cells = [found[key] for key in ('memory', 'seconds', 'number')]
        rows.append([metric, count, *cells, ''])
        most = max(most, found['memory'])
    head = ['', 'images', 'MiB above the imports, at most', 's', 'first number', '']
    report.table('Large data sets, faster_coco_eval, one rank', head, rows)
    report.goal(
        f'80,000 images with boxes, 20,000 with masks: ≤ {MEMORY_MIB} MiB',
        'not run' if failed else f'{shown(most)} MiB',
        None if quick else most <= MEMORY_MIB and not failed,
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
        predictions.append(_prediction(truth, number, metric == 'segm'))
    draft = path.with_suffix('.new')
    draft.write_bytes(pickle.dumps(predictions))
    draft.replace(path)


def _prediction(truth: Drawn, number: int, with_masks: bool) -> dict[str, Any]:
    """What a model might find in an image."""
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
    if with_masks:
        polygons = [polygon(box) for box in boxes]
        found['masks'] = coco_mask.frPyObjects(polygons, height, width)
    return found


if __name__ == '__main__':
    main()
