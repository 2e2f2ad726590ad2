"""Handle samples whose image cannot be decoded, according to ``on_broken_image``.

``'raise'`` raises an error with lake, row and cause. With ``'skip'``, training replaces
the sample by the next one by index that can be decoded, so the order and length of the
epoch and the random numbers of other samples do not change, with any number of ranks and
workers. A test keeps the sample: the pipeline gets a black image of the same size, whose
path marks it as blank, and the metric counts it as an image without detections.

A failed read (network, permissions) does not mean that the image is broken: it is always
an error.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from mmcv import imfrombytes
from mmcv.transforms import LoadImageFromFile

from ..lake import Lake, LakeReadError
from ..structures.image_check import BrokenImageError
from ..utils.messages import warn
from ..utils.shared_by_copies import SharedByCopies
from .samples import Samples

_SKIPPED_BEFORE, _SKIPPED = 1, 2
_SHOWN = 100
_GENERAL = ('cv2', 'pillow')


class _Dataset(Protocol):
    lake: Lake
    pipeline: Any
    test_mode: bool
    on_broken_image: str
    skipped: SkippedSamples

    def __len__(self) -> int: ...

    def get_data_info(self, idx: int) -> dict[str, Any]: ...

    def run_pipeline(self, data_info: dict[str, Any]) -> Any: ...

    def position_of(self, idx: int) -> tuple[int, int]: ...


class SkippedSamples(SharedByCopies):
    """Marks of samples that were skipped, shared by a process and its workers."""

    def __init__(self, count: int) -> None:
        self._marks = torch.zeros(count, dtype=torch.uint8).share_memory_()

    def add(self, position: int) -> bool:
        """Mark a sample, and return whether it was not marked before."""
        before = int(self._marks[position])
        self._marks[position] = _SKIPPED
        return before == 0

    def take(self) -> list[int]:
        """Return the samples that were marked since the last call, in ascending order."""
        skipped = torch.nonzero(self._marks == _SKIPPED).flatten()
        self._marks[skipped] = _SKIPPED_BEFORE
        return skipped.tolist()


def prepare_sample(dataset: _Dataset, idx: int) -> Any:
    """Run the pipeline on a sample, or on its substitute if the image is broken.

    Raises:
        BrokenImageError: If the image is broken and ``on_broken_image='raise'``, or none
            of the images can be decoded.
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
    """Raise the error of the first image whose size is unknown, without columns of sizes.

    Raises:
        BrokenImageError: If there is one.
    """
    if lake.columns.of('width') and lake.columns.of('height'):
        return
    unsized = samples.rows[(samples.widths <= 0) | (samples.heights <= 0)]
    for row in unsized[:1].tolist():
        lake.reader.read_row(row)
        raise lake.images.broken(row, 'neither Pillow nor OpenCV can read its size')


def describe_rows(rows_of: dict[str, list[int]]) -> str:
    """Format the row numbers of lakes, by name, for a message: at most 100 of each."""
    texts = []
    for name, rows in rows_of.items():
        more = f' and {len(rows) - _SHOWN} more' if len(rows) > _SHOWN else ''
        texts.append(f'{name}: rows {", ".join(map(str, rows[:_SHOWN]))}{more}')
    return '; '.join(texts)


def _find_fault(
    dataset: _Dataset, index: int, error: Exception
) -> BrokenImageError | None:
    """Return the error of a broken image if this is why a pipeline failed."""
    if not -len(dataset) <= index < len(dataset):
        return None
    if isinstance(error, BrokenImageError):
        return error
    if isinstance(error, LakeReadError):  # retries are over
        return None
    lake, (_, row) = dataset.lake, dataset.position_of(index)
    # The stored bytes are decoded once more, as by the pipeline. What else failed (its
    # file backend, a missing package, a transform) is not the fault of the image.
    loaders = [t for t in dataset.pipeline.transforms if type(t) is LoadImageFromFile]
    loader = loaders[0] if loaders else LoadImageFromFile()
    try:
        content = lake.reader.read_row(row)
    except Exception:  # a failed read says nothing about the image
        return None
    decoder, flag = loader.imdecode_backend, loader.color_type
    fault = _decoding_fault(content, flag, decoder)
    # Other decoders may lack a package, or read one format only.
    if fault and decoder not in _GENERAL and not _decoding_fault(content, flag, 'cv2'):
        return None
    return lake.images.broken(row, fault) if fault else None


def _decoding_fault(content: bytes, flag: str, decoder: str) -> str:
    why = ''
    try:
        if imfrombytes(content, flag=flag, backend=decoder) is not None:
            return ''
    except Exception as error:  # the type depends on the decoder
        why = f': {error}'
    return f'the decoder {decoder} cannot decode it{why}'


def _note_skipped(dataset: _Dataset, index: int, fault: BrokenImageError) -> None:
    if dataset.skipped.add(dataset.position_of(index)[0]):
        instead = 'a black' if dataset.test_mode else 'the next'
        warn(f'{instead} image takes the place of a broken one: {fault.finding}')


def _blank_info(dataset: _Dataset, index: int) -> dict[str, Any]:
    data_info = dataset.get_data_info(index)
    name, (_, row) = data_info['img_path'].rpartition('/')[2], dataset.position_of(index)
    size = data_info['width'], data_info['height']
    return {**data_info, 'img_path': dataset.lake.blank_path(row, name, *size)}
