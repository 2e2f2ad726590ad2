"""The encoded image of a row, however its column stores images.

Three ways of storing, told by the column's type:

- ``encoded``: the bytes of image files, which are given as they are. So is what
  was appended as an array: Deep Lake encoded it then.
- ``linked``: addresses of image files (``Link``). The file is fetched and given as
  it is; Deep Lake's own access would decode it, without its orientation.
- ``pixels``: arrays, of uncompressed columns; and nullable columns, whose stored
  bytes Deep Lake does not give out. The pixels are encoded as PNG, without loss,
  since pipelines decode images themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

import cv2
import deeplake
import numpy as np

from ...structures.image_check import BrokenImageError

ENCODED, LINKED, PIXELS = 'encoded', 'linked', 'pixels'

_HTTP_TIMEOUT = 60.0  # seconds without an answer
_GONE = (404, 410)


def storage_of(dtype: Any) -> str:
    """How a column of some type stores images.

    Args:
        dtype: Type of a column, as its schema has it.

    Returns:
        ``'encoded'``, ``'linked'`` or ``'pixels'``.

    Raises:
        ValueError: If it is a nullable column of links, for which Deep Lake 4.7
            returns wrong bytes.
    """
    if dtype.is_link:
        if dtype.is_nullable:
            raise ValueError(
                f'{dtype} cannot be read: Deep Lake does not read links of a nullable '
                'column. Store them in a column of type Link(Image()), and leave rows '
                'without an image empty'
            )
        return LINKED
    if dtype.is_nullable:
        return PIXELS
    if dtype.is_image:
        return ENCODED if dtype.sample_compression else PIXELS
    if dtype.is_segment_mask:
        return ENCODED if dtype.sample_compression == 'png' else PIXELS
    return ENCODED if dtype.id == 'bytes' else PIXELS


def read_image(handle: Any, column: str, row: int, credentials: Any) -> bytes:
    """The encoded image of a row.

    Args:
        handle: An open Deep Lake dataset or view.
        column: Name of the column.
        row: Row number.
        credentials: Those of the lake, also used for links to object storage.

    Raises:
        BrokenImageError: If the row holds no image, or links to a file that is
            not there.
        ValueError: If the column is of a type that holds no images.
        Exception: Of Deep Lake or of the network, if reading fails.
    """
    storage = storage_of(handle.schema[column].dtype)
    if storage == PIXELS:
        return encode_pixels(handle[column][row])
    content = bytes(handle[column].get_bytes(row))
    if storage == LINKED:
        return fetch(content.decode(), credentials)
    return content


def encode_pixels(value: Any) -> bytes:
    """A stored array as an image file with the same pixels.

    Args:
        value: ``(H, W)`` or ``(H, W, C)`` with 1, 3 (RGB) or 4 (RGBA) channels, of
            ``uint8``, ``uint16`` or ``bool``; a flat ``uint8`` array, which is what
            an image file becomes in such a column; or ``None``.

    Returns:
        A PNG; a flat array's own bytes.

    Raises:
        BrokenImageError: If there is no pixel.
        ValueError: If the array is of another shape or type.
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
            f'an array of shape {pixels.shape} and type {pixels.dtype} is no image; '
            'store (H, W, C) with 1, 3 or 4 channels, of uint8 or uint16'
        )
    if channels >= 3:  # Deep Lake has RGB, OpenCV writes BGR
        order = [2, 1, 0, 3][:channels]
        pixels = np.ascontiguousarray(pixels[:, :, order])
    # Decoded soon: time matters, size does not.
    done, encoded = cv2.imencode('.png', pixels, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    if not done:
        raise ValueError(f'OpenCV cannot encode an array of shape {pixels.shape}')
    return encoded.tobytes()


def fetch(link: str, credentials: Any, limit: int | None = None) -> bytes:
    """The bytes of the file that a link names.

    Args:
        link: A local path (a relative one is relative to the working directory),
            ``file://``, ``http(s)://``, or an object storage that Deep Lake reads
            (``s3://``, ``gcs://``, ``az://``, …).
        credentials: Those of the lake, for object storage.
        limit: How many bytes to read from the beginning; ``None`` for all.

    Raises:
        BrokenImageError: If the link is empty, or there is no such file.
        Exception: Of the storage, if reading fails.
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
        # Not get(), which keeps other threads from running while it waits.
        return bytes(reader.get_async(name, *part).result())
    except (FileNotFoundError, IsADirectoryError, KeyError) as error:
        raise BrokenImageError(f'its link {_shown(link)} leads to no file') from error
    except HTTPError as error:
        if error.code not in _GONE:
            raise
        raise BrokenImageError(f'its link {_shown(link)} leads to no file') from error


def blank_image(width: int, height: int) -> bytes:
    """A black image, to stand for one that cannot be decoded.

    Args:
        width: In pixels.
        height: In pixels.

    Returns:
        A PNG with three channels.
    """
    pixels = np.zeros((max(height, 1), max(width, 1), 3), np.uint8)
    return cv2.imencode('.png', pixels)[1].tobytes()


def _shown(link: str) -> str:
    # The query of a signed address is a secret; what stands before an @ may be.
    parts = urlsplit(link)
    host = parts.netloc.rpartition('@')[2]
    return parts._replace(netloc=host, query='', fragment='').geturl()
