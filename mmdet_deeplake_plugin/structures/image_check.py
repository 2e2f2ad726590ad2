"""Whether bytes are one whole image, told from their ends without decoding.

The first bytes tell the format; its own end mark or length field tells whether
the last ones are there. Decoders do not agree on cut images: OpenCV 4 fills the
rest of a JPEG with grey and warns on stderr, OpenCV 5 and Pillow refuse it. Here
a cut image is broken, whatever decodes it. Bytes after the end are no fault:
cameras and disks pad. What is wrong *between* the ends only a decoder finds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

_JPEG_END = b'\xff\xd9'
_PNG_END = b'IEND\xaeB`\x82'  # the last chunk with its checksum
_START_OF_SCAN = 0xDA
# Markers without a length: TEM, RST0 to RST7, SOI.
_LONE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))


class BrokenImageError(ValueError):
    """What is stored for an image is missing, cut short, or not an image.

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
    """Refuses bytes that are no whole image of a known format.

    JPEG must have its end mark (EOI) behind the first scan, so that the one of a
    thumbnail in the header does not count; PNG its last chunk (IEND); GIF its
    last byte; BMP and WebP the length that they state; JPEG 2000 the end mark of
    its codestream; TIFF, which ends anyhow, the first directory that it points
    to.

    Args:
        content: The encoded image.

    Raises:
        BrokenImageError: If there are no bytes, they begin like no image, or the
            end is missing. The message says which, and not where they lie.
    """
    if not content:
        raise BrokenImageError('no image is stored (0 bytes)')
    for signature, (name, fault) in _FORMATS.items():
        if content.startswith(signature):
            found = fault(content)
            if found:
                raise BrokenImageError(
                    f'the {name} image is cut short: {len(content)} bytes, {found}'
                )
            return
    raise BrokenImageError(
        f'{len(content)} bytes that begin with {content[:8]!r} are no image (JPEG, PNG, '
        'BMP, GIF, WebP, TIFF or JPEG 2000)'
    )


def is_whole(content: bytes) -> bool:
    """Whether :func:`check_image` has nothing to say about bytes."""
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
    """Where the first scan begins; -1 if the segments end before."""
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


def _png_fault(content: bytes) -> str:
    return '' if content.rfind(_PNG_END) >= 0 else 'without the last chunk IEND'


def _gif_fault(content: bytes) -> str:
    return '' if content.rstrip(b'\0')[-1:] == b';' else 'without the last byte 3B'


def _bmp_fault(content: bytes) -> str:
    return _shorter(content, _number(content, '<I', 2))


def _webp_fault(content: bytes) -> str:
    return _shorter(content, 8 + _number(content, '<I', 4))


def _tiff_fault(content: bytes) -> str:
    directory = _number(content, '<I' if content[:1] == b'I' else '>I', 4)
    if directory + 2 > len(content):
        return f'but its directory is at {directory}'
    return ''


def _jpeg2000_fault(content: bytes) -> str:
    return '' if _JPEG_END in content else 'without the end mark FF D9'


def _shorter(content: bytes, stated: int) -> str:
    return f'but it states {stated}' if stated > len(content) else ''


def _number(content: bytes, layout: str, at: int) -> int:
    """The number in a header; more than there are bytes if the header is cut."""
    if len(content) < at + struct.calcsize(layout):
        return len(content) + 1
    return int(struct.unpack_from(layout, content, at)[0])


_FORMATS: dict[bytes, tuple[str, Callable[[bytes], str]]] = {
    b'\xff\xd8\xff': ('JPEG', _jpeg_fault),
    b'\x89PNG\r\n\x1a\n': ('PNG', _png_fault),
    b'BM': ('BMP', _bmp_fault),
    b'GIF8': ('GIF', _gif_fault),
    b'RIFF': ('WebP', _webp_fault),
    b'II*\x00': ('TIFF', _tiff_fault),
    b'MM\x00*': ('TIFF', _tiff_fault),
    b'\x00\x00\x00\x0cjP': ('JPEG 2000', _jpeg2000_fault),
    b'\xff\x4f\xff\x51': ('JPEG 2000', _jpeg2000_fault),
}
