"""From object storage: mosaics, validation, and the first batch of a large lake.

An S3 server on the loopback answers after a latency. Uncached Mosaic and MixUp (YOLOX)
read five other images for each sample; stock draws them from all rows, this plugin from
chunks that a worker holds. A validation in the order of the dataset reads chunks once for
each worker. The first batch of 118,000 rows needs the lake opened, its annotations read,
and a chunk for each lane.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch
from _children import NotRunError, forked
from _common import OUT, Report, interleaved, make_parser, median
from _contenders import PIPELINES, PLAIN, coco, collate_handed_over, plugin
from _data import annotations, photographs
from _peers import coco_on_s3
from mmdet.datasets import MultiImageMixDataset
from mmdet.utils import register_all_modules
from mmengine.dataset import pseudo_collate
from object_storage import BYTES_ONLY, ObjectStore, _peek_only, _upload
from torch.utils.data import DataLoader, RandomSampler

from mmdet_deeplake_plugin import DeepLakeLoader, DeepLakeMultiImageMixDataset

BATCH_SIZE, WORKERS, LANES = 8, 2, 16
IMAGES, ROWS = 6_000, 118_000
SIZE = (640, 640)
MOSAIC: list[dict[str, Any]] = [
    dict(type='Mosaic', img_scale=SIZE, pad_val=114.0),
    dict(
        type='RandomAffine',
        scaling_ratio_range=(0.1, 2),
        border=(-SIZE[0] // 2, -SIZE[1] // 2),
    ),
    dict(type='MixUp', img_scale=SIZE, ratio_range=(0.8, 1.6), pad_val=114.0),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Resize', scale=SIZE, keep_ratio=True),
    dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1), keep_empty=False),
    dict(type='PackDetInputs'),
]
TINY = [{**MOSAIC[0], 'img_scale': (8, 8)}, {**MOSAIC[2], 'img_scale': (8, 8)}]
LOCAL, OURS = 'this plugin, local disk', 'this plugin'
STOCK_MIX = 'this plugin, MultiImageMixDataset'
FILES, BOTO3 = 'CocoDataset, local files', 'CocoDataset, boto3'
CONTENDERS = (LOCAL, OURS, STOCK_MIX, FILES, BOTO3)


def mix(
    contender: str, images: int, creds: dict[str, str], seconds: float, decoded: bool
) -> dict[str, float]:
    """Samples a second of uncached Mosaic and MixUp.

    Args:
        contender: Name of the contender.
        images: Number of images of the data.
        creds: Credentials and address of the server.
        seconds: When to stop.
        decoded: Whether images are decoded and transformed.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    data = photographs(images)
    if contender in (FILES, BOTO3):
        inner: Any = coco_on_s3(data, [], creds) if contender == BOTO3 else coco(data, [])
    else:
        keys = {} if contender == LOCAL else dict(deeplake_credentials=dict(creds=creds))
        inner = plugin(data.lake if contender == LOCAL else 's3://lakes/lake', [], **keys)
    ours = contender in (LOCAL, OURS)
    kind = DeepLakeMultiImageMixDataset if ours else MultiImageMixDataset
    dataset = kind(inner, MOSAIC if decoded else [*TINY, *BYTES_ONLY])
    if contender in (FILES, BOTO3):
        sampler: Any = RandomSampler(dataset)
    else:
        how = {} if contender == LOCAL else dict(shuffle='lanes', lanes=LANES)
        shape = dict(batch_size=BATCH_SIZE, num_workers=WORKERS)
        sampler = DeepLakeLoader(dataset, seed=0, **how, **shape)
    if not decoded:
        _peek_only()
    return _run(dataset, sampler, WORKERS, seconds, stock=not ours)


def validate(order: str, creds: dict[str, str], images: int) -> dict[str, float]:
    """Reads all images once, in sequence, with four workers, without decoding.

    Args:
        order: ``order`` of the sampler.
        creds: Credentials and address of the server.
        images: Number of images of the data.
    """
    torch.set_num_threads(1)
    credentials = dict(deeplake_credentials=dict(creds=creds))
    dataset = plugin('s3://lakes/lake', BYTES_ONLY, test_mode=True, **credentials)
    keys = dict(shuffle=False, round_up=False, batch_size=1, num_workers=4)
    sampler = DeepLakeLoader(dataset, order=order, **keys)
    _peek_only()
    return _run(dataset, sampler, 4, 600.0, batch_size=1)


