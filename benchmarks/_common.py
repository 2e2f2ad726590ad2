"""What the benchmarks share: options, header, tables, JSON, interleaved repetitions.

A benchmark makes a :class:`Report`, adds tables and goals, and writes it: Markdown to
stdout, and a JSON from which ``write_docs.py`` makes the documentation.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

T = TypeVar('T')

ROOT = Path(__file__).resolve().parents[1]
OUT = Path(os.environ.get('BENCH_OUT', ROOT / 'bench_out'))
PACKAGES = (
    'deeplake',
    'mmdet',
    'mmengine',
    'mmcv',
    'torch',
    'numpy',
    'opencv-python',
    'pycocotools',
    'faster-coco-eval',
)


def make_parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with what all benchmarks understand.

    Args:
        doc: Docstring of the script, shown by ``--help``.
    """
    # Ended from outside, it still ends the processes that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='tiny sizes and one repetition: to see that it runs, not to measure',
    )
    parser.add_argument(
        '--repetitions', type=int, help='of each measurement; the median is reported'
    )
    return parser


@dataclass
class Table:
    """A table of results.

    Args:
        title: What it shows.
        columns: Heads of the columns.
        rows: Cells; numbers are rounded when they are shown.
        note: A paragraph below it.
    """

    title: str
    columns: list[str]
    rows: list[list[Any]]
    note: str = ''

    def markdown(self) -> str:
        """The table as Markdown, with its title and note."""
        lines = [f'**{self.title}**', '', _line(self.columns)]
        lines.append('|' + '---|' * len(self.columns))
        lines += [_line([shown(cell) for cell in row]) for row in self.rows]
        if self.note:
            lines += ['', self.note]
        return '\n'.join(lines)


@dataclass
class Goal:
    """What was to be reached.

    Args:
        text: The goal.
        measured: What was measured instead.
        met: Whether it was reached; ``None`` if it could not be measured.
    """

    text: str
    measured: str
    met: bool | None


@dataclass
class Bars:
    """A bar chart.

    Args:
        title: What it shows.
        unit: Of the values.
        groups: Name of each group of bars.
        series: Name -> a value for each group; ``None`` draws no bar.
    """

    title: str
    unit: str
    groups: list[str]
    series: dict[str, list[float | None]]


@dataclass
class Report:
    """The results of one benchmark.

    Args:
        name: Name of the script, without ``.py``.
        question: What it answers.
        quick: Whether it was run with ``--quick``.
    """

    name: str
    question: str
    quick: bool
    settings: dict[str, Any] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    bars: list[Bars] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.time)
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def table(
        self, title: str, columns: Sequence[str], rows: Iterable[Any], note: str = ''
    ) -> None:
        """Adds a table, see :class:`Table`."""
        self.tables.append(Table(title, list(columns), [list(row) for row in rows], note))

    def goal(self, text: str, measured: str, met: bool | None) -> None:
        """Adds a goal, see :class:`Goal`."""
        self.goals.append(Goal(text, measured, met))

    def markdown(self) -> str:
        """All of it as Markdown."""
        parts = [f'## {self.question}', '', header(self.load)]
        if self.settings:
            said = ', '.join(f'{key} {value}' for key, value in self.settings.items())
            parts += ['', f'{said}.']
        if self.quick:
            parts += ['', '**With `--quick`: the figures mean nothing.**']
        for table in self.tables:
            parts += ['', table.markdown()]
        if self.goals:
            rows = [[goal.text, goal.measured, _met(goal.met)] for goal in self.goals]
            parts += ['', Table('Goals', ['goal', 'measured', 'met'], rows).markdown()]
        return '\n'.join(parts)

    def write(self) -> None:
        """Prints the Markdown and writes it and the JSON to ``bench_out/results``."""
        folder = OUT / 'results'
        folder.mkdir(parents=True, exist_ok=True)
        text = self.markdown()
        values = {
            **asdict(self),
            'date': time.strftime('%Y-%m-%d', time.gmtime(self.began)),
            'seconds': round(time.time() - self.began, 1),
            'machine': machine(),
            'versions': versions(),
        }
        (folder / f'{self.name}.md').write_text(text + '\n')
        (folder / f'{self.name}.json').write_text(json.dumps(values, indent=1) + '\n')
        print(text, flush=True)


