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
    """Fields of a sample that a pipeline may read.

    Args:
        masks: See :func:`reads_masks`.
        images: See :func:`reads_images`.
    """

    masks: bool
    images: bool

    @classmethod
    def of(cls, pipeline: Any) -> Needs:
        """Return the needs of a pipeline.

        Args:
            pipeline: MMEngine's ``Compose``.
        """
        return cls(reads_masks(pipeline), reads_images(pipeline))


def reads_masks(pipeline: Any) -> bool:
    """Return whether a pipeline may read the masks of instances.

    Args:
        pipeline: MMEngine's ``Compose``.

    Returns:
        False only if all transforms, including nested ones, come from MMDetection or
        MMCV, and none loads masks or passes the instances on. An empty pipeline passes
        them on.
    """
    steps = list(_steps(getattr(pipeline, 'transforms', pipeline)))
    return not steps or any(_may_read(step) for step in steps)


def reads_images(pipeline: Any) -> bool:
    """Return whether a pipeline may read the image of a sample.

    Args:
        pipeline: MMEngine's ``Compose``.

    Returns:
        False only if all transforms, including nested ones, come from MMDetection or
        MMCV, and none loads images. An empty pipeline passes the sample on.
    """
    steps = list(_steps(getattr(pipeline, 'transforms', pipeline)))
    return not steps or any(
        not _is_stock(step)
        or isinstance(step, LoadImageFromFile)
        or type(step).__name__ in _LOAD_IMAGES
        for step in steps
    )


def refuse_other_backends(pipeline: Any) -> None:
    """Refuse a pipeline whose images are to be read from files or another storage.

    Args:
        pipeline: MMEngine's ``Compose``.

    Raises:
        ValueError: If ``backend_args`` of a stock transform for images or annotations
            names a backend.
    """
    for step in _steps(getattr(pipeline, 'transforms', pipeline)):
        for key in ('backend_args', 'file_client_args'):
            arguments = getattr(step, key, None) or {}
            backend = arguments.get('backend', PREFIX)
            if isinstance(step, _LOADERS) and backend != PREFIX:
                raise ValueError(
                    f'{key}={arguments!r} of {type(step).__name__} must not name a '
                    f'backend, but names {backend!r}: images and maps are in the lake, '
                    f'and their paths begin with {PREFIX}://; leave {key} out'
                )


def takes_proposals(pipeline: Any) -> bool:
    """Return whether a pipeline loads proposals, or is empty and passes them on.

    Args:
        pipeline: MMEngine's ``Compose``.
    """
    steps = list(_steps(getattr(pipeline, 'transforms', pipeline)))
    return not steps or any(isinstance(step, LoadProposals) for step in steps)


def loads_maps(pipeline: Any) -> bool:
    """Return whether any transform, including nested ones, loads segmentation maps.

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


def _is_stock(step: Any) -> bool:
    return type(step).__module__.partition('.')[0] in _STOCK


def _may_read(step: Any) -> bool:
    return (
        not _is_stock(step)
        or bool(getattr(step, 'with_mask', False))
        or type(step).__name__ in _ALWAYS
        or 'instances' in getattr(step, 'meta_keys', ())
    )
