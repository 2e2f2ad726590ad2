"""How soon does a training get its first batch, and what memory does it take?

A data set of COCO's size is opened by ``CocoDataset`` from its JSON and by this plugin
from a lake, each in a process of its own. Time runs from after the imports to the first
batch of a dataloader. Memory is read from ``/proc/PID/smaps_rollup`` after a few batches:
``private`` is what a process shares with no other.

With several ranks, memory is the sum over all of them of what came after the imports,
pages that several map divided among them; every page of the annotations has been read.

The images are one small JPEG: nothing here depends on their pixels. The JSON holds boxes
only; COCO's own holds polygons as well, and takes longer.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
from _children import NotRunError, joined, memory_of, run_child, run_ranks, serve, touch
from _common import (
    Bars,
    Report,
    beside_each_other,
    interleaved,
    make_parser,
    median,
    ratio,
    shown,
)
from _contenders import PIPELINES, PLAIN, coco, plugin
from _data import annotations
from _sizes import sizes
from mmdet.utils import register_all_modules
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.dist import barrier
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import DeepLakeLoader

BATCH_SIZE = 2
BATCHES = 3  # of each worker
BASE = 100  # images of the data set that stands for none
COCO, PLUGIN, NONE = 'CocoDataset, JSON', 'this plugin', f'CocoDataset, {BASE} images'
MOST_GIB = 20.0
TIME = '{} images: ≤ 1/10 of the time to the first batch'
MEMORY = '{} images: ≤ 1/5 of the memory, without what the imports take'


def measure(contender: str, count: int, workers: int, method: str) -> dict[str, float]:
    """Seconds to the first batch, and memory in MiB.

    Args:
        contender: Name of the contender.
        count: Number of images.
        workers: Number of workers.
        method: How they start: ``'fork'`` or ``'spawn'``.

    Returns:
        ``built`` and ``first``: seconds to the dataset and to the first batch;
        ``imports``, ``peak``, ``main``: memory of the main process before, at most, and
        private at the end; ``private``, ``pss``: of a worker in the mean.
    """
    register_all_modules()
    data = annotations(count)
    imports = memory_of()['rss']
    began = time.perf_counter()
    if contender == PLUGIN:
        dataset: Any = plugin(data.lake, PIPELINES[PLAIN])
        sampler: Any = DeepLakeLoader(dataset, seed=0)
    else:
        dataset = coco(data, PIPELINES[PLAIN])
        sampler = DefaultSampler(dataset, seed=0)
    built = time.perf_counter() - began
    loader = DataLoader(
        dataset,
        batch_size=BATCH_SIZE,
        sampler=sampler,
        num_workers=workers,
        collate_fn=pseudo_collate,
        multiprocessing_context=method,
    )
    batches = iter(loader)
    next(batches)
    first = time.perf_counter() - began
    for _ in range(BATCHES * workers):
        next(batches)
    main = memory_of()
    each = [memory_of(worker.pid) for worker in batches._workers]  # type: ignore[attr-defined]
    return {
        'built': built,
        'first': first,
        'imports': imports,
        'peak': main['peak'],
        'main': main['private'],
        'private': float(np.mean([memory['private'] for memory in each])),
        'pss': float(np.mean([memory['pss'] for memory in each])),
    }


def measure_rank(count: int, rank: int, ranks: int, store: str) -> dict[str, float]:
    """Seconds to the dataset of a rank, and the memory that came with it in MiB.

    Args:
        count: Number of images.
        rank: This rank.
        ranks: Number of ranks.
        store: Where they find each other.

    Returns:
        ``built``: seconds; ``held``: memory; ``peak``: at most, above the imports.
    """
    register_all_modules()
    joined(rank, ranks, store)
    lake = annotations(count).lake
    barrier()
    before = memory_of()
    began = time.perf_counter()
    dataset = plugin(lake, PIPELINES[PLAIN])
    sampler = DeepLakeLoader(dataset, seed=0)
    built = time.perf_counter() - began
    touch(dataset._samples)
    order = iter(sampler)
    next(order)
    barrier()
    after = memory_of()
    barrier()  # all have measured
    return {
        'built': built,
        'held': after['pss'] - before['pss'],
        'peak': after['peak'] - before['rss'],
    }


def main() -> None:
    """Measures, and reports."""
    serve({'measure': measure, 'measure_rank': measure_rank})
    parser = make_parser(__doc__)
    parser.add_argument(
        '--rows', type=int, nargs='+', help='numbers of images (118000 1200000)'
    )
    args = parser.parse_args()
    repetitions = args.repetitions or (1 if args.quick else 2)
    report = Report(
        'startup_memory', 'How soon does it start, and what does it hold?', args.quick
    )
    report.settings = {
        'batch size': BATCH_SIZE,
        'repetitions': f'{repetitions} of time and peak, 1 of other settings',
    }
    annotations(BASE)
    for count in args.rows or sizes(args.quick).rows:
        annotations(count)
        if count < 1_000_000:
            _usual(report, count, repetitions)
        else:
            _large(report, count)
        _ranks(report, count)
    report.write()


def _run(contender: str, count: int, workers: int, method: str) -> dict[str, float]:
    if contender == NONE:
        contender, count = COCO, BASE
    return run_child(
        __file__,
        'measure',
        memory_gib=MOST_GIB,
        contender=contender,
        count=count,
        workers=workers,
        method=method,
    )


def _usual(report: Report, count: int, repetitions: int) -> None:
    """COCO's size: all ways of starting workers."""
    names = (NONE, COCO, PLUGIN)
    cases = {name: partial(_run, name, count, 2, 'fork') for name in names}
    found: dict[tuple[str, int], dict[str, list[dict[str, float]]]] = {
        ('fork', 2): interleaved(cases, repetitions, f'{count:,} images')
    }
    others = {
        f'{name}, {workers} workers by {method}': (name, method, workers)
        for method, workers in (('fork', 8), ('spawn', 2), ('spawn', 8))
        # What a worker holds without data depends on how it starts alone.
        for name in (names if workers == 2 else names[1:])
        if workers == 2 or not report.quick
    }
    memory = beside_each_other(
        {
            text: partial(_run, name, count, workers, method)
            for text, (name, method, workers) in others.items()
        },
        f'{count:,} images',
    )
    for text, (name, method, workers) in others.items():
        found.setdefault((method, workers), {})[name] = [memory[text]]
    report.raw[f'{count}'] = {f'{m} {w}': runs for (m, w), runs in found.items()}
    runs = found['fork', 2]
    of = {
        name: {key: [run[key] for run in each] for key in each[0]}
        for name, each in runs.items()
    }
    rows = [
        [
            name,
            ratio(of[name]['first'], of[COCO]['first']),
            median(of[name]['first']),
            median(of[name]['built']),
            _above(of[name]['peak'], of[NONE]['peak'])
            / max(_above(of[COCO]['peak'], of[NONE]['peak']), 1e-9),
            median(of[name]['peak']),
            _above(of[name]['peak'], of[NONE]['peak']),
        ]
        for name in (COCO, PLUGIN, NONE)
    ]
    report.table(
        f'{count:,} images, 2 workers by fork: time and main process',
        [
            '',
            'time, of CocoDataset',
            's to the first batch',
            's to the dataset',
            'data in memory, of CocoDataset',
            'peak MiB',
            'MiB above no data',
        ],
        rows,
        'The last row is what the imports and the dataloader take by themselves.',
    )
    time_ratio, memory_ratio = rows[1][1], rows[1][4]
    report.goal(
        TIME.format(f'{count:,}'),
        f'{time_ratio:.3f}',
        time_ratio <= 0.1,
    )
    report.goal(
        MEMORY.format(f'{count:,}'),
        f'{memory_ratio:.3f} ({rows[1][5] / rows[0][5]:.2f} with it)',
        memory_ratio <= 0.2,
    )
    shared = []
    for (method, workers), each in found.items():
        first = {name: runs[0] for name, runs in {**found[method, 2], **each}.items()}
        base = first[NONE]['private']
        shared.append(
            [
                f'{workers} by {method}',
                *(first[name]['private'] for name in (NONE, COCO, PLUGIN)),
                *(first[name]['private'] - base for name in (COCO, PLUGIN)),
            ]
        )
    report.table(
        f'{count:,} images: private memory of a worker, MiB',
        ['workers', 'no data', COCO, PLUGIN, f'{COCO}: data', f'{PLUGIN}: data'],
        shared,
        'Deep Lake caches up to about 110 MiB of what it read in each process.',
    )
    report.bars.append(
        Bars(
            f'Start with {count:,} images',
            's to the first batch',
            ['2 workers by fork'],
            {name: [median(of[name]['first'])] for name in (COCO, PLUGIN)},
        )
    )


