"""The stock tools on a lake: each ends well, and writes what it writes for files."""

from __future__ import annotations

import ast
import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.samples import BCCD, assert_equal
from mmdet.datasets import CocoDataset
from mmengine.fileio import load
from stock_tools import (
    HERE,
    TOOLS,
    assert_same_pictures,
    iterations,
    metrics_of_test,
    pictures,
    training_log,
    validations,
)

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.tools.from_coco import from_coco

NUM_TESTED = 11
# The plain pipeline from the first epoch on, and a validation after each.
PLAIN = [
    'custom_hooks.1.switch_epoch=0',
    'train_cfg.val_interval=1',
    f'val_dataloader.dataset.indices={NUM_TESTED}',
]


@pytest.fixture(scope='module')
def trained(run_tool, tmp_path_factory) -> Path:
    """Folder of a training on the lake that keeps the best checkpoint."""
    folder = tmp_path_factory.mktemp('trained')
    best = 'default_hooks.checkpoint.save_best=auto'
    run_tool('train.py', 'on_lake', '--work-dir', folder, options=[*PLAIN, best])
    return folder


@pytest.fixture(scope='module')
def few(shared_data, tmp_path_factory) -> dict[str, list[str]]:
    """Options of each config that test the same few images of the validation set."""
    content = json.loads((shared_data / 'bccd' / 'val.json').read_text())
    content['images'] = content['images'][:NUM_TESTED]
    kept = {image['id'] for image in content['images']}
    content['annotations'] = [
        annotation
        for annotation in content['annotations']
        if annotation['image_id'] in kept
    ]
    file = tmp_path_factory.mktemp('few') / 'few.json'
    file.write_text(json.dumps(content))
    return dict(
        on_lake=[f'test_dataloader.dataset.indices={NUM_TESTED}'],
        on_coco_files=[
            f'test_dataloader.dataset.ann_file={file}',
            f'test_evaluator.ann_file={file}',
        ],
    )


@pytest.fixture(scope='module')
def tested(run_tool, trained, few, tmp_path_factory) -> dict[str, Path]:
    """Folder of ``test.py`` with predictions and pictures, by config."""
    folder = tmp_path_factory.mktemp('tested')
    for config, options in few.items():
        work_dir = folder / config
        run_tool(
            'test.py',
            config,
            trained / 'epoch_3.pth',
            *('--work-dir', work_dir),
            *('--out', work_dir / 'results.pkl'),
            *('--show-dir', 'pictures'),
            options=options,
        )
    return {config: folder / config for config in few}


def _assert_same_predictions(left: Path, right: Path) -> None:
    left, right = load(left), load(right)
    assert len(left) == len(right) == NUM_TESTED
    for one, other in zip(left, right):
        assert one['img_id'] == other['img_id']
        assert len(one['pred_instances']['scores']) > 0
        assert_equal(one['pred_instances'], other['pred_instances'])


def test_train_keeps_the_checkpoint_with_the_best_map(trained):
    """save_best='auto' names the file after mAP, though classwise numbers exist too."""
    scores = [entry['coco/bbox_mAP'] for entry in validations(training_log(trained))]
    assert len(scores) == 3
    best = scores.index(max(scores)) + 1
    assert {file.name for file in trained.glob('*.pth')} == {
        'epoch_1.pth',
        'epoch_2.pth',
        'epoch_3.pth',
        f'best_coco_bbox_mAP_epoch_{best}.pth',
    }


def test_resumed_training_goes_on_as_if_uninterrupted(run_tool, trained, tmp_path):
    """--resume after epoch 2 logs what the third epoch of the whole training logged."""
    shutil.copy(trained / 'epoch_2.pth', tmp_path)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    run_tool('train.py', 'on_lake', '--work-dir', tmp_path, '--resume', options=PLAIN)
    whole, resumed = training_log(trained), training_log(tmp_path)
    assert [entry['step'] for entry in iterations(resumed)] == list(range(21, 31))
    assert iterations(resumed) == iterations(whole)[20:]
    assert validations(resumed) == validations(whole)[2:]
    first, second = (
        torch.load(folder / 'epoch_3.pth', weights_only=False)['state_dict']
        for folder in (trained, tmp_path)
    )
    assert_equal(dict(first), dict(second))


def test_test_gives_the_numbers_of_the_files(tested):
    """test.py prints the metrics that it prints for CocoDataset and CocoMetric."""
    metrics = metrics_of_test(tested['on_lake'])
    assert metrics['coco/AR@1000'] > 0
    assert metrics == metrics_of_test(tested['on_coco_files'])


def test_test_dumps_the_predictions_of_the_files(tested):
    """--out holds the same images, boxes, scores and labels, in the same order."""
    files = [folder / 'results.pkl' for folder in tested.values()]
    _assert_same_predictions(*files)


def test_test_paints_a_picture_of_each_image(tested, shared_data):
    """--show-dir holds a picture under each image's own name, painted as from files."""
    content = json.loads((shared_data / 'bccd' / 'val.json').read_text())
    names = {image['file_name'] for image in content['images'][:NUM_TESTED]}
    painted = {}
    for config, folder in tested.items():
        (show_dir,) = folder.glob('*/pictures')
        painted[config] = pictures(show_dir)
    assert painted['on_lake'].keys() == names
    assert_same_pictures(painted['on_lake'], painted['on_coco_files'])


