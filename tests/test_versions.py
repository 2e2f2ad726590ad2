"""The table of versions has a dated result for each row of ``make matrix``."""

from __future__ import annotations

import configparser
import re
from datetime import date

import pytest
from helpers import ROOT

CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / '.ci' / 'matrix.ini')
PAGE = (ROOT / 'docs' / 'versions.md').read_text()
TABLE = [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in PAGE.partition('<!-- matrix -->')[2].splitlines()
    if line.startswith('| ')
]


def test_every_row_was_run():
    """No row without a result, no result without a row."""
    assert [cells[0] for cells in TABLE[1:]] == CONFIG.sections()[1:]
    assert {len(cells) for cells in TABLE} == {len(TABLE[0])}
    for cells in TABLE[1:]:
        row = dict(zip(TABLE[0], cells))
        assert date.fromisoformat(row['date'])
        assert row['result']
        found = re.fullmatch(r'(\d+) of (\d+) pass', row['result'])
        assert row['what fails, and why'] or (found and found[1] == found[2]), row['row']


@pytest.mark.parametrize('test', CONFIG['suite']['tests'].split('\n')[1:])
def test_what_the_suite_names_exists(test):
    """A test that was renamed would stop every row."""
    path, _, name = test.partition('::')
    assert f'\ndef {name.partition("[")[0]}' in (ROOT / path).read_text()


def test_the_lowest_python_is_told_alike():
    """In the metadata, the classifiers, the README and for the linter."""
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    lowest = config['options']['python_requires'].removeprefix('>=')
    classifiers = re.findall(r'Python :: (\d\.\d+)', config['metadata']['classifiers'])
    assert classifiers[0] == lowest
    assert f'| Python | {lowest} and later |' in (ROOT / 'README.md').read_text()
    target = 'py' + lowest.replace('.', '')
    assert f'target-version = "{target}"' in (ROOT / '.ruff.toml').read_text()
    assert config['mypy']['python_version'] == lowest
