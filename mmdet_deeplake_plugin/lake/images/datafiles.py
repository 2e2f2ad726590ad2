"""Where Deep Lake keeps the chunks of a column: the one user of its private report.

Deep Lake has no public call for it. What it reports of its data files is private, and
absent for lakes in the v3 format; without it, rows are read by Deep Lake in blocks. A
version that has changed it causes a warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import deeplake

from ..changed_parts import warn_changed


@dataclass(frozen=True)
class DataFiles:
    """The data files of one column, in the order of their rows.

    Args:
        names: Path of each file in the lake's folder.
        starts: First row of each file, counted in the rows that are left.
        written: Number of rows that were written to each file.
        as_written: Whether no row of the file was updated or deleted since.
    """

    names: list[str]
    starts: list[int]
    written: list[int]
    as_written: list[bool]


def list_datafiles(handle: Any, column: str) -> DataFiles:
    """List the data files of a column.

    Args:
        handle: An open dataset or view.
        column: Name of the column.

    Returns:
        No files at all for views, v3 lakes and versions of Deep Lake without the report.
    """
    try:
        report = handle._datafiles_report[column]
        files = sorted(report.insert_datafiles, key=lambda file: file.offset_start)
        has_updates = bool(report.update_datafiles)
        starts = [int(file.offset_start) for file in files]
        # Beginnings count the rows that are left, ends those that were written.
        ends = [int(file.offset_end) for file in files]
        names = [str(file.filename) for file in files]
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        _warn_if_changed(handle, error)
        return DataFiles([], [], [], [])
    following = [*starts[1:], len(handle)]
    return DataFiles(
        names,
        starts,
        [end - start for start, end in zip(starts, ends)],
        [not has_updates and end == beyond for end, beyond in zip(ends, following)],
    )


def list_updates(handle: Any, column: str) -> dict[str, list[int]] | None:
    """List the files with updated rows of a column.

    Args:
        handle: An open dataset.
        column: Name of the column.

    Returns:
        Path of each file to the numbers of its rows; ``None`` for views, v3 lakes and
        versions of Deep Lake without the report.
    """
    try:
        files = handle._datafiles_report[column].update_datafiles
        return {str(file.filename): [int(row) for row in file.offsets] for file in files}
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        _warn_if_changed(handle, error)
        return None


def _warn_if_changed(handle: Any, error: Exception) -> None:
    """Warn if a handle that had the report in known versions does not have it."""
    has_report = isinstance(handle, (deeplake.Dataset, deeplake.ReadOnlyDataset))
    if has_report and not isinstance(error, RuntimeError):
        warn_changed(
            'does not tell where the chunks of a column are as earlier versions did',
            f'rows are read by Deep Lake in blocks, which is slower ({error})',
        )
