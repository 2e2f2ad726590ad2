"""The small RTMDet on lakes, with the sampler of the files, and batches handed over."""

_base_ = './on_lake.py'

collate_fn = dict(type='deeplake_collate')
train_dataloader = dict(
    collate_fn=collate_fn,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    collate_fn=collate_fn,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
