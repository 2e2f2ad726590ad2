"""Formats told by the first bytes, for the files that encoders write."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, features

from mmdet_deeplake_plugin.structures.image_format import (
    HEADER_BYTES,
    IMAGE_FORMATS,
    image_format,
)

PILLOW = {name: name.replace(' ', '').upper() for name in IMAGE_FORMATS}


@pytest.mark.parametrize('name', IMAGE_FORMATS)
def test_the_header_tells_the_format(name):
    """The whole file and its first bytes give the same name."""
    if name == 'JPEG 2000' and not features.check('jpg_2000'):
        pytest.skip('this Pillow cannot write JPEG 2000')
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file, PILLOW[name])
    content = file.getvalue()
    assert image_format(content) == image_format(content[:HEADER_BYTES]) == name


@pytest.mark.parametrize(
    'content', [b'', b'this is text', b'\xff\xd8', b'RIFF\x10\0\0\0WAVEfmt '], ids=repr
)
def test_other_bytes_are_not_an_image(content):
    """Text, a header that is too short, and sound in the container of WebP."""
    assert image_format(content) is None
