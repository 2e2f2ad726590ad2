"""What a pipeline asks of a sample: does it read masks, maps, proposals?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import LoadProposals
from mmengine.dataset import Compose

_STOCK = ('mmcv', 'mmdet', 'mmengine')
# Looks at the masks of instances without an argument that says so.
_ALWAYS = ('InstaBoost',)
_LOAD_MAPS = ('LoadPanopticAnnotations',)


def reads_masks(pipeline: Any) -> bool:
    """Whether a pipeline may look at the masks of instances.

    Args:
        pipeline: MMEngine's ``Compose``.

    Returns:
        False only if every transform, also within others, comes from MMDetection
        or MMCV, none loads masks, and none hands the instances on. An empty pipeline
        hands them on.
    """
    steps = list(_steps(getattr(pipeline, 'transforms', pipeline)))
    return not steps or any(_may_read(step) for step in steps)


def takes_proposals(pipeline: Any) -> bool:
    """Whether a pipeline loads proposals, or hands the sample on as it is.

    Args:
        pipeline: MMEngine's ``Compose``.
    """
    steps = list(_steps(getattr(pipeline, 'transforms', pipeline)))
    return not steps or any(isinstance(step, LoadProposals) for step in steps)


def loads_maps(pipeline: Any) -> bool:
    """Whether a transform of a pipeline, also within others, loads segmentation maps.

    Args:
        pipeline: MMEngine's ``Compose``.
    """
    return any(
        bool(getattr(step, 'with_seg', False)) or type(step).__name__ in _LOAD_MAPS
        for step in _steps(getattr(pipeline, 'transforms', pipeline))
    )


def _steps(value: Any) -> Iterator[Any]:
    if isinstance(value, Compose):
        yield from _steps(value.transforms)
    elif isinstance(value, dict):
        yield from _steps(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for part in value:
            if callable(part) or isinstance(part, (list, tuple, dict)):
                yield from _steps(part)
    elif callable(value):
        yield value
        for part in vars(value).values() if isinstance(value, BaseTransform) else ():
            if isinstance(part, (BaseTransform, Compose, list, tuple, dict)):
                yield from _steps(part)


def _may_read(step: Any) -> bool:
    if type(step).__module__.partition('.')[0] not in _STOCK:
        return True
    return (
        bool(getattr(step, 'with_mask', False))
        or type(step).__name__ in _ALWAYS
        or 'instances' in getattr(step, 'meta_keys', ())
    )
