"""Lists of texts are read in a process of their own, since Deep Lake may crash on them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from deeplake import types as T
from helpers.lakes import row, write_lake

import mmdet_deeplake_plugin.lake.connection.text_lists as text_lists
from mmdet_deeplake_plugin.lake import LakeSpec, open_source

NAMES = ('cat', 'dog', 'a longer name', 'Ω')


@pytest.fixture(scope='module')
def lists() -> list[list[str]]:
    """Lists of all lengths."""
    draw = random.Random(3)
    return [draw.choices(NAMES, k=draw.randint(1, 6)) for _ in range(1200)]


@pytest.fixture(scope='module')
def source(lists, tmp_path_factory):
    """A lake of them."""
    plain = row(0)
    rows = [{**plain, 'names': names} for names in lists]
    path = tmp_path_factory.mktemp('texts') / 'lake'
    return open_source(
        LakeSpec.from_config(write_lake(path, rows, {'names': T.Sequence(T.Text())}))
    )[0]


@pytest.mark.parametrize('order', ['all', 'some, in another order'])
def test_lists_of_any_rows(order, source, lists):
    """In the order of the rows."""
    rows = np.arange(len(lists)) if order == 'all' else np.array([900, 3, 3, 1199])
    assert source.values('names', rows) == [lists[index] for index in rows]


def test_a_crash_is_survived(source, lists, monkeypatch):
    """The next process continues with the block that is missing."""
    crash = (
        f'import {text_lists.__name__} as m, pickle, os\n'
        'dump, count = pickle.dump, 0\n'
        'def dump_one(*args):\n'
        '    global count\n'
        '    count += 1\n'
        '    if count == 2: os.kill(os.getpid(), 11)\n'
        '    dump(*args)\n'
        'pickle.dump = dump_one\n'
        'm.serve()\n'
    )
    monkeypatch.setattr(text_lists, '_CHILD', crash)
    rows = np.arange(len(lists))
    assert text_lists.read_text_lists(source.spec, source.pin, 'names', rows) == lists


def test_crashes_without_end_are_an_error(source, monkeypatch):
    """It names the row, and what to store instead."""
    monkeypatch.setattr(text_lists, '_CHILD', 'import os; os.kill(os.getpid(), 11)')
    text = r'row 7: Deep Lake crashed 10 times in a row on a list of texts; store class'
    with pytest.raises(OSError, match=text):
        text_lists.read_text_lists(source.spec, source.pin, 'names', np.array([7]))


def test_an_error_is_passed_on(source):
    """Such as that of a column that does not exist."""
    with pytest.raises(OSError, match=r'row 0: KeyError: .*no_such'):
        text_lists.read_text_lists(source.spec, source.pin, 'no_such', np.array([0]))
