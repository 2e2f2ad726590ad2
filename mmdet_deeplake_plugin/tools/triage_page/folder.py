"""Write the page as a folder that needs nothing else."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ...lake import Lake
from ...structures.image_check import BrokenImageError
from ...utils.atomic_folder import atomic_folder
from .._cli import with_progress
from .content import Content
from .data import PREFIX, as_script
from .images import for_browser, thumbnail

PAGE = Path(__file__).with_name('page')
DATA, INDEX, THUMBS, IMAGES = 'data.js', 'index.html', 'thumbs', 'images'
_ROWS_AT_ONCE = 64


def check_folder(out: str | os.PathLike[str], overwrite: bool) -> Path:
    """Return the path of a folder to write, before the work begins.

    Raises:
        FileExistsError: If it has other content than a page, or a page and ``overwrite``
            is false.
    """
    folder = Path(out).expanduser()
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f'--out {out} must be a folder, but it is a file')
    if not folder.exists() or not any(folder.iterdir()):
        return folder
    if not _is_page(folder):
        raise FileExistsError(
            f'--out {out} has other content than a page of this tool, which is left as '
            'it is; write the name of a new folder'
        )
    if not overwrite:
        raise FileExistsError(
            f'--out {out} has a page already; pass --overwrite to replace it'
        )
    return folder


def write_page(
    folder: Path, content: Content, max_side: int | None = None, progress: bool = False
) -> int:
    """Write a page; after a failure, what was there is as before.

    Args:
        folder: Where, as :func:`check_folder` returned it.
        content: What the page shows.
        max_side: Longest side of the images in pixels, None for images as stored.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        Number of images that are broken.

    Raises:
        OSError: If the folder cannot be written, or the lake not be read.
    """
    with atomic_folder(folder, replace=True) as partial_folder:
        for file in page_files():
            shutil.copyfile(file, partial_folder / served_name(file))
        for name in (THUMBS, IMAGES):
            (partial_folder / name).mkdir()
        suffixes = _write_images(partial_folder, content, max_side, progress)
        (partial_folder / DATA).write_bytes(as_script(content.data, suffixes))
    return suffixes.count('')


def page_files() -> list[Path]:
    """Return the files of the page that are always the same."""
    return sorted(each for each in PAGE.iterdir() if each.suffix in TYPES)


def served_name(file: Path) -> str:
    """Return the name of a file of the page in its folder."""
    return INDEX if file.suffix == '.html' else file.name


TYPES = {
    '.html': 'text/html; charset=utf-8',
    '.css': 'text/css; charset=utf-8',
    '.js': 'text/javascript; charset=utf-8',
}


def _is_page(folder: Path) -> bool:
    data = folder / DATA
    if not data.is_file() or not (folder / INDEX).is_file():
        return False
    with data.open('rb') as file:
        return file.read(len(PREFIX)) == PREFIX.encode()


def _write_images(
    folder: Path, content: Content, max_side: int | None, progress: bool
) -> list[str]:
    """Write images and thumbnails, and return the suffix of each image."""
    lake, rows = content.lake, content.rows
    starts = range(0, len(rows), _ROWS_AT_ONCE)
    suffixes: list[str] = []
    write = partial(_write_image, folder, max_side)
    with ThreadPoolExecutor() as pool:
        for start in with_progress(starts, len(starts), 'writing images', progress):
            some = rows[start : start + _ROWS_AT_ONCE].tolist()
            lake.reader.prepare(some)
            suffixes += pool.map(write, some, [read_image(lake, row) for row in some])
    return suffixes


def _write_image(folder: Path, max_side: int | None, row: int, content: bytes) -> str:
    small, large = thumbnail(content), for_browser(content, max_side)
    if small is None or large is None:
        return ''
    suffix, shown = large
    (folder / THUMBS / f'{row}.jpg').write_bytes(small)
    (folder / IMAGES / f'{row}.{suffix}').write_bytes(shown)
    return suffix


def read_image(lake: Lake, row: int) -> bytes:
    """Return the stored image of a row, nothing if it is broken."""
    try:
        return lake.reader.read_row(row)
    except BrokenImageError:
        return b''
