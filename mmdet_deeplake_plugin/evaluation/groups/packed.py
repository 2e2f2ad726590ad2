"""Predictions of many images as flat arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...utils.ragged import offsets_of
from ..ground_truth import Prediction


@dataclass(frozen=True, eq=False)
class PackedPredictions(Sequence[Prediction]):
    """Predictions of M images with N detections, each of which can be had by its number.

    The detections of image i are the rows ``offsets[i]:offsets[i + 1]``.

    Attributes:
        offsets: Where the detections of each image start, shape ``(M + 1,)``.
        bboxes: As in :class:`Prediction`, shape ``(N, 4)``, of the predicted type.
        scores: Likewise, shape ``(N,)``.
        labels: Likewise, shape ``(N,)``.
        mask_scores: Likewise, shape ``(N,)``, those of the boxes where the model has no
            others; None if it has none at all.
        with_masks: Whether the model predicts masks, by image, shape ``(M,)``.
        mask_sizes: Heights and widths of the masks, shape ``(N, 2)``, int32; 0 where
            there is none; None, as the next two, if there are none at all.
        mask_offsets: Where the run-length code of each mask starts, shape ``(N + 1,)``.
        mask_counts: The codes, one after the other, uint8.
        odd: Predictions that do not fit into arrays, by the number of the image. None of
            the metrics scores them.
    """

    offsets: NDArray[np.int64]
    bboxes: NDArray[Any]
    scores: NDArray[Any]
    labels: NDArray[Any]
    mask_scores: NDArray[Any] | None
    with_masks: NDArray[np.bool_]
    mask_sizes: NDArray[np.int32] | None = None
    mask_offsets: NDArray[np.int64] | None = None
    mask_counts: NDArray[np.uint8] | None = None
    odd: Mapping[int, Prediction] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.offsets) - 1

    @property
    def nbytes(self) -> int:
        """Size of the arrays in bytes."""
        return sum(each.nbytes for each in vars(self).values() if hasattr(each, 'nbytes'))

    @overload
    def __getitem__(self, index: int) -> Prediction: ...

    @overload
    def __getitem__(self, index: slice) -> list[Prediction]: ...

    def __getitem__(self, index: int | slice) -> Prediction | list[Prediction]:
        """Return the prediction of an image, or those of several."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f'there are {len(self)} predictions, got index {index}')
        index %= len(self)
        if index in self.odd:
            return self.odd[index]
        rows = self.rows(index, index + 1)
        return Prediction(
            self.bboxes[rows],
            self.scores[rows],
            self.labels[rows],
            self.masks(range(rows.start, rows.stop)) if self.with_masks[index] else None,
            None if self.mask_scores is None else self.mask_scores[rows],
        )

    def rows(self, start: int, stop: int) -> slice:
        """Return the rows of the images from ``start`` up to ``stop``."""
        return slice(int(self.offsets[start]), int(self.offsets[stop]))

    def images_of(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the number of the image of each row."""
        return np.searchsorted(self.offsets, rows, side='right') - 1

    def masks(self, rows: Iterable[int]) -> list[dict[str, Any]]:
        """Return the masks of some rows as run-length codes with text."""
        if self.mask_sizes is None:
            return []
        sizes, starts, counts = self.mask_sizes, self.mask_offsets, self.mask_counts
        assert starts is not None and counts is not None  # all three or none
        return [
            {
                'size': sizes[row].tolist(),
                'counts': counts[starts[row] : starts[row + 1]].tobytes().decode(),
            }
            for row in rows
        ]

    def scores_of(self, kind: str) -> NDArray[Any]:
        """Return the scores by which ``'bbox'`` or ``'segm'`` ranks, shape ``(N,)``."""
        if kind == 'segm' and self.mask_scores is not None:
            return self.mask_scores
        return self.scores

    def is_sound(
        self, widths: NDArray[np.int64], heights: NDArray[np.int64], num_classes: int
    ) -> bool:
        """Return whether no metric would refuse any, given the sizes of the images."""
        labels = self.labels
        numbers = (self.bboxes, self.scores, self.mask_scores)
        sound = (
            not self.odd
            and len(self) == len(widths)
            and all(each is None or np.isfinite(each).all() for each in numbers)
            and (not len(labels) or (labels.min() >= 0 and labels.max() < num_classes))
        )
        if sound and self.mask_sizes is not None:
            sizes = np.stack([heights, widths], axis=1) * self.with_masks[:, None]
            counts = np.diff(self.offsets)
            sound = np.array_equal(self.mask_sizes, np.repeat(sizes, counts, axis=0))
        return bool(sound)


def pack(predictions: Sequence[Prediction]) -> PackedPredictions:
    """Lay predictions end to end."""
    if isinstance(predictions, PackedPredictions):
        return predictions
    odd = {n: each for n, each in enumerate(predictions) if not _is_plain(each)}
    plain = [
        _NOTHING if number in odd else each for number, each in enumerate(predictions)
    ]
    counts = [len(each.labels) for each in plain]
    masks = [
        mask for each in plain for mask in each.masks or [_NO_MASK] * len(each.labels)
    ]
    with_masks = np.array([each.masks is not None for each in plain], dtype=bool)
    codes = [mask['counts'].encode() for mask in masks] if with_masks.any() else None
    return PackedPredictions(
        offsets=offsets_of(counts),
        bboxes=_laid([np.asarray(each.bboxes).reshape(-1, 4) for each in plain], (4,)),
        scores=_laid([each.scores for each in plain]),
        # Where nothing is detected at all, they may be of any type.
        labels=_laid([each.labels for each in plain])
        if any(counts)
        else np.zeros(0, np.int64),
        mask_scores=_laid(
            [
                each.scores if each.mask_scores is None else each.mask_scores
                for each in plain
            ]
        )
        if any(each.mask_scores is not None for each in plain)
        else None,
        with_masks=with_masks,
        mask_sizes=None
        if codes is None
        else np.array([mask['size'] for mask in masks], np.int32).reshape(-1, 2),
        mask_offsets=None if codes is None else offsets_of([len(code) for code in codes]),
        mask_counts=None if codes is None else np.frombuffer(b''.join(codes), np.uint8),
        odd=odd,
    )


_NOTHING = Prediction(
    np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int)
)
_NO_MASK: dict[str, Any] = {'size': [0, 0], 'counts': ''}


def _is_plain(prediction: Prediction) -> bool:
    """Return whether arrays can hold a prediction, as it is."""
    count = len(prediction.labels)
    arrays = (prediction.scores, prediction.labels, prediction.mask_scores)
    masks = prediction.masks or ()
    return (
        len(prediction.bboxes) == count
        and (not count or np.shape(prediction.bboxes) == (count, 4))
        and all(each is None or np.shape(each) == (count,) for each in arrays)
        and (not count or np.asarray(prediction.labels).dtype.kind in 'iu')
        and (prediction.masks is None or len(masks) == count)
        and all(
            isinstance(mask.get('counts'), str) and len(mask['size']) == 2
            for mask in masks
        )
    )


def _laid(parts: Sequence[ArrayLike], tail: tuple[int, ...] = ()) -> NDArray[Any]:
    """Lay arrays end to end; the type of empty ones does not count."""
    arrays = [np.asarray(part) for part in parts]
    return joined([each for each in arrays if len(each)] or arrays[:1], tail)


def joined(parts: Sequence[NDArray[Any]], tail: tuple[int, ...] = ()) -> NDArray[Any]:
    """Lay arrays end to end; without any, return an empty one of items of a shape."""
    return np.concatenate(parts) if parts else np.zeros((0, *tail))
