"""Stock ``train.py`` gives the same on a lake as on the COCO files, digit for digit."""

from __future__ import annotations

import json

import pytest
import torch
from helpers.samples import assert_equal
from stock_tools import iterations, training_log, validations

CONFIGS = ('on_coco_files', 'on_lake_default_sampler')


@pytest.fixture(scope='module')
def work_dirs(run_tool, tmp_path_factory):
    """Folders of two trainings: on the COCO files, and on the lakes."""
    folder = tmp_path_factory.mktemp('parity')
    for config in CONFIGS:
        results = f'val_evaluator.outfile_prefix={folder / config}/val'
        run_tool('train.py', config, '--work-dir', folder / config, options=[results])
    return [folder / config for config in CONFIGS]


def test_every_logged_loss_is_that_of_the_files(work_dirs):
    """30 iterations through Mosaic, MixUp and a pipeline switch log equal numbers."""
    files, lake = (iterations(training_log(folder)) for folder in work_dirs)
    assert [entry['step'] for entry in files] == list(range(1, 31))
    assert {'loss', 'loss_cls', 'loss_bbox', 'grad_norm', 'lr'} <= files[0].keys()
    assert len({entry['loss'] for entry in files}) == 30
    assert lake == files


def test_validation_after_it_is_that_of_the_files(work_dirs):
    """DeepLakeMetric logs CocoMetric's keys and digits, classwise and proposals too."""
    (files,), (lake,) = (validations(training_log(folder)) for folder in work_dirs)
    assert {'coco/bbox_mAP', 'coco/RBC_precision', 'coco/AR@1000'} <= files.keys()
    assert files['coco/bbox_mAP_50'] > 0
    assert files['coco/AR@1000'] > 0.01
    assert lake == files


def test_written_detections_are_those_of_the_files(work_dirs):
    """The JSON of detections holds the same images, boxes, scores and categories."""
    files, lake = (
        json.loads((folder / 'val.bbox.json').read_text()) for folder in work_dirs
    )
    assert len({detection['image_id'] for detection in files}) == 87
    assert lake == files


def test_trained_weights_are_those_of_the_files(work_dirs):
    """After the training every weight and every averaged weight is equal."""
    files, lake = (
        torch.load(folder / 'epoch_3.pth', map_location='cpu', weights_only=False)
        for folder in work_dirs
    )
    assert len(files['state_dict']) > 100
    for key in ('state_dict', 'ema_state_dict'):
        assert_equal(dict(lake[key]), dict(files[key]), key)


WORKERS = {
    'none': [
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'val_dataloader.num_workers=0',
        'val_dataloader.persistent_workers=False',
    ],
    # Forks anew in each epoch, after the validation has read the lake in the parent.
    'fork': [
        'train_dataloader.num_workers=2',
        'train_dataloader.persistent_workers=False',
        'train_dataloader.multiprocessing_context=fork',
        'val_dataloader.multiprocessing_context=fork',
    ],
    'spawn': [
        'train_dataloader.num_workers=1',
        'train_dataloader.multiprocessing_context=spawn',
    ],
}


def test_workers_of_any_kind_give_the_same_training(run_tool, tmp_path):
    """Losses and validations are equal without workers, with forked and spawned ones."""
    logs = {}
    for kind, workers in WORKERS.items():
        short = [
            'custom_hooks.1.switch_epoch=0',
            'train_cfg.max_epochs=2',
            'train_cfg.val_interval=1',
            'train_dataloader.dataset.indices=8',
            'val_dataloader.dataset.indices=4',
        ]
        run_tool(
            'train.py', 'on_lake', '--work-dir', tmp_path / kind, options=short + workers
        )
        logs[kind] = training_log(tmp_path / kind)
    assert len(iterations(logs['none'])) == 4
    assert len(validations(logs['none'])) == 2
    assert logs['fork'] == logs['none']
    assert logs['spawn'] == logs['none']
