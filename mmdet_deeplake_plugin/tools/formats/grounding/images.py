"""Lay out an image and a text as the row of a lake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....lake import names
from ..files import as_json


def text_columns(keys: dict[str, Any], crowds: Sequence[int]) -> dict[str, Any]:
    """Return the columns of an image with a text, or with several.

    Args:
        keys: Further keys of the sample, as the stock dataset has them.
        crowds: Whether losses ignore each annotation.
    """
    return {
        names.GROUNDING: as_json(keys),
        names.ISCROWD: crowds,
    }
