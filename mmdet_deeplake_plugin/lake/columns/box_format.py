"""Find the convention of the boxes of a column; it is never inferred from values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deeplake import types as T

from ...structures.boxes import check_box_format
from ..connection.json_values import split_key
from ..connection.opening import metadata_of

_ORDERS = {'ltrb': 'xyxy', 'ltwh': 'xywh', 'ccwh': 'cxcywh'}
_UNITS = {'pixel': '', 'fractional': 'n'}


def declared_box_format(handle: Any, column: str) -> str | None:
    """Return the box convention that a column's type or v3 metadata declares.

    Returns:
        One of :data:`mmdet_deeplake_plugin.structures.boxes.BOX_FORMATS`, or ``None`` if
        none is declared.
    """
    dtype = handle.schema[column].dtype
    # The type has no attributes for order and unit, so compare it with each candidate.
    for order, name in _ORDERS.items():
        for unit, suffix in _UNITS.items():
            candidate = T.BoundingBox(dtype=dtype.id, format=order, bbox_type=unit)
            if dtype in (candidate, T.Nullable(candidate)):
                return name + suffix
    coords = metadata_of(handle[column], 'coords')
    if not isinstance(coords, Mapping):
        return None
    declared_order = _ORDERS.get(str(coords.get('mode', '')).lower())
    declared_unit = _UNITS.get(str(coords.get('type', '')).lower())
    if declared_order is None or declared_unit is None:
        return None
    return declared_order + declared_unit


def box_format_of(
    handle: Any, column: str, types: Mapping[str, Any], requested: str | None
) -> str:
    """Return the box convention of a column, possibly with a key of JSON.

    It is that of the config (``requested``), or the declared one.

    Raises:
        ValueError: If the convention is unknown, or neither declares it.
    """
    if requested is not None:
        return check_box_format(requested)
    name, key = split_key(column, types)
    declared = None if key else declared_box_format(handle, column)
    if declared is None:
        raise ValueError(
            f'the box convention of column {column!r} ({types[name]}) is not declared '
            'in the lake; write box_format= xyxy, xywh or cxcywh for pixels, xyxyn, '
            'xywhn or cxcywhn for fractions of the image'
        )
    return declared