def begin(creds: dict[str, str], rows: int) -> dict[str, float]:
    """Seconds to the first batch.

    Args:
        creds: Credentials and address of the server.
        rows: Number of rows of the lake.
    """
    torch.set_num_threads(1)
    began = time.perf_counter()
    credentials = dict(deeplake_credentials=dict(creds=creds))
    dataset = plugin('s3://lakes/rows', PIPELINES[PLAIN], **credentials)
    sampler = DeepLakeLoader(dataset, shuffle='lanes', lanes=LANES, seed=0)
    loader = DataLoader(
        dataset,
        batch_size=BATCH_SIZE,
        sampler=sampler,
        num_workers=WORKERS,
        collate_fn=collate_handed_over,
    )
    next(iter(loader))
    return {'seconds': time.perf_counter() - began}


def _run(
    dataset: Any,
    sampler: Any,
    workers: int,
    seconds: float,
    batch_size: int = BATCH_SIZE,
    stock: bool = False,
) -> dict[str, float]:
    loader = DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=pseudo_collate if stock else collate_handed_over,
        multiprocessing_context='fork',
    )
    began, first, count = time.perf_counter(), 0.0, 0
    for batch in loader:
        count += len(batch['inputs'])
        first = first or time.perf_counter() - began
        if time.perf_counter() - began > seconds:
            break
    spent = time.perf_counter() - began
    steady = (count - batch_size) / max(spent - first, 1e-9)
    return {'rate': count / spent, 'first': first, 'steady': steady, 'count': count}


def _asked(store: ObjectStore, measurement: Any, **keys: Any) -> dict[str, Any]:
    """A measurement with the requests and bytes that the server counted."""
    store.reset_log()
    try:
        keys = {'creds': store.creds, **keys}
        found: dict[str, Any] = forked(measurement, timeout=300, **keys)
    except NotRunError as error:
        return {'not_run': str(error)}
    totals = store.totals()
    return {**found, 'requests': totals.requests, 'bytes': totals.bytes}


def main() -> None:
    """Measures, and reports."""
    parser = make_parser(__doc__)
    parser.add_argument('--seconds', type=float, help='of each measurement (8)')
    args = parser.parse_args()
    seconds = args.seconds or (3.0 if args.quick else 8.0)
    images, rows = (96, 2_000) if args.quick else (IMAGES, ROWS)
    repetitions = args.repetitions or 1
    register_all_modules()
    data, large = photographs(images), annotations(rows)
    report = Report('storage_patterns', 'Mosaics, validation, first batch', args.quick)
    report.settings = {
        'images': images,
        'batch size': BATCH_SIZE,
        'workers': WORKERS,
        'seconds each': f'{seconds:.0f}',
        'lanes': LANES,
        'rows of the first batch': rows,
    }
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        with ObjectStore.start(folder) as store:
            _upload(store, data, {name: '' for name in ('mosaicml-streaming', 'litdata')})
            store.upload(Path(large.lake), 'rows')
            size = sum(f.stat().st_size for f in Path(data.images).iterdir()) / images
            _mosaics(report, store, images, size, seconds, repetitions, args.quick)
            _validation(report, store, images, size)
            _first_batch(report, store, rows, args.quick)
    report.write()


