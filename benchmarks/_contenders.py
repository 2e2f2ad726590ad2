"""The datasets that local files and lakes are read by, under one pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from _data import Data
from mmcv.transforms import BaseTransform
from mmdet.datasets import CocoDataset
from mmdet.registry import TRANSFORMS
from mmengine.dataset import Compose, pseudo_collate
from mmengine.fileio import LocalBackend, register_backend
from torch.utils.data import Dataset

from mmdet_deeplake_plugin import DeepLakeDataset, deeplake_collate

_FILTER = dict(filter_empty_gt=True, min_size=32)
LOADERS = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
]
# Name -> transforms behind the loaders.
PIPELINES: dict[str, list[dict[str, Any]]] = {
    # of Faster R-CNN and most others
    'Resize 1333x800 + flip': [
        dict(type='Resize', scale=(1333, 800), keep_ratio=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs'),
    ],
    # of RTMDet-tiny
    'Mosaic + MixUp 640x640': [
        dict(
            type='CachedMosaic',
            img_scale=(640, 640),
            pad_val=114.0,
            max_cached_images=20,
            random_pop=False,
        ),
        dict(
            type='RandomResize',
            scale=(1280, 1280),
            ratio_range=(0.5, 2.0),
            keep_ratio=True,
        ),
        dict(type='RandomCrop', crop_size=(640, 640)),
        dict(type='YOLOXHSVRandomAug'),
        dict(type='RandomFlip', prob=0.5),
        dict(type='Pad', size=(640, 640), pad_val=dict(img=(114, 114, 114))),
        dict(
            type='CachedMixUp',
            img_scale=(640, 640),
            ratio_range=(1.0, 1.0),
            max_cached_images=10,
            random_pop=False,
            pad_val=(114, 114, 114),
            prob=0.5,
        ),
        dict(type='PackDetInputs'),
    ],
}
PLAIN = 'Resize 1333x800 + flip'


@TRANSFORMS.register_module()
class GiveDecoded(BaseTransform):
    """Takes the place of ``LoadImageFromFile`` for samples that hold pixels.

    Pixels are RGB, as Deep Lake decodes them, and become BGR, as mmcv has them.
    """

    def transform(self, results: dict) -> dict:
        """Adds the keys that ``LoadImageFromFile`` adds."""
        results['img'] = cv2.cvtColor(results.pop('pixels'), cv2.COLOR_RGB2BGR)
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


def sample_of(boxes: Any, labels: Any, img_id: int, **image: Any) -> dict:
    """A sample in the form that mmdet's pipelines take.

    Args:
        boxes: Left, top, width, height in pixels, shape ``(N, 4)``.
        labels: Shape ``(N,)``.
        img_id: Id of the image.
        image: The image, by the name that the loader looks for.
    """
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    corners = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=1)
    return {
        'img_id': img_id,
        'img_path': f'{img_id}.jpg',
        'instances': [
            {'bbox': box, 'bbox_label': label, 'ignore_flag': 0}
            for box, label in zip(corners.tolist(), np.asarray(labels).ravel().tolist())
        ],
        **image,
    }


class RowByRow(Dataset):
    """A lake in the manner of the old integration: Deep Lake decodes, row by row.

    The handle opens in each worker by itself, as Deep Lake's own must.

    Args:
        lake: Path of the lake.
        transforms: Transforms behind the loaders.
    """

    def __init__(self, lake: str, transforms: list[dict[str, Any]]) -> None:
        self._lake = lake
        self._handle: Any = None
        self._pipeline = Compose([dict(type='GiveDecoded'), LOADERS[1], *transforms])
        import deeplake

        self._count = len(deeplake.open_read_only(lake))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        """The sample behind the pipeline."""
        if self._handle is None:
            import deeplake

            self._handle = deeplake.open_read_only(self._lake)
        row = self._handle[index]
        return self._pipeline(
            sample_of(row['boxes'], row['categories'], index, pixels=row['images'])
        )


class ToSample:
    """The transform that ``ds.pytorch()`` takes.

    Args:
        transforms: Transforms behind the loaders.
    """

    def __init__(self, transforms: list[dict[str, Any]]) -> None:
        self._pipeline = Compose([dict(type='GiveDecoded'), LOADERS[1], *transforms])

    def __call__(self, row: Any) -> Any:
        """The sample behind the pipeline."""
        boxes, labels, pixels = row['boxes'], row['categories'], row['images']
        return self._pipeline(sample_of(boxes, labels, row['image_id'], pixels=pixels))


def coco(data: Data, transforms: list[dict[str, Any]], **keys: Any) -> CocoDataset:
    """Files on a disk.

    Args:
        data: The data.
        transforms: Transforms behind the loaders.
        keys: More keys of the dataset.
    """
    names = tuple(f'class {number}' for number in range(80))
    return CocoDataset(
        ann_file=data.ann_file,
        metainfo=dict(classes=names),
        filter_cfg=_FILTER,
        pipeline=[*LOADERS, *transforms],
        **{'data_prefix': dict(img=data.images), **keys},
    )


class HeldBackend(LocalBackend):
    """MMEngine's file backend for ``held://``: what lies in memory is not read."""

    held: ClassVar[dict[str, bytes]] = {}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()

    def get(self, filepath: Any) -> bytes:
        """Bytes of a file."""
        return self.held[str(filepath).rpartition('/')[2]]


def coco_in_memory(data: Data, transforms: list[dict[str, Any]]) -> CocoDataset:
    """All files in memory before it begins: no reading can be faster."""
    for file in Path(data.images).iterdir():
        HeldBackend.held[file.name] = file.read_bytes()
    register_backend('held', HeldBackend, force=True, prefixes='held')
    return coco(data, transforms, data_prefix=dict(img='held://images'))


def plugin(lake: str, transforms: list[dict[str, Any]], **keys: Any) -> DeepLakeDataset:
    """This plugin.

    Args:
        lake: Path of the lake.
        transforms: Transforms behind the loaders.
        keys: More keys of the dataset.
    """
    pipeline = [*LOADERS, *transforms]
    return DeepLakeDataset(lake, filter_cfg=_FILTER, pipeline=pipeline, **keys)


def pytorch(lake: str, transforms: list[dict[str, Any]], **creds: Any) -> Dataset:
    """Deep Lake's own ``ds.pytorch()``.

    Args:
        lake: Path of the lake.
        transforms: Transforms behind the loaders.
        creds: Credentials.
    """
    import deeplake

    opened = deeplake.open_read_only(lake, **({'creds': creds} if creds else {}))
    return opened.pytorch(ToSample(transforms))


def collate_handed_over(samples: list[Any]) -> Any:
    """This plugin's collate function, which hands batches over in shared blocks."""
    return deeplake_collate([sample for sample in samples if sample is not None])


def collate(samples: list[Any]) -> Any:
    """The collate function of mmengine, without samples that a transform dropped.

    MMDetection's datasets replace these themselves.
    """
    return pseudo_collate([sample for sample in samples if sample is not None])
