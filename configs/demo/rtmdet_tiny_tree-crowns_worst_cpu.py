"""The end of the demo: training goes on with the tiles that its model gets most wrong."""
_base_ = './rtmdet_tiny_tree-crowns_cpu.py'

max_epochs = 4

# test.py: the model's predictions on the tiles of its training, to a branch of their lake.
test_dataloader = dict(dataset=dict(deeplake_path='demo_out/lakes/train'))
test_evaluator = dict(
    _delete_=True, type='DeepLakePredictions', name='rtmdet_tiny', branch='runs/demo')

# train.py: a view that was saved on that branch.
train_dataloader = dict(dataset=dict(deeplake_view_id='worst'))

train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=0.0005))
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        eta_min=0.00005,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(interval=max_epochs, save_best=None))
