"""Semantic data in Deep Lake, like coco_semantic.py for folders of maps."""
_base_ = './deeplake_detection.py'

# Reads maps only, even if the lake has boxes. Make the lake with from_coco, --seg-dir and
# --seg-classes.
tensors = dict(gt_bboxes=None, gt_labels=None)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=False, with_label=False, with_seg=True),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=False, with_label=False, with_seg=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]

train_dataloader = dict(
    dataset=dict(pipeline=train_pipeline, deeplake_tensors=tensors, filter_cfg=None))
val_dataloader = dict(
    dataset=dict(pipeline=test_pipeline, deeplake_tensors=tensors))
test_dataloader = val_dataloader

# If LoadAnnotations has reduce_zero_label=True, write it here too.
val_evaluator = dict(
    _delete_=True, type='DeepLakeMetric', metrics_format='SemSeg', metric='mIoU')
test_evaluator = val_evaluator

custom_hooks = [
    dict(type='DeepLakeOrderHook'),
    dict(type='DeepLakeSkippedImagesHook'),
    dict(type='DeepLakeResumeHook'),
]
