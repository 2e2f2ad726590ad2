"""Local files and local lakes: how many images a second reach a training?

Each contender gives the same images to the same stock pipeline through PyTorch's
DataLoader, in the same random order, in batches of 8. ``CocoDataset`` on JPEGs is 1.0.
The first batches of a run, in which workers start and caches fill, are not counted.
With ``deeplake_collate`` the same contenders hand their batches over in reused blocks.
With all files in memory beforehand, ``CocoDataset`` shows what is left when reading
takes no time: the most that any way of reading can reach.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from _children import NotRunError, forked
from _common import Bars, Report, interleaved, make_parser, median, ratio
from _contenders import (
    PIPELINES,
    PLAIN,
    RowByRow,
    coco,
    coco_in_memory,
    collate,
    collate_handed_over,
    plugin,
    pytorch,
)
from _data import Data, photographs
from _sizes import sizes
from mmdet.utils import register_all_modules
from mmengine.dataset import worker_init_fn
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import DeepLakeLoader

BATCH_SIZE = 8
WORKERS = (0, 2)
COCO, PLUGIN = 'CocoDataset, JPEG files', 'this plugin'
HANDED_OVER = ', deeplake_collate'
COCO_OURS, PLUGIN_OURS = COCO + HANDED_OVER, PLUGIN + HANDED_OVER
MEMORY = 'CocoDataset, files in memory'
ROWS, PYTORCH = 'row by row, Deep Lake decodes', 'ds.pytorch()'
CLOSE = (COCO, MEMORY, PLUGIN, COCO_OURS, PLUGIN_OURS)
# Ratios of the goals with workers: (pipeline, first, second, least).
GOALS = (
    ('Resize', PLUGIN_OURS, COCO, 1.8),
    ('Mosaic', PLUGIN_OURS, COCO, 1.05),
    ('Resize', PLUGIN_OURS, COCO_OURS, 1.0),
    ('Mosaic', PLUGIN_OURS, COCO_OURS, 1.0),
)
AGAIN = 2  # times more of those that differ by little
MAKE: dict[str, Callable[[Data, list[dict[str, Any]]], Any]] = {
    COCO: coco,
    MEMORY: coco_in_memory,
    PLUGIN: lambda data, transforms: plugin(data.lake, transforms),
    COCO_OURS: coco,
    PLUGIN_OURS: lambda data, transforms: plugin(data.lake, transforms),
    ROWS: lambda data, transforms: RowByRow(data.lake, transforms),
    PYTORCH: lambda data, transforms: pytorch(data.lake, transforms),
}


def measure(
    contender: str, pipeline: str, workers: int, images: int, seconds: float
) -> dict[str, float]:
    """Images a second, until the epoch or the time is over.

    Args:
        contender: Name of the contender.
        pipeline: Name of the pipeline.
        workers: Number of workers.
        images: Number of images of the data.
        seconds: When to stop.

    Returns:
        ``rate``: images a second; ``cpu``: milliseconds of this process's threads for
        each, which says less where workers do the work.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # as MMDetection's configs have it
    random.seed(0)
    np.random.seed(0)
    dataset = MAKE[contender](photographs(images), PIPELINES[pipeline])
    loader = DataLoader(
        dataset,
        batch_size=BATCH_SIZE,
        # The same order for all: of other datasets it looks at the length alone.
        sampler=DeepLakeLoader(dataset, shuffle='full', seed=0),
        num_workers=workers,
        collate_fn=collate_handed_over if contender.endswith(HANDED_OVER) else collate,
        worker_init_fn=partial(
            worker_init_fn, num_workers=max(workers, 1), rank=0, seed=0
        ),
        **({'multiprocessing_context': 'fork'} if workers else {}),
    )
    count, began, cpu = 0, 0.0, 0.0
    warm = 1 + 2 * workers  # batches
    for number, batch in enumerate(loader):
        if number == warm:
            began, cpu, count = time.perf_counter(), time.process_time(), 0
            continue  # it was made before
        count += len(batch['inputs'])
        if began and time.perf_counter() - began > seconds:
            break
    if not count:
        raise NotRunError('the epoch was over before it was warm')
    return {
        'rate': count / (time.perf_counter() - began),
        'cpu': 1000 * (time.process_time() - cpu) / count,
    }


