"""The small RTMDet on lakes, with the sampler that the COCO files are read with."""

_base_ = './on_lake.py'

train_dataloader = dict(sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True))
val_dataloader = dict(sampler=dict(_delete_=True, type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader
