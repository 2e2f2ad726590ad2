"""A training to be killed and resumed, by iterations: as many as two epochs have."""

_base_ = './resume_epochs.py'

train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=14)
log_processor = dict(by_epoch=False)
