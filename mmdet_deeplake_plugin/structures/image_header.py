"""Read the size and orientation of an image from its header.

Cameras store an image as the sensor sees it, and in its EXIF orientation how it must
be rotated. Pipelines rotate it (unless ``color_type`` is ``'unchanged'``), and the sizes
here take this into account. OpenCV decides: it rotates JPEG, PNG, WebP and TIFF, not
JPEG 2000, BMP and GIF, and ignores what other metadata than EXIF say.
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
                return width, height, _orientation(image, content) in _ON_ITS_SIDE
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError, KeyError):
        return None


def _orientation(image: Image.Image, content: bytes) -> int:
    """Return the orientation that OpenCV finds: that of EXIF alone, whatever XMP says."""
    exif = image.info.get('exif')
    if exif is None and image.format == 'PNG':
        exif = _exif_of_png(content)  # Pillow finds it before the pixels only
    tiff = (exif or b'').removeprefix(b'Exif\0\0')
    order = {b'II': '<', b'MM': '>'}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f'{order}I', tiff, 4)
        (count,) = struct.unpack_from(f'{order}H', tiff, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            (tag,) = struct.unpack_from(f'{order}H', tiff, at)
            if tag == _ORIENTATION:  # OpenCV reads two bytes, whatever the type
                return int(struct.unpack_from(f'{order}H', tiff, at + 8)[0])
    except struct.error:
        pass  # damaged metadata: decoders leave the image as it is
    return 1


def _exif_of_png(content: bytes) -> bytes | None:
    at = 8
    while at + 8 <= len(content):
        length, kind = struct.unpack_from('>I4s', content, at)
        if kind == b'eXIf':
            return content[at + 8 : at + 8 + length]
        at += 12 + length
    return None
