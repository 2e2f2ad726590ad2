"""Read the predictions that a lake has on a branch."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.messages import comma_joined, did_you_mean
from .columns import names
from .columns.roles import holds_numbers
from .connection.json_values import is_json
from .connection.opening import column_names, metadata_of
from .connection.source import LakeSource


def prediction_names(handle: Any) -> list[str]:
    """Return the names of the predictions in an open dataset or view."""
    found = [each for each in column_names(handle) if each.endswith('/boxes')]
    stored = [metadata_of(handle[each], names.PREDICTIONS) for each in found]
    return sorted(str(each) for each in stored if each)


class StoredPredictions:
    """The predictions of a name in a lake.

    Args:
        source: The lake.
        name: Name of the predictions.

    Raises:
        ValueError: If the lake has none of this name.

    Attributes:
        class_names: Names of the labels.
        provenance: What was stored about them.
    """

    def __init__(self, source: LakeSource, name: str) -> None:
        known = prediction_names(source.handle)
        if name not in known:
            raise ValueError(
                f'{source.name} does not have predictions {name!r}'
                f'{did_you_mean(name, known)}; found: {comma_joined(known)}. Write the '
                'branch with them as LAKE@BRANCH'
            )
        self.source, self.name = source, name
        labels = source.handle[f'{name}/labels']
        self.class_names = tuple(metadata_of(labels, names.CLASS_NAMES) or ())
        boxes = source.handle[f'{name}/boxes']
        self.provenance = json.loads(metadata_of(boxes, names.PROVENANCE) or '{}')

    def has(self, column: str) -> bool:
        """Return whether there is a column ``<name>/<column>``."""
        return f'{self.name}/{column}' in column_names(self.source.handle)

    def values(self, column: str, rows: NDArray[np.int64]) -> list[Any]:
        """Read column ``<name>/<column>``; ``None`` for rows without predictions."""
        return self.source.values(f'{self.name}/{column}', rows)

    def numbers(self) -> dict[str, str]:
        """Return the columns that have one number per row.

        Returns:
            Full name of each column by its short one: what follows ``<name>/`` for the
            columns of these predictions, which come first, and the full name of others.
        """
        handle, prefix = self.source.handle, f'{self.name}/'
        found = [name for name in column_names(handle) if _is_number(handle, name)]
        own = {name[len(prefix) :]: name for name in found if name.startswith(prefix)}
        return {**own, **{name: name for name in found if not name.startswith(prefix)}}


def _is_number(handle: Any, column: str) -> bool:
    dtype = handle.schema[column].dtype
    is_array = 'shape=' in str(dtype) or dtype.is_sequence
    return holds_numbers(dtype) and not is_json(dtype) and not is_array
