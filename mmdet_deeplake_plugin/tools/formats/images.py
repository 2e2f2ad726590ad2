"""Image files of a conversion: are they there, and of what kind are they?

Reads the first bytes of each file only: a file that is cut off in the middle is
not noticed here, since finding it would mean decoding every image.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import print_log

_SIGNATURES = {
    'JPEG': rb'\xff\xd8\xff',
    'PNG': rb'\x89PNG\r\n\x1a\n',
    'BMP': rb'BM',
    'TIFF': rb'II\*\x00|MM\x00\*',
    'WebP': rb'RIFF....WEBP',
    'GIF': rb'GIF8',
}
_HEADER_BYTES = 12


def image_kind(path: Path) -> str | None:
    """Kind of an image file by its first bytes, such as ``'JPEG'``, or None."""
    with path.open('rb') as file:
        header = file.read(_HEADER_BYTES)
    for kind, pattern in _SIGNATURES.items():
        if re.match(pattern, header, re.DOTALL):
            return kind
    return None


def image_compression(folder: Path, names: Sequence[str]) -> str:
    """Checks that all images exist and chooses the column's compression.

    Args:
        folder: Folder of the images.
        names: File names relative to ``folder``.

    Returns:
        ``'png'`` if all files are PNG, else ``'jpeg'``. The column keeps the
        bytes of either kind as they are; the name is what Deep Lake declares.

    Raises:
        FileNotFoundError: If ``folder`` or any of the images is missing.
        ValueError: If a file is no image of a known kind.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'image folder {folder} does not exist')
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(names)} images are missing in {folder}; '
            f'the first is {missing[0]!r}'
        )
    kinds = [image_kind(folder / name) for name in names]
    unknown = [name for name, kind in zip(names, kinds) if kind is None]
    if unknown:
        raise ValueError(
            f'{len(unknown)} of {len(names)} files in {folder} are none of '
            f'{", ".join(_SIGNATURES)}; the first is {unknown[0]!r}: replace or '
            'remove it'
        )
    others = Counter(kind for kind in kinds if kind not in ('JPEG', 'PNG'))
    if others:
        found = ', '.join(f'{count} {kind}' for kind, count in others.items())
        print_log(
            f'{found} files are stored as they are: MMDetection decodes them, '
            "Deep Lake's own viewer and array access do not",
            logger='current',
            level=logging.WARNING,
        )
    return 'png' if set(kinds) == {'PNG'} else 'jpeg'
