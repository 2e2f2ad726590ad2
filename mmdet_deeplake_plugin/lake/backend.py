"""Serve ``deeplake://`` paths to MMEngine, and so to every stock pipeline.

``LoadImageFromFile``, the visualisation hook and the analysis tools read a path through
``mmengine.fileio``, which passes paths with this prefix to this backend.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.fileio import BaseStorageBackend, register_backend

from .images.encoded import blank_image
from .lake import find_lake, find_path
from .paths import PREFIX


class DeepLakeBackend(BaseStorageBackend):
    """A read-only MMEngine file backend for images and segmentation maps of open lakes.

    Args:
        kwargs: Ignored; they come from ``backend_args`` of a stock config.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()

    def get(self, filepath: str) -> bytes:
        """Read the encoded image or segmentation map at a path.

        Raises:
            KeyError: If the lake is not open in this process.
            ValueError: If the path or the image is invalid.
        """
        lake, path = find_path(filepath)
        if path.kind == 'seg-map' and lake.seg_maps is not None:
            return lake.seg_maps.of_row(path.row, path.size)
        if path.kind == 'blank' and path.size is not None:
            return blank_image(*path.size)
        return lake.reader.read_row(path.row)

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        """Read a path as text."""
        return self.get(filepath).decode(encoding)

    def exists(self, filepath: str) -> bool:
        """Return whether a path names a row of an open lake."""
        try:
            lake, row = find_lake(filepath)
        except (KeyError, ValueError):
            return False
        return row < lake.source.num_rows

    def isfile(self, filepath: str) -> bool:
        """Return the same as :meth:`exists`; lakes have no folders."""
        return self.exists(filepath)

    def isdir(self, filepath: str) -> bool:
        """Return ``False``; lakes have no folders."""
        return False

    def join_path(self, filepath: str, *filepaths: str) -> str:
        """Join parts of a path with ``/``."""
        return '/'.join([filepath.rstrip('/'), *(part.strip('/') for part in filepaths)])

    @contextmanager
    def get_local_path(self, filepath: str) -> Iterator[str]:
        """Yield a temporary file with the image, for code that needs a local file."""
        suffix = os.path.splitext(str(filepath))[1]
        with tempfile.NamedTemporaryFile(suffix=suffix) as file:
            file.write(self.get(filepath))
            file.flush()
            yield file.name


def register() -> None:
    """Register this backend in MMEngine for ``deeplake://`` paths."""
    register_backend(PREFIX, DeepLakeBackend, prefixes=PREFIX, force=True)
