"""The small RTMDet on lakes; a test writes predictions and losses to the lake."""

_base_ = './on_lake.py'

test_evaluator = [
    {key: value for key, value in _base_.val_evaluator.items() if key != '_delete_'},
    dict(type='DeepLakePredictions', name='net', branch=None, score_thr=0.05),
]
# What eval_metric.py reads; nothing is written after an epoch of training.
val_evaluator = test_evaluator
custom_hooks = [*_base_.custom_hooks, dict(type='DeepLakeLossHook')]
