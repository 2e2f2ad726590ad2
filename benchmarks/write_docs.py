"""Writes the tables and plots of the benchmarks into the documentation.

Each result in ``bench_out/results`` takes the place of what stands between its markers,
``<!-- bench:NAME -->`` and ``<!-- /bench:NAME -->``, in ``docs/performance.md`` or
``docs/scale.md``. What stands around them is written by hand, and stays.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from _common import OUT, ROOT, Bars, Goal, Table, say

matplotlib.use('Agg')
from matplotlib import pyplot

DOCS = ROOT / 'docs'
PAGES = ('performance.md', 'scale.md')


def section(found: dict[str, Any], folder: Path) -> str:
    """The Markdown of a result, whose plots are drawn into a folder.

    Args:
        found: What :class:`Report` wrote.
        folder: Where the plots go.
    """
    machine = found['machine']
    versions = ', '.join(f'{name} {each}' for name, each in found['versions'].items())
    parts = [
        f'*{found["date"]}; {machine["cores"]} cores of {machine["cpu"]}, '
        f'{machine["memory_gib"]} GiB; load {found["load"]:.1f} at the start; took '
        f'{found["seconds"]:.0f} s; {versions}.*'
    ]
    if found['settings']:
        said = ', '.join(f'{key} {value}' for key, value in found['settings'].items())
        parts.append(f'{said[:1].upper()}{said[1:]}.')
    if found['quick']:
        parts.append('**A run with `--quick`: the figures mean nothing.**')
    for number, values in enumerate(found['bars']):
        bars = Bars(**values)
        name = f'performance_{found["name"]}_{number}.png'
        draw(bars, folder / name)
        parts.append(f'![{bars.title}]({name})')
    parts += [Table(**values).markdown() for values in found['tables']]
    if found['goals']:
        goals = [Goal(**values) for values in found['goals']]
        met = {None: 'not measured', True: 'yes', False: '**no**'}
        rows = [[goal.text, goal.measured, met[goal.met]] for goal in goals]
        parts.append(Table('Goals', ['goal', 'measured', 'met'], rows).markdown())
    return '\n\n'.join(parts)


def draw(bars: Bars, path: Path) -> None:
    """Draws a bar chart.

    Args:
        bars: The chart.
        path: The PNG.
    """
    count, groups = len(bars.series), np.arange(len(bars.groups))
    height = max(2.0, 0.6 + 0.2 * count * len(groups))
    figure, axes = pyplot.subplots(figsize=(8, height), layout='constrained')
    for place, (name, values) in enumerate(bars.series.items()):
        drawn = [np.nan if value is None else value for value in values]
        at = groups + (place - (count - 1) / 2) * 0.8 / count
        axes.barh(at, drawn, height=0.8 / count, label=name)
    axes.set_yticks(groups, bars.groups)
    axes.invert_yaxis()
    axes.set_xlabel(bars.unit)
    axes.set_title(bars.title)
    axes.grid(axis='x', alpha=0.3)
    figure.legend(loc='outside lower center', ncols=3, fontsize='small')
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def main() -> None:
    """Writes what there are results of."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--allow-quick', action='store_true', help='write results of --quick as well'
    )
    parser.add_argument(
        '--docs', type=Path, default=DOCS, help='folder of the pages (docs)'
    )
    args = parser.parse_args()
    results = [json.loads(file.read_text()) for file in (OUT / 'results').glob('*.json')]
    for found in results:
        if found['quick'] and not args.allow_quick:
            say(f'{found["name"]}: a result of --quick is left out')
            continue
        for page in PAGES:
            if _replace(args.docs / page, found):
                say(f'{found["name"]}: written into {page}')


def _replace(page: Path, found: dict[str, Any]) -> bool:
    """Whether the page has a place for the result, which is then in it."""
    name = re.escape(found['name'])
    place = re.compile(rf'(<!-- bench:{name} -->\n).*?(<!-- /bench:{name} -->)', re.S)
    text = page.read_text()
    if not place.search(text):
        return False
    written = section(found, page.parent)
    page.write_text(place.sub(lambda match: f'{match[1]}{written}\n{match[2]}', text))
    return True


if __name__ == '__main__':
    main()
