"""Instance data in Deep Lake, for pure Python configs."""
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets.transforms import (LoadAnnotations, PackDetInputs,
                                       RandomFlip, Resize)
from mmengine.config import read_base

with read_base():
    from .deeplake_detection import *

train_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=LoadAnnotations, with_bbox=True, with_mask=True),
    dict(type=Resize, scale=(1333, 800), keep_ratio=True),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PackDetInputs),
]
test_pipeline = [
    dict(type=LoadImageFromFile),
    dict(type=Resize, scale=(1333, 800), keep_ratio=True),
    dict(type=LoadAnnotations, with_bbox=True, with_mask=True),
    dict(
        type=PackDetInputs,
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]

train_dataloader.update(dict(dataset=dict(pipeline=train_pipeline)))
val_dataloader.update(dict(dataset=dict(pipeline=test_pipeline)))
test_dataloader = val_dataloader

val_evaluator.update(dict(metric=['bbox', 'segm']))
test_evaluator = val_evaluator
