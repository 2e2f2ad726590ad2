"""The stock ``dist_train.sh`` and ``dist_test.sh`` on a lake, with two gloo ranks."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from helpers.samples import assert_equal
from mmengine.fileio import load
from stock_tools import (
    StockTools,
    iterations,
    metrics_of_test,
    training_log,
    validations,
)

NUM_VAL = 87  # odd, so that one of two ranks has an image less or one twice
CONFIG = 'on_lake_two_ranks'
SAMPLERS = {
    'DefaultSampler': ['DefaultSampler', 'True'],
    'DeepLakeLoader-round-up': ['DeepLakeLoader', 'True'],
    'DeepLakeLoader-as-it-is': ['DeepLakeLoader', 'False'],
}


def _on_two_ranks(
    run_tool: StockTools, tool: str, *arguments: object, options: list[str]
) -> str:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    return run_tool(tool, CONFIG, *arguments, options=options, PORT=str(port))


@pytest.fixture(scope='module')
def trained(run_tool, tmp_path_factory) -> Path:
    """Folder of a training by two ranks, with a validation at its end."""
    folder = tmp_path_factory.mktemp('two_ranks')
    short = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
    plain = ['custom_hooks.1.switch_epoch=0']
    _on_two_ranks(
        run_tool, 'dist_train.sh', 2, '--work-dir', folder, options=short + plain
    )
    return folder


@pytest.fixture(scope='module')
def one_rank(run_tool, trained, tmp_path_factory) -> Path:
    """Folder of the checkpoint's test by one rank."""
    folder = tmp_path_factory.mktemp('one_rank')
    run_tool(
        'test.py',
        'on_lake',
        trained / 'epoch_1.pth',
        *('--work-dir', folder, '--out', folder / 'results.pkl'),
        options=[
            'test_dataloader.batch_size=1',
            f'test_evaluator.outfile_prefix={folder}/test',
        ],
    )
    return folder


def test_two_ranks_train_and_validate(trained, one_rank):
    """dist_train.sh shares the rows, and its validation equals that of one rank."""
    log = training_log(trained)
    # 40 images, two ranks, two images a batch.
    assert [entry['step'] for entry in iterations(log)] == list(range(1, 11))
    (validation,) = validations(log)
    validation.pop('step')
    assert validation == metrics_of_test(one_rank)


@pytest.mark.parametrize('sampler', SAMPLERS)
def test_two_ranks_evaluate_as_one(sampler, run_tool, trained, one_rank, tmp_path):
    """Two ranks report every number and prediction that one rank reports, once."""
    kind, round_up = SAMPLERS[sampler]
    output = _on_two_ranks(
        run_tool,
        'dist_test.sh',
        *(trained / 'epoch_1.pth', 2),
        *('--work-dir', tmp_path, '--out', tmp_path / 'results.pkl'),
        options=[
            f'test_dataloader.sampler.type={kind}',
            f'test_dataloader.sampler.round_up={round_up}',
            f'test_evaluator.outfile_prefix={tmp_path}/test',
        ],
    )
    assert 'Epoch(test) [44/44]' in output  # half of the images for the first rank
    metrics = metrics_of_test(tmp_path)
    assert {'coco/bbox_mAP', 'coco/RBC_precision', 'coco/AR@1000'} <= metrics.keys()
    assert metrics['coco/AR@1000'] > 0
    assert metrics == metrics_of_test(one_rank)
    written, of_one_rank = (
        json.loads((folder / 'test.bbox.json').read_text())
        for folder in (tmp_path, one_rank)
    )
    assert written == of_one_rank
    expected = load(one_rank / 'results.pkl')
    found = load(tmp_path / 'results.pkl')
    assert [sample['img_id'] for sample in found] == list(range(1, NUM_VAL + 1))
    for one, other in zip(found, expected):
        assert_equal(one['pred_instances'], other['pred_instances'])
