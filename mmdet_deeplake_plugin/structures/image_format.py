"""Recognise image formats by the first bytes of a file."""

from __future__ import annotations

_SIGNATURES = {
    b'\xff\xd8\xff': 'JPEG',
    b'\x89PNG\r\n\x1a\n': 'PNG',
    b'BM': 'BMP',
    b'GIF8': 'GIF',
    b'RIFF': 'WebP',
    b'II*\x00': 'TIFF',
    b'MM\x00*': 'TIFF',
    b'\x00\x00\x00\x0cjP': 'JPEG 2000',
    b'\xff\x4f\xff\x51': 'JPEG 2000',
}
IMAGE_FORMATS = tuple(dict.fromkeys(_SIGNATURES.values()))
HEADER_BYTES = 12  # enough of a file to tell its format


def image_format(content: bytes) -> str | None:
    """Return the format of an encoded image.

    Args:
        content: The encoded image, or at least its first ``HEADER_BYTES`` bytes.

    Returns:
        One of ``IMAGE_FORMATS``, or ``None`` if no format is recognised.

    Examples:
        >>> image_format(b'BM' + bytes(10))
        'BMP'
    """
    for signature, name in _SIGNATURES.items():
        if content.startswith(signature):
            if name == 'WebP' and not b'WEBP'.startswith(content[8:12]):
                return None  # sound and video files begin with RIFF too
            return name
    return None
