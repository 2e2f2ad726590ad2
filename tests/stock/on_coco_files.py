"""The small RTMDet on the COCO files of BCCD: what the lake is compared with."""

_base_ = './small_rtmdet.py'

files = dict(
    _delete_=True,
    type='CocoDataset',
    data_root='{{$BCCD_FILES:}}',
    data_prefix=dict(img='images'),
    metainfo=dict(classes=('RBC', 'WBC', 'Platelets'), palette=_base_.palette),
)
train_dataloader = dict(
    dataset=dict(
        **files,
        ann_file='train.json',
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        indices=40,
        pipeline=_base_.train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        **files, ann_file='val.json', test_mode=True, pipeline=_base_.test_pipeline
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(
    ann_file='{{$BCCD_FILES:}}/val.json', metric=['bbox', 'proposal'], classwise=True
)
test_evaluator = val_evaluator
