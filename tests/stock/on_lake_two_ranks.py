"""The small RTMDet on lakes, with what several ranks need on a CPU."""

_base_ = './on_lake.py'
custom_imports = dict(
    imports=['gloo_on_cpu', 'mmdet_deeplake_plugin'], allow_failed_imports=False
)

model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)
train_dataloader = dict(batch_size=2, num_workers=1)
# One image a batch: the arithmetic of a batch depends on what else is in it.
val_dataloader = dict(batch_size=1)
test_dataloader = dict(batch_size=1)