def _mosaics(
    report: Report,
    store: ObjectStore,
    images: int,
    size: float,
    seconds: float,
    repetitions: int,
    quick: bool,
) -> None:
    """Rates with decoding at each latency; requests and bytes of an epoch without."""
    table: dict[str, list[Any]] = {name: [name] for name in CONTENDERS}
    heads = ['']
    for latency in [20] if quick else [1, 20, 50]:
        store.set_faults(latency=latency / 1000)
        keys = dict(images=images, seconds=seconds, decoded=True)
        cases = {
            name: partial(_asked, store, mix, contender=name, **keys)
            for name in CONTENDERS
        }
        again = repetitions * (3 if latency == 20 and not quick else 1)
        found = interleaved(cases, again, f'mosaics, {latency} ms')
        report.raw[f'mosaics, {latency} ms'] = found
        rates = {
            name: median([run['rate'] for run in runs])
            for name, runs in found.items()
            if not any('not_run' in run for run in runs)
        }
        heads.append(f'{latency} ms: of local (samples/s)')
        for name, row in table.items():
            if name in rates:
                row.append(f'{rates[name] / rates[LOCAL]:.2f} ({rates[name]:.1f})')
            else:
                row.append(f'not run: {found[name][0]["not_run"]}')
        if latency == 20 and OURS in rates:
            share = rates[OURS] / rates[LOCAL]
            text = '≥ 0.9 of our own local throughput with uncached mosaics at 20 ms'
            report.goal(text, f'{share:.2f}', share >= 0.895)
    report.table('Uncached Mosaic + MixUp, cold', heads, table.values())
    store.set_faults(latency=0.02)
    most = 20.0
    lines = []
    for name in (OURS, STOCK_MIX, BOTO3):
        keys = dict(images=images, seconds=most if name != OURS else 600.0, decoded=False)
        run = _asked(store, mix, contender=name, **keys)
        report.raw[f'mosaics without decoding, {name}'] = run
        if 'not_run' in run:
            lines.append([name, f'not run: {run["not_run"]}', None, None, None])
            continue
        count = run['count']
        asked, ratio = run['requests'] / count, run['bytes'] / count / size
        lines.append([name, run['rate'], asked, ratio, f'{count} of {images}'])
        if name == OURS:
            text = 'mosaics: ≤ 0.05 requests a sample, ≤ 1.2 × the bytes of its image'
            met = asked <= 0.05 and ratio <= 1.2
            report.goal(text, f'{asked:.3f}, {ratio:.2f}', met)
    columns = ['', 'samples/s', 'requests per sample', 'bytes ÷ those of its image']
    title = 'The same without decoding, 20 ms'
    report.table(title, [*columns, 'samples in the time'], lines)


def _validation(report: Report, store: ObjectStore, images: int, size: float) -> None:
    store.set_faults(latency=0.02)
    lines = []
    for order in ('dataset', 'by_worker'):
        run = _asked(store, validate, order=order, images=images)
        report.raw[f'validation, {order}'] = run
        if 'not_run' in run:
            lines.append([order, f'not run: {run["not_run"]}', None, None])
            continue
        ratio = run['bytes'] / images / size
        lines.append([order, run['rate'], run['requests'] / images, ratio])
        if order == 'by_worker':
            text = '≤ 1.1 × the bytes needed for a validation with 4 workers'
            report.goal(text, f'{ratio:.2f}', ratio <= 1.1)
    columns = ['`order`', 'images/s', 'requests per image', 'bytes ÷ needed']
    title = 'Validation, 4 workers, batches of one, without decoding, 20 ms'
    report.table(title, columns, lines)


def _first_batch(report: Report, store: ObjectStore, rows: int, quick: bool) -> None:
    lines = []
    for latency, most in [(1, None), (20, 2.2), (50, 3.0)]:
        store.set_faults(latency=latency / 1000)
        runs = [_asked(store, begin, rows=rows) for _ in range(1 if quick else 3)]
        report.raw[f'first batch, {latency} ms'] = runs
        failed = [run for run in runs if 'not_run' in run]
        if failed:
            lines.append([f'{latency} ms', f'not run: {failed[0]["not_run"]}', None])
            continue
        spent = median([run['seconds'] for run in runs])
        lines.append([f'{latency} ms', spent, median([run['requests'] for run in runs])])
        if most:
            text = f'≤ {most} s to the first batch of {rows:,} rows at {latency} ms'
            report.goal(text, f'{spent:.2f} s', spent <= most)
    title = f'First batch of {rows:,} rows from S3, {WORKERS} workers'
    report.table(title, ['latency', 'seconds', 'requests until then'], lines)


if __name__ == '__main__':
    main()
