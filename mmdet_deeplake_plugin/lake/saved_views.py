"""Save the rows of a query as a view, a tag of Deep Lake, for ``deeplake_view_id``."""

from __future__ import annotations

from .branch import check_name, open_for_writing, storage_errors
from .connection.opening import column_names
from .connection.source import LakeSource

_REMEDY = 'write credentials that may write, or leave out --tag'


def check_view_name(source: LakeSource, name: str) -> None:
    """Refuse the name of a view that cannot be saved, before the work begins.

    Args:
        source: The lake, opened without a query.
        name: Name of the view.

    Raises:
        ValueError: If the name has other signs than letters, digits and ``_-.``, a view
            has it already, or the lake was not opened at the newest version of a branch.
    """
    check_name('the name of a view', name, False, 'for example --tag worst')
    pin = source.pin
    if pin.is_v3 or pin.tag:
        what = 'a lake in the format of Deep Lake 3' if pin.is_v3 else 'another view'
        raise ValueError(
            f'a view is saved of a branch, but {source.name} is {what}; write LAKE@BRANCH'
        )
    names = source.read('its views', lambda handle: list(handle.tags.names()))
    if name in names:
        raise ValueError(
            f'{source.spec.path} has a view {name!r} already; write another name, or '
            f'delete it with Deep Lake (dataset.tags[{name!r}].delete())'
        )


def save_view(source: LakeSource, query: str, name: str) -> int:
    """Save the rows that a query selects, in its order, as a view.

    Args:
        source: The lake, opened without a query.
        query: TQL without its FROM clause.
        name: Name of the view.

    Returns:
        Number of rows.

    Raises:
        ValueError: As :func:`check_view_name`; if the query leaves out columns, or
            somebody has written to the branch since the lake was opened.
        PermissionError, OSError: If the storage refuses to write, or fails.
    """
    check_view_name(source, name)
    pin = source.pin
    what = f'{source.name}: cannot save the view {name!r}'
    with storage_errors(source, what, 'as', _REMEDY):
        dataset = open_for_writing(source.spec)
        branch = dataset.branches[pin.branch].open()
        found = branch.version
        view = branch.query(query)
        lost = set(column_names(branch)) - set(column_names(view))
    if found != pin.version:
        raise ValueError(
            'a view is saved of the newest version of a branch, but that of '
            f'{source.name} is {found}; leave out --commit, and begin again'
        )
    if lost:
        raise ValueError(
            f'the query {query!r} leaves out columns ({min(lost)}, …), which a view '
            'needs; write SELECT * WHERE …'
        )
    with storage_errors(source, what, 'as', _REMEDY):
        view.tag(name)
    return len(view)
