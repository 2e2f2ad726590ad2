"""A training to be killed and resumed, by epochs: 26 images of 64 pixels, 2 epochs."""

_base_ = './small_rtmdet.py'
custom_imports = dict(
    imports=['gloo_on_cpu', 'mmdet_deeplake_plugin', 'resume_watch'],
    allow_failed_imports=False,
)
# With two ranks, see gloo_on_cpu.
model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)
model = dict(
    backbone=dict(widen_factor=0.125),
    neck=dict(in_channels=[32, 64, 128], out_channels=32),
    # The lake of COCO has 80 classes; those of BCCD have fewer.
    bbox_head=dict(num_classes=80, in_channels=32, feat_channels=32),
)

train_dataloader = dict(
    batch_size=4,
    sampler=dict(_delete_=True, type='DeepLakeLoader', shuffle='full'),
    dataset=dict(
        _delete_=True,
        type='DeepLakeDataset',
        deeplake_path='{{$RESUME_LAKE:}}',
        indices=26,
        pipeline=[
            dict(type='LoadImageFromFile', backend_args=None),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='Resize', scale=(64, 64), keep_ratio=False),
            dict(type='PackDetInputs'),
        ],
    ),
)
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=2)
val_cfg = test_cfg = None
val_dataloader = test_dataloader = None
val_evaluator = test_evaluator = None

default_hooks = dict(
    checkpoint=dict(_delete_=True, type='CheckpointHook', by_epoch=False, interval=3)
)
custom_hooks = [dict(type='DeepLakeResumeHook'), dict(type='ResumeWatchHook')]
