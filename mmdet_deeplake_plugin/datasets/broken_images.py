"""What happens to a sample whose image cannot be decoded: ``on_broken_image``.

``'raise'`` is an error that names lake, row and cause. With ``'skip'``, in training such
a sample gives way to the next one by index that can be decoded, so the order of an
epoch, its length and the random numbers of the others stay as they are, on any number
of ranks and workers. In a test its place is kept: the pipeline gets a black image of
the same size under a path that says so, and the metric counts it as an image without
detections.

A read that fails (network, permissions) says nothing about an image: it is always an
error.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.logging import print_log

from ..lake import Lake, LakeReadError
from ..structures.image_check import BrokenImageError
from ..utils.shared_by_copies import SharedByCopies
from .samples import Samples

_SKIPPED_BEFORE, _SKIPPED = 1, 2


class Preparable(Protocol):
    """What the policy needs of a dataset."""

    lake: Lake
    pipeline: Any
    test_mode: bool
    on_broken_image: str
    skipped: SkippedSamples

    def __len__(self) -> int: ...

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """What the pipeline gets for a sample."""

    def run_pipeline(self, data_info: dict[str, Any]) -> Any:
        """Run the pipeline on a sample."""

    def position_of(self, idx: int) -> tuple[int, int]:
        """Position of a sample in the table of samples, and its row."""


class SkippedSamples(SharedByCopies):
    """Marks which samples were skipped; the workers of a process share the marks.

    Args:
        count: Number of samples.
    """

    def __init__(self, count: int) -> None:
        self._marks = torch.zeros(count, dtype=torch.uint8).share_memory_()

    def add(self, position: int) -> bool:
        """Mark a sample and return whether it is the first time."""
        before = int(self._marks[position])
        self._marks[position] = _SKIPPED
        return before == 0

    def take(self) -> list[int]:
        """Return the samples that were marked since the last call, in ascending order."""
        skipped = torch.nonzero(self._marks == _SKIPPED).flatten()
        self._marks[skipped] = _SKIPPED_BEFORE
        return skipped.tolist()


def prepare_sample(dataset: Preparable, idx: int) -> Any:
    """Run the pipeline on a sample, or on what takes its place.

    Args:
        dataset: The dataset.
        idx: Index of the sample.

    Raises:
        BrokenImageError: If its image is broken and that is an error, or no image can
            be decoded.
    """
    for step in range(len(dataset)):
        index = (idx + step) % len(dataset) if step else idx
        try:
            return dataset.run_pipeline(dataset.get_data_info(index))
        except Exception as error:
            fault = _find_fault(dataset, index, error)
            raises = dataset.on_broken_image == 'raise'
            if fault is None or (raises and fault is error):
                raise
            if raises:
                raise fault from error
        _note_skipped(dataset, index, fault)
        if dataset.test_mode:
            return dataset.run_pipeline(_blank_info(dataset, index))
    raise BrokenImageError(
        f'none of the {len(dataset)} images of {dataset.lake.name} can be decoded'
    )


def refuse_unsized(lake: Lake, samples: Samples) -> None:
    """Raise the error of the first image whose size is unknown.

    Args:
        lake: The lake.
        samples: All samples of the dataset.

    Raises:
        BrokenImageError: If there is one, and the lake does not store sizes.
    """
    if lake.columns.of('width') and lake.columns.of('height'):
        return
    unsized = samples.rows[(samples.widths <= 0) | (samples.heights <= 0)]
    for row in unsized[:1].tolist():
        lake.reader.read_row(row)
        raise lake.images.broken(row, 'neither Pillow nor OpenCV can read its size')


def describe_rows(rows_of: dict[str, list[int]], shown: int = 100) -> str:
    """Name rows by lake in the words of a message.

    Args:
        rows_of: Name of a lake -> row numbers.
        shown: How many rows per lake to name.
    """
    texts = []
    for name, rows in rows_of.items():
        more = f' and {len(rows) - shown} more' if len(rows) > shown else ''
        texts.append(f'{name}: rows {", ".join(map(str, rows[:shown]))}{more}')
    return '; '.join(texts)


def _find_fault(
    dataset: Preparable, index: int, error: Exception
) -> BrokenImageError | None:
    """Return the error of a broken image if that is why a pipeline failed.

    The pipeline's ``LoadImageFromFile`` is tried alone to find out.
    """
    if not -len(dataset) <= index < len(dataset):
        return None
    if isinstance(error, BrokenImageError):
        return error
    if isinstance(error, LakeReadError):  # it was tried for long enough
        return None
    lake, (_, row) = dataset.lake, dataset.position_of(index)
    loaders = [t for t in dataset.pipeline.transforms if type(t) is LoadImageFromFile]
    loader = loaders[0] if loaders else LoadImageFromFile()
    try:
        lake.reader.read_row(row)
    except Exception:  # a read that fails now says nothing about the image
        return None
    try:
        loader.transform({'img_path': dataset.get_data_info(index)['img_path']})
    except Exception as cause:  # of any type, depending on the decoder
        why = '' if isinstance(cause, AssertionError) else f': {cause}'
        decoder = loader.imdecode_backend
        return lake.images.broken(row, f'the decoder {decoder} cannot decode it{why}')
    return None


def _note_skipped(dataset: Preparable, index: int, fault: BrokenImageError) -> None:
    if dataset.skipped.add(dataset.position_of(index)[0]):
        instead = 'a black' if dataset.test_mode else 'the next'
        print_log(
            f'{instead} image takes the place of a broken one: {fault.finding}',
            logger='current',
            level=logging.WARNING,
        )


def _blank_info(dataset: Preparable, index: int) -> dict[str, Any]:
    data_info = dataset.get_data_info(index)
    name = data_info['img_path'].rpartition('/')[2]
    _, row = dataset.position_of(index)
    data_info['img_path'] = dataset.lake.blank_path(
        row, name, data_info['width'], data_info['height']
    )
    return data_info
