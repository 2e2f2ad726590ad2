"""Find out what a pipeline reads: images, masks, maps or proposals, and from where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from mmcv.transforms import BaseTransform, LoadAnnotations, LoadImageFromFile
from mmdet.datasets.transforms import LoadProposals
from mmengine.dataset import Compose

from ..lake import PREFIX

_STOCK = ('mmcv', 'mmdet', 'mmengine')
# Read the masks of instances without an argument that shows it.
_ALWAYS = ('InstaBoost',)
_LOAD_IMAGES = ('LoadMultiChannelImageFromFiles', 'InferencerLoader')
_LOAD_MAPS = ('LoadPanopticAnnotations',)
_LOADERS = (LoadImageFromFile, LoadAnnotations)


class Needs(NamedTuple):
    """What a pipeline may read of a sample; one without transforms passes all of it on.

    Args:
        masks: See :func:`reads_masks`.
        images: Whether it may read the image: not so only if all transforms, including
            nested ones, come from MMDetection or MMCV, and none loads images.
        maps: Whether any transform, including nested ones, loads segmentation maps.
        proposals: Whether it loads proposals, or passes them on.
    """

    masks: bool
    images: bool
    maps: bool
    proposals: bool

    @classmethod
    def of(cls, pipeline: Any) -> Needs:
        """Return the needs of a pipeline."""
        steps = _steps(pipeline)
        return cls(
            masks=reads_masks(pipeline),
            images=not steps or any(map(_may_load_image, steps)),
            maps=any(map(_loads_map, steps)),
            proposals=not steps or any(isinstance(step, LoadProposals) for step in steps),
        )


def reads_masks(pipeline: Any) -> bool:
    """Return whether a pipeline may read the masks of instances.

    Returns:
        False only if all transforms, including nested ones, come from MMDetection or
        MMCV, and none loads masks or passes the instances on. An empty pipeline passes
        them on.
    """
    steps = _steps(pipeline)
    return not steps or any(map(_may_read_masks, steps))


def refuse_other_backends(pipeline: Any) -> None:
    """Refuse a pipeline whose images are to be read from files or another storage.

    Raises:
        ValueError: If ``backend_args`` of a stock transform for images or annotations
            names a backend.
    """
    for step in _steps(pipeline):
        for key in ('backend_args', 'file_client_args'):
            arguments = getattr(step, key, None) or {}
            backend = arguments.get('backend', PREFIX)
            if isinstance(step, _LOADERS) and backend != PREFIX:
                raise ValueError(
                    f'{key}={arguments!r} of {type(step).__name__} must not name a '
                    f'backend, but names {backend!r}: images and maps are in the lake, '
                    f'and their paths begin with {PREFIX}://; leave {key} out'
                )


def _steps(pipeline: Any) -> list[Any]:
    return list(_nested(getattr(pipeline, 'transforms', pipeline)))


def _nested(value: Any) -> Iterator[Any]:
    if isinstance(value, Compose):
        yield from _nested(value.transforms)
    elif isinstance(value, dict):
        yield from _nested(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for part in value:
            if callable(part) or isinstance(part, (list, tuple, dict)):
                yield from _nested(part)
    elif callable(value):
        yield value
        for part in vars(value).values() if isinstance(value, BaseTransform) else ():
            if isinstance(part, (BaseTransform, Compose, list, tuple, dict)):
                yield from _nested(part)


def _is_stock(step: Any) -> bool:
    return type(step).__module__.partition('.')[0] in _STOCK


def _may_read_masks(step: Any) -> bool:
    return (
        not _is_stock(step)
        or bool(getattr(step, 'with_mask', False))
        or type(step).__name__ in _ALWAYS
        or 'instances' in getattr(step, 'meta_keys', ())
    )


def _may_load_image(step: Any) -> bool:
    is_loader = isinstance(step, LoadImageFromFile) or type(step).__name__ in _LOAD_IMAGES
    return is_loader or not _is_stock(step)


def _loads_map(step: Any) -> bool:
    return bool(getattr(step, 'with_seg', False)) or type(step).__name__ in _LOAD_MAPS
