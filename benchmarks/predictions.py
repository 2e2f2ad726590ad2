"""What does it cost to write predictions into the lake?

5,000 images, COCO's validation set, with 100 detections each, the predictions of
``evaluation.py``. Measured is what ``DeepLakePredictions`` adds to an evaluation: the
reading of the annotations, ``process`` of each image, and ``evaluate`` with the verdicts,
the columns and the commit. It is compared with ``DeepLakeMetric`` on the same
predictions, with the default backend, and with that and the loading of the images before
it: photographs that two workers resize to 1333 x 800. There is no model, whose time would
make the share smaller.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from _children import memory_of, run_child, serve
from _common import OUT, Report, interleaved, make_parser, median, ratio, shown
from _contenders import PIPELINES, PLAIN, plugin
from _data import masks, photographs
from _sizes import sizes
from evaluation import DETECTIONS, predictions_of, write_predictions_of
from mmdet.utils import register_all_modules
from mmengine.runner import Runner

from mmdet_deeplake_plugin import DeepLakeMetric, DeepLakePredictions

WORKERS = 2
METRIC, WRITING = 'DeepLakeMetric', 'DeepLakePredictions'
LOADING = 'loading of the images'


def evaluate(contender: str, count: int) -> dict[str, float]:
    """Seconds, and memory in MiB above that before.

    Args:
        contender: ``DeepLakeMetric`` or ``DeepLakePredictions``.
        count: Number of images.
    """
    register_all_modules()
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        path = str(Path(folder, 'lake'))
        shutil.copytree(masks(count).lake, path)
        dataset = plugin(path, PIPELINES[PLAIN], test_mode=True)
        samples = predictions_of(dataset, 'bbox', count)
        metric: Any = DeepLakeMetric()
        if contender == WRITING:
            metric = DeepLakePredictions(name='net', branch='runs/benchmark')
        metric.dataset_meta = dataset.metainfo
        before = memory_of()['rss']
        began = time.perf_counter()
        for sample in samples:
            metric.process({}, [sample])
        metric.evaluate(len(samples))
        return {
            'seconds': time.perf_counter() - began,
            'memory': memory_of()['peak'] - before,
        }


def load(count: int) -> dict[str, float]:
    """Seconds to load and transform as many images as are evaluated.

    Args:
        count: Number of images.
    """
    register_all_modules()
    data = photographs(min(count, sizes(False).photographs))
    loader = Runner.build_dataloader(
        dict(
            batch_size=8,
            num_workers=WORKERS,
            dataset=plugin(data.lake, PIPELINES[PLAIN], test_mode=True),
            sampler=dict(type='DeepLakeLoader', shuffle=False, round_up=False),
        )
    )
    began = time.perf_counter()
    found = sum(len(batch['inputs']) for batch in loader)
    return {'seconds': (time.perf_counter() - began) * count / found}


def main() -> None:
    """Measures, and reports."""
    serve({'evaluate': evaluate, 'load': load})
    args = make_parser(__doc__).parse_args()
    count = sizes(args.quick).evaluated
    masks(count)
    photographs(min(count, sizes(False).photographs))
    write_predictions_of('bbox', count)
    report = Report(
        'predictions', 'What does it cost to write predictions into the lake?', args.quick
    )
    repetitions = args.repetitions or (1 if args.quick else 3)
    report.settings = {
        'images': count,
        'detections per image': DETECTIONS,
        'workers': WORKERS,
        'repetitions': repetitions,
    }
    cases = {
        METRIC: partial(run_child, __file__, 'evaluate', contender=METRIC, count=count),
        WRITING: partial(run_child, __file__, 'evaluate', contender=WRITING, count=count),
        LOADING: partial(run_child, __file__, 'load', count=count),
    }
    found = interleaved(cases, repetitions, 'evaluating')
    report.raw = found
    seconds = {name: [run['seconds'] for run in runs] for name, runs in found.items()}
    whole = [sum(parts) for parts in zip(seconds[METRIC], seconds[LOADING])]
    rows = [
        [name, ratio(seconds[name], whole), median(seconds[name]), _memory(found[name])]
        for name in cases
    ]
    head = ['', 'of loading and metric', 's', 'MiB above the predictions']
    report.table('An evaluation without a model', head, rows)
    share = ratio(seconds[WRITING], whole)
    report.goal(
        '≤ 10 % of the time of an evaluation, even without a model',
        f'{shown(100 * share)} %',
        share <= 0.1,
    )
    report.write()


def _memory(runs: list[dict[str, float]]) -> float | None:
    return median([run['memory'] for run in runs]) if 'memory' in runs[0] else None


if __name__ == '__main__':
    main()