def main() -> None:
    """Measures, and reports."""
    parser = make_parser(__doc__)
    parser.add_argument('--seconds', type=float, help='of each measurement (3)')
    args = parser.parse_args()
    register_all_modules()
    seconds = args.seconds or (2.0 if args.quick else 3.0)
    repetitions = args.repetitions or (1 if args.quick else 2)
    images = sizes(args.quick).photographs
    photographs(images)
    report = Report(
        'local_throughput', 'Is a local lake as fast as local files?', args.quick
    )
    report.settings = {
        'images': images,
        'batch size': BATCH_SIZE,
        'seconds each': seconds,
        'repetitions': f'{repetitions}, of CocoDataset and this plugin '
        f'{repetitions * (1 + AGAIN)}',
    }
    for pipeline in PIPELINES:
        for workers in WORKERS:
            keys = dict(
                pipeline=pipeline, workers=workers, images=images, seconds=seconds
            )
            cases = {
                name: partial(forked, measure, timeout=120, contender=name, **keys)
                for name in MAKE
                if workers or not name.endswith(HANDED_OVER)
            }
            where = f'{pipeline}, {workers} workers'
            found = interleaved(cases, repetitions, where)
            close = {name: cases[name] for name in CLOSE if name in cases}
            for name, runs in interleaved(close, repetitions * AGAIN, where).items():
                found[name] += runs
            _add(report, pipeline, workers, found)
    report.write()


def _add(
    report: Report,
    pipeline: str,
    workers: int,
    found: dict[str, list[dict[str, float]]],
) -> None:
    report.raw[f'{pipeline}, {workers} workers'] = found
    rates = {name: [each['rate'] for each in runs] for name, runs in found.items()}
    base = rates[COCO]
    head = ['', 'of CocoDataset', 'images/s', 'slowest', 'fastest']
    rows: list[list[Any]] = [
        [name, ratio(values, base), median(values), min(values), max(values)]
        for name, values in rates.items()
    ]
    if not workers:
        head.append('CPU ms per image')
        for row in rows:
            row.append(median([each['cpu'] for each in found[row[0]]]))
    report.table(f'{pipeline}, {workers} workers', head, rows)
    where = f'({pipeline}, {workers} workers)'
    of_files = ratio(rates[PLUGIN], base)
    # Of all rounds: there are too few of row by row for a median of their ratios.
    of_rows, most = (median(rates[n]) / median(rates[ROWS]) for n in (PLUGIN, MEMORY))
    rounds = [own / other for own, other in zip(rates[PLUGIN], base)]
    report.goal(
        f'≥ 1.0 of CocoDataset {where}',
        f'{of_files:.2f} (rounds: {min(rounds):.2f} to {max(rounds):.2f})',
        of_files >= 0.995,
    )
    report.goal(
        f'≥ 1.8 of row by row {where}',
        f'{of_rows:.2f} (files in memory: {most:.2f})',
        of_rows >= 1.795,
    )
    for kind, first, second, least in GOALS:
        if workers and pipeline.startswith(kind):
            each = [one / other for one, other in zip(rates[first], rates[second])]
            report.goal(
                f'{first} ≥ {least} of {second} {where}',
                f'{median(each):.2f} (rounds: {min(each):.2f} to {max(each):.2f})',
                median(each) >= least - 0.005,
            )
    if not report.bars:
        title, unit = 'Local throughput', 'of CocoDataset on JPEG files'
        report.bars.append(Bars(title, unit, [], {}))
    chart = report.bars[0]
    chart.groups.append(f'{"Resize" if pipeline == PLAIN else "Mosaic"}, {workers} w.')
    for name in MAKE:
        share = ratio(rates[name], base) if name in rates else None
        chart.series.setdefault(name, []).append(share)


if __name__ == '__main__':
    main()
