"""From object storage, cold: does the storage keep a training waiting?

An S3 server on the loopback answers after a latency, and sends at a rate to each
connection. Each contender gives the same images to the same pipeline through a dataloader
with two workers, from its first request on, with nothing cached, for some seconds: less
for those that request each image separately and so have no way to begin. The server, its
proxy and the workers share the cores, as they would not elsewhere: a contender whose
reading takes more of the server's time has less for its transforms. So another table has
the bytes delivered without decoding, and the requests and bytes of a whole epoch.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch
from _children import NotRunError, forked
from _common import OUT, ROOT, Bars, Report, interleaved, make_parser, median, shown
from _contenders import (
    PIPELINES,
    PLAIN,
    ToSample,
    collate,
    collate_handed_over,
    plugin,
)
from _data import Data, photographs
from _peers import (
    WRITERS,
    coco_on_s3,
    litdata_loader,
    mds_loader,
    wds_loader,
)
from _sizes import sizes
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmdet.utils import register_all_modules
from torch.utils.data import DataLoader, Dataset, RandomSampler

from mmdet_deeplake_plugin import DeepLakeLoader

sys.path.insert(0, str(ROOT / 'tests'))

from helpers.object_store import ObjectStore

PEER_PYTHON = ROOT / '.venv-bench' / 'bin' / 'python'
BATCH_SIZE, WORKERS = 8, 2
# The data are small: 64 lanes, the default, would have less than a chunk each.
LANES = BATCH_SIZE * WORKERS
SETTINGS = [(latency, rate) for rate in (0, 50) for latency in (1, 20, 50)]
MAIN = (20, 0)  # milliseconds, MB/s
MAIN_AGAIN = 2  # times more there, of those that are fast
LANES_NAME, ROWS_NAME = 'this plugin', 'this plugin, random rows'
LOCAL = 'this plugin, local disk'
PEERS = {
    'mosaicml-streaming': mds_loader,
    'litdata': litdata_loader,
    'webdataset': wds_loader,
}
PYTORCH, COCO = 'ds.pytorch()', 'CocoDataset, boto3'
CONTENDERS = (LANES_NAME, ROWS_NAME, PYTORCH, COCO, *PEERS)
FAST = (LOCAL, LANES_NAME, 'litdata', 'webdataset')
IMAGE_BY_IMAGE = (ROWS_NAME, PYTORCH, COCO)
BYTES_ONLY = [dict(type='DropPixels')]


@TRANSFORMS.register_module()
class DropPixels(BaseTransform):
    """Ends a pipeline with the length of the bytes that it was given."""

    def transform(self, results: dict) -> dict:
        """The key ``inputs``, as the other pipelines give it."""
        return {'inputs': len(results.get('img', b''))}


class OpenedLater(Dataset):
    """``ds.pytorch()``, opened in each worker: its handle must not be forked.

    Args:
        url: The lake.
        creds: Its credentials.
        transforms: Transforms behind the loaders.
        count: Number of images.
    """

    def __init__(
        self, url: str, creds: dict[str, str], transforms: Any, count: int
    ) -> None:
        self._open = (url, creds, transforms)
        self._count = count
        self._dataset: Any = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        """The sample behind the pipeline."""
        if self._dataset is None:
            import deeplake

            url, creds, transforms = self._open
            opened = deeplake.open_read_only(url, creds=creds)
            self._dataset = opened.pytorch(ToSample(transforms))
        return self._dataset[index]


def measure(
    contender: str,
    images: int,
    creds: dict[str, str],
    seconds: float,
    decoded: bool = True,
) -> dict[str, float]:
    """Images a second from the first request on.

    Args:
        contender: Name of the contender.
        images: Number of images of the data.
        creds: Credentials and address of the server.
        seconds: When to stop.
        decoded: Whether images are decoded and transformed.

    Returns:
        ``rate``: images a second; ``first``: seconds to the first batch; ``steady``:
        images a second after that; ``count``: images that came.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # as MMDetection's configs have it
    data = photographs(images)
    transforms = PIPELINES[PLAIN] if decoded else BYTES_ONLY
    with tempfile.TemporaryDirectory(dir=OUT) as cache:
        loader = _loader(contender, data, transforms, creds, cache, decoded)
        began, first, count = time.perf_counter(), 0.0, 0
        for batch in loader:
            count += len(batch['inputs'])
            first = first or time.perf_counter() - began
            if time.perf_counter() - began > seconds:
                break
        spent = time.perf_counter() - began
    steady = (count - BATCH_SIZE) / max(spent - first, 1e-9)
    return {'rate': count / spent, 'first': first, 'steady': steady, 'count': count}


