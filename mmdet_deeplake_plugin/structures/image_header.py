"""Size and orientation of an image, read from its header.

Cameras store a picture as the sensor sees it, and a note, EXIF orientation, how
it must be turned. Pipelines turn it (unless ``color_type`` is ``'unchanged'``), in
whatever format the note stands, and so do the sizes here.
"""

from __future__ import annotations

import io
import struct
import warnings

import cv2
import mmcv
from PIL import Image

UNKNOWN = (0, 0)

_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257


def header_size(content: bytes) -> tuple[int, int]:
    """Size of an encoded image as a pipeline sees it.

    Args:
        content: The encoded image, or as much of its beginning as holds the header.

    Returns:
        Width and height in pixels; :data:`UNKNOWN` if Pillow cannot tell.
    """
    header = _header(content)
    if header is None:
        return UNKNOWN
    width, height, turned = header
    return (height, width) if turned else (width, height)


def image_size(content: bytes) -> tuple[int, int]:
    """Size of an encoded image, by its header if Pillow knows it, else decoded.

    Args:
        content: The encoded image.

    Returns:
        Width and height in pixels; :data:`UNKNOWN` if OpenCV cannot decode it either.
    """
    size = header_size(content)
    if size != UNKNOWN or not content:
        return size
    try:
        decoded = mmcv.imfrombytes(content)
    except cv2.error:  # more pixels than it allows
        return UNKNOWN
    return UNKNOWN if decoded is None else (decoded.shape[1], decoded.shape[0])


def lies_on_its_side(content: bytes) -> bool:
    """Whether the orientation of an encoded image swaps its width and height."""
    header = _header(content)
    return header is not None and header[2]


def _header(content: bytes) -> tuple[int, int, bool] | None:
    """Width and height as stored, and whether the orientation swaps them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # about large images, odd metadata
            with Image.open(io.BytesIO(content)) as image:
                width, height = image.size
                if image.format == 'TIFF':
                    # Depending on its version, Pillow has turned the size already.
                    tags = image.tag_v2
                    width, height = tags[_TIFF_WIDTH], tags[_TIFF_HEIGHT]
                    return width, height, tags.get(_ORIENTATION) in _ON_ITS_SIDE
                return width, height, _orientation(image) in _ON_ITS_SIDE
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError, KeyError):
        return None


def _orientation(image: Image.Image) -> int:
    if 'exif' not in image.info:  # or Pillow would decode a PNG to look for it
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error):
        return 1  # damaged metadata: decoders leave the image as it is
