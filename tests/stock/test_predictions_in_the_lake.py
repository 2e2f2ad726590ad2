"""Predictions in the lake: by the stock ``test.py``, two ranks, and ``eval_metric.py``."""

from __future__ import annotations

import json
import math
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.lakes import open_lake, version, write_lake
from helpers.lakes import row as row_of
from mmengine.fileio import load
from stock_tools import (
    StockTools,
    iterations,
    metrics_of_test,
    training_log,
    validations,
)

from mmdet_deeplake_plugin.tools.to_coco import to_coco
from mmdet_deeplake_plugin.tools.update import update

FEW = 11
SHORT = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
PLAIN = ['custom_hooks.1.switch_epoch=0', f'val_dataloader.dataset.indices={FEW}']
ONE_BY_ONE = ['test_dataloader.batch_size=1']


@pytest.fixture(scope='module')
def trained(run_tool: StockTools, tmp_path_factory) -> Path:
    """Folder of a training whose validation has the metric, which then does nothing."""
    folder = tmp_path_factory.mktemp('trained')
    run_tool(
        'train.py',
        'on_lake_predictions',
        *('--work-dir', folder),
        options=[*SHORT, *PLAIN],
    )
    return folder


@pytest.fixture(scope='module')
def tested(run_tool: StockTools, trained, lake, tmp_path_factory) -> tuple[Path, str]:
    """Folder of a test of all images, and the lake that has the predictions."""
    folder = tmp_path_factory.mktemp('tested') / 'rtmdet_small'
    path = _copy(lake('bccd_val'), tmp_path_factory.mktemp('lakes') / 'val')
    run_tool(
        'test.py',
        'on_lake_predictions',
        trained / 'epoch_1.pth',
        *('--work-dir', folder, '--out', folder / 'results.pkl'),
        options=ONE_BY_ONE,
        BCCD_VAL_LAKE=path,
    )
    return folder, path


def _copy(path: str, to: Path) -> str:
    shutil.copytree(path, to)
    return str(to)


def _columns(path: str, name: str = 'net') -> dict[str, list[Any]]:
    head = open_lake(path, writable=False)
    names = [column.name for column in head.schema.columns]
    return {
        column: [head[row][column] for row in range(len(head))]
        for column in names
        if column.startswith(f'{name}/')
    }


