"""Save the rows of a query as a view, a tag of Deep Lake, for ``deeplake_view_id``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .branch import check_name, open_for_writing, storage_errors
from .connection.opening import column_names
from .connection.resolve import ROW, run_queries
from .connection.source import LakeSource

_REMEDY = 'write credentials that may write, or leave out --tag'


def _check_view_name(source: LakeSource, name: str) -> None:
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


class NewView:
    """Rows of a query that are to be saved as a view; the query is run once.

    Args:
        source: The lake, opened without a query.
        query: TQL without its FROM clause.
        name: Name of the view.

    Attributes:
        rows: Row numbers in the order of the query, shape ``(R,)``.

    Raises:
        ValueError: If the name cannot be that of a new view, the query is wrong, selects
            no rows or leaves out columns, or somebody has written to the branch since the
            lake was opened.
        PermissionError, OSError: If the storage refuses to write, or fails.
    """

    def __init__(self, source: LakeSource, query: str, name: str) -> None:
        _check_view_name(source, name)
        self._source, self._name = source, name
        pin = source.pin
        self._what = f'{source.name}: cannot save the view {name!r}'
        with storage_errors(source, self._what, 'as', _REMEDY):
            dataset = open_for_writing(source.spec)
            self._branch = dataset.branches[pin.branch].open()
            found = self._branch.version
        if found != pin.version:
            raise ValueError(
                'a view is saved of the newest version of a branch, but that of '
                f'{source.name} is {found}; leave out --commit, and begin again'
            )
        try:
            self._views, self.rows = run_queries(self._branch, [query], source.spec)
        except ValueError:
            raise
        except Exception:  # of the storage, of any type
            with storage_errors(source, self._what, 'as', _REMEDY):
                raise
        lost = set(column_names(self._branch)) - set(column_names(self._views[-1]))
        if lost:
            raise ValueError(
                f'the query {query!r} leaves out columns ({min(lost)}, …), which a view '
                'needs; write SELECT * WHERE …'
            )

    def save(self, rows: NDArray[np.int64]) -> None:
        """Save those of :attr:`rows` that are in ``rows``.

        Raises:
            ValueError: If somebody has saved a view of this name in the meantime.
            PermissionError, OSError: If the storage refuses to write, or fails.
        """
        _check_view_name(self._source, self._name)
        with storage_errors(self._source, self._what, 'as', _REMEDY):
            view = self._views[-1]
            if not np.isin(self.rows, rows).all():
                numbers = ', '.join(map(str, rows.tolist()))
                view = view.query(f'SELECT * WHERE {ROW} IN ({numbers})')
            view.tag(self._name)
