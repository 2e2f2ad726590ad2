"""A dataset without samples is an error that names the key that leaves them out."""

from __future__ import annotations

import re
from typing import Any

import pytest
from helpers.lakes import CLASSES, open_lake, row, write_lake
from mmdet.datasets import ConcatDataset
from mmdet.utils import register_all_modules

from mmdet_deeplake_plugin import DeepLakeDataset

register_all_modules()

LEFT_OUT = {
    'min_size': (
        dict(filter_cfg=dict(min_size=9999)),
        "filter_cfg={'min_size': 9999} must keep samples, but leaves out all 6 rows of "
        'lake … 0 have no annotation of the chosen classes, and the shorter sides are 40 '
        'to 40 pixels; change filter_cfg or metainfo.classes',
    ),
    'no boxes of the classes': (
        dict(filter_cfg=dict(filter_empty_gt=True), metainfo=dict(classes=('owl',))),
        "filter_cfg={'filter_empty_gt': True} must keep samples, but leaves out all 6 "
        'rows of lake … 6 have no annotation of the chosen classes',
    ),
    'no indices': (dict(indices=0), 'and keep samples, got 0; write indices=100 or'),
    'empty indices': (dict(indices=[]), 'and keep samples, got []; write indices=100'),
}


@pytest.mark.parametrize('case', LEFT_OUT)
def test_the_key_that_leaves_all_out_is_named(case, tmp_path):
    """Stock trains on nothing, saves checkpoints and succeeds."""
    keys, text = LEFT_OUT[case]
    rows = [row(number, labels=[number % 2]) for number in range(6)]
    path = write_lake(tmp_path / 'lake', rows)
    pattern = '.*'.join(map(re.escape, text.split('…')))
    with pytest.raises(ValueError, match=pattern):
        DeepLakeDataset(path, **keys)


@pytest.mark.parametrize('test_mode', [False, True])
@pytest.mark.parametrize('committed', [False, True])
def test_a_lake_without_rows(committed, test_mode, tmp_path):
    """Rows that were appended, but not committed, are not in any version."""
    path = write_lake(tmp_path / 'lake', [])
    writer: Any = None
    if not committed:
        writer = open_lake(path)
        writer.append({name: [value] for name, value in row(0).items()})
    text = 'must have rows, found 0; append rows and commit() them, or choose another'
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeDataset(path, test_mode=test_mode)
    del writer


def test_a_lake_without_columns(tmp_path):
    """What must be there is named."""
    path = write_lake(tmp_path / 'lake', [], dict.fromkeys(row(0)))
    with pytest.raises(ValueError, match='has no columns; add them with add_column'):
        DeepLakeDataset(path)


def test_a_member_of_a_concatenation_without_samples(tmp_path):
    """The other members do not hide it."""
    full = dict(type='DeepLakeDataset', deeplake_path=write_lake(tmp_path / 'full'))
    empty = dict(full, filter_cfg=dict(min_size=9999))
    with pytest.raises(ValueError, match='must keep samples, but leaves out all 6 rows'):
        ConcatDataset([full, empty])


def test_a_test_keeps_all_rows(tmp_path):
    """filter_cfg has no effect there, as in stock."""
    path = write_lake(tmp_path / 'lake')
    keys = dict(filter_cfg=dict(min_size=9999), metainfo=dict(classes=CLASSES[:1]))
    assert len(DeepLakeDataset(path, test_mode=True, **keys)) == 6


def test_a_subset_may_be_empty(tmp_path):
    """Wrappers make such ones on the way."""
    assert len(DeepLakeDataset(write_lake(tmp_path / 'lake')).get_subset([])) == 0
