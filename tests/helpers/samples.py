"""What the parity tests share: stock pipelines, and an exact comparison of samples."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import mmdet
import numpy as np
import torch
from mmdet.structures.bbox import BaseBoxes
from mmdet.structures.mask.structures import BaseInstanceMasks
from mmengine.config import Config
from mmengine.structures import BaseDataElement

STOCK_CONFIGS = Path(mmdet.__file__).parent / '.mim' / 'configs'

BCCD = ('RBC', 'WBC', 'Platelets')


def stock_config(name: str) -> Config:
    """A config that ships with MMDetection."""
    return Config.fromfile(STOCK_CONFIGS / name)


def seeded(make: Any, seed: int) -> Any:
    """Result of a call that draws random numbers, made repeatable."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return make()


def handed_over(value: Any) -> Any:
    """A sample or batch as the main process gets it by ``deeplake_collate``."""
    from mmdet_deeplake_plugin.collate import leases
    from mmdet_deeplake_plugin.collate.collate import hand_over
    from mmdet_deeplake_plugin.collate.shared_blocks import BlockPool

    received = pickle.loads(pickle.dumps(hand_over(value, BlockPool())))
    leases._pools.clear()  # as after the death of a worker
    return received


def assert_equal(left: Any, right: Any, where: str = '') -> None:
    """Fails unless two samples are equal to the last bit, but for ``img_path``."""
    numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
    # JSON holds some coordinates as integers; arrays are made of both alike.
    assert numbers or type(left) is type(right), where
    if isinstance(left, BaseDataElement):
        assert_equal(_without_path(left.metainfo), _without_path(right.metainfo), where)
        assert_equal(dict(left.items()), dict(right.items()), where)
    elif isinstance(left, dict):
        left, right = _without_path(left), _without_path(right)
        assert left.keys() == right.keys(), where
        for key in left:
            assert_equal(left[key], right[key], f'{where}.{key}')
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right), where
        for index, (one, other) in enumerate(zip(left, right)):
            assert_equal(one, other, f'{where}[{index}]')
    elif isinstance(left, BaseInstanceMasks):
        assert (left.height, left.width) == (right.height, right.width), where
        assert_equal(left.masks, right.masks, where)
    elif isinstance(left, BaseBoxes):
        assert_equal(left.tensor, right.tensor, where)
    elif isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype and torch.equal(left, right), where
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype and np.array_equal(left, right), where
    else:
        assert left == right, where


def _without_path(values: dict) -> dict:
    return {key: value for key, value in values.items() if key != 'img_path'}
