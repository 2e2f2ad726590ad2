"""RTMDet-tiny on a lake, as a pure Python config: the stock model and schedule.

MMDetection's wheel holds its classic configs alone. A pure Python config cannot inherit
from those, but it can read one and take what it needs.
"""
from mmengine.config import Config

from mmdet_deeplake_plugin import (DeepLakeDataset, DeepLakeLoader,
                                   DeepLakeMetric, deeplake_collate)

stock = Config.fromstring(
    "_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'", '.py')

model = stock.model
train_cfg, val_cfg, test_cfg = stock.train_cfg, stock.val_cfg, stock.test_cfg
optim_wrapper, param_scheduler = stock.optim_wrapper, stock.param_scheduler
auto_scale_lr = stock.auto_scale_lr
default_scope, env_cfg = stock.default_scope, stock.env_cfg
default_hooks, custom_hooks = stock.default_hooks, stock.custom_hooks
log_processor, log_level = stock.log_processor, stock.log_level
vis_backends, visualizer = stock.vis_backends, stock.visualizer
load_from, resume = stock.load_from, stock.resume
train_pipeline, test_pipeline = stock.train_pipeline, stock.test_pipeline

train_dataloader = stock.train_dataloader
train_dataloader.collate_fn = dict(type=deeplake_collate)
train_dataloader.sampler = dict(type=DeepLakeLoader, shuffle=True)
train_dataloader.dataset = dict(
    type=DeepLakeDataset,
    deeplake_path='data/coco_train',  # a folder, s3://…, al://org/name, …
    filter_cfg=dict(filter_empty_gt=True, min_size=32),
    pipeline=train_pipeline)
val_dataloader = stock.val_dataloader
val_dataloader.sampler = dict(type=DeepLakeLoader, shuffle=False, round_up=False)
val_dataloader.dataset = dict(
    type=DeepLakeDataset,
    deeplake_path='data/coco_val',
    test_mode=True,
    pipeline=test_pipeline)
test_dataloader = val_dataloader

val_evaluator = dict(
    type=DeepLakeMetric,
    metrics_format='COCO',
    metric='bbox',
    proposal_nums=(100, 1, 10))
test_evaluator = val_evaluator

del stock  # so that it is not a key of this config
