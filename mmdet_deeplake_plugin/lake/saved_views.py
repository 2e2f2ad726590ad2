"""Save the rows of a query as a view, a tag of Deep Lake, for ``deeplake_view_id``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import deeplake

from ..utils.messages import first_line
from .branch import probe_writing
from .connection.failures import is_access_denied
from .connection.opening import column_names
from .connection.redaction import redact
from .connection.source import LakeSource

_SIGNS = '_-.'


def check_view_name(source: LakeSource, name: str) -> None:
    """Refuse the name of a view that cannot be saved, before the work begins.

    Args:
        source: The lake, opened without a query.
        name: Name of the view.

    Raises:
        ValueError: If the name has other signs than letters, digits and ``_-.``, a view
            has it already, or the lake was not opened at the newest version of a branch.
    """
    if not name or not all(each.isalnum() or each in _SIGNS for each in name):
        raise ValueError(
            f'the name of a view must be of letters, digits and {_SIGNS}, got {name!r}; '
            'write for example --tag worst'
        )
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
        PermissionError: If the storage refuses to write.
        OSError: If it fails for another reason.
    """
    check_view_name(source, name)
    spec, pin = source.spec, source.pin
    with _storage(source, name):
        arguments = spec.credentials.resolve()
        probe_writing(spec, arguments)
        dataset: Any = deeplake.open(spec.address, **arguments)
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
    with _storage(source, name):
        view.tag(name)
    return len(view)


@contextmanager
def _storage(source: LakeSource, name: str) -> Iterator[None]:
    """Turn Deep Lake's errors into ``OSError``, without secrets."""
    try:
        yield
    except Exception as error:
        spec = source.spec
        cause = redact(first_line(error), spec.credentials.secrets())
        what = f'{source.name}: cannot save the view {name!r}'
        if is_access_denied(error) or 'denied' in cause.lower():
            raise PermissionError(
                f'{what}, as the storage refused: {cause}; write credentials that may '
                'write, or leave out --tag'
            ) from None
        raise OSError(f'{what}: {cause}') from None
