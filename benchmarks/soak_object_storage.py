"""24 hours in small: many epochs from an object storage that fails all the time.

A lake on a real S3 server of the loopback is read by the workers of a dataloader, epoch
after epoch, while a share of all requests fails in ways that change every few seconds,
some hang, the server dies for moments, and the keys that it accepts are renewed. Each
epoch must have each image once, with the bytes that were written, in the order of the
sampler; and no process may grow in memory or in open files.

The server, its faults and the lake's writer are those of the tests: this script puts
``tests/`` beside it on ``sys.path``, so it runs in a checkout only, and needs what the
tests need. It writes a Markdown table to stdout; its exit code is 1 if something was
wrong. Growth is from the second quarter of the run to the last, of the median over all of
either, in each process: a shorter part says more of the moment than of a leak.

Reading is what is measured: images are not decoded, nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import platform
import random
import re
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.logging import MMLogger
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tests'))

from helpers.chunked import Seen, image, write_chunked
from helpers.object_store import Fault, Key, ObjectStore

# Rows of each stored chunk. All together are more than Deep Lake caches by itself, about
# 110 MB a handle; else it would soon ask the server for nothing.
CHUNKS = [20] * 200
IMAGE_SIZE = 50_000  # bytes
BATCH_SIZE = 8
# How images are read -> keys of the sampler.
WAYS = {
    'lanes': dict(shuffle='lanes'),
    'lists': dict(shuffle='full'),
    'rows': dict(shuffle='full', loader_type='python'),
}
# Short, so that the server's silence is met by our own deadline, not Deep Lake's.
PATIENCE = dict(read_timeout=4.0, retry_timeout=240.0)
# Kinds of fault that share what fails, and those that keep a request waiting.
KINDS = (
    'InternalError',
    'SlowDown',
    'ServiceUnavailable',
    'TooManyRequests',
    'reset',
    'reset-in-body',
    'truncate',
)
WAITING = dict(hang=0.001, stall=0.001)  # kind -> share of the requests
SILENCE = 10.0  # seconds for which they wait
LATENCY = 0.005  # seconds before any answer
TICK, CHANGE, KEY_LIFE, BETWEEN_DEATHS = 0.5, 5.0, 30.0, 45.0  # seconds
QUARTERS = (0.25, 0.5, 0.75, 1.0)  # their ends, as shares of the run
FIELDS = ('memory', 'files', 'threads')
# Connections of a handle come and go; one that leaks brings a dozen files and more.
MOST_GROWTH = dict(memory=0.02, files=0.1)


class Retries(logging.Handler):
    """Takes the place of the log in all processes: counts by cause what is retried."""

    CAUSES: ClassVar = {
        'no answer in time': 'no answer within',
        'key refused': 'ExpiredToken',
        'other': '',
    }

    def __init__(self) -> None:
        super().__init__()
        self._counts = {cause: multiprocessing.Value('q') for cause in self.CAUSES}

    def emit(self, record: logging.LogRecord) -> None:
        """Counts a message about a retry."""
        text = record.getMessage()
        if 'trying again' in text:
            found = (c for c, words in self.CAUSES.items() if re.search(words, text))
            count = self._counts[next(found)]
            with count.get_lock():
                count.value += 1

    def totals(self) -> dict[str, int]:
        """Cause -> number of retries so far."""
        return {cause: count.value for cause, count in self._counts.items()}


class Weather:
    """Changes what is wrong with the server, and the key that it accepts.

    Args:
        store: The server.
        creds: File that the credentials of the lake refer to.
        seed: Seed of the dice.
    """

    def __init__(self, store: ObjectStore, creds: Path, seed: int) -> None:
        self._store, self._creds = store, creds
        self._dice = random.Random(seed)
        self._next = dict.fromkeys(('change', 'key', 'death'), 0.0)
        self.deaths = self.keys = self.requests = 0
        self.faults: Counter[str] = Counter()
        self.renew_key()

    def tick(self, seconds: float) -> None:
        """Does what is due.

        Args:
            seconds: Time since the run began.
        """
        if self._is_due('change', seconds, CHANGE):
            self._change()
            self._count()
        if self._is_due('key', seconds, KEY_LIFE):
            self.renew_key()
        if self._is_due('death', seconds, BETWEEN_DEATHS):
            self._store.kill(self._dice.uniform(1, 8))
            self.deaths += 1

    def clear(self) -> None:
        """Ends all faults."""
        self._count()
        self._store.clear()
        self._store.revive()

    def renew_key(self) -> None:
        """Writes a new key to the file, and lets no other in from now on."""
        key = Key.new(token=True)
        draft = self._creds.with_suffix('.new')
        draft.write_text(json.dumps(self._store.creds_of(key)))
        draft.replace(self._creds)
        self._store.accept_keys([key], refusal='ExpiredToken')
        self.keys += 1

    def _is_due(self, what: str, seconds: float, every: float) -> bool:
        if seconds < self._next[what]:
            return False
        is_first = self._next[what] == 0
        self._next[what] = seconds + every
        return not is_first or what == 'change'

    def _change(self) -> None:
        """Lets 5 to 20 % of the requests fail, in kinds of random weight."""
        weights = np.array([self._dice.expovariate(1) for _ in KINDS])
        shares = weights / weights.sum() * self._dice.uniform(0.05, 0.2)
        seed = self._dice.randrange(1 << 30)
        faults = [Fault(kind, share, seed=seed) for kind, share in zip(KINDS, shares)]
        faults += [
            Fault(kind, share, seconds=SILENCE, seed=seed + 1)
            for kind, share in WAITING.items()
        ]
        self._store.set_faults(*faults, latency=LATENCY)

    def _count(self) -> None:
        totals = self._store.totals()
        self._store.reset_log()
        self.requests += totals.requests
        self.faults.update(totals.faults)


class Watch:
    """What processes hold, over time.

    Args:
        processes: Name -> id.
    """

    def __init__(self, processes: dict[str, int]) -> None:
        self.names = list(processes)
        self._ids = list(processes.values())
        self._times: list[float] = []
        self._samples: list[list[tuple[int, ...]]] = []

    def look(self, seconds: float) -> None:
        """Takes a sample."""
        self._samples.append([_held_by(process) for process in self._ids])
        self._times.append(seconds)

    def at_quarters(self) -> NDArray[np.float64]:
        """Medians over each quarter, shape ``(quarters, processes, fields)``."""
        times = np.array(self._times) / max(self._times[-1], TICK)
        samples = np.array(self._samples, dtype=np.float64)
        return np.array(
            [
                np.median(samples[(times >= start) & (times <= end)], axis=0)
                for start, end in zip((0.0, *QUARTERS), QUARTERS)
            ]
        )

    def history(self) -> dict[str, list]:
        """All samples: ``times`` in seconds, and by field a list for each time."""
        fields = {
            field: [[held[i] for held in sample] for sample in self._samples]
            for i, field in enumerate(FIELDS)
        }
        return dict(times=[round(each, 1) for each in self._times], **fields)

    def most(self) -> NDArray[np.float64]:
        """Maxima over the run, shape ``(processes, fields)``."""
        return np.array(self._samples, dtype=np.float64).max(axis=0)


def _held_by(process: int) -> tuple[int, ...]:
    """Anonymous memory in bytes, open file descriptors, threads."""
    folder = Path('/proc') / str(process)
    rollup = (folder / 'smaps_rollup').read_text()
    found = re.search(r'^Anonymous: *(\d+) kB', rollup, re.MULTILINE)
    memory = int(found[1]) * 1024 if found else 0
    return memory, len(os.listdir(folder / 'fd')), len(os.listdir(folder / 'task'))


class Background(threading.Thread):
    """Steers the weather and watches the processes while the main thread reads."""

    def __init__(self, weather: Weather, watch: Watch, began: float) -> None:
        super().__init__(daemon=True)
        self._weather, self._watch, self._began = weather, watch, began
        self._end = threading.Event()

    def run(self) -> None:
        """Ticks until :meth:`stop`."""
        while not self._end.wait(TICK):
            seconds = time.monotonic() - self._began
            self._weather.tick(seconds)
            self._watch.look(seconds)

    def stop(self) -> None:
        """Ends it, and the bad weather."""
        self._end.set()
        self.join()
        self._weather.clear()


class Checker:
    """Compares what comes with what was written, sample by sample."""

    def __init__(self) -> None:
        self._written = [zlib.crc32(image(i, IMAGE_SIZE)) for i in range(sum(CHUNKS))]
        self.samples = self.epochs = 0
        self.wrong: list[str] = []

    def check(self, batch: list[dict], due: list[int]) -> None:
        """Checks ids and bytes of a batch.

        Args:
            batch: What the pipeline gave.
            due: Ids of the images that are next.
        """
        epoch = f'epoch {self.epochs + 1}'
        came = [seen['img_id'] for seen in batch]
        if came != due:
            self.wrong.append(f'{epoch}: {came} came where {due} were due')
        for seen in batch:
            if seen['crc'] != self._written[seen['img_id']]:
                self.wrong.append(f'{epoch}: image {seen["img_id"]} is not intact')
        self.samples += len(batch)

    def end_epoch(self, more: list[dict]) -> None:
        """Ends an epoch; nothing may have come behind its last image."""
        self.check(more, [])
        self.epochs += 1


def soak(
    minutes: float, way: str, workers: int, rate: float, seed: int
) -> dict[str, Any]:
    """Reads for some time from a server that fails.

    Args:
        minutes: How long.
        way: One of ``WAYS``.
        workers: Number of worker processes.
        rate: Images per second that are taken at most, as by a training.
        seed: Seed of the order and the faults.

    Returns:
        What happened, in plain values.
    """
    retries, checker = Retries(), Checker()
    MMLogger.get_instance('soak').handlers = [retries]
    with tempfile.TemporaryDirectory() as folder, ObjectStore.start(folder) as store:
        lake = write_chunked(Path(folder) / 'lake', CHUNKS, IMAGE_SIZE)
        url = store.upload(lake, 'soak')
        creds = Path(folder) / 'creds.json'
        weather = Weather(store, creds, seed)
        dataset = DeepLakeDataset(
            url,
            deeplake_credentials=dict(creds=f'file:{creds}'),
            pipeline=[Seen()],
            **PATIENCE,
        )
        sampler = DeepLakeLoader(
            dataset, seed=seed, batch_size=BATCH_SIZE, num_workers=workers, **WAYS[way]
        )
        loader = DataLoader(
            dataset,
            batch_size=BATCH_SIZE,
            sampler=sampler,
            num_workers=workers,
            collate_fn=list,
            persistent_workers=True,
            multiprocessing_context='fork',
        )
        began = time.monotonic()
        watch = read(loader, checker, weather, minutes * 60, rate)
        seconds = time.monotonic() - began
    held, most = watch.at_quarters(), watch.most()
    return dict(
        way=way,
        workers=workers,
        seconds=seconds,
        epochs=checker.epochs,
        samples=checker.samples,
        wrong=checker.wrong,
        requests=weather.requests,
        faults=dict(weather.faults.most_common()),
        deaths=weather.deaths,
        keys=weather.keys,
        retries=retries.totals(),
        processes=watch.names,
        held={field: held[:, :, i].tolist() for i, field in enumerate(FIELDS)},
        most={field: most[:, i].tolist() for i, field in enumerate(FIELDS)},
        history=watch.history(),
        machine=_machine(),
    )


def read(
    loader: DataLoader, checker: Checker, weather: Weather, seconds: float, rate: float
) -> Watch:
    """Reads epochs until the time is up; the last one may end early.

    Args:
        loader: What to read.
        checker: Checks what comes; a read that failed in the end is wrong, too.
        weather: What to read in.
        seconds: How long.
        rate: Images per second that are taken at most.

    Returns:
        What the processes held.
    """
    order: list[int] = []
    turn = 0.0  # when the next batch may be taken
    batches = iter(loader)  # starts the workers: no thread may run yet
    workers = multiprocessing.active_children()
    ids = {f'worker {i}': worker.pid or 0 for i, worker in enumerate(workers)}
    watch = Watch({'main': os.getpid(), **ids})
    began = time.monotonic()
    watch.look(0)
    background = Background(weather, watch, began)
    background.start()
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task('', total=seconds)
        try:
            while (now := time.monotonic() - began) < seconds and not checker.wrong:
                if not order:
                    order = loader.sampler.global_order().tolist()
                batch = next(batches)
                due, order = order[: len(batch)], order[len(batch) :]
                checker.check(batch, due)
                turn += len(batch) / rate
                time.sleep(max(turn - now, 0))
                turn = max(turn, now)
                text = f'epoch {checker.epochs + 1}, {checker.samples / now:.0f} images/s'
                progress.update(bar, completed=now, description=text)
                if not order:
                    checker.end_epoch(next(batches, []))
                    loader.sampler.set_epoch(checker.epochs)
                    batches = iter(loader)
        except (OSError, RuntimeError) as error:  # a read failed, or a worker died
            checker.wrong.append(f'epoch {checker.epochs + 1}: {error}')
        finally:
            background.stop()
    return watch


def growth(found: dict[str, Any], field: str) -> NDArray[np.float64]:
    """Share by which each process grew from the second quarter to the last."""
    held = np.array(found['held'][field])
    return held[-1] / held[1] - 1


def faults_found(found: dict[str, Any]) -> list[str]:
    """What was wrong, in sentences."""
    sentences = list(found['wrong'])
    for field, most in MOST_GROWTH.items():
        for name, share in zip(found['processes'], growth(found, field)):
            if share > most:
                sentences.append(f'{name}: {field} grew by {share:.1%}')
    return sentences


def table(found: dict[str, Any]) -> str:
    """What happened, in Markdown."""
    per_second = found['samples'] / found['seconds']
    counts = {
        'machine': found['machine'],
        'read': f'{found["way"]}, by {found["workers"]} workers, '
        f'for {found["seconds"] / 60:.1f} minutes',
        'images': f'{found["samples"]:,} in {found["epochs"]} whole epochs and a part, '
        f'{per_second:.0f} per second; wrong: {len(found["wrong"])}',
        'requests': f'{found["requests"]:,}, '
        f'{found["requests"] / found["seconds"]:.0f} per second',
        'faults': f'{sum(found["faults"].values()):,}: {_listed(found["faults"])}',
        'server died': f'{found["deaths"]} times',
        'keys': f'{found["keys"]}, each refused when the next was there',
        'reads tried again': _listed(found['retries']),
    }
    lines = [
        '| | |',
        '|---|---|',
        *(f'| {key} | {text} |' for key, text in counts.items()),
    ]
    quarters = [f'quarter {number}' for number in range(1, len(QUARTERS) + 1)]
    lines += ['', f'| | {" | ".join(quarters)} | growth | most |', '|---' * 7 + '|']
    units = {'memory': ('anonymous MB', 1e6, '.1f'), 'files': ('open files', 1, '.0f')}
    units['threads'] = ('threads', 1, '.0f')
    for field, (unit, size, digits) in units.items():
        for i, name in enumerate(found['processes']):
            held = [values[i] / size for values in found['held'][field]]
            texts = [format(value, digits) for value in held]
            texts.append(f'{growth(found, field)[i]:+.1%}')
            texts.append(format(found['most'][field][i] / size, digits))
            lines.append(f'| {name}, {unit} | {" | ".join(texts)} |')
    return '\n'.join(lines)


def main() -> int:
    """Runs the soak and returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--minutes', type=float, default=20, help='how long (20)')
    parser.add_argument(
        '--shuffle',
        choices=WAYS,
        default='lanes',
        help='lanes reads whole chunks; lists and rows read a full shuffle, the images '
        'of a batch at one time, or one by one (lanes)',
    )
    parser.add_argument('--workers', type=int, default=4, help='processes (4)')
    parser.add_argument(
        '--rate', type=float, default=1000, help='images per second at most (1000)'
    )
    parser.add_argument('--seed', type=int, default=0, help='of order and faults (0)')
    parser.add_argument('--json', type=Path, help='file to write all figures to')
    arguments = parser.parse_args()
    found = soak(
        arguments.minutes,
        arguments.shuffle,
        arguments.workers,
        arguments.rate,
        arguments.seed,
    )
    print(table(found))
    if arguments.json:
        arguments.json.write_text(json.dumps(found) + '\n')
    wrong = faults_found(found)
    for sentence in wrong:
        print(f'wrong: {sentence}', file=sys.stderr)
    return 1 if wrong else 0


def _listed(counts: dict[str, int]) -> str:
    return ', '.join(f'{name} {count:,}' for name, count in counts.items()) or 'none'


def _machine() -> str:
    packages = ('deeplake', 'torch', 'numpy')
    versions = ', '.join(f'{name} {version(name)}' for name in packages)
    pages = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    return (
        f'{platform.system()} {platform.machine()}, {os.cpu_count()} cores, '
        f'{pages / 2**30:.0f} GiB; Python {platform.python_version()}, {versions}'
    )


if __name__ == '__main__':
    sys.exit(main())
