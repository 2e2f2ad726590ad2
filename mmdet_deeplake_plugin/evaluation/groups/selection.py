"""Take the predictions of some images, in memory or into a temporary file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...utils.ragged import indices_of_ranges, offsets_of
from ...utils.scratch import Layout, release, scratch_arrays
from .packed import PackedPredictions, joined

_IMAGES_AT_ONCE = 2048
_COLUMNS = ('bboxes', 'scores', 'labels', 'mask_scores', 'mask_sizes')


def take(
    blocks: Sequence[PackedPredictions],
    images: NDArray[np.int64],
    on_disk: bool = False,
) -> PackedPredictions:
    """Return the predictions of some images, in their order.

    Args:
        blocks: Predictions; images are numbered through all of them.
        images: Numbers of images, shape ``(K,)``.
        on_disk: Whether the arrays lie in a temporary file.

    Raises:
        OSError: If the temporary file does not fit on the disk.
    """
    whole = len(blocks) == 1 and np.array_equal(images, np.arange(len(blocks[0])))
    if whole and not on_disk:
        return blocks[0]
    first = offsets_of([len(block) for block in blocks])
    block_of = np.searchsorted(first, images, side='right') - 1
    counts = joined([np.diff(block.offsets) for block in blocks])[images]
    offsets = offsets_of(counts)
    moves = [
        _Move(blocks[number], images[part] - first[number], part)
        for number in range(len(blocks))
        for part in _parts(np.flatnonzero(block_of == number))
    ]
    layout: dict[str, Layout] = {}
    for name in _COLUMNS:
        parts = [_column(block, name) for block in blocks]
        known = [part for part in parts if part is not None]
        known = [part for part in known if len(part)] or known[:1]  # for their type
        if known:
            shape = int(offsets[-1]), *known[0].shape[1:]
            layout[name] = shape, np.result_type(*known)
    mask_offsets = _mask_offsets(moves, offsets)
    if mask_offsets is not None:
        layout['mask_counts'] = (int(mask_offsets[-1]),), np.uint8
    columns = (scratch_arrays if on_disk else _zeros)(layout)
    mask_counts = columns.pop('mask_counts', None)
    for move in moves:
        source, target = move.rows(offsets)
        for name, column in columns.items():
            values = _column(move.block, name)
            if name == 'mask_scores' and values is None:
                values = move.block.scores
            if values is not None:
                column[target] = values[source]
        if mask_offsets is not None and mask_counts is not None:
            move.copy_codes(mask_counts, mask_offsets[offsets[move.new]])
        release(move.block.bboxes)
    if on_disk:
        release(columns.get('bboxes'))
    odd = [block.odd for block in blocks]
    return PackedPredictions(
        offsets=offsets,
        mask_scores=columns.pop('mask_scores', None),
        with_masks=joined([block.with_masks for block in blocks])[images],
        mask_offsets=mask_offsets,
        mask_counts=mask_counts,
        odd={
            index: odd[number][image - first[number]]
            for index, (image, number) in enumerate(zip(images, block_of))
            if odd[number] and image - first[number] in odd[number]
        },
        **columns,
    )


@dataclass(frozen=True, eq=False)
class _Move:
    """Some images of a block, which go to new places.

    Attributes:
        block: The block.
        old: Their numbers in it, shape ``(K,)``.
        new: Their new numbers, shape ``(K,)``.
    """

    block: PackedPredictions
    old: NDArray[np.int64]
    new: NDArray[np.int64]

    def rows(
        self, offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the old rows of their detections, and the new ones by new offsets."""
        counts = np.diff(self.block.offsets)[self.old]
        return (
            indices_of_ranges(self.block.offsets[self.old], counts),
            indices_of_ranges(offsets[self.new], counts),
        )

    def copy_codes(self, counts: NDArray[np.uint8], starts: NDArray[np.int64]) -> None:
        """Copy their run-length codes, if any, to where those of each image start."""
        block = self.block
        if block.mask_offsets is None or block.mask_counts is None:
            return
        firsts = block.mask_offsets[block.offsets[self.old]].tolist()
        ends = block.mask_offsets[block.offsets[self.old + 1]].tolist()
        for start, first, end in zip(starts.tolist(), firsts, ends):
            counts[start : start + end - first] = block.mask_counts[first:end]


def _parts(images: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split images into parts, so that the numbers of their rows take little memory."""
    return np.split(images, range(_IMAGES_AT_ONCE, len(images), _IMAGES_AT_ONCE))


def _mask_offsets(
    moves: Sequence[_Move], offsets: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Return where the code of each mask starts; None if no block has any."""
    if all(move.block.mask_offsets is None for move in moves):
        return None
    lengths = np.zeros(int(offsets[-1]), dtype=np.int64)
    for move in moves:
        if move.block.mask_offsets is not None:
            source, target = move.rows(offsets)
            starts = move.block.mask_offsets
            lengths[target] = starts[source + 1] - starts[source]
    return offsets_of(lengths)


def _zeros(layout: Mapping[str, Layout]) -> dict[str, NDArray[Any]]:
    return {name: np.zeros(*each) for name, each in layout.items()}


def _column(block: PackedPredictions, name: str) -> NDArray[Any] | None:
    return getattr(block, name)
