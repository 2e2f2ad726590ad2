"""RTMDet-tiny as it ships, small enough to train for seconds on a CPU."""

_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'

size = (160, 160)
grey = (114, 114, 114)
palette = [(220, 20, 60), (0, 128, 255), (255, 200, 0)]
# 30 iterations are too few for the running statistics of batch norm.
norm = dict(_delete_=True, type='GN', num_groups=4)

model = dict(
    backbone=dict(init_cfg=None, norm_cfg=norm),
    neck=dict(norm_cfg=norm),
    bbox_head=dict(num_classes=3, norm_cfg=norm),
    test_cfg=dict(nms_pre=1000, max_per_img=100),
)

# The steps of the stock pipelines, at a smaller size.
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='CachedMosaic', img_scale=size, pad_val=114.0, max_cached_images=20),
    dict(type='RandomResize', scale=(320, 320), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=size),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=size, pad_val=dict(img=grey)),
    dict(
        type='CachedMixUp',
        img_scale=size,
        ratio_range=(1.0, 1.0),
        max_cached_images=10,
        pad_val=grey,
    ),
    dict(type='PackDetInputs'),
]
meta_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=size, keep_ratio=True),
    dict(type='Pad', size=size, pad_val=dict(img=grey)),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=meta_keys),
]
# Draws no random number, so that a run can be repeated in another way. MMDetection before
# 3.2 asks for `flip` by default.
plain_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=size, keep_ratio=True),
    dict(type='Pad', size=size, pad_val=dict(img=grey)),
    dict(type='PackDetInputs', meta_keys=meta_keys),
]
tta_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=s, keep_ratio=True) for s in (size, (192, 192))],
            [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)],
            [dict(type='Pad', size=(192, 192), pad_val=dict(img=grey))],
            [dict(type='LoadAnnotations', with_bbox=True)],
            [
                dict(
                    type='PackDetInputs',
                    meta_keys=(
                        'img_id',
                        'img_path',
                        'ori_shape',
                        'img_shape',
                        'scale_factor',
                        'flip',
                        'flip_direction',
                    ),
                )
            ],
        ],
    ),
]

train_dataloader = dict(batch_size=4, num_workers=2, pin_memory=False)
val_dataloader = dict(batch_size=4, num_workers=1)
test_dataloader = dict(batch_size=4, num_workers=1)

train_cfg = dict(max_epochs=3, val_interval=3, dynamic_intervals=None)
optim_wrapper = dict(optimizer=dict(lr=0.004), clip_grad=dict(max_norm=5))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10)
]

default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1))
# The losses of each iteration as they were computed, not a running mean.
log_processor = dict(window_size=1)
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='ExpMomentumEMA',
        momentum=0.0002,
        update_buffers=True,
        priority=49,
    ),
    dict(type='PipelineSwitchHook', switch_epoch=2, switch_pipeline=plain_pipeline),
]
randomness = dict(seed=0, deterministic=True)
