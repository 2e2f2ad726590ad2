"""Columns of predictions that tests write, read back, and compare."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_deeplake_plugin.lake import (
    LakeSpec,
    PredictionBranch,
    PredictionColumn,
    StoredPredictions,
)
from mmdet_deeplake_plugin.lake import open_lake as open_ours

COLUMNS = {
    'boxes': PredictionColumn('boxes'),
    'labels': PredictionColumn('labels', ('cat', 'dog', 'owl')),
    'scores': PredictionColumn('numbers'),
    'masks': PredictionColumn('text'),
    'tp': PredictionColumn('count'),
    'f1': PredictionColumn('number'),
}
ROWS = [0, 1, 3, 5]


def values(rows: list[int]) -> dict[str, list[Any]]:
    """A row has as many boxes as its number says."""
    rng = np.random.default_rng(0)
    return {
        'boxes': [rng.random((row, 4), dtype=np.float32) for row in rows],
        'labels': [np.arange(row, dtype=np.int32) % 3 for row in rows],
        'scores': [rng.random(row, dtype=np.float32) for row in rows],
        'masks': ['[]' if row == 0 else f'[{row}]' for row in rows],
        'tp': list(rows),
        'f1': [row / 7 for row in rows],
    }


def blocks(rows: list[int] = ROWS) -> list[tuple[Any, dict[str, list[Any]]]]:
    """The values in two blocks."""
    found = values(rows)
    return [
        (np.array(rows[part]), {name: each[part] for name, each in found.items()})
        for part in (slice(0, 2), slice(2, None))
    ]


def branch_of(
    path: str, name: str = 'net', to: str = 'runs/a', **keys: Any
) -> PredictionBranch:
    """The branch of a lake that is opened with some keys."""
    lake, _ = open_ours(LakeSpec.from_config(path, **keys))
    return PredictionBranch(lake.source, to, name)


def write(path: str, *args: Any, rows: list[int] = ROWS, **keys: Any) -> None:
    """Writes the values to a branch."""
    branch_of(path, *args, **keys).write(COLUMNS, blocks(rows), {'rows': len(rows)})


def read(path: str, name: str = 'net', **keys: Any) -> dict[str, list[Any]]:
    """The columns of a branch."""
    lake, _ = open_ours(LakeSpec.from_config(path, **keys))
    stored = StoredPredictions(lake.source, name)
    rows = np.arange(lake.source.num_rows)
    return {column: stored.values(column, rows) for column in COLUMNS}


def assert_written(found: dict[str, list[Any]], rows: list[int] = ROWS) -> None:
    """Fails unless the values are there, and the other rows are null."""
    for name, expected in values(rows).items():
        for row, value in enumerate(found[name]):
            if row in rows:
                assert np.array_equal(value, expected[rows.index(row)]), (name, row)
                assert np.shape(value) == np.shape(expected[rows.index(row)])
            else:
                assert value is None, (name, row)


def state(path: str) -> dict[str, str]:
    """Digest of each file that an evaluated lake consists of."""
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in Path(path).rglob('*')
        # Branches have an entry in this log, and locks come and go.
        if file.is_file() and '_meta' not in file.parts and file.suffix != '.lock'
    }
