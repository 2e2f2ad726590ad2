"""Write what an annotation file says of images as a lake."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lake import LakeLayout, check_dest, names, write_lake
from ._cli import with_progress
from .formats.images import stored_size


@dataclass(frozen=True)
class AnnotatedImage:
    """What an annotation file says of an image with ``N`` boxes.

    Args:
        image_id: An integer or a text.
        file_name: Path of the image in its folder.
        boxes: Shape ``(N, 4)``, as ``box_format`` of the layout says.
        labels: Label of each box, shape ``(N,)``.
        size: Width and height in pixels. Defaults to None: those of the image.
        columns: Values of further columns; lists become arrays of the layout's types.
    """

    image_id: Any
    file_name: str
    boxes: NDArray[np.float64] | Sequence[Sequence[float]]
    labels: NDArray[np.int32] | Sequence[int]
    size: tuple[int, int] | None = None
    columns: dict[str, Any] = field(default_factory=dict)


class Destination:
    """The lake that a converter writes, checked before anything is read.

    Args:
        dest: Any Deep Lake URL.
        overwrite: Whether to replace an existing lake.
        progress: Whether to draw a progress bar on stderr.
        credentials: ``deeplake_credentials`` of a config.

    Raises:
        FileExistsError, ValueError, OSError: See :func:`.check_dest`.
    """

    def __init__(
        self,
        dest: str | os.PathLike[str],
        overwrite: bool,
        progress: bool,
        credentials: Any,
    ) -> None:
        self._url = os.fspath(dest)
        self._overwrite, self._credentials = overwrite, credentials
        self._progress = progress
        check_dest(self._url, overwrite, credentials)

    def write(
        self,
        layout: LakeLayout,
        folder: Path,
        images: Iterable[AnnotatedImage],
        count: int,
        summary: str,
        in_fractions: bool = False,
    ) -> str:
        """Write a row per image, and return a sentence that says what was written.

        Args:
            layout: Columns and metadata.
            folder: Folder of the images.
            images: The images, in the order of the rows.
            count: Number of images.
            summary: What they are, and from which file.
            in_fractions: Whether boxes are fractions of width and height, not pixels.

        Raises:
            ValueError: If an image that is to say its size cannot be decoded.
            OSError: If the storage fails.
        """
        rows = _rows(layout, folder, images, in_fractions)
        rows = with_progress(rows, count, 'writing images', self._progress)
        message = f'Imported {summary}'
        write_lake(self._url, layout, rows, message, self._overwrite, self._credentials)
        return f'{self._url}: wrote {summary}'


def _rows(
    layout: LakeLayout, folder: Path, images: Iterable[AnnotatedImage], in_fractions: bool
) -> Iterator[dict[str, Any]]:
    dtypes = {**layout.per_box, **layout.per_image}
    for image in images:
        content = (folder / image.file_name).read_bytes()
        width, height = image.size or stored_size(content, image.file_name)
        scale = (width, height, width, height) if in_fractions else 1
        yield {
            names.IMAGES: content,
            names.BOXES: np.array(image.boxes, np.float64).reshape(-1, 4) * scale,
            names.CATEGORIES: np.array(image.labels, np.int32),
            names.IMAGE_ID: image.image_id,
            names.FILE_NAME: image.file_name,
            names.WIDTH: width,
            names.HEIGHT: height,
            **image.columns,
            **{key: np.array(image.columns[key], dtypes[key]) for key in dtypes},
        }
