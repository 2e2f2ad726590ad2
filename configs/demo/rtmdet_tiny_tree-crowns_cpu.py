"""The demo: RTMDet-tiny from scratch on aerial photographs, on two CPU cores.

The stock config, made small enough for a few minutes: no pretrained weights, no
Mosaic, no EMA (over so few steps it would lag behind), one class.
"""
_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
custom_imports = dict(imports=['mmdet_deeplake_plugin'], allow_failed_imports=False)

size = (320, 320)
max_epochs = 14

model = dict(
    backbone=dict(init_cfg=None),
    bbox_head=dict(num_classes=1),
    test_cfg=dict(nms=dict(iou_threshold=0.5), max_per_img=200))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=[0.3, 0.3], direction=['horizontal', 'vertical']),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    pin_memory=False,
    collate_fn=dict(type='deeplake_collate'),
    sampler=dict(_delete_=True, type='DeepLakeLoader', shuffle=True),
    dataset=dict(
        _delete_=True,
        type='DeepLakeDataset',
        deeplake_path='demo_out/lakes/train',
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    pin_memory=False,
    sampler=dict(_delete_=True, type='DeepLakeLoader', shuffle=False, round_up=False),
    dataset=dict(
        _delete_=True,
        type='DeepLakeDataset',
        deeplake_path='demo_out/lakes/val',
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(
    _delete_=True, type='DeepLakeMetric', metrics_format='COCO', metric='bbox')
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs, val_interval=8, dynamic_intervals=None)
optim_wrapper = dict(optimizer=dict(lr=0.003))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=60),
    dict(
        type='CosineAnnealingLR',
        eta_min=0.0001,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True),
]

default_hooks = dict(
    logger=dict(interval=5),
    checkpoint=dict(interval=max_epochs, save_best='auto', max_keep_ckpts=1))
custom_hooks = [dict(type='NumClassCheckHook'), dict(type='DeepLakeClassCheckHook')]
randomness = dict(seed=0)
