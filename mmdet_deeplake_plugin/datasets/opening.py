"""Open the lake that the keys of ``DeepLakeDataset`` name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..lake import (
    Lake,
    LakeSource,
    LakeSpec,
    ReadTimeouts,
    lost_in_conversion,
    open_columns,
    open_object,
    open_source,
)
from ..utils.distributed import once_per_node, together
from ..utils.messages import warn

T = TypeVar('T')
Rows = NDArray[np.int64] | None
_TIMEOUTS = ('read_timeout', 'retry_timeout', 'open_timeout')
_NAMES = ('path', 'credentials', 'commit_id', 'view_id', 'query')


class RequestedLake:
    """The lake that a config names, by a path or by an open dataset.

    Keys are checked at once; a path is opened when the lake is needed.

    Args:
        keys: The keys of ``DeepLakeDataset``, checked, and their values.

    Raises:
        ValueError: If both a dataset and keys that name a lake are set, or these are
            wrong.
    """

    def __init__(self, keys: Mapping[str, Any]) -> None:
        self._columns = {
            'tensors': keys['deeplake_tensors'],
            'box_format': keys['box_format'],
            'style': keys['annotation_style'],
        }
        self._opened: tuple[LakeSource, Rows] | None = None
        names = {name: keys[f'deeplake_{name}'] for name in _NAMES}
        if keys['dataset'] is None:
            timeouts = ReadTimeouts(**{key: float(keys[key]) for key in _TIMEOUTS})
            self._spec = LakeSpec.from_config(**names, timeouts=timeouts)
        elif any(value not in (None, '', {}) for value in names.values()):
            raise ValueError(
                'dataset= is an open lake, so deeplake_path, deeplake_credentials, '
                'deeplake_commit_id, deeplake_view_id and deeplake_query must be left out'
            )
        else:
            self._opened = open_object(keys['dataset'])

    def open(self) -> tuple[Lake, Rows]:
        """Open the lake as :func:`~.open_lake`; by a path, all ranks do so together.

        Returns:
            The lake, and the selected rows, ``None`` for all.
        """
        return self._open() if self._opened else together(self._open)

    def _open(self) -> tuple[Lake, Rows]:
        source, rows = self._opened or open_source(self._spec)
        lake = open_columns(source, **self._columns)
        lost = lost_in_conversion(source.handle)
        if lost:
            warn(f'{lake.name}: {lost}')
        return lake, rows

    def read(self, task: Callable[[], T], *what: Any) -> T:
        """Read once on each node, if all ranks have opened the lake by its path.

        A dataset that was open already may be that of a single rank. The arguments are
        those of :func:`~.once_per_node`.
        """
        return task() if self._opened else once_per_node(task, *what)
