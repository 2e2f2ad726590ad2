"""What happens to samples whose image cannot be decoded: ``on_broken_image='skip'``.

In training such a sample gives way to the next one by index that can be decoded,
so the order of an epoch, its length and the random numbers of the others stay as
they are, on any number of ranks and workers. In a test its place is kept: the
pipeline gets a black image of the same size under a path that says so, and the
metric counts it as an image without detections.

Reading that fails (network, permissions) is no property of an image: it is always
an error.
"""

from __future__ import annotations

from typing import Any

import torch
from mmcv.transforms import LoadImageFromFile

from ..lake import BrokenImageError, Lake, LakeReadError

_SKIPPED_BEFORE, _SKIPPED = 1, 2


class SkippedSamples:
    """Marks which samples were skipped; the workers of a process share the marks.

    Args:
        count: Number of samples.
    """

    def __init__(self, count: int) -> None:
        self._marks = torch.zeros(count, dtype=torch.uint8).share_memory_()

    def __deepcopy__(self, memo: dict[int, Any]) -> SkippedSamples:
        return self

    def add(self, position: int) -> bool:
        """Marks a sample and returns whether it is the first time."""
        before = int(self._marks[position])
        self._marks[position] = _SKIPPED
        return before == 0

    def take(self) -> list[int]:
        """The samples that were marked since the last call, in ascending order."""
        skipped = torch.nonzero(self._marks == _SKIPPED).flatten()
        self._marks[skipped] = _SKIPPED_BEFORE
        return skipped.tolist()


def find_fault(
    error: Exception, lake: Lake, row: int, path: str, pipeline: Any
) -> BrokenImageError | None:
    """Whether a pipeline failed because an image cannot be decoded.

    Args:
        error: What the pipeline raised.
        lake: The lake of the image.
        row: Row number of the image.
        path: Path of the image.
        pipeline: The pipeline; its ``LoadImageFromFile`` is asked alone.

    Returns:
        The error that names lake, row and cause; ``None`` if it is about something
        else.
    """
    if isinstance(error, BrokenImageError):
        return error
    if isinstance(error, LakeReadError):  # it was tried for long enough
        return None
    loaders = [t for t in pipeline.transforms if type(t) is LoadImageFromFile]
    loader = loaders[0] if loaders else LoadImageFromFile()
    try:
        lake.image_bytes(row)
    except Exception:  # it cannot be read now: that is no fault of the image
        return None
    try:
        loader.transform({'img_path': path})
    except Exception as cause:  # of any type, depending on the decoder
        why = '' if isinstance(cause, AssertionError) else f': {cause}'
        decoder = loader.imdecode_backend
        return lake.broken_image(row, f'the decoder {decoder} cannot decode it{why}')
    return None


def describe_rows(rows_of: dict[str, list[int]], shown: int = 100) -> str:
    """Rows by lake in the words of a message, at most so many a lake.

    Args:
        rows_of: Name of a lake -> row numbers.
        shown: How many rows of a lake to name.
    """
    texts = []
    for name, rows in rows_of.items():
        more = f' and {len(rows) - shown} more' if len(rows) > shown else ''
        texts.append(f'{name}: rows {", ".join(map(str, rows[:shown]))}{more}')
    return '; '.join(texts)
