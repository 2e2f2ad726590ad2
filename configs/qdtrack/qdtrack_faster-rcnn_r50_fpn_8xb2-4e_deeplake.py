"""QDTrack on a lake: the stock model, schedule and runtime."""
_base_ = [
    'mmdet::qdtrack/qdtrack_faster-rcnn_r50_fpn_4e_base.py',
    '../_base_/datasets/deeplake_mot.py',
]

val_evaluator = [
    dict(
        type='DeepLakeMetric',
        metrics_format='CocoVideo',
        metric='bbox',
        classwise=True),
    dict(
        type='DeepLakeMetric',
        metrics_format='MOT',
        metric=['HOTA', 'CLEAR', 'Identity']),
]
test_evaluator = val_evaluator
# As in the stock config.
randomness = dict(seed=6)
