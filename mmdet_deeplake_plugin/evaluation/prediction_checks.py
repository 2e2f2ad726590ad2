"""Check that predictions are numbers and masks that a metric can score.

The packages that score them do not check: pycocotools gives 1.0 to boxes that are NaN,
and others give other numbers. ``where`` is the image of the predictions, for the
``ValueError`` that each raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_REMEDY = (
    'the model has probably diverged: evaluate an earlier checkpoint, and train with a '
    'smaller learning rate, or with optim_wrapper=dict(clip_grad=dict(max_norm=35))'
)


def check_finite(where: str, **arrays: NDArray[Any] | None) -> None:
    """Refuse predicted numbers that are NaN or infinite; ``None`` is not predicted."""
    for name, values in arrays.items():
        if values is None:
            continue
        finite = np.isfinite(np.asarray(values, dtype=np.float64))
        if not finite.all():
            first = tuple(np.argwhere(~finite)[0].tolist())
            shown = ''.join(f'[{index}]' for index in first)
            raise ValueError(
                f'{where}: boxes and scores must be finite numbers, but the model '
                f'predicts {np.asarray(values)[first]} for {name}{shown}; {_REMEDY}'
            )


def check_boxes(where: str, boxes: NDArray[Any], labels: NDArray[Any]) -> None:
    """Refuse boxes without four numbers each, and labels that are not integers."""
    shape = np.shape(boxes)
    if len(labels) and shape[1:] != (4,):
        raise ValueError(
            f'{where}: bboxes must have shape (n, 4), left, top, right and bottom in '
            f'pixels, got {shape}'
        )
    dtype = np.asarray(labels).dtype
    if len(labels) and dtype.kind not in 'iu':
        raise ValueError(f'{where}: labels must be integers, got {dtype}')


def check_masks(
    where: str, masks: Sequence[Mapping[str, Any]], width: int, height: int
) -> None:
    """Refuse masks that are not run-length codes, as text, of the size of their image."""
    for number, mask in enumerate(masks):
        size = [int(length) for length in mask['size']]
        if size != [height, width]:
            raise ValueError(
                f'{where}: masks must have the size of the stored image, {height} x '
                f'{width} pixels (height x width), but masks[{number}] has '
                f'{" x ".join(map(str, size))}; rescale the predictions to ori_shape'
            )
        if not isinstance(mask['counts'], str):
            raise ValueError(
                f'{where}: masks must be compressed run-length codes, as of '
                f'pycocotools.mask.encode, but masks[{number}] has counts of type '
                f'{type(mask["counts"]).__name__}'
            )
