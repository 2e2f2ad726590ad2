"""Reads what a page of ``tools.triage`` reads."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from helpers.predictions import CASES
from mmdet_deeplake_plugin.tools.triage_page.data import PREFIX

COUNT = 140  # images: more than fit on a screen
# What would be run if it were taken for a part of the page.
CLASSES = (
    '<script>window.hacked = 1</script>',
    'dog "&" <b>bold</b>',
    "<img src=x onerror='window.hacked = 1'>",
)
FILE_NAME = '{:06d} <img src=x onerror="window.hacked = 1"> & é.jpg'
# What the other run finds: worse in the first case, better in the second, of other errors
# in the third; the same in all others.
OTHERS = {0: CASES[1][0], 1: CASES[0][0], 2: CASES[3][0]}


def data_of(folder: Path) -> dict[str, Any]:
    """What a page reads, with its arrays decoded."""
    text = (folder / 'data.js').read_text()
    assert text.startswith(PREFIX) and text.endswith(';\n')

    def decoded(values: dict[str, Any]) -> Any:
        if values.keys() == {'type', 'data'}:
            kind = {'f4': '<f4', 'i4': '<i4', 'u1': 'u1'}[values['type']]
            return np.frombuffer(base64.b64decode(values['data']), kind)
        return values

    return json.loads(text[len(PREFIX) : -2], object_hook=decoded)
