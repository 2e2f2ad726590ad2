"""Trackers and segmenters of videos, and re-identification: trained on a lake as on files.

The configs are those that ship with MMDetection, with small images, a small backbone and
untrained weights; the stock samplers deal the clips.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.clips import (
    IMAGES,
    stock_mot_files,
    stock_vis_file,
    write_mot,
    write_persons,
    write_youtube_vis,
)
from helpers.samples import stock_config
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from zoo.small_run import shrunken, small_model, with_resnet18

from mmdet_deeplake_plugin.tools.from_mot import from_mot
from mmdet_deeplake_plugin.tools.from_reid import from_reid
from mmdet_deeplake_plugin.tools.from_youtube_vis import from_youtube_vis

register_all_modules()
STEPS = 2


def mot(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    train = write_mot(folder)
    ann_file = str(stock_mot_files(folder) / 'train_cocoformat.json')
    from_mot(train, folder / 'lake')
    files = dict(ann_file=ann_file, data_root='', data_prefix=dict(img_path=str(train)))
    return files, dict(type='DeepLakeVideoDataset', visibility_thr=-1)


def vis(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    ann_file = write_youtube_vis(folder)
    from_youtube_vis(ann_file, folder / IMAGES, folder / 'lake')
    prefix = dict(img_path=str(folder / IMAGES))
    files = dict(ann_file=str(stock_vis_file(folder)), data_root='', data_prefix=prefix)
    return files, dict(type='DeepLakeVideoDataset', label_order='lake')


def persons(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    ann_file = write_persons(folder)
    from_reid(ann_file, folder / 'imgs', folder / 'lake')
    prefix = dict(img_path=str(folder / 'imgs'))
    triplets = dict(triplet_sampler=dict(num_ids=3, ins_per_id=2))
    files = dict(ann_file=str(ann_file), data_root='', data_prefix=prefix, **triplets)
    return files, dict(type='DeepLakeReIDDataset', **triplets)


MODELS = {
    'tracker': (mot, 'qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py'),
    'masks': (vis, 'masktrack_rcnn/masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019.py'),
    'persons': (persons, 'reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py'),
}


class Losses(Hook):
    """Notes what each step computed."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.steps.append({key: float(value) for key, value in outputs.items()})


def losses_of(config: dict[str, Any], dataset: dict[str, Any], folder: Path) -> list[dict[str, float]]:
    """The losses of the first steps."""
    loader = {**config['train_dataloader'], 'dataset': dataset}
    loader.update(batch_size=1, num_workers=0, persistent_workers=False)
    optimizer = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0001))
    runner = Runner.from_cfg(
        Config(
            dict(
                model=shrunken(with_resnet18(small_model(config['model']))),
                # Persons are small anyway, as the model wants them.
                train_dataloader=loader if 'triplet_sampler' in dataset else shrunken(loader),
                train_cfg=dict(type='IterBasedTrainLoop', max_iters=STEPS, val_interval=99),
                optim_wrapper=optimizer,
                default_hooks=dict(checkpoint=None),
                default_scope='mmdet',
                log_level='ERROR',
                work_dir=str(folder),
                randomness=dict(seed=0),
                experiment_name=folder.name,
            )
        )
    )
    runner.register_hook(losses := Losses())
    runner.train()
    return losses.steps


@pytest.mark.parametrize('kind', MODELS)
def test_losses_equal_those_of_files(kind: str, tmp_path: Path) -> None:
    """Step by step, to the last bit."""
    make, name = MODELS[kind]
    if kind == 'persons':
        pytest.importorskip('mmpretrain', reason='the models for re-identification need it')
    files, lake = make(tmp_path)
    config = stock_config(name).to_dict()
    dataset = {**config['train_dataloader']['dataset'], **files}
    keys = {key: dataset[key] for key in ('pipeline', 'metainfo') if key in dataset}
    lake = {'deeplake_path': str(tmp_path / 'lake'), **keys, **lake}
    found = [
        losses_of(config, data, tmp_path / name)
        for name, data in (('lake_run', lake), ('files_run', dataset))
    ]
    assert found[0] == found[1] and len(found[0]) == STEPS
    assert len(found[0][0]) > 1 and found[0][0] != found[0][1]
