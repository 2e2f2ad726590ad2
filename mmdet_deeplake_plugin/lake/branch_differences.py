"""Find out how the branches of a lake differ from those that they were made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .columns.roles import is_image, is_seg_map
from .connection.opening import column_names, open_branch, open_version
from .connection.source import LakeSource
from .connection.values import read_values
from .images.datafiles import list_updates


@dataclass(frozen=True)
class BranchDifference:
    """A branch, and how it differs from the version that it was made of.

    Args:
        name: Its name.
        base: Name of the branch that it was made of; empty if that was deleted, and then
            nothing is compared.
        version: Version of that branch.
        commits: Id, time and message of each commit on it, the first one first.
        added: Columns that it has and its base has not.
        removed: Columns that its base has and it has not.
        rows: Number of its rows.
        rows_of_base: Number of rows of its base.
        changed: Column to the numbers of the rows that were updated.
    """

    name: str
    base: str
    version: str
    commits: list[tuple[str, Any, str]]
    added: list[str]
    removed: list[str]
    rows: int
    rows_of_base: int
    changed: dict[str, set[int]]


def compare_branches(source: LakeSource, names: list[str]) -> list[BranchDifference]:
    """Compare branches with what they were made of.

    Rows are compared by the files that were written for them; without a list of files by
    their values, except for images and maps.

    Args:
        source: The lake.
        names: Names of branches other than ``main``.
    """
    spec = source.spec
    main = open_branch(spec, 'main')
    known = {main.branches[name].id: name for name in main.branches.names()}
    differences = []
    for name in names:
        head = open_branch(spec, name)
        base_id, version = main.branches[name].base
        base_name = known.get(base_id)
        if base_name is None:
            base, base_name = head, ''
        else:
            base = open_version(open_branch(spec, base_name), spec, version)
        own, before = column_names(head), column_names(base)
        shared = [column for column in own if column in before]
        changed = {column: _changed_rows(head, base, column) for column in shared}
        history = [head.history[number] for number in range(len(head.history))]
        differences.append(
            BranchDifference(
                name=name,
                base=base_name,
                version=str(version),
                # The first entry says that the branch was made.
                commits=[
                    (each.id, each.timestamp, each.message or '') for each in history[1:]
                ],
                added=[column for column in own if column not in before],
                removed=[column for column in before if column not in own],
                rows=len(head),
                rows_of_base=len(base),
                changed={column: rows for column, rows in changed.items() if rows},
            )
        )
    return differences


def _changed_rows(head: Any, base: Any, column: str) -> set[int]:
    new, old = list_updates(head, column), list_updates(base, column)
    if new is not None and old is not None:
        files = new.keys() - old.keys()
        return {row for file in files for row in new[file]}
    dtype = head.schema[column].dtype
    if is_image(dtype) or is_seg_map(dtype):
        return set()
    pairs = zip(read_values(head, column), read_values(base, column))
    return {
        row for row, (one, other) in enumerate(pairs) if not np.array_equal(one, other)
    }
