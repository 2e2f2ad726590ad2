"""RTMDet-tiny on a lake: the stock config with a few dicts changed."""
_base_ = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
custom_imports = dict(imports=['mmdet_deeplake_plugin'], allow_failed_imports=False)

train_dataloader = dict(
    collate_fn=dict(type='deeplake_collate'),
    sampler=dict(_delete_=True, type='DeepLakeLoader', shuffle=True),
    dataset=dict(
        _delete_=True,  # without it, keys of the CocoDataset would remain
        type='DeepLakeDataset',
        deeplake_path='data/coco_train',  # a folder, s3://…, al://org/name, …
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=_base_.train_pipeline))
val_dataloader = dict(
    sampler=dict(_delete_=True, type='DeepLakeLoader', shuffle=False, round_up=False),
    dataset=dict(
        _delete_=True,
        type='DeepLakeDataset',
        deeplake_path='data/coco_val',
        test_mode=True,
        pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(
    _delete_=True,
    type='DeepLakeMetric',
    metrics_format='COCO',
    metric='bbox',
    proposal_nums=(100, 1, 10))
test_evaluator = val_evaluator

# Validations on object storage read each chunk once, with the same results.
custom_hooks = [*_base_.custom_hooks, dict(type='DeepLakeOrderHook')]
