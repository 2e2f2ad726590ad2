"""Resolve a dataset or view that is already open, passed as ``dataset=`` in Python."""

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

# `Dataset.version` while it has uncommitted changes.
_UNCOMMITTED = '9999999999vzzzzzzzz'


def resolve_object(dataset: Any) -> tuple[LakeSpec, Resolved]:
    """Resolve the lake and the rows of a Deep Lake dataset or view that is open.

    Other processes cannot use an open handle, so the lake is opened again by its
    address. The query of a view is run again and must give the same rows.

    Args:
        dataset: ``deeplake.Dataset``, ``ReadOnlyDataset`` or ``DatasetView``.

    Raises:
        TypeError: If it is none of these.
        ValueError: If it has uncommitted changes, does not tell the address of its lake,
            or is a view whose query gives other rows when it runs again.

    Returns:
        The lake, and its pin, rows and handle as from :func:`~.resolve.resolve`.
    """
    kinds = (deeplake.Dataset, deeplake.ReadOnlyDataset, deeplake.DatasetView)
    if not isinstance(dataset, kinds):
        raise TypeError(
            'dataset= must be an open Deep Lake dataset or view, got a '
            f'{type(dataset).__name__}; pass one, or use deeplake_path instead'
        )
    chain = _describe(dataset)
    address = chain[0].get('reader') or {}
    if 'url' not in address:
        raise ValueError(
            'dataset= must tell the address of its lake, but none was found in it; use '
            'deeplake_path and deeplake_query instead'
        )
    queries = [link['query_string'] for link in chain[1:] if 'query_string' in link]
    creds = tuple((key, str(value)) for key, value in address.get('params', {}).items())
    spec = replace(
        LakeSpec.from_config(address['url']), credentials=Credentials(creds=creds)
    )
    head = open_branch(spec, '')
    names = {head.branches[name].id: name for name in head.branches.names()}
    branch = names.get(chain[0].get('branch_id'), head.current_branch.name)
    # Datasets are instances of DatasetView too.
    if isinstance(dataset, (deeplake.Dataset, deeplake.ReadOnlyDataset)):
        if dataset.version == _UNCOMMITTED:
            raise ValueError(
                'dataset= must not have uncommitted changes, as other processes cannot '
                'read them; call commit() first'
            )
        pin = Pin(branch, dataset.version, '', False, len(dataset), '', dataset.id)
        is_head = head.current_branch.name == branch and head.version == pin.version
        return spec, (pin, None, head if is_head else None)
    head = open_branch(spec, branch)
    pin = Pin(branch, head.version, '', False, len(head), '', head.id)
    rows = select_rows(head, queries, spec)
    if not same_rows(dataset, head, rows):
        raise ValueError(
            'dataset= must give the same rows when the query of the view runs again, but '
            'it gave others (the query is random, or the lake has changed); save the '
            "view with view.tag('NAME') and use deeplake_view_id='NAME', or pass the "
            'query as deeplake_query'
        )
    return spec, (pin, rows, head)


def _describe(dataset: Any) -> list[dict[str, Any]]:
    """Return the address and the queries of an open dataset from its pickle.

    Deep Lake has no public call for this. If a version of it pickles in another way, the
    address is not found, and the caller's error says what to use instead.
    """
    try:
        state = json.loads(dataset.__reduce_ex__(4)[2][0])
    except (IndexError, KeyError, TypeError, ValueError):
        return [{}]
    links = state if isinstance(state, list) else [state]
    is_known = bool(links) and all(isinstance(link, dict) for link in links)
    return links if is_known else [{}]


def same_rows(view: Any, head: Any, rows: NDArray[np.int64] | None) -> bool:
    """Return whether a view has the values of rows of a dataset; images do not count."""
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
