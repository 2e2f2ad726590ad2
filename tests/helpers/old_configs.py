"""Configs of the integration of Deep Lake for MMDetection 2, as its users wrote them.

``@TRAIN@`` and ``@VAL@`` stand for the paths of the lakes.
"""

from __future__ import annotations

from pathlib import Path

# The example of Deep Lake's own guide: YOLOv3 on COCO.
GUIDE = """
_base_ = '../mmdetection/configs/yolo/yolov3_d53_mstrain-416_273e_coco.py'

img_norm_cfg = dict(mean=[0, 0, 0], std=[255., 255., 255.], to_rgb=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='Expand',
        mean=img_norm_cfg['mean'],
        to_rgb=img_norm_cfg['to_rgb'],
        ratio_range=(1, 2)),
    dict(type='Resize', img_scale=[(320, 320), (416, 416)], keep_ratio=True),
    dict(type='RandomFlip', flip_ratio=0.0),
    dict(type='PhotoMetricDistortion'),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_bboxes', 'gt_labels']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug',
        img_scale=(416, 416),
        flip=False,
        transforms=[
            dict(type='Resize', keep_ratio=True),
            dict(type='RandomFlip', flip_ratio=0.0),
            dict(type='Normalize', **img_norm_cfg),
            dict(type='Pad', size_divisor=32),
            dict(type='ImageToTensor', keys=['img']),
            dict(type='Collect', keys=['img']),
        ]),
]

TOKEN = 'eyJhbGciOi-the-secret-token'
credentials = {'username': None, 'password': None, 'token': TOKEN, 'creds': None}
tensors = {'img': 'images', 'gt_bboxes': 'boxes', 'gt_labels': 'categories'}
data = dict(
    train=dict(
        pipeline=train_pipeline,
        deeplake_path='@TRAIN@',
        deeplake_credentials=credentials,
        deeplake_commit_id='',
        deeplake_view_id='',
        deeplake_tensors=tensors,
        deeplake_dataloader={'shuffle': True, 'batch_size': 4, 'num_workers': 8}),
    val=dict(
        pipeline=test_pipeline,
        deeplake_path='@VAL@',
        deeplake_credentials=credentials,
        deeplake_tensors=tensors,
        deeplake_dataloader={'shuffle': False, 'batch_size': 1, 'num_workers': 8}))
deeplake_dataloader_type = 'c++'
deeplake_metrics_format = 'COCO'

evaluation = dict(metric=['bbox'], interval=10)
load_from = 'checkpoints/yolov3_d53_mstrain-416_273e_coco-2b60fcd9.pth'
work_dir = './mmdet_outputs'
log_config = dict(interval=10)
checkpoint_config = dict(interval=12)
seed = None
gpu_ids = range(1)
device = 'cuda'
runner = dict(type='EpochBasedRunner', max_epochs=10)
"""

PIPELINES = """
norm = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
train_pipeline = [
    dict(type='Resize', img_scale=[(128, 96), (160, 128)], multiscale_mode='value'),
    dict(type='RandomFlip', flip_ratio=0.5),
    dict(type='Normalize', **norm),
    dict(type='Pad', size_divisor=32),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=@KEYS@)]
test_pipeline = [
    dict(type='MultiScaleFlipAug', img_scale=(160, 128), flip=False, transforms=[
        dict(type='Resize', keep_ratio=True),
        dict(type='Normalize', **norm),
        dict(type='Pad', size_divisor=32),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img'])])]
"""
BOXES = PIPELINES.replace('@KEYS@', "['img', 'gt_bboxes', 'gt_labels']")
MASKS = PIPELINES.replace('@KEYS@', "['img', 'gt_bboxes', 'gt_labels', 'gt_masks']")

