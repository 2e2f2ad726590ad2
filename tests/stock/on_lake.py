"""The small RTMDet on lakes made of BCCD."""

_base_ = './small_rtmdet.py'
custom_imports = dict(imports=['mmdet_deeplake_plugin'], allow_failed_imports=False)

metainfo = dict(palette=_base_.palette)
train_dataloader = dict(
    sampler=dict(_delete_=True, type='DeepLakeLoader', shuffle=True),
    dataset=dict(
        _delete_=True,
        type='DeepLakeDataset',
        deeplake_path='{{$BCCD_TRAIN_LAKE:}}',
        metainfo=metainfo,
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        indices=40,
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    sampler=dict(_delete_=True, type='DeepLakeLoader', shuffle=False, round_up=False),
    dataset=dict(
        _delete_=True,
        type='DeepLakeDataset',
        deeplake_path='{{$BCCD_VAL_LAKE:}}',
        metainfo=metainfo,
        test_mode=True,
        pipeline=_base_.test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    _delete_=True,
    type='DeepLakeMetric',
    metric=['bbox', 'proposal'],
    classwise=True,
    proposal_nums=(100, 1, 10),
)
test_evaluator = val_evaluator
