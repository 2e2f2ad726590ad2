"""Detection data in Deep Lake, for pure Python configs.

The same as ``_base_/datasets/deeplake_detection.py``, where each key is explained.
"""
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets.transforms import (LoadAnnotations, PackDetInputs,
                                       RandomFlip, Resize)
from mmdet.engine.hooks import NumClassCheckHook

from mmdet_deeplake_plugin import (DeepLakeAspectRatioBatchSampler,
                                   DeepLakeClassCheckHook, DeepLakeDataset,
                                   DeepLakeLoader, DeepLakeMetric,
                                   DeepLakeOrderHook, DeepLakeResumeHook,
                                   DeepLakeSkippedImagesHook,
                                   deeplake_collate)

train_lake = 'data/coco_train'  # a local folder, s3://…, al://org/name, …
val_lake = 'data/coco_val'
# References, never secrets, such as dict(token='env:ACTIVELOOP_TOKEN').
credentials = None

train_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=LoadAnnotations, with_bbox=True),
    dict(type=Resize, scale=(1333, 800), keep_ratio=True),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PackDetInputs),
]
test_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=Resize, scale=(1333, 800), keep_ratio=True),
    dict(type=LoadAnnotations, with_bbox=True),
    dict(
        type=PackDetInputs,
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    collate_fn=dict(type=deeplake_collate),
    sampler=dict(type=DeepLakeLoader, shuffle=True),
    batch_sampler=dict(type=DeepLakeAspectRatioBatchSampler),
    dataset=dict(
        type=DeepLakeDataset,
        deeplake_path=train_lake,
        deeplake_credentials=credentials,
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type=DeepLakeLoader, shuffle=False, round_up=False),
    dataset=dict(
        type=DeepLakeDataset,
        deeplake_path=val_lake,
        deeplake_credentials=credentials,
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type=DeepLakeMetric, metrics_format='COCO', metric='bbox')
test_evaluator = val_evaluator

custom_hooks = [
    dict(type=NumClassCheckHook),
    dict(type=DeepLakeClassCheckHook),
    dict(type=DeepLakeOrderHook),
    dict(type=DeepLakeSkippedImagesHook),
    dict(type=DeepLakeResumeHook),
]
