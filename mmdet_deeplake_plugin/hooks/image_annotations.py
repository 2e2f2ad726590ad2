"""Bring the annotations of tested images into the pixels that the model sees.

The test pipelines of MMDetection load annotations after the image was resized, so that
they stay in pixels of the original image, which metrics need. A loss needs them as the
image is. The transforms themselves that the image went through are applied to them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmcv.transforms import LoadAnnotations
from mmdet.datasets import BaseVideoDataset
from mmdet.datasets.transforms import RandomCenterCropPad
from mmengine.structures import PixelData

_HOOK = 'DeepLakeLossHook'
_LOADING, _PACKING = ('Load', 'InferencerLoader', 'FilterAnnotations'), 'Pack'


class ImageAnnotations:
    """Transforms the annotations of the samples of a dataset as their images were.

    Args:
        dataset: The dataset of a dataloader for validation or test.
        stage: ``'val'`` or ``'test'``, for messages.

    Raises:
        ValueError: If its pipeline does not load annotations, or transforms images in a
            way that cannot be repeated.
    """

    def __init__(self, dataset: Any, stage: str) -> None:
        self._where = f'the pipeline of {stage}_dataloader'
        if isinstance(dataset, BaseVideoDataset):
            raise ValueError(
                f'{_HOOK} computes the loss of single images, but {stage}_dataloader '
                f'has a {type(dataset).__name__}; leave it out'
            )
        pipelines = list(_pipelines_of(dataset))
        if not pipelines:
            raise ValueError(
                f'{_HOOK} needs a dataset with a pipeline in {stage}_dataloader, got '
                f'{type(dataset).__name__}; write a DeepLakeDataset, or leave it out'
            )
        repeated = [self._before_annotations(each) for each in pipelines]
        if len({repr(each) for each in repeated}) > 1:
            raise ValueError(
                f'{_HOOK}: the datasets in {stage}_dataloader must have the same '
                f'pipeline, got {repeated[0]!r} and others; write the same transforms'
            )
        self._transforms = repeated[0]

    def as_image(self, sample: Any) -> Any:
        """Return a copy of a sample with its annotations in pixels of the image.

        Args:
            sample: The ``DetDataSample`` that the pipeline made.

        Raises:
            ValueError: If it has no annotations, or the image was transformed in another
                way than its annotations.
        """
        if 'gt_instances' not in sample and 'gt_sem_seg' not in sample:
            raise ValueError(
                f'{_HOOK} needs annotations, but {sample.get("img_path")} has none; '
                f"write dict(type='LoadAnnotations', with_bbox=True) in {self._where}"
            )
        sample = copy.deepcopy(sample)
        if not self._transforms:
            return sample
        for field in ('gt_instances', 'ignored_instances'):
            instances = sample.get(field)
            if instances is None:
                continue
            maps = sample.get('gt_sem_seg') if field == 'gt_instances' else None
            found = self._transformed(
                sample,
                gt_bboxes=instances.get('bboxes'),
                gt_masks=instances.get('masks'),
                gt_seg_map=None if maps is None else maps.sem_seg[0].cpu().numpy(),
            )
            for key in ('bboxes', 'masks'):
                if key in instances:
                    instances[key] = found[f'gt_{key}']
            if maps is not None:
                seg_map = torch.from_numpy(found['gt_seg_map'][None].copy())
                sample.gt_sem_seg = PixelData(sem_seg=seg_map, metainfo=maps.metainfo)
        return sample

    def _before_annotations(self, transforms: list[Any]) -> list[Any]:
        """Return the transforms of images that come before annotations are loaded."""
        is_loader = [isinstance(each, LoadAnnotations) for each in transforms]
        if True not in is_loader:
            raise ValueError(
                f'{_HOOK} needs the annotations of the images, but {self._where} does '
                "not load them; write dict(type='LoadAnnotations', with_bbox=True) (and "
                'with_mask or with_seg as for training) before PackDetInputs'
            )
        place = is_loader.index(True)
        before = [each for each in transforms[:place] if not _loads(each)]
        after = [
            each
            for each in transforms[place + 1 :]
            if not (_loads(each) or type(each).__name__.startswith(_PACKING))
        ]
        names = [type(each).__name__ for each in (*before, *after)]
        if not before and after and _is_centring(after[-1]):
            return after[-1:]
        if before and after:
            raise ValueError(
                f'{_HOOK}: in {self._where} LoadAnnotations must come before or behind '
                f'all of {", ".join(names)}, but is between them; write it right before '
                'PackDetInputs, as the configs of MMDetection do'
            )
        drawn = [
            each
            for each in before
            if hasattr(each, '_methods_with_randomness') and not _is_centring(each)
        ]
        if drawn:
            raise ValueError(
                f'{_HOOK}: what {type(drawn[0]).__name__} draws in {self._where} is not '
                'known for the annotations, which are loaded behind it; write '
                'LoadAnnotations right behind LoadImageFromFile, or remove it'
            )
        return before

    def _transformed(self, sample: Any, **annotations: Any) -> dict[str, Any]:
        shape = sample.metainfo.get('ori_shape')
        if shape is None:
            raise ValueError(
                f"{_HOOK} needs 'ori_shape' of each sample; keep it in the meta_keys of "
                f'PackDetInputs in {self._where}'
            )
        height, width = shape
        results: Any = {
            'img': np.zeros((height, width, 3), dtype=np.uint8),
            'img_shape': (height, width),
            'ori_shape': (height, width),
            'height': height,
            'width': width,
            **{key: value for key, value in annotations.items() if value is not None},
        }
        for transform in self._transforms:
            if _is_centring(transform):
                self._centre(results, sample)
            else:
                results = transform(results)
        for key in ('img_shape', 'scale_factor', 'flip'):
            stated = sample.metainfo.get(key)
            if stated is not None and tuple_of(results.get(key)) != tuple_of(stated):
                raise ValueError(
                    f'{_HOOK}: the image {sample.get("img_path")} has the {key} '
                    f'{stated}, but its annotations get {results.get(key)} by the same '
                    'transforms; write LoadAnnotations right behind LoadImageFromFile in '
                    f'{self._where}'
                )
        return results

    def _centre(self, results: dict[str, Any], sample: Any) -> None:
        """Move boxes with an image that ``RandomCenterCropPad`` puts into a larger one.

        In its mode for tests it leaves boxes where they were.
        """
        border = sample.metainfo.get('border')
        if border is None or 'gt_masks' in results or 'gt_seg_map' in results:
            raise ValueError(
                f"{_HOOK}: RandomCenterCropPad in {self._where} needs 'border' in the "
                'meta_keys of PackDetInputs, and annotations without masks; write both '
                'as the configs of MMDetection do, or leave the hook out'
            )
        top, _, left, _ = (float(value) for value in border)
        if 'gt_bboxes' in results:
            results['gt_bboxes'].translate_((left, top))
        results['img_shape'] = sample.img_shape


def tuple_of(value: Any) -> Any:
    """Return a list or array as a tuple, other values as they are."""
    return tuple(value) if isinstance(value, (list, tuple, np.ndarray)) else value


def _pipelines_of(dataset: Any) -> Iterator[list[Any]]:
    inner = getattr(dataset, 'dataset', None)
    parts = getattr(dataset, 'datasets', [] if inner is None else [inner])
    for part in parts:
        yield from _pipelines_of(part)
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', None)
    if not parts and transforms is not None:
        yield list(transforms)


def _is_centring(transform: Any) -> bool:
    return isinstance(transform, RandomCenterCropPad) and transform.test_mode


def _loads(transform: Any) -> bool:
    return type(transform).__name__.startswith(_LOADING)