def test_test_time_augmentation_gives_that_of_the_files(
    run_tool, trained, tested, few, tmp_path
):
    """test.py --tta evaluates a lake as it does files; and other boxes than without."""
    for config, options in few.items():
        run_tool(
            'test.py',
            config,
            trained / 'epoch_3.pth',
            '--tta',
            *('--work-dir', tmp_path / config),
            *('--out', tmp_path / config / 'results.pkl'),
            options=options,
        )
    lake, files = tmp_path / 'on_lake', tmp_path / 'on_coco_files'
    _assert_same_predictions(lake / 'results.pkl', files / 'results.pkl')
    assert metrics_of_test(lake) == metrics_of_test(files)
    assert metrics_of_test(lake) != metrics_of_test(tested['on_lake'])


def test_eval_metric_repeats_the_numbers_of_test(run_tool, tested, few):
    """eval_metric.py on the dumped predictions prints the numbers of test.py."""
    output = run_tool(
        'analysis_tools/eval_metric.py',
        'on_lake',
        tested['on_lake'] / 'results.pkl',
        options=few['on_lake'],
    )
    printed = [line for line in output.splitlines() if line.startswith('{')]
    assert ast.literal_eval(printed[-1]) == metrics_of_test(tested['on_lake'])


def test_confusion_matrix_counts_as_for_files(
    run_tool, tested, few, lake, coco_files, tmp_path
):
    """confusion_matrix.py paints a lake's matrix; each count is that of the files."""
    results = tested['on_lake'] / 'results.pkl'
    run_tool(
        'analysis_tools/confusion_matrix.py',
        'on_lake',
        *(results, tmp_path),
        options=few['on_lake'],
    )
    assert list(pictures(tmp_path)) == ['confusion_matrix.png']

    # The picture of so few classes is too small to read.
    script = runpy.run_path(str(TOOLS / 'analysis_tools' / 'confusion_matrix.py'))
    of_few = dict(test_mode=True, indices=NUM_TESTED)
    files = CocoDataset(**coco_files('bccd_val'), metainfo=dict(classes=BCCD), **of_few)
    matrices = [
        script['calculate_confusion_matrix'](dataset, load(results), score_thr=0.1)
        for dataset in (DeepLakeDataset(lake('bccd_val'), **of_few), files)
    ]
    assert matrices[0].sum() > 100
    assert np.array_equal(*matrices)


def test_analyze_results_paints_what_it_paints_for_files(run_tool, tested, few, tmp_path):
    """The best and the worst images are the same, with the same mAP and pixels."""
    for config, options in few.items():
        run_tool(
            'analysis_tools/analyze_results.py',
            config,
            *(tested[config] / 'results.pkl', tmp_path / config),
            *('--topk', 3),
            options=options,
        )
    lake = pictures(tmp_path / 'on_lake')
    assert [name.split('/')[0] for name in lake] == ['bad'] * 3 + ['good'] * 3
    assert_same_pictures(lake, pictures(tmp_path / 'on_coco_files'))


def test_browse_dataset_paints_what_it_paints_for_files(run_tool, few, tmp_path):
    """browse_dataset.py paints the same boxes on the same pixels, under own names."""
    for config in few:
        plain = tmp_path / f'{config}.py'
        plain.write_text(
            f'_base_ = {str(HERE / config)!r} + ".py"\n'
            'train_dataloader = dict(\n'
            '    dataset=dict(indices=5, pipeline=_base_.plain_pipeline))\n'
        )
        run_tool(
            'analysis_tools/browse_dataset.py',
            plain,
            *('--output-dir', tmp_path / config, '--not-show'),
        )
    lake = pictures(tmp_path / 'on_lake')
    assert len(lake) == 5
    assert_same_pictures(lake, pictures(tmp_path / 'on_coco_files'))


def test_a_lake_that_was_written_anew_is_another_lake(
    run_tool, trained, few, shared_data, tmp_path
):
    """Neither are old predictions scored on it, nor is an old training resumed on it."""
    images, lake = shared_data / 'bccd' / 'images', str(tmp_path / 'lake')
    content = json.loads((shared_data / 'bccd' / 'val.json').read_text())
    file, results = tmp_path / 'val.json', tmp_path / 'results.pkl'
    variables = dict(BCCD_VAL_LAKE=lake, BCCD_TRAIN_LAKE=lake)
    few_on_lake: dict = dict(options=few['on_lake'], **variables)
    resumable = tmp_path / 'resumable.py'
    resumable.write_text(
        f"_base_ = '{HERE / 'on_lake.py'}'\n"
        "custom_hooks = [dict(type='DeepLakeResumeHook')]\n"
        'train_cfg = dict(_delete_=True, type="EpochBasedTrainLoop", max_epochs=1)\n'
        'train_dataloader = dict(dataset=dict(indices=4))\n'
        'val_cfg = val_dataloader = val_evaluator = None\n'
    )

    def write() -> None:
        file.write_text(json.dumps(content))
        from_coco(file, images, lake, overwrite=True)

    write()
    work_dir = ('--work-dir', tmp_path / 'work')
    checkpoint = trained / 'epoch_3.pth'
    out = ('--out', results)
    run_tool('test.py', 'on_lake', checkpoint, *work_dir, *out, **few_on_lake)
    run_tool('train.py', resumable, *work_dir, **variables)
    content['images'].reverse()
    write()
    with pytest.raises(
        pytest.fail.Exception,
        match=r'(?s)KeyError.* is not open in this process.*written anew since, predict again',
    ):
        run_tool('analysis_tools/eval_metric.py', 'on_lake', results, **few_on_lake)
    more = ['train_cfg.max_epochs=2']
    with pytest.raises(
        pytest.fail.Exception,
        match=r'(?s)ValueError.*lakes\.0\.id: [0-9a-f]{32} in the checkpoint, [0-9a-f]{32} now',
    ):
        run_tool('train.py', resumable, *work_dir, '--resume', options=more, **variables)
