"""Make what a browser shows of stored images."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...structures.image_format import image_format

THUMB_SIDE = 320  # pixels
_SUFFIXES = {'JPEG': 'jpg', 'PNG': 'png', 'WebP': 'webp', 'GIF': 'gif', 'BMP': 'bmp'}
CONTENT_TYPES = {suffix: f'image/{name.lower()}' for name, suffix in _SUFFIXES.items()}
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 85]


def thumbnail(content: bytes) -> bytes | None:
    """Shrink an encoded image to a small JPEG; None if it cannot be decoded."""
    pixels = _decoded(content)
    return None if pixels is None else _as_jpeg(_shrunk(pixels, THUMB_SIDE))


def for_browser(content: bytes, max_side: int | None = None) -> tuple[str, bytes] | None:
    """Return an image that browsers show: as it is stored, if they know its format.

    Args:
        content: The encoded image.
        max_side: Longest side in pixels; images that are larger are shrunk to it, and
            encoded as JPEG. Defaults to None: as they are.

    Returns:
        Suffix of a file name and the encoded image, None if it cannot be decoded.
    """
    suffix = _SUFFIXES.get(image_format(content) or '')
    if suffix is not None and max_side is None:
        return suffix, content
    pixels = _decoded(content)
    if pixels is None:
        return None
    longest = max(pixels.shape[:2])
    if suffix is not None and longest <= (max_side or 0):
        return suffix, content
    return 'jpg', _as_jpeg(_shrunk(pixels, max_side or longest))


def _decoded(content: bytes) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None


def _shrunk(pixels: NDArray[Any], side: int) -> NDArray[Any]:
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return pixels
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _as_jpeg(pixels: NDArray[Any]) -> bytes:
    return cv2.imencode('.jpg', pixels, _QUALITY)[1].tobytes()
