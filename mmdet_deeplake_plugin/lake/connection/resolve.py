"""Resolve a config to one version of a lake and exact row numbers.

A lake may change while a training runs, and ``ORDER BY random()`` gives another order at
each call. So the main rank resolves branch, version and row numbers once, and every
process reads those.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import deeplake
import numpy as np
from numpy.typing import NDArray

from ...utils.messages import comma_joined, did_you_mean, first_line
from .failures import is_unreachable
from .opening import (
    NoDatasetError,
    column_names,
    open_branch,
    open_tag,
    open_v3,
    open_version,
)
from .retry import retry_read
from .spec import LakeSpec, Pin

ROW = 'mmdet_row'
_SAMPLE = re.compile(r'\bSAMPLE\b', re.IGNORECASE)
_ROWS_AT_ONCE = 1000

# The pin, the rows in it (``None`` for all), and an open handle of that state (``None``
# if it is not open yet).
Resolved = tuple[Pin, NDArray[np.int64] | None, Any]


def resolve(spec: LakeSpec) -> Resolved:
    """Resolve branch, version and rows of a config.

    Args:
        spec: The validated config.

    Returns:
        The pin; the row numbers in it in the order of the query, ``None`` for all rows;
        and a handle that is open in the state of the pin.

    Raises:
        FileNotFoundError: If no lake exists at the path.
        PermissionError: If access is denied.
        LakeReadError: If the lake cannot be reached.
        ValueError: If the branch, tag or version does not exist, or the query is invalid
            or selects no rows.
    """
    # Patience is for a run that is under way: at its start, a wrong address is likelier.
    limits = spec.timeouts
    key = min('open_timeout', 'retry_timeout', key=lambda name: getattr(limits, name))
    most = getattr(limits, key)
    shorter = replace(
        limits, read_timeout=min(limits.read_timeout, most), retry_timeout=most
    )
    return retry_read(
        replace(spec, timeouts=shorter),
        f'deeplake_path={spec.url!r}',
        lambda: _resolve(spec),
        lambda: None,
        try_denied=False,
        hint=lambda: (
            f'; {_host(spec)} must answer within {key}={most:g} seconds when a '
            'run begins; check the network, the address, and endpoint_url and region in '
            f'deeplake_credentials, or write a longer {key}'
        ),
    )


def _host(spec: LakeSpec) -> str:
    """Return the host of the storage, for messages."""
    api: Any = deeplake
    return urlsplit(spec.endpoint).netloc or spec.endpoint or str(api.client.endpoint)


def _resolve(spec: LakeSpec) -> Resolved:
    try:
        head = open_branch(spec, '')
    except NoDatasetError:
        return _resolve_v3(spec)
    tag = spec.view_id
    if spec.suffix:
        branches, tags = list(head.branches.names()), list(head.tags.names())
        if spec.suffix in branches:
            head = open_branch(spec, spec.suffix)
        elif spec.suffix in tags:
            tag = spec.suffix
        else:
            raise ValueError(
                f'deeplake_path={spec.url!r}: {spec.path} does not have a branch or tag '
                f'{spec.suffix!r}{did_you_mean(spec.suffix, branches + tags)}; branches: '
                f'{comma_joined(branches)}; tags: {comma_joined(tags)}'
            )
    queries = [spec.query] if spec.query else []
    handle = head
    if tag:
        view = open_tag(head, spec, tag)
        saved = head.tags[tag]
        if not saved.version:  # its query is evaluated at each opening
            queries.insert(0, saved.query)
            tag = ''
        elif spec.commit_id and spec.commit_id != saved.version:
            raise ValueError(
                'deeplake_commit_id and the saved view must be of the same version, got '
                f'{spec.commit_id!r} and the view {tag!r} of version {saved.version!r}; '
                'remove one of the two'
            )
        elif saved.query is None:  # a name for a whole version
            handle, tag = open_version(head, spec, saved.version), ''
        else:
            handle = view
    if spec.commit_id and not tag:
        handle = open_version(head, spec, spec.commit_id)
    branch = head.current_branch.name
    if tag:
        saved = head.tags[tag]
        pin = Pin(branch, saved.version, tag, False, len(handle), saved.id, head.id)
    else:
        pin = Pin(branch, handle.version, '', False, len(handle), '', head.id)
    return pin, select_rows(handle, queries, spec), handle


def select_rows(
    handle: Any, queries: list[str], spec: LakeSpec
) -> NDArray[np.int64] | None:
    """Run TQL queries, each on the result of the one before, and return their rows.

    Args:
        handle: An open dataset or view.
        queries: TQL without FROM clauses.
        spec: The lake, for error messages.

    Returns:
        Row numbers of ``handle`` in the order of the result, or ``None`` without queries.

    Raises:
        ValueError: If a query is invalid, groups rows or selects no rows.
    """
    return run_queries(handle, queries, spec)[1] if queries else None


def run_queries(
    handle: Any, queries: list[str], spec: LakeSpec
) -> tuple[list[Any], NDArray[np.int64]]:
    """Run TQL queries as :func:`select_rows`, and return their views too.

    Returns:
        The views, the last one with the rows, and numbers of rows in its column ``ROW``;
        all are to be kept, as a view may crash when the one that it was made from is
        freed. Row numbers of ``handle`` in the order of the result.
    """
    views = [handle.query(f'SELECT *, ROW_NUMBER() AS {ROW}')]
    for query in queries:
        try:
            views.append(views[-1].query(_keep_row_number(query)))
            rows = _row_numbers(views[-1], query)
        except (RuntimeError, KeyError, ValueError) as error:
            if is_unreachable(error):
                raise
            raise ValueError(
                f'deeplake_query={query!r} failed: {first_line(error)}. A query must '
                'select rows, for example SELECT * WHERE …; columns: '
                f'{comma_joined(column_names(handle))}'
            ) from error
    if not len(rows):
        raise ValueError(
            f'deeplake_query must select at least one row, but {queries[-1]!r} selects '
            f'none of the {len(handle)} rows of {spec.url}'
        )
    return views, rows


def _row_numbers(view: Any, query: str) -> NDArray[np.int64]:
    """Return the row numbers that a query selects."""
    if not _SAMPLE.search(query):
        return np.asarray(view[ROW][:], dtype=np.int64)
    # On a lake with deleted rows, Deep Lake may crash when a sample is read: about once
    # in 300 times as a slice, and once in 2,000 as short lists.
    numbers, total = list[int](), len(view)
    for start in range(0, total, _ROWS_AT_ONCE):
        numbers += list(view[ROW][[*range(start, min(start + _ROWS_AT_ONCE, total))]])
    return np.array(numbers, dtype=np.int64)


def _resolve_v3(spec: LakeSpec) -> Resolved:
    if spec.suffix and spec.commit_id:
        raise ValueError(
            f'deeplake_path ends in @{spec.suffix} and deeplake_commit_id is '
            f'{spec.commit_id!r}, but a lake in the v3 format takes only one of the two; '
            'remove one'
        )
    version = spec.commit_id or spec.suffix
    handle = open_v3(spec, version)
    if spec.view_id:
        raise ValueError(
            f'deeplake_view_id={spec.view_id!r}: {spec.path} is in the v3 format, whose '
            'saved views Deep Lake 4 cannot read; use deeplake_query, or convert the '
            'lake with deeplake.convert'
        )
    pin = Pin('', version, '', True, len(handle))
    queries = [spec.query] if spec.query else []
    return pin, select_rows(handle, queries, spec), handle


def _keep_row_number(query: str) -> str:
    # A projection would drop the column with the row numbers.
    words = query.split(None, 1)
    if len(words) == 2 and words[0].upper() == 'SELECT' and words[1].lstrip()[0] != '*':
        return f'SELECT {ROW}, {words[1]}'
    return query