def _loader(
    contender: str,
    data: Data,
    transforms: Any,
    creds: dict[str, str],
    cache: str,
    decoded: bool,
) -> DataLoader:
    keys: dict[str, Any] = dict(
        batch_size=BATCH_SIZE, num_workers=WORKERS, multiprocessing_context='fork'
    )
    if contender in PEERS:
        if not decoded:
            _peek_only()
        return PEERS[contender](data, transforms, cache, creds, **keys)
    ours = contender in (LOCAL, LANES_NAME, ROWS_NAME)
    keys['collate_fn'] = collate_handed_over if ours else collate
    if contender == PYTORCH:
        url = 's3://lakes/lake'
        dataset: Any = OpenedLater(url, creds, transforms, data.count)
        return DataLoader(dataset, sampler=RandomSampler(dataset), **keys)
    if contender == COCO:
        dataset = coco_on_s3(data, transforms, creds)
        sampler: Any = RandomSampler(dataset)
    elif contender == LOCAL:
        dataset = plugin(data.lake, transforms)
        sampler = DeepLakeLoader(dataset, seed=0)
    else:
        dataset = plugin(
            's3://lakes/lake', transforms, deeplake_credentials=dict(creds=creds)
        )
        how: dict[str, Any] = dict(shuffle='full', loader_type='python')
        if contender == LANES_NAME:
            how = dict(shuffle='lanes', lanes=LANES)
        sampler = DeepLakeLoader(dataset, seed=0, **how)
    if not decoded:
        _peek_only()
    return DataLoader(dataset, sampler=sampler, **keys)


def _peek_only() -> None:
    """Lets images be delivered and not decoded."""
    import mmcv
    import numpy as np

    pixel = np.zeros((1, 1, 3), np.uint8)
    mmcv.imfrombytes = lambda content, *args, **keys: pixel[: bool(len(content))]


def main() -> None:
    """Measures, and reports."""
    parser = make_parser(__doc__)
    parser.add_argument('--seconds', type=float, help='of each measurement (8)')
    args = parser.parse_args()
    if PEER_PYTHON.exists() and 'BENCH_PEERS' not in os.environ:
        # The peers are not in .venv; their environment sees all that is.
        os.environ['BENCH_PEERS'] = '1'
        os.execv(PEER_PYTHON, [str(PEER_PYTHON), '-W', 'ignore', *sys.argv])
    seconds = args.seconds or (3.0 if args.quick else 8.0)
    repetitions = args.repetitions or 1
    images = sizes(args.quick).photographs
    register_all_modules()
    data = photographs(images)
    reasons = _write(data)
    report = Report(
        'object_storage', 'Does object storage keep a training waiting?', args.quick
    )
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        with ObjectStore.start(folder) as store:
            _upload(store, data, reasons)
            report.settings = {
                'images': images,
                'batch size': BATCH_SIZE,
                'workers': WORKERS,
                'seconds each': f'{seconds:.0f}, of those that request each image '
                f'separately {_seconds_of(ROWS_NAME, seconds):.0f}',
                'repetitions': f'{repetitions}; at {MAIN[0]} ms, unlimited, of the fast '
                f'{(1 + MAIN_AGAIN) * repetitions}',
            }
            _epochs(report, store, images, reasons, 20.0 if not args.quick else 10.0)
            _throughput(report, store, images, reasons, seconds, repetitions, args.quick)
            _server(report, store, data)
    report.write()


