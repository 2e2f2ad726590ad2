"""Sizes of image files are those of the pixels that MMCV decodes."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import mmcv
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmdet_deeplake_plugin.structures.image_header import image_size, lies_on_its_side

KINDS = ['JPEG', 'PNG', 'WEBP', 'TIFF', 'JPEG2000', 'GIF', 'BMP']
SHORT, LONG, BYTE = 3, 4, 1
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
    '22-rdf-syntax-ns#"><rdf:Description tiff:Orientation="6" '
    'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"/></rdf:RDF></x:xmpmeta>'
)


def _file(kind: str, **options: Any) -> bytes:
    """A black image of 30 x 20 pixels."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


def _exif(value: int, kind: int = SHORT, order: str = '<') -> bytes:
    """EXIF with an orientation."""
    mark = b'II*\0' if order == '<' else b'MM\0*'
    number = struct.pack(f'{order}HH', value, 0)
    if kind == LONG:
        number = struct.pack(f'{order}I', value)
    entry = struct.pack(f'{order}HHI', 0x0112, kind, 1) + number
    return mark + struct.pack(f'{order}IH', 8, 1) + entry + bytes(4)


def _png_with(exif: bytes, before: bytes) -> bytes:
    """A PNG with EXIF before some chunk."""
    content, body = _file('PNG'), b'eXIf' + exif
    chunk = struct.pack('>I', len(exif)) + body + struct.pack('>I', zlib.crc32(body))
    at = content.index(before) - 4
    return content[:at] + chunk + content[at:]


def _assert_as_decoded(content: bytes) -> None:
    height, width = mmcv.imfrombytes(content).shape[:2]
    assert image_size(content) == (width, height)
    assert lies_on_its_side(content) == (width < height)


@pytest.mark.parametrize('orientation', range(10))
@pytest.mark.parametrize('kind', KINDS)
def test_orientations_of_every_format(kind: str, orientation: int) -> None:
    """OpenCV turns JPEG, PNG, WebP and TIFF by EXIF, and no other format."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    _assert_as_decoded(_file(kind, exif=exif))


@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('type_', [SHORT, LONG, BYTE])
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
def test_orientations_of_other_types(kind: str, type_: int, order: str) -> None:
    """OpenCV takes two bytes for the number, whatever the type says."""
    _assert_as_decoded(_file(kind, exif=b'Exif\0\0' + _exif(6, type_, order)))


@pytest.mark.parametrize('length', range(0, 27))
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
def test_damaged_exif(kind: str, length: int) -> None:
    """A file whose EXIF is cut short has the size that OpenCV gives it."""
    _assert_as_decoded(_file(kind, exif=b'Exif\0\0' + _exif(6)[:length]))


@pytest.mark.parametrize('orientation', [None, 1, 6])
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
def test_the_orientation_of_xmp_does_not_count(kind: str, orientation: Any) -> None:
    """Pillow asks XMP where EXIF says nothing; OpenCV does not."""
    exif = Image.Exif()
    exif[0x010F] = 'camera'
    if orientation is not None:
        exif[0x0112] = orientation
    options: dict[str, Any] = {'xmp': XMP.encode()}
    if kind == 'PNG':
        options = {'pnginfo': PngInfo()}
        options['pnginfo'].add_itxt('XML:com.adobe.xmp', XMP)
    _assert_as_decoded(_file(kind, exif=exif, **options))


@pytest.mark.parametrize('before', [b'IDAT', b'IEND'])
def test_exif_before_and_after_the_pixels_of_a_png(before: bytes) -> None:
    """Both places are allowed."""
    _assert_as_decoded(_png_with(_exif(6), before))
