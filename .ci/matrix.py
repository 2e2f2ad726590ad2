"""Run a short parity and training suite with other versions than those of ``.venv``.

``make matrix`` goes through the rows of ``matrix.ini``, makes an environment for each,
and writes what it saw into the table of ``docs/versions.md``. A row that fails does not
stop the others.
"""

from __future__ import annotations

import argparse
import configparser
import json
import os
import re
import shutil
import site
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'versions.md'
WORK = ROOT / '.matrix'
# What only lint and tests that are not in the suite need.
NOT_NEEDED = ('mypy', 'ruff', 'playwright', 'moto', 'gcp-storage-emulator')
SHOWN = ('torch', 'mmcv', 'mmengine', 'mmdet', 'deeplake', 'numpy')
SECONDS_OF_A_ROW = 1800
MARKS = ('<!-- matrix -->', '<!-- /matrix -->')
ERROR = re.compile(r'(\w+\.)*\w+Error: ')
HEAD = ('row', *SHOWN, 'result', 'what fails, and why', 'date')


class RowError(Exception):
    """An environment could not be made."""


class Row:
    """A row of the table, and its environment.

    Args:
        name: Name in the table.
        keys: Its section of ``matrix.ini``.
    """

    def __init__(self, name: str, keys: configparser.SectionProxy) -> None:
        self.name = name
        self.is_whole = keys.getboolean('whole', False)
        self.note = ' '.join(keys.get('note', '').split())
        self._versions = keys.get('versions', '').split()
        self._without = keys.get('without', '').split()
        self._compile = keys.get('compile', '')
        self._standard = keys.get('standard', '')
        self._borrows = keys.getboolean('borrow_operators', False)
        self.folder = WORK / 'envs' / re.sub(r'\W+', '-', name)
        self.python = self.folder / 'bin' / 'python'

    def make(self) -> None:
        """Make the environment, unless it is there.

        Raises:
            RowError: If a package cannot be installed or compiled.
        """
        ready = self.folder / '.ready'
        if ready.exists():
            return
        run(sys.executable, '-m', 'venv', '--clear', self.folder)
        if self.is_whole:
            self._install_all()
        else:
            if self._versions:
                # Before the other packages can be seen, so that none counts as there.
                self._pip('install', 'wheel')
                options = ['--no-deps', '--no-build-isolation', '--no-cache-dir']
                self._pip('install', *options, *self._versions)
            if self._borrows:
                self._borrow_operators()
            (self._site() / 'base.pth').write_text(
                f'import site; site.addsitedir({site.getsitepackages()[0]!r})\n'
            )
        ready.touch()

    def remove(self) -> None:
        """Remove the environment."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def versions(self) -> dict[str, str]:
        """Return the versions that the environment imports."""
        code = (
            'import json, sys\n'
            f'for name in {SHOWN!r}: __import__(name)\n'
            f'print(json.dumps({{n: sys.modules[n].__version__ for n in {SHOWN!r}}}))'
        )
        return json.loads(run(self.python, '-c', code).splitlines()[-1])

    def test(self, tests: Sequence[str], without: str) -> tuple[str, str]:
        """Run tests.

        Args:
            tests: Files of tests.
            without: Expression of those to leave out.

        Returns:
            The result, and what failed.
        """
        report = WORK / f'{self.folder.name}.xml'
        report.unlink(missing_ok=True)
        options = ['-q', '-p', 'no:cacheprovider', '--tb=short', f'--junitxml={report}']
        log = WORK / f'{self.folder.name}.log'
        with log.open('w') as stream:
            try:
                subprocess.run(
                    [self.python, '-m', 'pytest', *options, '-k', without, *tests],
                    cwd=ROOT,
                    env=self._environment(),
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    timeout=SECONDS_OF_A_ROW,
                )
            except subprocess.TimeoutExpired:
                return 'not finished', f'stopped after {SECONDS_OF_A_ROW} s'
        if not report.exists():
            lines = log.read_text().splitlines()
            return 'no test ran', shortened(lines[-1] if lines else '')
        return summary(report)

    # ------------------------------------------------------------------------- private

    def _install_all(self) -> None:
        """Install what ``make setup`` installs, but for what the row changes."""
        own = {name_of(each) for each in self._versions} | {*self._without, *NOT_NEEDED}
        lines = (ROOT / '.ci' / 'requirements.txt').read_text().splitlines()
        pinned = [line for line in lines if line and not line.startswith('#')]
        pinned = [line for line in pinned if name_of(line) not in own]
        self._pip('install', '--upgrade', 'pip')
        self._pip('install', *self._versions, *pinned)
        self._pip('install', '--no-deps', '--no-build-isolation', self._compiled())
        if 'mmdet' not in self._without:
            self._pip('install', 'mmdet==3.3.0')
        panoptic = ROOT / '.ci' / 'panoptic.txt'
        self._pip('install', '--no-deps', '--require-hashes', '-r', panoptic)

    def _borrow_operators(self) -> None:
        """Put the operators of MMCV in ``.venv`` beside the Python files of another one.

        Where torch is not seen, MMCV is built without operators.
        """
        for file in Path(site.getsitepackages()[0], 'mmcv').glob('_ext.*'):
            (self._site() / 'mmcv' / file.name).symlink_to(file)

    def _compiled(self) -> Path:
        """Return the wheel that fits the version of torch; compile it at first."""
        torch = run(self.python, '-c', 'import torch; print(torch.__version__)').split()
        name = re.sub('==', '-', self._compile)
        folder = WORK / 'wheels' / f'{name}-torch-{torch[-1]}'
        if not list(folder.glob('*.whl')):
            say(f'   compiling {self._compile}; about 12 minutes on 2 cores')
            # pip's own cache does not know for which torch a wheel was compiled.
            fresh = ['--no-cache-dir', '--no-binary', name_of(self._compile)]
            options = ['--no-deps', '--no-build-isolation', *fresh]
            source = self._source(options) if self._standard else self._compile
            self._pip('wheel', *options, '--wheel-dir', folder, source)
        (wheel,) = folder.glob('*.whl')
        return wheel

    def _source(self, options: Sequence[str]) -> Path:
        """Return a folder of sources that ask for another standard of C++."""
        folder = WORK / 'sources'
        shutil.rmtree(folder, ignore_errors=True)
        self._pip('download', *options, '--dest', folder, self._compile)
        (archive,) = folder.iterdir()
        shutil.unpack_archive(archive, folder, filter='data')
        (sources,) = (path for path in folder.iterdir() if path.is_dir())
        setup = sources / 'setup.py'
        text = re.sub(r'-std=c\+\+\d+', f'-std={self._standard}', setup.read_text())
        setup.write_text(text)
        return sources

    def _pip(self, *arguments: object) -> None:
        environment = {'CFLAGS': '-g0', 'MMCV_WITH_OPS': '1', **self._environment()}
        run(self.python, '-m', 'pip', *arguments, environment=environment)

    def _site(self) -> Path:
        (folder,) = self.folder.glob('lib/python*/site-packages')
        return folder

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            'PATH': f'{self.python.parent}{os.pathsep}{os.environ["PATH"]}',
            'PYTHONPATH': f'{ROOT}{os.pathsep}{ROOT / "tests"}',
            'CUDA_VISIBLE_DEVICES': '-1',  # on a GPU nothing would be exact
            'OMP_NUM_THREADS': '1',
            'OMP_WAIT_POLICY': 'PASSIVE',
        }


def summary(report: Path) -> tuple[str, str]:
    """Return how many tests of a report passed, and the first line of each failure."""
    cases = list(ElementTree.parse(report).iter('testcase'))
    bad = {
        (case.get('classname') or '').split('.')[-1] + '::' + (case.get('name') or ''): (
            f'{found.get("message")}\n{found.text}'
        )
        for case in cases
        for found in case
        if found.tag in ('failure', 'error')
    }
    skipped = sum(case.find('skipped') is not None for case in cases)
    result = f'{len(cases) - len(bad) - skipped} of {len(cases) - skipped} pass'
    reasons: dict[str, list[str]] = {}
    for name, message in bad.items():
        reasons.setdefault(shortened(message), []).append(name)
    told = [f'{names[0]}{more(names)}: {why}' for why, names in reasons.items()]
    return result, '; '.join(told)


def more(names: Sequence[str]) -> str:
    """Return ``' and N more'``, if there are several names."""
    return f' and {len(names) - 1} more' if len(names) > 1 else ''


def shortened(text: str) -> str:
    """Return what a message says in a line, fit for a cell of a table."""
    lines = text.strip().splitlines() or ['']
    # The output of a tool that failed ends with the error.
    line = next((each for each in reversed(lines) if ERROR.match(each)), lines[0])
    return re.sub(r'(/[\w.+-]+){2,}/', '…/', line.replace('|', '/'))[:160]


def name_of(requirement: str) -> str:
    """Return the name of a package in a requirement."""
    return re.split(r'[^\w.-]', requirement)[0].lower()


def run(*command: object, environment: dict[str, str] | None = None) -> str:
    """Run a command.

    Returns:
        What it wrote to stdout.

    Raises:
        RowError: If it fails, with the last line that it wrote.
    """
    done = subprocess.run(
        [str(word) for word in command], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ['']
        errors = [line for line in lines if 'error' in line.lower()] or lines
        raise RowError(shortened(errors[-1]))
    return done.stdout


def write_table(cells: dict[str, str], order: Sequence[str], row: str) -> None:
    """Replace a row of the table on the page; the others stay as they are.

    Args:
        cells: Cells of the row by name of the column.
        order: Names of all rows; others leave the table.
        row: Name of the row.
    """
    before, old, after = re.split('|'.join(MARKS), PAGE.read_text())
    lines = {
        line.split('|')[1].strip(): line
        for line in old.splitlines()
        if line.startswith('| ')
    }
    lines[row] = '| ' + ' | '.join(cells.get(name, '') for name in HEAD) + ' |'
    table = ['| ' + ' | '.join(HEAD) + ' |', '|' + '---|' * len(HEAD)]
    table += [lines[name] for name in order if name in lines]
    PAGE.write_text(f'{before}{MARKS[0]}\n' + '\n'.join(table) + f'\n{MARKS[1]}{after}')


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def main() -> int:
    """Return the exit code: 1 if a row failed."""
    config = configparser.ConfigParser()
    config.read(Path(__file__).with_suffix('.ini'))
    suite = config['suite']
    rows = [Row(name, config[name]) for name in config.sections() if name != 'suite']
    names = [row.name for row in rows]
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--only', nargs='+', choices=names, metavar='ROW', default=names)
    parser.add_argument('--keep', action='store_true', help='keep large environments')
    arguments = parser.parse_args()
    WORK.mkdir(exist_ok=True)
    failed = []
    without = ' and '.join(f'not {name}' for name in suite['without'].split())
    for row in rows:
        if row.name not in arguments.only:
            continue
        began = time.monotonic()
        say(f'== {row.name}')
        versions: dict[str, str] = {}
        try:
            row.make()
            versions = row.versions()
            say('   ' + ', '.join(f'{key} {value}' for key, value in versions.items()))
            result, reasons = row.test(suite['tests'].split('\n')[1:], without)
        except RowError as error:
            result, reasons = 'not installed', str(error)
        if row.is_whole and not arguments.keep:
            row.remove()
        if reasons:
            failed.append(row.name)
        say(f'   {result}, {time.monotonic() - began:.0f} s. {reasons}')
        told = '. '.join(filter(None, (reasons, row.note)))
        cells = {'row': row.name, 'result': result, HEAD[-2]: told, **versions}
        write_table({**cells, 'date': date.today().isoformat()}, names, row.name)
    say(f'failed: {", ".join(failed)}' if failed else 'all rows pass')
    return 1 if failed else 0


if __name__ == '__main__':
    raise SystemExit(main())
