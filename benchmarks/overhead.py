"""What share of a worker's time is neither JPEG decoding nor transforms?

One process does what a worker does, batch after batch, with a clock around each stage:
the sample's data, the bytes of its image, decoding, each transform, the collate function,
and, which is PyTorch's, the hand-over to the main process and letting the batch go.
``CocoDataset`` on files is beside it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from multiprocessing.reduction import ForkingPickler
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from _children import forked
from _common import Bars, Report, interleaved, make_parser, median
from _contenders import PIPELINES, coco, collate, plugin
from _data import photographs
from _sizes import sizes
from mmdet.utils import register_all_modules
from mmengine import fileio

from mmdet_deeplake_plugin.lake import ImageReader

BATCH_SIZE = 8
COCO, PLUGIN = 'CocoDataset', 'this plugin'
DECODE, BYTES, INFO, COLLATE = 'decode', 'bytes', 'sample data', 'collate'
HAND_OVER, FREE, TRANSFORMS = 'hand-over', 'release', 'transforms'
BEHIND = (HAND_OVER, FREE)  # the batch is made
STAGES = (DECODE, TRANSFORMS, INFO, BYTES, COLLATE, 'other', *BEHIND)
READ = 'read'  # the part of the bytes that a batch reads before its first transform


class Clock:
    """Sums the seconds of stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def around(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time counted to a stage."""

        def timed(*args: Any, **keys: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **keys)
            finally:
                self.seconds[stage] += time.perf_counter() - began

        return timed


def measure(contender: str, pipeline: str, images: int, count: int) -> dict[str, float]:
    """Seconds of each stage for so many images.

    Args:
        contender: Name of the contender.
        pipeline: Name of the pipeline.
        images: Number of images of the data.
        count: Number of images to prepare.
    """
    data = photographs(images)
    if contender == COCO:
        dataset: Any = coco(data, PIPELINES[pipeline])
    else:
        dataset = plugin(data.lake, PIPELINES[pipeline])
    return forked(prepare, dataset=dataset, count=count)  # as a worker is


def prepare(dataset: Any, count: int) -> dict[str, float]:
    """Seconds of each stage in the process of a worker.

    Args:
        dataset: What the worker inherited.
        count: Number of images to prepare.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # as MMEngine sets it in workers
    clock = Clock()
    read = clock.around(READ, ImageReader.prepare)
    ImageReader.prepare = read  # type: ignore[method-assign]
    mmcv.imfrombytes = clock.around(DECODE, mmcv.imfrombytes)
    dataset.get_data_info = clock.around(INFO, dataset.get_data_info)
    steps = dataset.pipeline.transforms
    loading, *others = steps
    steps[:] = [clock.around(BYTES, loading)]
    steps += [clock.around(TRANSFORMS, step) for step in others]
    order = np.random.default_rng(0).permutation(len(dataset)).tolist()
    fetch = getattr(dataset, '__getitems__', lambda rows: [dataset[row] for row in rows])
    for row in order:  # as in a second epoch: every file was read before
        fileio.get(dataset.get_data_info(row)['img_path'])
    fetch(order[:BATCH_SIZE])
    clock.seconds.clear()
    spent = 0.0
    for start in range(0, count, BATCH_SIZE):
        rows = [order[at % len(order)] for at in range(start, start + BATCH_SIZE)]
        began = time.perf_counter()
        batch = clock.around(COLLATE, collate)(fetch(rows))
        spent += time.perf_counter() - began
        clock.around(HAND_OVER, ForkingPickler.dumps)(batch)
        began = time.perf_counter()
        del batch
        clock.seconds[FREE] += time.perf_counter() - began
    seconds = dict(clock.seconds)
    seconds[BYTES] += seconds.get(READ, 0.0) - seconds[DECODE]
    counted = sum(seconds.get(stage, 0.0) for stage in STAGES if stage not in BEHIND)
    seconds['other'] = spent - counted
    return {**seconds, 'all': spent, 'images': -(-count // BATCH_SIZE) * BATCH_SIZE}


def main() -> None:
    """Measures, and reports."""
    args = make_parser(__doc__).parse_args()
    repetitions = args.repetitions or (1 if args.quick else 3)
    count = 32 if args.quick else 240
    images = sizes(args.quick).photographs
    register_all_modules()
    photographs(images)
    report = Report(
        'overhead',
        "What share of a worker's time is neither decoding nor transforms?",
        args.quick,
    )
    report.settings = {'images': count, 'repetitions': repetitions}
    chart = Bars('Time of a worker', 'ms per image', [], {})
    report.bars.append(chart)
    for pipeline in PIPELINES:
        cases = {
            name: partial(
                forked,
                measure,
                contender=name,
                pipeline=pipeline,
                images=images,
                count=count,
            )
            for name in (PLUGIN, COCO)
        }
        found = interleaved(cases, repetitions, pipeline)
        report.raw[pipeline] = found
        _add(report, chart, pipeline, found)
    report.write()


def _add(
    report: Report, chart: Bars, pipeline: str, found: dict[str, list[dict[str, float]]]
) -> None:
    def share(name: str, stage: str) -> float:
        return median([run.get(stage, 0.0) / run['all'] for run in found[name]])

    def ms(name: str, stage: str) -> float:
        runs = found[name]
        return median([1000 * run.get(stage, 0.0) / run['images'] for run in runs])

    rows = [
        [stage, *(f'{share(name, stage):.1%}' for name in found)]
        + [ms(name, stage) for name in found]
        for stage in STAGES
    ]
    own = {
        name: median([1 - (run[DECODE] + run[TRANSFORMS]) / run['all'] for run in runs])
        for name, runs in found.items()
    }
    rows.append(
        ['**all but decode and transforms**']
        + [f'**{value:.1%}**' for value in own.values()]
        + [ms(name, 'all') - ms(name, DECODE) - ms(name, TRANSFORMS) for name in found]
    )
    head = ['stage', *found, *(f'{name}: ms per image' for name in found)]
    note = (
        f'Of the bytes of this plugin, {ms(PLUGIN, READ):.2f} ms are the reading of its '
        "chunk files, the rest is MMEngine's file client. The hand-over and release "
        "come on top of the 100 %: they are PyTorch's, and the same for any dataset."
    )
    report.table(pipeline, head, rows, note)
    text = f'≤ 5 % outside decode and transforms ({pipeline})'
    report.goal(text, f'{own[PLUGIN]:.1%}', own[PLUGIN] <= 0.05)
    for name in found:
        chart.groups.append(f'{name}, {pipeline.split()[0]}')
        for stage in STAGES:
            chart.series.setdefault(stage, []).append(ms(name, stage))


if __name__ == '__main__':
    main()
