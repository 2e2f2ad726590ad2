"""Check that image files exist, and tell their format.

Only the first bytes of each file are read: finding truncated files would mean decoding
every image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ...structures.image_format import HEADER_BYTES, IMAGE_FORMATS, image_format
from ...structures.image_header import UNKNOWN, image_size
from ...utils.messages import warn


def image_compression(folder: Path, names: Sequence[str]) -> str:
    """Check that all images exist and choose the compression of their column.

    Args:
        folder: Folder of the images.
        names: File names relative to ``folder``.

    Returns:
        ``'png'`` if all files are PNG, else ``'jpeg'``. The column stores the bytes of
        any format verbatim; the compression is only what it declares.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'image folder {folder} does not exist')
    check_files(folder, names, 'images')
    kinds = []
    for name in names:
        with (folder / name).open('rb') as file:
            kinds.append(image_format(file.read(HEADER_BYTES)))
    unknown = [name for name, kind in zip(names, kinds) if kind is None]
    if unknown:
        raise ValueError(
            f'images must be {", ".join(IMAGE_FORMATS)}, but {len(unknown)} of '
            f'{len(names)} files in {folder} are not; the first is {unknown[0]!r}: '
            'replace or remove it'
        )
    others = Counter(kind for kind in kinds if kind not in ('JPEG', 'PNG'))
    if others:
        counts = ', '.join(f'{count} {kind}' for kind, count in others.items())
        warn(
            f'{counts} files are stored as they are: MMDetection decodes them, '
            "Deep Lake's own viewer and array access do not",
        )
    return 'png' if set(kinds) == {'PNG'} else 'jpeg'


def check_files(folder: Path, names: Sequence[str], what: str) -> None:
    """Check that all files of a folder exist; ``what`` says what they are."""
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(names)} {what} are missing in {folder}; '
            f'the first is {missing[0]!r}'
        )


def stored_size(content: bytes, name: str) -> tuple[int, int]:
    """Return width and height of an image as pipelines see it, rotated by its EXIF.

    Args:
        content: The encoded image.
        name: Its file name, for the message.
    """
    size = image_size(content)
    if size == UNKNOWN:
        raise ValueError(f'{name} cannot be decoded; replace or remove the image')
    return size