def _write(data: Data) -> dict[str, str]:
    """Writes the peers' shards; contender -> why it cannot run."""
    reasons = {}
    for name, contender in zip(WRITERS, PEERS):
        done = data.folder / f'.{name}'
        if done.exists():
            continue
        try:
            forked(WRITERS[name], data=data)
            done.touch()
        except NotRunError as error:
            reasons[contender] = str(error)
    return reasons


def _upload(store: ObjectStore, data: Data, reasons: dict[str, str]) -> None:
    """Puts all on the server, and lets its proxy copy each object.

    The server behind the proxy answers a few hundred requests a second; what was asked
    for once comes from the proxy.
    """
    names = ['images', 'lake']
    names += [name for name, peer in zip(WRITERS, PEERS) if peer not in reasons]
    for name in names:
        store.upload(data.folder / name, name)
    keys = [
        f'{name}/{file.relative_to(data.folder / name)}'
        for name in names
        for file in (data.folder / name).rglob('*')
        if file.is_file()
    ]
    forked(_get_all, creds=store.creds, keys=keys)


def _get_all(creds: dict[str, str], keys: list[str], threads: int = 8) -> float:
    """Reads objects; bytes a second."""
    from _peers import _object

    sizes = [0] * threads

    def read(number: int) -> None:
        for key in keys[number::threads]:
            sizes[number] += len(_object(f's3://lakes/{key}', creds))

    workers = [threading.Thread(target=read, args=(n,)) for n in range(threads)]
    _object(f's3://lakes/{keys[0]}', creds)  # makes the client
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(sizes) / (time.perf_counter() - began)


def _run(
    store: ObjectStore, contender: str, images: int, seconds: float, decoded: bool
) -> dict[str, Any]:
    store.reset_log()
    try:
        found: dict[str, Any] = forked(
            measure,
            timeout=seconds + 90,
            contender=contender,
            images=images,
            creds=store.creds,
            seconds=seconds,
            decoded=decoded,
        )
    except NotRunError as error:
        return {'not_run': str(error)}
    totals = store.totals()
    return {**found, 'requests': totals.requests, 'bytes': totals.bytes}


def _epochs(
    report: Report, store: ObjectStore, images: int, reasons: dict[str, str], most: float
) -> None:
    """A whole epoch without decoding at 20 ms."""
    store.set_faults(latency=MAIN[0] / 1000)
    cases = {
        name: partial(_run, store, name, images, _seconds_of(name, most), decoded=False)
        for name in CONTENDERS
        if name not in reasons and name != PYTORCH
    }
    found = interleaved(cases, 1, 'whole epochs')
    size = sum(file.stat().st_size for file in Path(photographs(images).images).iterdir())
    report.raw['epochs'] = found
    rows: list[list[Any]] = []
    for name in CONTENDERS:
        run = found[name][0] if name in found else {'not_run': reasons.get(name, '')}
        if name == PYTORCH:
            run = {'not_run': 'it always decodes'}
        if 'not_run' in run:
            rows.append([name, f'not run: {run["not_run"]}', None, None, None, None])
            continue
        count = run['count']
        rows.append(
            [
                name,
                run['rate'] / found[LANES_NAME][0].get('rate', float('nan')),
                run['rate'],
                run['requests'] / count,
                run['bytes'] / count / (size / images),
                f'{count} of {images}',
            ]
        )
    head = ['', 'of this plugin', 'images/s', 'requests per image']
    head += ['bytes ÷ needed', 'images in the time']
    note = (
        'With `RandomSampler` in those that are given an order from outside. Requests '
        'and bytes are all that the server was asked for, openings included.'
    )
    title = f'Bytes without decoding, {MAIN[0]} ms, unlimited'
    report.table(title, head, rows, note)


