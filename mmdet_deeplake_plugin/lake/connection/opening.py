"""Open a lake in a given state, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import deeplake

from ...utils.messages import comma_joined, did_you_mean, first_line
from ..changed_parts import warn_changed
from .credentials import UnreadableReferenceError
from .failures import is_access_denied, is_missing, is_unreachable
from .redaction import redact
from .spec import BUCKETS, LakeSpec, Pin

T = TypeVar('T')

# A file that every lake in the format of Deep Lake 4 has.
_FIRST_FILE = '_deeplake_log/_meta/next_base'


class NoDatasetError(FileNotFoundError):
    """No dataset in the format of Deep Lake 4 exists at a path."""


def open_at(spec: LakeSpec, pin: Pin) -> Any:
    """Open a lake in the state of a pin.

    Args:
        spec: The lake.
        pin: The state.

    Returns:
        A read-only Deep Lake dataset or view.

    Raises:
        FileNotFoundError, PermissionError, ConnectionError, ValueError: If it
            cannot be opened, or has changed since it was pinned.
    """
    try:
        return _open_at(spec, pin)
    except UnreadableReferenceError as error:
        # It was readable when the run began, so the file may be being rewritten.
        raise PermissionError(str(error)) from error


def _open_at(spec: LakeSpec, pin: Pin) -> Any:
    if pin.is_v3:
        handle = open_v3(spec, pin.version)
    else:
        handle = open_branch(spec, pin.branch)
        if handle.id != pin.lake_id:
            raise ValueError(
                f'{spec.url} must be the lake with the id {pin.lake_id}, as when the run '
                f'began, but now it has the id {handle.id}: the lake was written anew; '
                'restart the run'
            )
        if pin.tag:
            tags = handle.tags
            handle = open_tag(handle, spec, pin.tag)
            if tags[pin.tag].id != pin.tag_id:
                raise ValueError(
                    f'the view {pin.tag!r} of {spec.path} must not change during a run, '
                    'but it was deleted and saved again; restart the run'
                )
        elif handle.version != pin.version:
            handle = open_version(handle, spec, pin.version)
    if len(handle) != pin.num_rows:
        raise ValueError(
            f'{spec.url} must have {pin.num_rows} rows as when the run began, found '
            f'{len(handle)}: the lake was replaced or the tag moved; restart the run'
        )
    return handle


def open_branch(spec: LakeSpec, branch: str) -> Any:
    """Open the newest version of a branch, ``''`` for the main branch."""
    url = f'{spec.address}@{branch}' if branch not in ('', 'main') else spec.address

    def open_it() -> Any:
        arguments = spec.credentials.resolve()
        was_found = _probe_access(spec.path, arguments)
        handle = deeplake.open_read_only(url, **arguments)
        if not was_found:
            warn_changed(
                f'keeps its log in other files than {_FIRST_FILE}',
                'a lake without access may end the process with a crash',
            )
        return handle

    return _explained(spec, open_it)


def open_tag(head: Any, spec: LakeSpec, tag: str) -> Any:
    """Open a saved view of an open lake."""
    names = _explained(spec, lambda: list(head.tags.names()))
    if tag not in names:
        raise ValueError(
            f'deeplake_view_id={tag!r}: {spec.path} does not have a saved view (tag) '
            f'with this name{did_you_mean(tag, names)}; tags: {comma_joined(names)}'
        )
    return _explained(spec, lambda: head.tags[tag].open())


def open_version(head: Any, spec: LakeSpec, version: str) -> Any:
    """Open a version on the branch of an open lake."""
    try:
        return _explained(spec, lambda: head.history[version].open())
    except deeplake.VersionNotFoundError as error:
        known = [head.history[i].id for i in range(len(head.history))]
        raise ValueError(
            f'deeplake_commit_id={version!r}: branch {head.current_branch.name} of '
            f'{spec.path} does not have this version; the newest are '
            f'{comma_joined(known[-5:])}. Compacting a lake keeps its versions; deleting '
            'the branch or the lake removes them'
        ) from error


def open_v3(spec: LakeSpec, version: str) -> Any:
    """Open a lake in the format of Deep Lake 3 as a view."""
    # `open` rejects the format of Deep Lake 3, but a query reads it.
    url = f'{spec.address}@{version}' if version else spec.address
    failure: Exception | None = None
    try:
        view = deeplake.query(f'SELECT * FROM "{url}"', **spec.credentials.resolve())
        if view is not None:  # None: the bucket does not exist
            return view
    except UnreadableReferenceError:
        raise
    except Exception as error:  # of any type, depending on the storage
        failure = error
    if failure is not None and 'not_found' not in str(failure):
        _raise_explained(spec, failure)
        raise ConnectionError(
            f'deeplake_path={spec.url!r}: '
            f'{redact(str(failure), spec.credentials.secrets())}'
        )
    raise FileNotFoundError(
        f'deeplake_path={spec.url!r}: no Deep Lake dataset was found there'
        + (f' with version {version!r}' if version else '')
        + '. Check the path, or create a lake with python -m '
        'mmdet_deeplake_plugin.tools.from_coco'
    )


def _probe_access(path: str, arguments: dict[str, Any]) -> bool:
    """Read a small file of a lake on object storage, to check the access.

    When access is denied while Deep Lake opens a lake, it keeps listing files in the
    background for half a minute; a process that forks or exits meanwhile crashes.
    Reading a file fails for the same reasons, without background work.

    Returns:
        Whether the file is there, or was not looked for.
    """
    if path.partition('://')[0] not in BUCKETS:
        return True
    reader = deeplake.storage.Reader(path, **arguments)
    try:
        # Not get(), which blocks other threads while it waits.
        reader.get_async(_FIRST_FILE).result()
    except (KeyError, deeplake.StorageKeyNotFound) as error:
        if 'NoSuchBucket' in str(error):
            raise
        return False
    return True


def _explained(spec: LakeSpec, task: Callable[[], T]) -> T:
    try:
        return task()
    except (ValueError, TypeError, deeplake.VersionNotFoundError):
        raise
    except Exception as error:
        _raise_explained(spec, error)
        raise


def _raise_explained(spec: LakeSpec, error: Exception) -> None:
    """Translate a known error of Deep Lake into a clear one; ignore others."""
    where = f'deeplake_path={spec.url!r}'
    reason = redact(first_line(error), spec.credentials.secrets())
    # Messages of Deep Lake may contain secrets, so its errors are not chained.
    if isinstance(error, deeplake.LogNotexistsError):
        hint = (
            ' (a mem:// lake exists only in the process that created it: use '
            'num_workers=0, or forked workers)'
            if spec.path.startswith('mem://')
            else ''
        )
        raise NoDatasetError(
            f'{where}: no Deep Lake dataset was found there{hint}'
        ) from None
    if isinstance(error, deeplake.BranchNotFoundError):
        raise ValueError(
            f'{where}: {reason}. The branch existed when this run began, so it was '
            'deleted or renamed, and its versions with it; restart the run'
        ) from None
    if is_access_denied(error):
        raise PermissionError(
            f'{where}: access denied with {spec.credentials!r}: {reason}. Check '
            'deeplake_credentials, or the environment (ACTIVELOOP_TOKEN, AWS_PROFILE, …)'
        ) from None
    if is_missing(error):  # a bucket, or a dataset hosted by Activeloop
        raise FileNotFoundError(f'{where}: {reason}') from None
    if is_unreachable(error):
        raise ConnectionError(f'{where}: {reason}') from None


def column_names(handle: Any) -> list[str]:
    """Return the column names of an open dataset or view."""
    return [column.name for column in handle.schema.columns]


def metadata_of(owner: Any, key: str) -> Any:
    """Return a metadata value of a column or a lake, ``None`` if it is not set."""
    metadata = owner.metadata  # has no get()
    return metadata[key] if key in metadata.keys() else None
