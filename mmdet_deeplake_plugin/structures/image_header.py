"""Read the size and orientation of an image from its header.

Cameras store an image as the sensor sees it, and in its EXIF orientation how it must
be rotated. Pipelines rotate it (unless ``color_type`` is ``'unchanged'``), whatever
the file format, and the sizes here take this into account.
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
    """Return the size of an encoded image as a pipeline sees it.

    Args:
        content: The encoded image, or its beginning with the whole header.

    Returns:
        Width and height in pixels; :data:`UNKNOWN` if Pillow cannot read the header.
    """
    header = _header(content)
    if header is None:
        return UNKNOWN
    width, height, is_on_its_side = header
    return (height, width) if is_on_its_side else (width, height)


def image_size(content: bytes) -> tuple[int, int]:
    """Return the size of an encoded image, decoding it if the header is not enough.

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
    except cv2.error:  # e.g. more pixels than OpenCV allows
        return UNKNOWN
    return UNKNOWN if decoded is None else (decoded.shape[1], decoded.shape[0])


def lies_on_its_side(content: bytes) -> bool:
    """Return whether the EXIF orientation swaps an image's width and height."""
    header = _header(content)
    return header is not None and header[2]


def _header(content: bytes) -> tuple[int, int, bool] | None:
    """Return width and height as stored, and whether the orientation swaps them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # large images, unusual metadata
            with Image.open(io.BytesIO(content)) as image:
                width, height = image.size
                if image.format == 'TIFF':
                    # Some versions of Pillow have swapped the size already.
                    tags = image.tag_v2
                    width, height = tags[_TIFF_WIDTH], tags[_TIFF_HEIGHT]
                    return width, height, tags.get(_ORIENTATION) in _ON_ITS_SIDE
                return width, height, _orientation(image) in _ON_ITS_SIDE
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError, KeyError):
        return None


def _orientation(image: Image.Image) -> int:
    if 'exif' not in image.info:  # otherwise Pillow decodes a PNG to search for it
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error):
        return 1  # damaged metadata: decoders leave the image as it is
