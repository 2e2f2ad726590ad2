"""YOLOX-s on a lake: Mosaic and MixUp without a cache, from object storage too."""
_base_ = 'mmdet::yolox/yolox_s_8xb8-300e_coco.py'
custom_imports = dict(imports=['mmdet_deeplake_plugin'], allow_failed_imports=False)

train_dataloader = dict(
    collate_fn=dict(type='deeplake_collate'),
    # batch_size and num_workers are those of the dataloader: each worker then has chunks
    # of its own, from which it mixes samples.
    sampler=dict(
        _delete_=True,
        type='DeepLakeLoader',
        shuffle=True,
        batch_size=8,
        num_workers=4),
    dataset=dict(
        # MultiImageMixDataset would read each image of a mosaic by itself.
        type='DeepLakeMultiImageMixDataset',
        dataset=dict(
            _delete_=True,
            type='DeepLakeDataset',
            deeplake_path='data/coco_train',  # a folder, s3://…, al://org/name, …
            filter_cfg=dict(filter_empty_gt=False, min_size=32),
            pipeline=_base_.train_dataset.dataset.pipeline)))
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
    _delete_=True, type='DeepLakeMetric', metrics_format='COCO', metric='bbox')
test_evaluator = val_evaluator

# Validations on object storage read each chunk once, with the same results.
custom_hooks = [*_base_.custom_hooks, dict(type='DeepLakeOrderHook')]