def _assert_same(found: dict[str, list[Any]], expected: dict[str, list[Any]]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        for row, (one, other) in enumerate(zip(found[name], values, strict=True)):
            assert np.array_equal(one, other), (name, row)


def test_validation_of_a_training_writes_nothing(trained, lake):
    """It reports the numbers of the other metric alone."""
    (entry,) = validations(training_log(trained))
    assert 'coco/bbox_mAP' in entry
    assert {'val/loss', 'val/loss_cls', 'val/loss_bbox'} < entry.keys()
    assert list(open_lake(lake('bccd_val'), False).branches.names()) == ['main']


def test_the_stock_test_writes_its_predictions(tested, lake):
    """As they are in ``results.pkl``, with provenance and counts that add up."""
    folder, path = tested
    assert version(path) == version(lake('bccd_val'))
    found = _columns(f'{path}@runs/rtmdet_small')
    results = load(folder / 'results.pkl')
    assert len(results) == len(found['net/boxes'])
    for row, result in enumerate(results):
        predicted = result['pred_instances']
        assert np.array_equal(found['net/boxes'][row], predicted['bboxes'].numpy())
        assert np.array_equal(found['net/scores'][row], predicted['scores'].numpy())
        assert np.array_equal(found['net/labels'][row], predicted['labels'].numpy())
        counted = found['net/scores'][row] >= 0.05
        verdicts = found['net/verdict'][row][counted]
        assert int(found['net/tp'][row]) == (verdicts == 1).sum()
        assert int(found['net/fp'][row]) == (verdicts == 0).sum()
    assert sum(map(int, found['net/tp'])) > 0
    head = open_lake(f'{path}@runs/rtmdet_small', writable=False)
    known = json.loads(head['net/boxes'].metadata['provenance'])
    assert known['lake'] == head.id
    assert known['branch'] == 'main'
    assert known['version'] == version(path)
    assert known['rows'] == len(results)
    assert known['checkpoint'] == 'epoch_1.pth'
    assert len(known['checkpoint_sha256']) == len(known['config']) == 16
    metrics = metrics_of_test(folder)
    losses = [key for key in metrics if key.startswith('test/loss')]
    mean = math.fsum(map(float, found['net/loss'])) / len(results)
    assert metrics[losses[0]] == mean > 0 and len(losses) == 3
    assert known['metric'] == {k: metrics[k] for k in metrics if k not in losses}
    assert known['rules']['iou_thr'] == 0.5
    message = list(head.history)[-1].message
    assert 'checkpoint epoch_1.pth' in message
    assert str(folder) not in json.dumps(known) + message


def test_eval_metric_writes_what_test_wrote(run_tool, tested, lake, tmp_path):
    """From the pickle, on the branch that is named; losses need the model."""
    folder, path = tested
    run_tool(
        'analysis_tools/eval_metric.py',
        'on_lake_predictions',
        folder / 'results.pkl',
        options=['val_evaluator.1.branch=runs/offline'],
        BCCD_VAL_LAKE=path,
    )
    expected = _columns(f'{path}@runs/rtmdet_small')
    del expected['net/loss']
    _assert_same(_columns(f'{path}@runs/offline'), expected)


def test_eval_metric_must_be_told_the_branch(run_tool, tested):
    """Without a runner there is no name to take it from; a taken name is an error too."""
    folder, path = tested
    for options, text in (
        ([], r'(?s)ValueError.*branch of DeepLakePredictions.*runs/rtmdet_tiny'),
        (['val_evaluator.1.branch=runs/rtmdet_small'], r"(?s)ValueError.*'net' is taken"),
    ):
        with pytest.raises(pytest.fail.Exception, match=text):
            run_tool(
                'analysis_tools/eval_metric.py',
                'on_lake_predictions',
                folder / 'results.pkl',
                options=options,
                BCCD_VAL_LAKE=path,
            )


def test_two_ranks_write_what_one_writes(run_tool, trained, tested, lake, tmp_path):
    """Each row once, in its place."""
    path = _copy(lake('bccd_val'), tmp_path / 'val')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    run_tool(
        'dist_test.sh',
        'on_lake_predictions_two_ranks',
        *(trained / 'epoch_1.pth', 2),
        *('--work-dir', tmp_path / 'rtmdet_small'),
        PORT=str(port),
        BCCD_VAL_LAKE=path,
    )
    _assert_same(
        _columns(f'{path}@runs/rtmdet_small'),
        _columns(f'{tested[1]}@runs/rtmdet_small'),
    )


def _loop_config(folder: Path, select: str, weights: str) -> Path:
    """A training on some rows, with weights, that writes what resume compares."""
    config = folder / 'on_errors.py'
    config.write_text(
        f"_base_ = '{Path(__file__).parent / 'on_lake.py'}'\n"
        'train_dataloader = dict(\n'
        f'    sampler=dict(weights={weights}),\n'
        f'    dataset=dict(indices=None, {select}))\n'
        'val_cfg = val_dataloader = val_evaluator = None\n'
        'train_cfg = dict(max_epochs=1)\n'
        "custom_hooks = [dict(type='DeepLakeResumeHook')]\n"
    )
    return config


def _correct(path: str, folder: Path, img_id: int) -> None:
    """Moves the boxes of an image, as one would in a tool for labels."""
    to_coco(path, folder / 'all.json')
    content = json.loads((folder / 'all.json').read_text())
    content['images'] = [each for each in content['images'] if each['id'] == img_id]
    found = [each for each in content['annotations'] if each['image_id'] == img_id]
    for each in found:
        each['bbox'][0] += 1.0
    content['annotations'] = found
    (folder / 'corrected.json').write_text(json.dumps(content))
    assert 'moved' in update(path, folder / 'corrected.json', 'relabel')


def test_the_loop_goes_round(run_tool, tested, tmp_path):
    """Worst view, training on it with weights; corrected labels; no resume across them."""
    path, work_dir = tested[1], tmp_path / 'work'
    worst = 'SELECT * WHERE "net/fn" > 0 ORDER BY "net/f1" LIMIT 9'
    main = open_lake(path)
    branch = main.branches['runs/rtmdet_small'].open()
    branch.query(worst).tag('worst')
    img_ids = branch.query(worst)['image_id'][:].tolist()
    by_loss = "dict(type='column', name='net/loss')"
    config = _loop_config(tmp_path, "deeplake_view_id='worst'", by_loss)
    arguments = (config, '--work-dir', work_dir)
    output = run_tool('train.py', *arguments, BCCD_TRAIN_LAKE=path)
    assert f'DeepLakeDataset: 9 of 9 rows of lake {path}' in output
    steps = [entry['step'] for entry in iterations(training_log(work_dir))]
    assert steps[-1] == 3
    _correct(path, tmp_path, img_ids[0])
    chosen = f'SELECT * WHERE image_id IN ({", ".join(map(str, img_ids))})'
    _loop_config(tmp_path, f"deeplake_query='{chosen}'", 'None')
    with pytest.raises(
        pytest.fail.Exception,
        match=r'(?s)DeepLakeResumeHook: this run would not continue exactly after the '
        r'checkpoint: .*lakes\.0\.branch: \S+ in the checkpoint, relabel now',
    ):
        run_tool('train.py', *arguments, '--resume', BCCD_TRAIN_LAKE=f'{path}@relabel')
    again = (config, '--work-dir', tmp_path / 'again')
    output = run_tool('train.py', *again, BCCD_TRAIN_LAKE=f'{path}@relabel')
    assert f'DeepLakeDataset: 9 of 9 rows of lake {path}@relabel' in output


def test_a_lake_without_annotations_is_predicted_on(run_tool, trained, tmp_path):
    """The stock test.py writes labels to correct, to a lake of images alone."""
    rows = [row_of(number) for number in range(5)]
    kept = [{k: each[k] for k in each if k not in ('boxes', 'categories')} for each in rows]
    path = write_lake(tmp_path / 'lake', kept, dict(boxes=None, categories=None))
    config = tmp_path / 'on_images.py'
    config.write_text(
        f"_base_ = '{Path(__file__).parent / 'on_lake_predictions.py'}'\n"
        'test_dataloader = dict(dataset=dict(\n'
        '    deeplake_tensors=dict(gt_bboxes=None, gt_labels=None),\n'
        "    metainfo=dict(classes=('RBC', 'WBC', 'Platelets'))))\n"
        "test_evaluator = dict(\n"
        "    _delete_=True, type='DeepLakePredictions', name='net', branch='runs/a')\n"
    )
    work_dir = ('--work-dir', tmp_path / 'work')
    run_tool('test.py', config, trained / 'epoch_1.pth', *work_dir, BCCD_VAL_LAKE=path)
    to_coco(f'{path}@runs/a', tmp_path / 'out.json', predictions='net')
    content = json.loads((tmp_path / 'out.json').read_text())
    assert len(content['images']) == 5
    assert content['annotations']
    assert content['categories'][0] == {'id': 1, 'name': 'RBC'}
