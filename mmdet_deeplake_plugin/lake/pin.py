"""From what the config asks for to exactly which rows it means.

A lake moves on while a training runs, and ``ORDER BY random()`` differs at
every call. So branch, version and row numbers are settled once, by the main
rank, and every process reads those.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import deeplake
import numpy as np
from mmengine.dist import broadcast_object_list, get_dist_info
from numpy.typing import NDArray

from .errors import first_line, nearest
from .spec import LakeSpec
from .values import read_values

# What `Dataset.version` says while there are changes that no commit holds.
_UNCOMMITTED = '9999999999vzzzzzzzz'
_ROW = 'mmdet_row'

T = TypeVar('T')


@dataclass(frozen=True)
class Pin:
    """One state of one lake.

    Args:
        branch: Name of the branch, ``''`` for a lake in the v3 format.
        version: Version id on the branch; v3: what stands behind ``@``.
        tag: Name of the saved view that ``rows`` count in, ``''`` for the lake.
        is_v3: Whether the lake is in the format of Deep Lake 3.
        num_rows: Number of rows of that state.
    """

    branch: str
    version: str
    tag: str
    is_v3: bool
    num_rows: int


def open_at(spec: LakeSpec, pin: Pin) -> Any:
    """Opens a lake in the state of a pin.

    Returns:
        A read-only Deep Lake dataset or view.

    Raises:
        FileNotFoundError, PermissionError, ConnectionError, ValueError: If it
            cannot be opened, or is no longer what it was when it was pinned.
    """
    if pin.is_v3:
        handle = _open_v3(spec, pin.version)
    else:
        handle = _open(spec, pin.branch)
        if pin.tag:
            handle = _open_tag(handle, spec, pin.tag)
        elif handle.version != pin.version:
            handle = _open_version(handle, spec, pin.version)
    if len(handle) != pin.num_rows:
        raise ValueError(
            f'{spec.url} has {len(handle)} rows where it had {pin.num_rows} when it '
            'was pinned: was it replaced, or the tag moved? Start the run again'
        )
    return handle


def resolve(spec: LakeSpec) -> tuple[Pin, NDArray[np.int64] | None]:
    """Settles branch, version and rows of what a config asks for.

    Args:
        spec: The checked config.

    Returns:
        The pin and the row numbers in it, in the query's order; ``None`` for
        all rows.

    Raises:
        FileNotFoundError: If there is no lake at the path.
        ValueError: If a branch, tag or version is not there, the query is
            wrong or selects no row.
    """
    try:
        head = _open(spec, '')
    except FileNotFoundError:
        return _resolve_v3(spec)
    tag = spec.view_id
    if spec.suffix:
        branches, tags = list(head.branches.names()), list(head.tags.names())
        if spec.suffix in branches:
            head = _open(spec, spec.suffix)
        elif spec.suffix in tags:
            tag = spec.suffix
        else:
            raise ValueError(
                f'deeplake_path={spec.url!r}: {spec.path} has no branch or tag '
                f'{spec.suffix!r}{nearest(spec.suffix, branches + tags)}; branches: '
                f'{_listed(branches)}; tags: {_listed(tags)}'
            )
    queries = [spec.query] if spec.query else []
    handle = head
    if tag:
        view = _open_tag(head, spec, tag)
        saved = head.tags[tag]
        if not saved.version:  # saved to be evaluated anew at each opening
            queries.insert(0, saved.query)
            tag = ''
        elif spec.commit_id and spec.commit_id != saved.version:
            raise ValueError(
                f'deeplake_commit_id={spec.commit_id!r} and the view {tag!r}, which is '
                f'of version {saved.version}, contradict each other; leave out one'
            )
        elif saved.query is None:  # a name for a whole version
            handle, tag = _open_version(head, spec, saved.version), ''
        else:
            handle = view
    if spec.commit_id and not tag:
        handle = _open_version(head, spec, spec.commit_id)
    version = head.tags[tag].version if tag else handle.version
    pin = Pin(head.current_branch.name, version, tag, False, len(handle))
    return pin, select_rows(handle, queries, spec)


def resolve_object(dataset: Any) -> tuple[LakeSpec, Pin, NDArray[np.int64] | None]:
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
    state = json.loads(dataset.__reduce_ex__(4)[2][0])
    chain = state if isinstance(state, list) else [state]
    address = chain[0].get('reader') or {}
    if 'url' not in address:
        raise ValueError(
            'dataset= is a view whose lake cannot be told; write deeplake_path and '
            'deeplake_query instead'
        )
    queries = [link['query_string'] for link in chain[1:] if 'query_string' in link]
    spec = LakeSpec.from_config(
        address['url'], dict(creds=address['params']) if address.get('params') else None
    )
    head = _open(spec, '')
    names = {head.branches[name].id: name for name in head.branches.names()}
    branch = names.get(chain[0].get('branch_id'), head.current_branch.name)
    if isinstance(dataset, deeplake.DatasetView):
        head = _open(spec, branch)
        pin = Pin(branch, head.version, '', False, len(head))
        rows = select_rows(head, queries, spec)
        if not _same_rows(dataset, head, rows):
            raise ValueError(
                'dataset= is a view whose query gives other rows when it runs again '
                '(it is random, or the lake has moved on); save it by '
                "view.tag('NAME') and write deeplake_view_id='NAME', or pass the query "
                'as deeplake_query'
            )
        return spec, pin, rows
    if dataset.version == _UNCOMMITTED:
        raise ValueError(
            'dataset= has changes that no commit holds; call commit() first, so that '
            'every process can read them'
        )
    return spec, Pin(branch, dataset.version, '', False, len(dataset)), None


def select_rows(
    handle: Any, queries: list[str], spec: LakeSpec
) -> NDArray[np.int64] | None:
    """Runs TQL queries one upon the other and returns which rows they select.

    Args:
        handle: An open dataset or view.
        queries: TQL without FROM clauses.
        spec: The lake, for messages.

    Returns:
        Row numbers of ``handle`` in the order of the result, or ``None`` when
        there is no query.

    Raises:
        ValueError: If a query is wrong, groups rows or selects none.
    """
    if not queries:
        return None
    view = handle.query(f'SELECT *, ROW_NUMBER() AS {_ROW}')
    for query in queries:
        try:
            view = view.query(_keep_row_number(query))
            numbers = view[_ROW][:]
        except (RuntimeError, KeyError, ValueError) as error:
            raise ValueError(
                f'deeplake_query={query!r} failed: {first_line(error)}. A query must '
                'select rows, as in SELECT * WHERE …; columns: '
                f'{_listed(column_names(handle))}'
            ) from error
    rows = np.asarray(numbers, dtype=np.int64)
    if not len(rows):
        raise ValueError(
            f'deeplake_query={queries[-1]!r} selects none of the {len(handle)} rows of '
            f'{spec.url}'
        )
    return rows


def on_main_rank(task: Callable[[], T]) -> T:
    """Runs a task on rank 0 and gives its result, or its error, to all ranks."""
    rank, world_size = get_dist_info()
    if world_size == 1:
        return task()
    outcome: list[Any] = [None]
    if rank == 0:
        try:
            outcome = [(task(), None)]
        except Exception as error:  # every rank must fail, or the others would wait
            broadcast_object_list([(None, error)])
            raise
    broadcast_object_list(outcome)
    result, failure = outcome[0]
    if failure is not None:
        raise failure
    return result


def column_names(handle: Any) -> list[str]:
    """Names of the columns of an open dataset or view."""
    return [column.name for column in handle.schema.columns]


def _keep_row_number(query: str) -> str:
    # A projection would drop the row number that tells which rows are meant.
    words = query.split(None, 1)
    if len(words) == 2 and words[0].upper() == 'SELECT' and words[1].lstrip()[0] != '*':
        return f'SELECT {_ROW}, {words[1]}'
    return query


def _open(spec: LakeSpec, branch: str) -> Any:
    url = f'{spec.path}@{branch}' if branch not in ('', 'main') else spec.path
    return _explained(
        spec, lambda: deeplake.open_read_only(url, **spec.credentials.resolve())
    )


def _open_tag(head: Any, spec: LakeSpec, tag: str) -> Any:
    names = list(head.tags.names())
    if tag not in names:
        raise ValueError(
            f'deeplake_view_id={tag!r}: {spec.path} has no saved view (tag) of that '
            f'name{nearest(tag, names)}; tags: {_listed(names)}'
        )
    return _explained(spec, lambda: head.tags[tag].open())


def _open_version(head: Any, spec: LakeSpec, version: str) -> Any:
    try:
        return head.history[version].open()
    except (deeplake.VersionNotFoundError, deeplake.NotFoundError, KeyError) as error:
        known = [head.history[i].id for i in range(len(head.history))]
        raise ValueError(
            f'deeplake_commit_id={version!r}: branch {head.current_branch.name} of '
            f'{spec.path} has no such version; the newest are {_listed(known[-5:])}'
        ) from error


def _resolve_v3(spec: LakeSpec) -> tuple[Pin, NDArray[np.int64] | None]:
    if spec.suffix and spec.commit_id:
        raise ValueError(
            f'deeplake_path ends in @{spec.suffix} and deeplake_commit_id is '
            f'{spec.commit_id!r}; a lake in the v3 format takes one of the two'
        )
    version = spec.commit_id or spec.suffix
    handle = _open_v3(spec, version)
    if spec.view_id:
        raise ValueError(
            f'deeplake_view_id={spec.view_id!r}: {spec.path} is in the v3 format, whose '
            'saved views Deep Lake 4 does not read; write deeplake_query, or convert '
            'the lake by deeplake.convert'
        )
    pin = Pin('', version, '', True, len(handle))
    return pin, select_rows(handle, [spec.query] if spec.query else [], spec)


def _open_v3(spec: LakeSpec, version: str) -> Any:
    # `open` refuses the format of Deep Lake 3; a query reads it.
    url = f'{spec.path}@{version}' if version else spec.path
    try:
        return deeplake.query(f'SELECT * FROM "{url}"', **spec.credentials.resolve())
    except Exception as error:
        raise FileNotFoundError(
            f'deeplake_path={spec.url!r}: there is no Deep Lake dataset there'
            + (f' with a version {version!r}' if version else '')
            + '. Check the path; make one by python -m '
            'mmdet_deeplake_plugin.tools.from_coco'
        ) from error


def _explained(spec: LakeSpec, task: Callable[[], T]) -> T:
    where = f'deeplake_path={spec.url!r}'
    try:
        return task()
    except (deeplake.LogNotexistsError, deeplake.StorageKeyNotFound) as error:
        raise FileNotFoundError(
            f'{where}: there is no Deep Lake dataset there'
        ) from error
    except (
        deeplake.AuthenticationError,
        deeplake.AuthorizationError,
        deeplake.PermissionDeniedError,
        deeplake.StorageAccessDenied,
        deeplake.ExpiredTokenError,
    ) as error:
        raise PermissionError(
            f'{where}: access denied ({type(error).__name__}) with '
            f'{spec.credentials!r}. Check deeplake_credentials, or the environment '
            '(ACTIVELOOP_TOKEN, AWS_PROFILE, …)'
        ) from error
    except (
        deeplake.StorageNetworkConnectionError,
        deeplake.StorageInternalError,
        deeplake.HTTPRequestFailedError,
    ) as error:
        raise ConnectionError(f'{where}: {first_line(error)}') from error
    except KeyError as error:  # a missing bucket
        raise FileNotFoundError(f'{where}: {first_line(error)}') from error


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


def _listed(names: list[str]) -> str:
    return ', '.join(names) if names else 'none'
