"""Open a lake: turn the keys of a config into a :class:`Lake` and its rows.

A process opens a lake once: the handle that resolves branch, version and rows is also
used to map the columns and to read the annotations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.distributed import on_main_rank
from .columns.mapping import map_columns
from .connection.resolve import resolve
from .connection.resolve_object import resolve_object
from .connection.source import LakeSource, OpenHandle
from .connection.spec import LakeSpec, Pin
from .lake import Lake, share_lake

Rows = NDArray[np.int64] | None


def open_source(spec: LakeSpec) -> tuple[LakeSource, Rows]:
    """Open a lake in the version and with the rows that rank 0 resolved.

    Args:
        spec: The validated keys of a config.

    Returns:
        The source of the pinned state, and the row numbers in it, ``None`` for all rows.

    Raises:
        FileNotFoundError, PermissionError, ValueError, LakeReadError: As
            :func:`~.connection.resolve.resolve` raises them.
    """
    opened: list[OpenHandle] = []

    def resolve_and_keep() -> tuple[Pin, Rows]:
        age = spec.credentials.age()
        pin, rows, handle = resolve(spec)
        opened.append(OpenHandle(handle, age))
        return pin, rows

    pin, rows = on_main_rank(resolve_and_keep)
    return LakeSource(spec, pin, *opened), rows


def open_object(dataset: Any) -> tuple[LakeSource, Rows]:
    """Open the lake of a Deep Lake dataset or view that is already open.

    As :func:`open_source`, with the errors of
    :func:`~.connection.resolve_object.resolve_object`.
    """
    spec, (pin, rows, handle) = resolve_object(dataset)
    return LakeSource(spec, pin, OpenHandle(handle, spec.credentials.age())), rows


def open_columns(
    source: LakeSource,
    tensors: Any = None,
    box_format: str | None = None,
    style: str | None = None,
) -> Lake:
    """Map the columns of an open lake to roles.

    Args:
        source: Reads the pinned state.
        tensors: ``deeplake_tensors`` of a config.
        box_format: ``box_format`` of a config.
        style: ``annotation_style`` of a config.

    Raises:
        ValueError: If the columns cannot be mapped, see
            :func:`~.columns.mapping.map_columns`, or the lake has no rows.
    """
    columns = map_columns(source.handle, tensors, box_format, style)
    if not source.num_rows:
        raise ValueError(
            f'{source.name} must have rows, found 0; append rows and commit() them, or '
            'choose another branch or version (deeplake_path, deeplake_commit_id)'
        )
    return share_lake(source, columns)


def open_lake(
    spec: LakeSpec,
    tensors: Any = None,
    box_format: str | None = None,
    style: str | None = None,
) -> tuple[Lake, Rows]:
    """Open a lake and map its columns: :func:`open_source`, then :func:`open_columns`.

    Returns:
        The lake, and the selected row numbers, ``None`` for all rows.
    """
    source, rows = open_source(spec)
    return open_columns(source, tensors, box_format, style), rows
