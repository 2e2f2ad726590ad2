"""With lazy_init, the lake is opened when data are asked for, and not before."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers.lakes import CLASSES, write_lake
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.registry import DATASETS, MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLoader

register_all_modules()


@pytest.fixture()
def trained(tmp_path) -> tuple[Config, str]:
    """A config and a checkpoint of a model, whose lake is gone."""
    config = Config.fromfile('configs/rtmdet/rtmdet_tiny_8xb32-300e_deeplake.py')
    config.model.backbone.init_cfg = None
    config.model.bbox_head.num_classes = len(CLASSES)
    for part in ('train', 'val', 'test'):
        dataset = config[f'{part}_dataloader']['dataset']
        dataset['deeplake_path'] = str(tmp_path / 'gone')
        dataset.pop('metainfo', None)
    model = MODELS.build(config.model)
    meta = dict(dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'a.pth')
    return config, str(tmp_path / 'a.pth')


def test_a_deployed_model_needs_no_lake(trained, tmp_path):
    """``init_detector`` and ``DetInferencer`` with a lake that does not exist."""
    config, checkpoint = trained
    image = np.zeros((64, 96, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'a.jpg'), image)
    model = init_detector(copy.deepcopy(config), checkpoint, device='cpu')
    assert model.dataset_meta['classes'] == CLASSES
    assert model.dataset_meta['palette'] == 'random'
    assert 'pred_instances' in inference_detector(model, image)
    found = DetInferencer(copy.deepcopy(config), checkpoint, device='cpu')
    assert found(str(tmp_path / 'a.jpg'), out_dir='')['predictions']


def test_the_palette_of_the_config_is_used(trained):
    """As that of a ``CocoDataset`` would be."""
    config, checkpoint = trained
    palette = [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    config.test_dataloader.dataset.metainfo = dict(classes=CLASSES, palette=palette)
    model = init_detector(config, checkpoint, device='cpu')
    assert model.dataset_meta['palette'] == palette


@pytest.mark.parametrize(
    'use',
    [
        len,
        lambda dataset: dataset.get_data_info(0),
        lambda dataset: dataset[0],
        lambda dataset: dataset.full_init(),
        lambda dataset: dataset.get_cat_ids(0),
        lambda dataset: dataset.rows_of(),
        lambda dataset: dataset.get_subset([0]),
        lambda dataset: DeepLakeLoader(dataset),
        lambda dataset: next(iter(DataLoader(dataset, collate_fn=pseudo_collate))),
    ],
)
def test_whatever_needs_data_opens_the_lake(use, tmp_path):
    """The lake may be written after the dataset is built."""
    path = tmp_path / 'lake'
    dataset = DeepLakeDataset(str(path), lazy_init=True)
    assert 'classes' not in dataset.metainfo
    with pytest.raises(FileNotFoundError, match='no Deep Lake dataset was found there'):
        use(dataset)
    write_lake(path)
    use(dataset)
    assert len(dataset) == 6 and dataset.metainfo['classes'] == CLASSES


@pytest.mark.parametrize(
    'make', [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))]
)
def test_a_copy_made_before_opens_the_lake_itself(make, tmp_path):
    """Copies of a dataset that is not open yet."""
    path = write_lake(tmp_path / 'lake')
    twin = make(DeepLakeDataset(path, lazy_init=True, indices=4))
    assert len(twin) == 4 and twin.lake.name.endswith('(version 0000000001m00000000)')


def test_the_rows_are_fixed_when_the_lake_is_opened(tmp_path):
    """A random query runs once, whatever builds the dataset."""
    path = write_lake(tmp_path / 'lake')
    dataset: Any = DATASETS.build(
        dict(
            type='DeepLakeDataset',
            deeplake_path=path,
            deeplake_query='SELECT * ORDER BY RANDOM()',
            lazy_init=True,
        )
    )
    ids = [dataset.get_data_info(index)['img_id'] for index in range(6)]
    shutil.move(path, Path(path).with_name('moved'))
    twin = pickle.loads(pickle.dumps(dataset))
    assert [twin.get_data_info(index)['img_id'] for index in range(6)] == ids
