"""Check that bytes are one complete image, without decoding them.

The first bytes tell the format; its end mark or length field tells whether the last
ones are there. Decoders disagree about truncated images: OpenCV 4 fills the rest of a
JPEG with grey and warns on stderr, OpenCV 5 and Pillow refuse it. Here a truncated
image is broken, whichever decoder is used. Bytes after the end are allowed, since
cameras and disks pad files. Damage *between* the ends is left to the decoder.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from .image_format import IMAGE_FORMATS, image_format

_JPEG_END = b'\xff\xd9'
_PNG_END = b'IEND\xaeB`\x82'  # the last chunk with its checksum
_START_OF_SCAN = 0xDA
# Markers without a length: TEM, RST0 to RST7, SOI.
_LONE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))


class BrokenImageError(ValueError):
    """The bytes stored for an image are missing, truncated, or not an image.

    Args:
        finding: What is wrong, and where.
        remedy: What to do about it.
    """

    def __init__(self, finding: object = '', remedy: str = '') -> None:
        super().__init__(finding, remedy)
        self.finding, self.remedy = str(finding), remedy

    def __str__(self) -> str:
        return f'{self.finding}; {self.remedy}' if self.remedy else self.finding


def check_image(content: bytes) -> None:
    """Raise an error unless the bytes are a complete image of a known format.

    A JPEG must have its end mark (EOI) after the first scan, so that the end mark of
    a thumbnail in the header does not count; a PNG its last chunk (IEND); a GIF its
    last byte; BMP and WebP the length that their header states; JPEG 2000 the end
    mark of its codestream; a TIFF, whose end is not marked, the first directory that
    its header points to.

    Args:
        content: The encoded image.

    Raises:
        BrokenImageError: If the content is empty, the format is unknown, or the end is
            missing. The message says which; the caller adds where the image is stored.
    """
    if not content:
        raise BrokenImageError('no image is stored (0 bytes)')
    name = image_format(content)
    if name is None:
        *formats, last = IMAGE_FORMATS
        raise BrokenImageError(
            f'{len(content)} bytes that begin with {content[:8]!r} are not an image '
            f'({", ".join(formats)} or {last})'
        )
    fault = _FAULTS[name](content)
    if fault:
        raise BrokenImageError(
            f'the {name} image is cut short: {len(content)} bytes, {fault}'
        )


def is_whole(content: bytes) -> bool:
    """Return whether :func:`check_image` accepts the bytes."""
    try:
        check_image(content)
    except BrokenImageError:
        return False
    return True


def _jpeg_fault(content: bytes) -> str:
    scan = _first_scan(content)
    if scan < 0:
        return 'and no pixels in them'
    # Within a scan, FF D9 can only be the end mark: FF is followed by 00 there.
    return '' if content.rfind(_JPEG_END, scan) >= 0 else 'without the end mark FF D9'


def _first_scan(content: bytes) -> int:
    """Return where the first scan begins, -1 if the segments end before one."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            at += 1
        elif marker in _LONE_MARKERS:
            at += 2
        else:
            if marker == _START_OF_SCAN:
                return at
            at += 2 + int.from_bytes(content[at + 2 : at + 4], 'big')
    return -1


def _gif_fault(content: bytes) -> str:
    return '' if content.rstrip(b'\0')[-1:] == b';' else 'without the last byte 3B'


def _tiff_fault(content: bytes) -> str:
    directory = _number(content, '<I' if content[:1] == b'I' else '>I', 4)
    if directory + 2 > len(content):
        return f'but its directory is at {directory}'
    return ''


def _unmarked(content: bytes, end: bytes, name: str) -> str:
    return '' if content.rfind(end) >= 0 else f'without the {name}'


def _shorter(content: bytes, stated: int) -> str:
    return f'but it states {stated}' if stated > len(content) else ''


def _number(content: bytes, layout: str, at: int) -> int:
    """Return a number of the header; if the header is truncated, more than the length."""
    if len(content) < at + struct.calcsize(layout):
        return len(content) + 1
    return int(struct.unpack_from(layout, content, at)[0])


_FAULTS: dict[str, Callable[[bytes], str]] = {
    'JPEG': _jpeg_fault,
    'PNG': lambda content: _unmarked(content, _PNG_END, 'last chunk IEND'),
    'BMP': lambda content: _shorter(content, _number(content, '<I', 2)),
    'GIF': _gif_fault,
    'WebP': lambda content: _shorter(content, 8 + _number(content, '<I', 4)),
    'TIFF': _tiff_fault,
    'JPEG 2000': lambda content: _unmarked(content, _JPEG_END, 'end mark FF D9'),
}
