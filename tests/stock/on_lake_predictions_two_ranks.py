"""The same with what two ranks need on a CPU."""

_base_ = ['./on_lake_two_ranks.py']

test_evaluator = [
    {key: value for key, value in _base_.val_evaluator.items() if key != '_delete_'},
    dict(type='DeepLakePredictions', name='net', branch=None, score_thr=0.05),
]
custom_hooks = [*_base_.custom_hooks, dict(type='DeepLakeLossHook')]
