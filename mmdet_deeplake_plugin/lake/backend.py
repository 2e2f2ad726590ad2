"""Serve ``deeplake://`` paths to MMEngine, and thereby to every stock pipeline.

``LoadImageFromFile``, the visualization hook and the analysis tools load paths through
``mmengine.fileio``, which uses this backend for paths with this prefix.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.fileio import BaseStorageBackend, register_backend

from .images.encoded import blank_image
from .lake import find_lake
from .paths import PREFIX, LakePath


class DeepLakeBackend(BaseStorageBackend):
    """Read-only MMEngine file backend for images and segmentation maps of open lakes.

    Args:
        kwargs: Ignored; accepts ``backend_args`` of stock configs.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()

    def get(self, filepath: str) -> bytes:
        """Read the encoded image or segmentation map of a path.

        Args:
            filepath: A ``deeplake://`` path, see ``paths.py``.

        Raises:
            KeyError: If the lake is not open in this process.
            ValueError: If the path is invalid or the image is broken.
        """
        (lake, row), path = find_lake(filepath), LakePath.parse(filepath)
        if path.kind == 'seg-map' and lake.seg_maps is not None:
            return lake.seg_maps.of_row(row, path.size)
        if path.kind == 'blank' and path.size is not None:
            return blank_image(*path.size)
        return lake.reader.read_row(row)

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        """Read the same bytes as :meth:`get` and decode them to text."""
        return self.get(filepath).decode(encoding)

    def exists(self, filepath: str) -> bool:
        """Return whether a path belongs to a row of an open lake."""
        try:
            lake, row = find_lake(filepath)
        except (KeyError, ValueError):
            return False
        return row < lake.source.num_rows

    def isfile(self, filepath: str) -> bool:
        """Return the same as :meth:`exists`, as lakes do not have folders."""
        return self.exists(filepath)

    def isdir(self, filepath: str) -> bool:
        """Return ``False``, as lakes do not have folders."""
        return False

    def join_path(self, filepath: str, *filepaths: str) -> str:
        """Join parts of a path with ``/``."""
        return '/'.join([filepath.rstrip('/'), *(part.strip('/') for part in filepaths)])

    @contextmanager
    def get_local_path(self, filepath: str) -> Iterator[str]:
        """Write the image to a temporary file, for code that needs a local file."""
        suffix = os.path.splitext(str(filepath))[1]
        with tempfile.NamedTemporaryFile(suffix=suffix) as file:
            file.write(self.get(filepath))
            file.flush()
            yield file.name


def register() -> None:
    """Register this backend with MMEngine for ``deeplake://`` paths."""
    register_backend(PREFIX, DeepLakeBackend, prefixes=PREFIX, force=True)
