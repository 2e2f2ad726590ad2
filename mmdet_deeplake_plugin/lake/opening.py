"""Opening a lake in a given state, and errors that say what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import deeplake

from .errors import first_line, listed, nearest
from .spec import LakeSpec

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
        tag_id: Id of the saved view; another view of the same name has another.
    """

    branch: str
    version: str
    tag: str
    is_v3: bool
    num_rows: int
    tag_id: str = ''


class NoDatasetError(FileNotFoundError):
    """There is no dataset in the format of Deep Lake 4 where one was looked for."""


def open_at(spec: LakeSpec, pin: Pin) -> Any:
    """Opens a lake in the state of a pin.

    Returns:
        A read-only Deep Lake dataset or view.

    Raises:
        FileNotFoundError, PermissionError, ConnectionError, ValueError: If it
            cannot be opened, or is no longer what it was when it was pinned.
    """
    if pin.is_v3:
        handle = open_v3(spec, pin.version)
    else:
        handle = open_branch(spec, pin.branch)
        if pin.tag:
            tags = handle.tags
            handle = open_tag(handle, spec, pin.tag)
            if tags[pin.tag].id != pin.tag_id:
                raise ValueError(
                    f'the view {pin.tag!r} of {spec.path} is no longer the one that this '
                    'run began with: it was deleted and saved anew. Start the run again'
                )
        elif handle.version != pin.version:
            handle = open_version(handle, spec, pin.version)
    if len(handle) != pin.num_rows:
        raise ValueError(
            f'{spec.url} has {len(handle)} rows where it had {pin.num_rows} when it '
            'was pinned: was it replaced, or the tag moved? Start the run again'
        )
    return handle


def open_branch(spec: LakeSpec, branch: str) -> Any:
    """Opens the newest version of a branch, ``''`` for the main one."""
    url = f'{spec.path}@{branch}' if branch not in ('', 'main') else spec.path
    return _explained(
        spec, lambda: deeplake.open_read_only(url, **spec.credentials.resolve())
    )


def open_tag(head: Any, spec: LakeSpec, tag: str) -> Any:
    """Opens a saved view of an open lake."""
    names = list(head.tags.names())
    if tag not in names:
        raise ValueError(
            f'deeplake_view_id={tag!r}: {spec.path} has no saved view (tag) of that '
            f'name{nearest(tag, names)}; tags: {listed(names)}'
        )
    return _explained(spec, lambda: head.tags[tag].open())


def open_version(head: Any, spec: LakeSpec, version: str) -> Any:
    """Opens a version of an open lake's branch."""
    try:
        return head.history[version].open()
    except (deeplake.VersionNotFoundError, deeplake.NotFoundError, KeyError) as error:
        known = [head.history[i].id for i in range(len(head.history))]
        raise ValueError(
            f'deeplake_commit_id={version!r}: branch {head.current_branch.name} of '
            f'{spec.path} has no such version; the newest are {listed(known[-5:])}'
        ) from error


def open_v3(spec: LakeSpec, version: str) -> Any:
    """Opens a lake of Deep Lake 3 as a view."""
    # `open` refuses the format of Deep Lake 3; a query reads it.
    url = f'{spec.path}@{version}' if version else spec.path
    failure: Exception | None = None
    try:
        view = deeplake.query(f'SELECT * FROM "{url}"', **spec.credentials.resolve())
        if view is not None:  # None: the bucket does not exist
            return view
    except Exception as error:  # of any type, depending on the storage
        failure = error
    raise FileNotFoundError(
        f'deeplake_path={spec.url!r}: there is no Deep Lake dataset there'
        + (f' with a version {version!r}' if version else '')
        + '. Check the path; make one by python -m '
        'mmdet_deeplake_plugin.tools.from_coco'
    ) from failure


def _explained(spec: LakeSpec, task: Callable[[], T]) -> T:
    where = f'deeplake_path={spec.url!r}'
    try:
        return task()
    except deeplake.LogNotexistsError as error:
        hint = (
            ' (a mem:// lake lives in the process that made it: use num_workers=0, or '
            'workers that are forked)'
            if spec.path.startswith('mem://')
            else ''
        )
        raise NoDatasetError(
            f'{where}: there is no Deep Lake dataset there{hint}'
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
    except (deeplake.StorageKeyNotFound, KeyError) as error:  # a missing bucket
        raise FileNotFoundError(f'{where}: {first_line(error)}') from error


def column_names(handle: Any) -> list[str]:
    """Names of the columns of an open dataset or view."""
    return [column.name for column in handle.schema.columns]
