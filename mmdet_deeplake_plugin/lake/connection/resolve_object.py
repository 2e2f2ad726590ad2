"""Datasets and views that are already open, as ``dataset=`` takes them in Python."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import deeplake
import numpy as np
from numpy.typing import NDArray

from .credentials import Credentials
from .opening import column_names, open_branch
from .resolve import Resolved, select_rows
from .spec import LakeSpec, Pin
from .values import read_values

# What `Dataset.version` says while there are changes that no commit holds.
_UNCOMMITTED = '9999999999vzzzzzzzz'


def resolve_object(dataset: Any) -> tuple[LakeSpec, Resolved]:
    """Settles the rows of a Deep Lake dataset or view that is already open.

    Other processes cannot use an open handle, so the lake is opened again by
    its address; a view's query is run again and must give the same rows.

    Args:
        dataset: ``deeplake.Dataset``, ``ReadOnlyDataset`` or ``DatasetView``.

    Raises:
        TypeError: If it is none of these.
        ValueError: If it has changes that no commit holds, or is a view that
            gives other rows when its query runs again.
    """
    kinds = (deeplake.Dataset, deeplake.ReadOnlyDataset, deeplake.DatasetView)
    if not isinstance(dataset, kinds):
        raise TypeError(
            f'dataset= is a {type(dataset).__name__}; pass an open Deep Lake dataset '
            'or view, or write deeplake_path'
        )
    chain = _describe(dataset)
    address = chain[0].get('reader') or {}
    if 'url' not in address:
        raise ValueError(
            'dataset= is a view whose lake cannot be told; write deeplake_path and '
            'deeplake_query instead'
        )
    queries = [link['query_string'] for link in chain[1:] if 'query_string' in link]
    creds = tuple((key, str(value)) for key, value in address.get('params', {}).items())
    spec = replace(
        LakeSpec.from_config(address['url']), credentials=Credentials(creds=creds)
    )
    head = open_branch(spec, '')
    names = {head.branches[name].id: name for name in head.branches.names()}
    branch = names.get(chain[0].get('branch_id'), head.current_branch.name)
    # A dataset is a view too, by inheritance.
    if isinstance(dataset, (deeplake.Dataset, deeplake.ReadOnlyDataset)):
        if dataset.version == _UNCOMMITTED:
            raise ValueError(
                'dataset= has changes that no commit holds; call commit() first, so that '
                'every process can read them'
            )
        pin = Pin(branch, dataset.version, '', False, len(dataset))
        is_head = head.current_branch.name == branch and head.version == pin.version
        return spec, (pin, None, head if is_head else None)
    head = open_branch(spec, branch)
    pin = Pin(branch, head.version, '', False, len(head))
    rows = select_rows(head, queries, spec)
    if not _same_rows(dataset, head, rows):
        raise ValueError(
            'dataset= is a view whose query gives other rows when it runs again (it is '
            "random, or the lake has moved on); save it by view.tag('NAME') and write "
            "deeplake_view_id='NAME', or pass the query as deeplake_query"
        )
    return spec, (pin, rows, head)


def _describe(dataset: Any) -> list[dict[str, Any]]:
    """The address and the queries of an open dataset, as its pickle has them.

    Deep Lake has no public call that gives them. Where a pickle looks otherwise, nothing
    is known, and the error says what to write instead.
    """
    try:
        state = json.loads(dataset.__reduce_ex__(4)[2][0])
    except (IndexError, KeyError, TypeError, ValueError):
        return [{}]
    return state if isinstance(state, list) else [state]


def _same_rows(view: Any, head: Any, rows: NDArray[np.int64] | None) -> bool:
    count = len(head) if rows is None else len(rows)
    if len(view) != count:
        return False
    shared = set(column_names(head))
    for column in view.schema.columns:
        name, dtype = column.name, column.dtype
        if name not in shared or dtype.is_image or dtype.is_segment_mask or dtype.is_link:
            continue
        if dtype.kind in (
            deeplake.types.TypeKind.BinaryMask,
            deeplake.types.TypeKind.Dict,
        ):
            continue
        pairs = zip(read_values(view, name), read_values(head, name, rows))
        if not all(np.array_equal(one, other) for one, other in pairs):
            return False
    return True
