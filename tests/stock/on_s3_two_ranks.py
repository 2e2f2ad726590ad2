"""The small RTMDet on lakes in an object store, by two ranks on a CPU."""

_base_ = './on_lake_two_ranks.py'

deeplake_credentials = dict(
    creds=dict(
        aws_access_key_id='env:STORE_KEY_ID',
        aws_secret_access_key='env:STORE_SECRET',
        aws_region='us-east-1',
        endpoint_url='env:STORE_ENDPOINT',
    )
)
train_dataloader = dict(dataset=dict(deeplake_credentials=deeplake_credentials))
val_dataloader = dict(dataset=dict(deeplake_credentials=deeplake_credentials))
test_dataloader = val_dataloader

# Says how many chunks were read whole.
custom_hooks = [*_base_.custom_hooks, dict(type='DeepLakeReportHook')]
