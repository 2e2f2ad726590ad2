"""Panoptic FPN on a lake of things and stuff: the stock config with a few dicts changed."""
_base_ = 'mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mmdet_deeplake_plugin'], allow_failed_imports=False)

train_dataloader = dict(
    sampler=dict(_delete_=True, type='DeepLakeLoader', shuffle=True),
    batch_sampler=dict(type='DeepLakeAspectRatioBatchSampler'),
    dataset=dict(
        _delete_=True,  # without it, keys of the CocoPanopticDataset would remain
        type='DeepLakeDataset',
        deeplake_path='data/coco_panoptic_train',  # a folder, s3://…, al://org/name, …
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=_base_.train_pipeline))
val_dataloader = dict(
    sampler=dict(_delete_=True, type='DeepLakeLoader', shuffle=False, round_up=False),
    dataset=dict(
        _delete_=True,
        type='DeepLakeDataset',
        deeplake_path='data/coco_panoptic_val',
        test_mode=True,
        pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(_delete_=True, type='DeepLakeMetric', metrics_format='Panoptic')
test_evaluator = val_evaluator
