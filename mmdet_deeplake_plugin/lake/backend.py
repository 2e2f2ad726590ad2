"""Serves ``deeplake://`` paths to MMEngine, and so to every stock pipeline.

``LoadImageFromFile``, the visualisation hook and the analysis tools ask
``mmengine.fileio`` for a path; for this prefix it asks this backend.
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
        kwargs: Ignored; ``backend_args`` of a stock config may end up here.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()

    def get(self, filepath: str) -> bytes:
        """Encoded bytes of the image or the segmentation map that a path names.

        Raises:
            KeyError: If its lake is not open in this process.
            ValueError: If the path or the image is broken.
        """
        (lake, row), path = find_lake(filepath), LakePath.parse(filepath)
        if path.kind == 'seg-map' and lake.seg_maps is not None:
            return lake.seg_maps.of_row(row, path.size)
        if path.kind == 'blank' and path.size is not None:
            return blank_image(*path.size)
        return lake.reader.read_row(row)

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        """The bytes of :meth:`get` as text."""
        return self.get(filepath).decode(encoding)

    def exists(self, filepath: str) -> bool:
        """Whether a path names a row of an open lake."""
        try:
            lake, row = find_lake(filepath)
        except (KeyError, ValueError):
            return False
        return row < lake.source.num_rows

    def isfile(self, filepath: str) -> bool:
        """The same as :meth:`exists`: a lake has no folders."""
        return self.exists(filepath)

    def isdir(self, filepath: str) -> bool:
        """Never: a lake has no folders."""
        return False

    def join_path(self, filepath: str, *filepaths: str) -> str:
        """Joins parts of a path by ``/``."""
        return '/'.join([filepath.rstrip('/'), *(part.strip('/') for part in filepaths)])

    @contextmanager
    def get_local_path(self, filepath: str) -> Iterator[str]:
        """A temporary file with the image, for what insists on a file."""
        suffix = os.path.splitext(str(filepath))[1]
        with tempfile.NamedTemporaryFile(suffix=suffix) as file:
            file.write(self.get(filepath))
            file.flush()
            yield file.name


def register() -> None:
    """Makes MMEngine use this backend for ``deeplake://`` paths."""
    register_backend(PREFIX, DeepLakeBackend, prefixes=PREFIX, force=True)
