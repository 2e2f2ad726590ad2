"""Videos of MOTChallenge in Deep Lake, like mot_challenge.py for files."""
custom_imports = dict(imports=['mmdet_deeplake_plugin'], allow_failed_imports=False)

# Make the lakes with
#   python -m mmdet_deeplake_plugin.tools.from_mot \
#       data/MOT17/train data/mot17_half_train --half train
#   python -m mmdet_deeplake_plugin.tools.from_mot \
#       data/MOT17/train data/mot17_half_val --half val
train_lake = 'data/mot17_half_train'  # a local folder, s3://…, al://org/name, …
val_lake = 'data/mot17_half_val'
# References, never secrets: this file is copied to logs and checkpoints.
credentials = None

img_scale = (1088, 1088)
train_pipeline = [
    dict(
        type='UniformRefFrameSample',
        num_ref_imgs=1,
        frame_range=10,
        filter_key_img=True),
    dict(
        type='TransformBroadcaster',
        share_random_params=True,
        transforms=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadTrackAnnotations'),
            dict(
                type='RandomResize',
                scale=img_scale,
                ratio_range=(0.8, 1.2),
                keep_ratio=True,
                clip_object_border=False),
            dict(type='PhotoMetricDistortion'),
        ]),
    dict(
        type='TransformBroadcaster',
        share_random_params=False,
        transforms=[
            dict(type='RandomCrop', crop_size=img_scale, bbox_clip_border=False),
        ]),
    dict(
        type='TransformBroadcaster',
        share_random_params=True,
        transforms=[dict(type='RandomFlip', prob=0.5)]),
    dict(type='PackTrackInputs'),
]
test_pipeline = [
    dict(
        type='TransformBroadcaster',
        transforms=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=img_scale, keep_ratio=True),
            dict(type='LoadTrackAnnotations'),
        ]),
    dict(type='PackTrackInputs'),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    # Hands batches from workers over in shared memory that is used again and again.
    collate_fn=dict(type='deeplake_collate'),
    sampler=dict(type='TrackImgSampler'),  # each frame once per epoch
    dataset=dict(
        type='DeepLakeVideoDataset',
        deeplake_path=train_lake,
        deeplake_credentials=credentials,
        visibility_thr=-1,
        metainfo=dict(classes=('pedestrian', )),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='TrackImgSampler'),  # frame by frame; each rank has whole videos
    dataset=dict(
        type='DeepLakeVideoDataset',
        deeplake_path=val_lake,
        deeplake_credentials=credentials,
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader

# Needs trackeval: pip install '.[tracking]'
val_evaluator = dict(
    type='DeepLakeMetric',
    metrics_format='MOT',
    metric=['HOTA', 'CLEAR', 'Identity'])
test_evaluator = val_evaluator
