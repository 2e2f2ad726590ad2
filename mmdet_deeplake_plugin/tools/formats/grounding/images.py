"""Lay out an image and a text as the row of a lake."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....lake import names


def text_columns(keys: dict[str, Any], crowds: Sequence[int]) -> dict[str, Any]:
    """Return the columns of an image with a text, or with several.

    Args:
        keys: Further keys of the sample, as the stock dataset has them.
        crowds: Whether losses ignore each annotation.
    """
    return {
        names.GROUNDING: json.dumps(keys, ensure_ascii=False),
        names.ISCROWD: np.array(crowds, np.uint8),
    }
