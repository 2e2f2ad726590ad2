"""Panoptic data in Deep Lake, like coco_panoptic.py for COCO files."""
_base_ = './deeplake_detection.py'

# Make the lakes with
#   python -m mmdet_deeplake_plugin.tools.from_coco \
#       data/coco/annotations/panoptic_train2017.json data/coco/train2017 data/coco_train
# LoadPanopticAnnotations needs the package panopticapi.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadPanopticAnnotations'),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='LoadPanopticAnnotations'),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(_delete_=True, type='DeepLakeMetric', metrics_format='Panoptic')
test_evaluator = val_evaluator

# No NumClassCheckHook: some heads only have things.
custom_hooks = [
    dict(type='DeepLakeClassCheckHook'),
    dict(type='DeepLakeOrderHook'),
    dict(type='DeepLakeSkippedImagesHook'),
    dict(type='DeepLakeResumeHook'),
]
