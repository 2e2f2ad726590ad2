"""Detection data in Deep Lake, like coco_detection.py for COCO files."""
custom_imports = dict(imports=['mmdet_deeplake_plugin'], allow_failed_imports=False)

# Make the lakes with
#   python -m mmdet_deeplake_plugin.tools.from_coco \
#       data/coco/annotations/instances_train2017.json data/coco/train2017 data/coco_train
train_lake = 'data/coco_train'  # a local folder, s3://…, al://org/name, …
val_lake = 'data/coco_val'
# References, never secrets: this file is copied to logs and checkpoints.
# For example dict(token='env:ACTIVELOOP_TOKEN') or dict(creds='file:~/.lake.json').
credentials = None

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    # Hands batches from workers over in shared memory that is used again and again.
    collate_fn=dict(type='deeplake_collate'),
    sampler=dict(type='DeepLakeLoader', shuffle=True),
    # Groups images by aspect ratio, with the same number of batches on every rank.
    batch_sampler=dict(type='DeepLakeAspectRatioBatchSampler'),
    dataset=dict(
        type='DeepLakeDataset',
        deeplake_path=train_lake,
        deeplake_credentials=credentials,
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DeepLakeLoader', shuffle=False, round_up=False),
    dataset=dict(
        type='DeepLakeDataset',
        deeplake_path=val_lake,
        deeplake_credentials=credentials,
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='DeepLakeMetric', metrics_format='COCO', metric='bbox')
test_evaluator = val_evaluator

custom_hooks = [
    # Fails early, with both numbers, if num_classes of a head differs from the lake.
    dict(type='NumClassCheckHook'),
    # Fails or warns if names or order of the classes differ, also from a checkpoint.
    dict(type='DeepLakeClassCheckHook'),
    # Validations on object storage read each chunk once, with the same results.
    dict(type='DeepLakeOrderHook'),
    # Lists the images that on_broken_image='skip' skipped, at the end of each epoch.
    dict(type='DeepLakeSkippedImagesHook'),
    # With default_hooks=dict(checkpoint=dict(by_epoch=False, interval=1000)), --resume
    # continues in the middle of an epoch.
    dict(type='DeepLakeResumeHook'),
]