# A whole model without a base; a saved view; loading left to Deep Lake.
VIEW = (
    BOXES
    + """
model = dict(
    type='RetinaNet',
    pretrained=None,
    backbone=dict(
        type='ResNet', depth=18, num_stages=4, out_indices=(0, 1, 2, 3),
        frozen_stages=1, norm_cfg=dict(type='BN', requires_grad=True), norm_eval=True,
        style='pytorch'),
    neck=dict(
        type='FPN', in_channels=[64, 128, 256, 512], out_channels=64, start_level=1,
        add_extra_convs='on_input', num_outs=5),
    bbox_head=dict(
        type='RetinaHead', num_classes=3, in_channels=64, stacked_convs=1,
        feat_channels=64,
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32, 64, 128]),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder', target_means=[.0, .0, .0, .0],
            target_stds=[1.0, 1.0, 1.0, 1.0]),
        loss_cls=dict(
            type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
    train_cfg=dict(
        assigner=dict(
            type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0,
            ignore_iof_thr=-1),
        allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(
        nms_pre=1000, min_bbox_size=0, score_thr=0.05,
        nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=0,
    train=dict(
        deeplake_path='@TRAIN@', deeplake_view_id='clean', pipeline=train_pipeline),
    val=dict(deeplake_path='@VAL@', pipeline=test_pipeline),
    test=dict(deeplake_path='@VAL@', pipeline=test_pipeline))
deeplake_dataloader_type = 'python'
optimizer = dict(type='AdamW', lr=0.0001, weight_decay=0.05)
optimizer_config = dict(grad_clip=dict(max_norm=35, norm_type=2))
lr_config = dict(
    policy='CosineAnnealing', warmup='linear', warmup_iters=2, warmup_ratio=0.1,
    min_lr=0.0)
runner = dict(type='IterBasedRunner', max_iters=2)
evaluation = dict(interval=2, metric='bbox')
checkpoint_config = dict(by_epoch=False, interval=2)
"""
)

# What a file of the user's own inherits; a query; a dataset that is repeated.
QUERY_BASE = (
    "_base_ = '../configs/retinanet/retinanet_r18_fpn_1x_coco.py'\n"
    + BOXES
    + """
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=0,
    train=dict(type='RepeatDataset', times=2, dataset=dict(
        deeplake_path='@TRAIN@', deeplake_query='SELECT * LIMIT 2',
        pipeline=train_pipeline)),
    val=dict(deeplake_path='@VAL@', pipeline=test_pipeline))
"""
)
QUERY = """
_base_ = 'lake_base.py'
model = dict(bbox_head=dict(num_classes=3))
data = dict(val=dict(deeplake_query='SELECT * LIMIT 3'))
lr_config = dict(step=[16, 22])
optimizer = dict(lr=0.001)
runner = dict(type='EpochBasedRunner', max_epochs=1)
evaluation = dict(interval=1, metric='bbox', classwise=True)
"""

VOC = (
    """
_base_ = [
    '../_base_/models/faster_rcnn_r50_fpn.py', '../_base_/datasets/voc0712.py',
    '../_base_/schedules/schedule_1x.py', '../_base_/default_runtime.py']
model = dict(roi_head=dict(bbox_head=dict(num_classes=3)))
"""
    + BOXES
    + """
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=0,
    train=dict(deeplake_path='@TRAIN@', pipeline=train_pipeline),
    val=dict(deeplake_path='@VAL@', pipeline=test_pipeline))
deeplake_metrics_format = 'PascalVOC'
evaluation = dict(interval=1, metric='mAP', iou_thr=0.4, save_best='mAP')
runner = dict(type='EpochBasedRunner', max_epochs=1)
"""
)

INSTANCES = (
    "_base_ = 'mmdetection/configs/mask_rcnn/mask_rcnn_r50_fpn_1x_coco.py'\n"
    + MASKS
    + """
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=0,
    train=dict(
        deeplake_path='@TRAIN@',
        deeplake_tensors=dict(
            img='images', gt_bboxes='boxes', gt_labels='categories',
            gt_masks='segmentation'),
        pipeline=train_pipeline),
    val=dict(deeplake_path='@VAL@', pipeline=test_pipeline))
evaluation = dict(interval=1, metric=['bbox', 'segm'])
runner = dict(type='EpochBasedRunner', max_epochs=1)
"""
)

# Keys of S3, one from the environment and one in the file; nothing is validated.
S3 = (
    "_base_ = '../configs/retinanet/retinanet_r18_fpn_1x_coco.py'\n"
    'import os\n'
    + BOXES
    + """
model = dict(bbox_head=dict(num_classes=3))
data = dict(
    samples_per_gpu=2,
    workers_per_gpu=0,
    train=dict(
        deeplake_path='@TRAIN@',
        deeplake_credentials=dict(creds=dict(
            aws_access_key_id=os.environ['LAKE_KEY_ID'],
            aws_secret_access_key='wJalr-the-secret-key',
            endpoint_url='@ENDPOINT@', region='us-east-1')),
        pipeline=train_pipeline))
runner = dict(type='EpochBasedRunner', max_epochs=1)
"""
)


def write_old(path: Path, text: str, **values: object) -> Path:
    """Writes an old config, with values in place of ``@NAME@``, and returns its path."""
    for name, value in values.items():
        text = text.replace(f'@{name}@', str(value))
    path.write_text(text)
    return path