def _throughput(
    report: Report,
    store: ObjectStore,
    images: int,
    reasons: dict[str, str],
    seconds: float,
    repetitions: int,
    quick: bool,
) -> None:
    """With the pipeline, at each latency and bandwidth."""
    runnable = [name for name in CONTENDERS if name not in reasons]
    rows: dict[str, list[Any]] = {name: [name] for name in (LOCAL, *CONTENDERS)}
    parts: dict[str, list[Any]] = {name: [name] for name in rows}
    chart = Bars('From object storage', 'of a local lake', [], {})
    report.bars.append(chart)
    settings = [MAIN] if quick else SETTINGS
    for latency, bandwidth in settings:
        store.set_faults(latency=latency / 1000, bandwidth=bandwidth * 1e6)
        cases = {
            name: partial(
                _run, store, name, images, _seconds_of(name, seconds), decoded=True
            )
            for name in (LOCAL, *runnable)
        }
        where = f'{latency} ms, {f"{bandwidth} MB/s" if bandwidth else "unlimited"}'
        found = interleaved(cases, repetitions, where)
        if (latency, bandwidth) == MAIN and not quick:
            fast = {name: cases[name] for name in FAST if name in cases}
            more = interleaved(fast, MAIN_AGAIN * repetitions, where)
            for name, runs in more.items():
                found[name] += runs
        report.raw[where] = found
        rates = {
            name: median([run['rate'] for run in runs])
            for name, runs in found.items()
            if not any('not_run' in run for run in runs)
        }
        local = rates.get(LOCAL, float('nan'))
        chart.groups.append(where)
        for name, row in rows.items():
            if name in rates:
                row.append(f'{rates[name] / local:.2f} ({shown(rates[name])})')
            else:
                failed = [run.get('not_run', '') for run in found.get(name, [])]
                row.append(f'not run: {reasons.get(name) or failed[0]}')
            runs = [run for run in found.get(name, []) if 'not_run' not in run]
            both = [[run[key] for run in runs] for key in ('first', 'steady')]
            parts[name].append(
                ', '.join(shown(median(values)) for values in both if values)
            )
            if name != LOCAL:
                share = rates[name] / local if name in rates else None
                chart.series.setdefault(name, []).append(share)
        _goals(report, where, (latency, bandwidth) == MAIN, rates)
    heads = ['', *(f'{group}: of local (images/s)' for group in chart.groups)]
    note = (
        '"Of local" is of this plugin on a local disk in the same rounds. MB/s are of '
        'each connection.'
    )
    report.table('Through the pipeline, cold', heads, rows.values(), note)
    title = 'The same in two parts: seconds to the first batch, images/s after it'
    report.table(title, ['', *chart.groups], parts.values())


def _seconds_of(contender: str, seconds: float) -> float:
    """How long a contender is measured."""
    return min(seconds, 3.0) if contender in IMAGE_BY_IMAGE else seconds


def _goals(report: Report, where: str, is_main: bool, rates: dict[str, float]) -> None:
    own, local = rates.get(LANES_NAME), rates.get(LOCAL)
    peers = {name: rates[name] for name in (*PEERS, COCO) if name in rates}
    if own and local and is_main:
        share = own / local
        text = f'≥ 0.95 of our own local throughput at {where}'
        report.goal(text, f'{share:.2f}', share >= 0.945)
    if own and peers:
        best = max(peers, key=lambda name: peers[name])
        share = own / peers[best]
        text = f'≥ 1.0 of the best peer at {where}'
        report.goal(text, f'{share:.2f} ({best})', share >= 0.995)


def _server(report: Report, store: ObjectStore, data: Data) -> None:
    """What the server can do by itself."""
    store.clear()
    files = sorted((data.folder / 'images').iterdir())[:400]
    large = [
        file for file in (data.folder / 'lake').rglob('*') if file.stat().st_size > 4e6
    ]
    rows = []
    for text, root, chosen in (
        ('objects of 150 KB', 'images', files),
        ('chunks of 8 MB', 'lake', large),
    ):
        keys = [f'{root}/{file.relative_to(data.folder / root)}' for file in chosen]
        if not keys:
            continue
        size = sum(file.stat().st_size for file in chosen) / len(chosen)
        with contextlib.suppress(NotRunError, http.client.HTTPException):
            rate = forked(_get_all, creds=store.creds, keys=keys, threads=2)
            rows.append([text, rate / size, rate / 1e6])
    report.table(
        'What the server gives two threads of boto3',
        ['', 'requests/s', 'MB/s'],
        rows,
        'No contender comes near it with its pipeline; without decoding, one that '
        'requests each image separately may.',
    )


if __name__ == '__main__':
    main()
