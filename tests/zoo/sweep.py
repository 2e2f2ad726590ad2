"""Sweeps the configs that ship with MMDetection and writes docs/model_zoo.md: ``make zoo``.

For what is compared see ``zoo``. It takes the images of ``../shared/data/coco_cc``.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

# Each process has one core; threads of their own would only get in the way.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import mmdet
import torch
from helpers import ROOT, SHARED_DATA
from mmdet.utils import register_all_modules
from mmengine.logging import MMLogger

from mmdet_deeplake_plugin.tools._cli import with_progress
from zoo.catalog import Job, do, stock_names, survey
from zoo.compare import Outcome
from zoo.data import ZooData
from zoo.report import markdown

COCO_CC = SHARED_DATA / 'coco_cc'
# What some of MMDetection's own classes need.
OPTIONAL = (
    *('lvis', 'panopticapi', 'cityscapesscripts', 'trackeval', 'sklearn', 'instaboostfast'),
    *('albumentations', 'transformers'),
)


def main() -> int:
    """Command line; returns 1 if a config fails that works with files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        'words',
        nargs='*',
        metavar='WORD',
        help='only configs with one of these words in their path',
    )
    parser.add_argument('--processes', type=int, default=2, help='defaults to 2')
    parser.add_argument(
        '--out',
        type=Path,
        default=ROOT / 'docs' / 'model_zoo.md',
        help='defaults to docs/model_zoo.md',
    )
    args = parser.parse_args()
    _be_quiet()
    words = args.words or ['']
    names = [name for name in stock_names() if any(word in name for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        data = ZooData(Path(folder), COCO_CC)
        shown = with_progress(names, len(names), 'rewriting', True)
        entries, jobs = survey(shown, data)
        found = with_progress(
            _results(jobs.values(), args.processes), len(jobs), 'comparing', True
        )
        outcomes = dict(zip(jobs, list(found)))
    text = markdown(entries, jobs, outcomes, mmdet.__version__, _packages())
    args.out.write_text(text)
    ours = [o for o in outcomes.values() if o.verdict == 'ours']
    print(f'{args.out.name}: {len(names)} configs, {len(jobs)} comparisons')
    for outcome in ours:
        print(f'ours: {outcome.reason}')
    return 1 if ours else 0


def _results(jobs: Iterable[Job], processes: int) -> Iterator[Outcome]:
    # The main process has lakes open: workers must not be forked from it.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(processes, context, _prepare) as pool:
        yield from pool.map(do, jobs)


def _prepare() -> None:
    _be_quiet()
    torch.set_num_threads(1)
    register_all_modules()


def _be_quiet() -> None:
    MMLogger.get_instance('zoo').setLevel(logging.ERROR)


def _packages() -> str:
    there = [name for name in OPTIONAL if importlib.util.find_spec(name)]
    absent = [name for name in OPTIONAL if name not in there]
    parts = [
        f'{word} {", ".join(names)}'
        for word, names in (('with', there), ('without', absent))
        if names
    ]
    return '; '.join(parts)


if __name__ == '__main__':
    raise SystemExit(main())
