"""YOLOv3, the example of Deep Lake's own MMDetection guide, on a lake."""
_base_ = 'mmdet::yolo/yolov3_d53_8xb8-ms-416-273e_coco.py'
custom_imports = dict(imports=['mmdet_deeplake_plugin'], allow_failed_imports=False)

train_dataloader = dict(
    collate_fn=dict(type='deeplake_collate'),
    sampler=dict(_delete_=True, type='DeepLakeLoader', shuffle=True),
    dataset=dict(
        _delete_=True,
        type='DeepLakeDataset',
        deeplake_path='data/coco_train',
        # References to secrets; None: from the environment.
        deeplake_credentials=dict(token=None, creds=None),
        deeplake_commit_id='',  # a version; empty: the latest
        deeplake_view_id='',  # a saved view (tag); empty: none
        deeplake_query='',  # TQL, such as 'SELECT * WHERE …'; empty: all rows
        # Role -> column. Missing roles are inferred from the column types.
        deeplake_tensors=dict(img='images', gt_bboxes='boxes', gt_labels='categories'),
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
    _delete_=True, type='DeepLakeMetric', metrics_format='COCO', metric='bbox')
test_evaluator = val_evaluator

# Validations on object storage read each chunk once, with the same results.
custom_hooks = [dict(type='DeepLakeOrderHook')]
