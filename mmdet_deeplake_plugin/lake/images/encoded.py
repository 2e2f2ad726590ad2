"""Read the encoded image of a row, however its column stores images.

The type of a column determines which of three storage kinds it is:

- ``encoded``: the bytes of image files, returned unchanged. Images that were appended as
  arrays belong here too: Deep Lake encoded them when they were written.
- ``linked``: addresses of image files (``Link``). The file is fetched and returned
  unchanged; Deep Lake's own access would decode it and ignore its EXIF orientation.
- ``pixels``: arrays in uncompressed columns, and all nullable columns, because Deep Lake
  does not return their stored bytes. The pixels are encoded as lossless PNG, since
  pipelines decode images themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

import deeplake
import numpy as np
from deeplake import types

from ...structures.image_check import BrokenImageError
from ...structures.seg_maps import encode_png

ENCODED, LINKED, PIXELS = 'encoded', 'linked', 'pixels'

_HTTP_TIMEOUT = 60.0  # seconds without an answer
_GONE = (404, 410)


def storage_of(dtype: Any) -> str:
    """Return how a column of a type stores images: encoded, linked or pixels.

    Raises:
        ValueError: If it is a nullable column of links; Deep Lake 4.7 returns wrong
            bytes for these.
    """
    if dtype.is_link:
        if dtype.is_nullable:
            raise ValueError(
                f'{dtype} cannot be read: Deep Lake does not read links of a nullable '
                'column. Store them in a column of type Link(Image()) and leave rows '
                'without an image empty'
            )
        return LINKED
    if dtype.is_nullable:
        return PIXELS
    if dtype.is_image:
        return ENCODED if _compression_of(dtype) else PIXELS
    if dtype.is_segment_mask:
        return ENCODED if _compression_of(dtype) == 'png' else PIXELS
    return ENCODED if dtype.id == 'bytes' else PIXELS


def _compression_of(dtype: Any) -> str:
    """Return how a column of images or maps compresses them; ``''`` if it does not.

    Deep Lake 4.5 and 4.6.0 do not tell. Their types are equal if the compression is.
    """
    if hasattr(dtype, 'sample_compression'):
        return dtype.sample_compression or ''
    is_map = dtype.is_segment_mask
    make = types.SegmentMask if is_map else types.Image
    for compression in ('png',) if is_map else ('png', 'jpeg'):
        if dtype == make(dtype=dtype.id, sample_compression=compression):
            return compression
    return ''


def read_image(handle: Any, column: str, row: int, credentials: Any) -> bytes:
    """Read the encoded image of a row; links to object storage with the credentials.

    Raises:
        BrokenImageError: If the row is empty or links to a file that does not exist.
        ValueError: If the type of the column cannot hold images.
    """
    storage = storage_of(handle.schema[column].dtype)
    if storage == PIXELS:
        return encode_pixels(handle[column][row])
    content = bytes(handle[column].get_bytes(row))
    if storage == LINKED:
        return fetch(content.decode(), credentials)
    return content


def encode_pixels(value: Any) -> bytes:
    """Encode a stored array as a PNG with the same pixels.

    Args:
        value: Array of shape ``(H, W)`` or ``(H, W, C)`` with 1, 3 (RGB) or 4 (RGBA)
            channels and dtype ``uint8``, ``uint16`` or ``bool``; or flat ``uint8`` (an
            image file that was stored in such a column), whose bytes are returned.

    Raises:
        BrokenImageError: If the value is ``None`` or an empty array.
        ValueError: If the array has any other shape or dtype.
    """
    if value is None:
        raise BrokenImageError('no image is stored (null)')
    pixels = np.asarray(value)
    if pixels.ndim == 1 and pixels.dtype == np.uint8:
        return pixels.tobytes()
    if pixels.size == 0:
        raise BrokenImageError(f'the stored image has no pixels (shape {pixels.shape})')
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    channels = 1 if pixels.ndim == 2 else pixels.shape[-1]
    if (
        pixels.ndim not in (2, 3)
        or channels not in (1, 3, 4)
        or pixels.dtype not in (np.uint8, np.uint16)
    ):
        raise ValueError(
            'an image must be an array (H, W, C) with 1, 3 or 4 channels, of uint8 or '
            f'uint16; found shape {pixels.shape} and type {pixels.dtype}'
        )
    if channels >= 3:  # Deep Lake stores RGB, OpenCV writes BGR
        pixels = pixels[:, :, [2, 1, 0, 3][:channels]]
    return encode_png(pixels)


def fetch(link: str, credentials: Any, limit: int | None = None) -> bytes:
    """Read the file that a link points to.

    Args:
        link: A local path (relative paths start at the working directory), or a URL:
            ``file://``, ``http(s)://``, or object storage that Deep Lake can read
            (``s3://``, ``gcs://``, ``az://``, …).
        credentials: Credentials of the lake, used for object storage.
        limit: Number of bytes to read from the start; ``None`` reads the whole file.

    Raises:
        BrokenImageError: If the link is empty or the file does not exist.
    """
    if not link:
        raise BrokenImageError('no image is stored (an empty link)')
    scheme, mark, rest = link.partition('://')
    try:
        if not mark or scheme == 'file':
            path = Path(unquote(rest)) if mark else Path(link).expanduser()
            with path.open('rb') as file:
                return file.read(limit)
        if scheme in ('http', 'https'):
            with urlopen(link, timeout=_HTTP_TIMEOUT) as answer:
                return bytes(answer.read(limit))
        folder, _, name = link.rpartition('/')
        reader = deeplake.storage.Reader(folder, **credentials.resolve())
        part = () if limit is None else (0, limit)
        # get() would block all other threads while it waits.
        return bytes(reader.get_async(name, *part).result())
    except (FileNotFoundError, IsADirectoryError, KeyError, HTTPError) as error:
        if isinstance(error, HTTPError) and error.code not in _GONE:
            raise
        raise BrokenImageError(
            f'its link {_redacted(link)} points to a file that does not exist'
        ) from error


def blank_image(width: int, height: int) -> bytes:
    """Encode a black image, in place of one that cannot be decoded, as a PNG."""
    pixels = np.zeros((max(height, 1), max(width, 1), 3), np.uint8)
    return encode_png(pixels, level=1)


def _redacted(link: str) -> str:
    # The query of a signed URL is secret, and the part before an @ may be.
    parts = urlsplit(link)
    host = parts.netloc.rpartition('@')[2]
    return parts._replace(netloc=host, query='', fragment='').geturl()