def _large(report: Report, count: int) -> None:
    """Ten times COCO's size, once."""
    rows, firsts = [], {}
    for name in (PLUGIN, COCO):
        try:
            run = interleaved(
                {name: partial(_run, name, count, 2, 'fork')}, 1, f'{count:,} images'
            )[name][0]
        except NotRunError as error:
            rows.append([name, f'not run: {error}', None, None, None, None])
            continue
        firsts[name] = run
        keys = ('first', 'built', 'imports', 'peak', 'private')
        rows.append([name, *(run[key] for key in keys)])
        report.raw.setdefault(f'{count}', {})[name] = run
    report.table(
        f'{count:,} images, 2 workers by fork, once',
        [
            '',
            's to the first batch',
            's to the dataset',
            'MiB of the imports',
            'peak MiB',
            'MiB of a worker',
        ],
        rows,
    )
    time_goal, memory_goal = (goal.format(f'{count:,}') for goal in (TIME, MEMORY))
    if len(firsts) == 2:
        data = {name: run['peak'] - run['imports'] for name, run in firsts.items()}
        quick = firsts[PLUGIN]['first'] / firsts[COCO]['first']
        small = data[PLUGIN] / data[COCO]
        whole = firsts[PLUGIN]['peak'] / firsts[COCO]['peak']
        report.goal(time_goal, shown(quick), quick <= 0.1)
        report.goal(memory_goal, f'{small:.3f} ({whole:.2f} with it)', small <= 0.2)
    else:
        report.goal(time_goal, '', None)
        report.goal(memory_goal, '', None)


