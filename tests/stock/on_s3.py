"""The small RTMDet on a lake on object storage; see ``test_interrupt.py``."""

_base_ = './on_lake.py'

lake = dict(
    deeplake_path='{{$S3_LAKE:}}',
    deeplake_credentials=dict(creds='env:S3_CREDS'),
    indices=None,
)
train_dataloader = dict(dataset=lake)
val_dataloader = dict(dataset=lake)
test_dataloader = val_dataloader