def machine() -> dict[str, Any]:
    """Cores, processor and memory."""
    model = platform.processor()
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.exists():
        names = [
            line.partition(':')[2].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith('model name')
        ]
        model = names[0] if names else model
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    return {'cores': os.cpu_count(), 'cpu': model, 'memory_gib': round(memory, 1)}


def versions() -> dict[str, str]:
    """Versions of Python and the packages that are measured."""
    found = {'Python': platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def header(load: float) -> str:
    """Date, machine and versions in a paragraph.

    Args:
        load: Load of the machine before the benchmark, in processes.
    """
    here = machine()
    with_versions = ', '.join(f'{name} {number}' for name, number in versions().items())
    return (
        f'{time.strftime("%Y-%m-%d")}; {here["cores"]} cores of {here["cpu"]}, '
        f'{here["memory_gib"]} GiB; load {load:.1f} at the start; {with_versions}.'
    )


def interleaved(
    cases: Mapping[str, Callable[[], T]], repetitions: int, text: str
) -> dict[str, list[T]]:
    """Measures each case in turn, again and again, so that all meet the same weather.

    Args:
        cases: Name -> measurement.
        repetitions: How often each is measured; every round begins with another.
        text: What the progress bar says.

    Returns:
        Name -> what the measurements returned, round by round.
    """
    found: dict[str, list[T]] = {name: [] for name in cases}
    names = list(cases)
    rounds = []
    for turn in range(repetitions):
        # Every other round backwards, so that none always comes behind the same one.
        start, step = turn % len(names), -1 if turn % 2 else 1
        rounds += [names[(start + step * i) % len(names)] for i in range(len(names))]
    for name in progress(rounds, text, lambda name: name):
        found[name].append(cases[name]())
    return found


def beside_each_other(cases: Mapping[str, Callable[[], T]], text: str) -> dict[str, T]:
    """Measures all cases, as many at a time as there are cores: what time cannot change.

    Args:
        cases: Name -> measurement, in a process of its own.
        text: What the progress bar says.

    Returns:
        Name -> what the measurement returned.
    """
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        answers = {name: pool.submit(case) for name, case in cases.items()}
        return {
            name: answers[name].result()
            for name in progress(list(cases), text, lambda name: name)
        }
    finally:
        pool.shutdown(cancel_futures=True)


def progress(
    items: Sequence[T], text: str, name: Callable[[T], str] | None = None
) -> Iterator[T]:
    """Yields items and draws a progress bar on stderr.

    Args:
        items: The items.
        text: What is being done.
        name: Words for an item, shown while it is worked on.
    """
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(text, total=len(items))
        for item in items:
            if name is not None:
                bar.update(task, description=f'{text}: {name(item)}')
            yield item
            bar.advance(task)


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def ratio(values: Sequence[float], base: Sequence[float]) -> float:
    """Median of the ratios of measurements of the same round."""
    return statistics.median(a / b for a, b in zip(values, base))


def shown(cell: Any) -> str:
    """A cell in words: numbers with about three digits."""
    if cell is None:
        return ''
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return str(cell)
    if isinstance(cell, int) or abs(cell) >= 1000:
        return f'{cell:,.0f}'
    if cell == 0:
        return '0'
    size = abs(cell)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 4
    return f'{cell:.{digits}f}'


def say(text: str) -> None:
    """Says what is being done, on stderr."""
    print(text, file=sys.stderr, flush=True)


def _met(met: bool | None) -> str:
    return 'not measured' if met is None else 'yes' if met else '**no**'


def _line(cells: Iterable[str]) -> str:
    return '| ' + ' | '.join(cells) + ' |'