def _ranks(report: Report, count: int) -> None:
    """All ranks of a node together."""
    rows: list[list[Any]] = []
    for ranks in (1, 2, 4):
        try:
            runs = run_ranks(
                __file__, 'measure_rank', ranks, memory_gib=MOST_GIB, count=count
            )
        except NotRunError as error:
            rows.append([ranks, f'not run: {error}', None, None, None, None])
            continue
        report.raw.setdefault(f'{count} ranks', {})[str(ranks)] = runs
        held = sum(run['held'] for run in runs)
        base = rows[0][1] if rows and isinstance(rows[0][1], float) else held
        others = [run['peak'] for run in runs[1:]]
        rows.append(
            [
                ranks,
                held,
                held / base,
                max(run['built'] for run in runs),
                runs[0]['peak'],
                max(others) if others else None,
            ]
        )
    report.table(
        f'{count:,} images, ranks of one node',
        [
            'ranks',
            'MiB of all together',
            'of one rank',
            's to the dataset',
            'peak of the rank that reads, MiB',
            'peak of another',
        ],
        rows,
        'Above what the imports take.',
    )
    if count >= 1_000_000 and isinstance(rows[-1][2], float):
        text = f'{count:,} images: 4 ranks hold at most 1.3 × the memory of one'
        report.goal(text, shown(rows[-1][2]), rows[-1][2] <= 1.3)


def _above(values: list[float], base: list[float]) -> float:
    return median(values) - median(base)


if __name__ == '__main__':
    main()
