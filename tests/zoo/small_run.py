"""One training step and one evaluation of a stock config, shrunken for a CPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

SHRINK = 8
STEP = 32  # what strides of backbones and necks divide
_SIZES = (
    *('scale', 'scales', 'img_scale', 'size', 'crop_size'),
    *('border', 'random_size_range'),
)
# Channels of the stages of ResNet-50, and of ResNet-18.
_STAGES, _SMALLER_STAGES = [256, 512, 1024, 2048], [64, 128, 256, 512]
# What a model has many of, and may have fewer of.
_CAPS = {
    'fc_out_channels': 64,
    'feedforward_channels': 128,
    'max_per_img': 50,
    'nms_pre': 100,
    'num': 32,
    'num_points': 500,
    'num_proposals': 20,
    'num_queries': 50,
}


@dataclass
class Result:
    """What came of a run.

    Attributes:
        losses: Name -> number, of the only step.
        metrics: Name -> number, of the only evaluation.
    """

    losses: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


class _Watch(Hook):
    def __init__(self, result: Result) -> None:
        self._result = result

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self._result.losses = {key: float(value) for key, value in outputs.items()}

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        self._result.metrics = dict(metrics)


def run(config: dict[str, Any], work_dir: Path, *hooks: Hook) -> Result:
    """Trains for a step and evaluates, by MMEngine's Runner.

    Args:
        config: Stock config, whose data are test data already.
        work_dir: Where MMEngine writes its log.
        hooks: Further hooks.
    """
    result = Result()
    runner = Runner.from_cfg(Config(small(config, work_dir)))
    for hook in (_Watch(result), *hooks):
        runner.register_hook(hook)
    runner.train()
    return result


def small(config: dict[str, Any], work_dir: Path) -> dict[str, Any]:
    """A config of one training step and one evaluation on small images.

    Args:
        config: Stock config, whose data are test data already.
        work_dir: Where MMEngine writes its log.
    """
    optimizer = {**config['optim_wrapper'], 'type': 'OptimWrapper'}
    for key in ('loss_scale', 'dtype'):  # of AmpOptimWrapper, which wants a GPU
        optimizer.pop(key, None)
    return {
        **config,
        'model': shrunken(small_model(config['model'])),
        'train_dataloader': shrunken(config['train_dataloader']),
        'val_dataloader': shrunken(config['val_dataloader']),
        'train_cfg': dict(type='IterBasedTrainLoop', max_iters=1, val_interval=1),
        'test_dataloader': None,
        'test_evaluator': None,
        'test_cfg': None,
        'optim_wrapper': optimizer,
        'param_scheduler': [],
        'default_hooks': dict(checkpoint=None),
        'visualizer': dict(type='DetLocalVisualizer', vis_backends=[]),
        'log_processor': dict(by_epoch=False),
        'log_level': 'ERROR',
        'load_from': None,
        'work_dir': str(work_dir),
        'randomness': dict(seed=0),
    }


def small_model(part: Any) -> Any:
    """A model with less of everything, and without weights to download."""
    if isinstance(part, list):
        return [small_model(value) for value in part]
    if not isinstance(part, dict):
        return part
    part = {key: small_model(value) for key, value in part.items()}
    for key, most in _CAPS.items():
        if isinstance(part.get(key), int):
            part[key] = min(part[key], most)
    if part.get('use_torchvision'):
        part['use_torchvision'] = False  # mmcv has the same operator
    init = part.get('init_cfg')
    if isinstance(init, dict) and init.get('type') == 'Pretrained':
        part['init_cfg'] = None
    return part


def with_resnet18(part: Any) -> Any:
    """A model with ResNet-18 in place of ResNet-50."""
    if isinstance(part, dict):
        part = {key: with_resnet18(value) for key, value in part.items()}
        if part.get('depth') == 50:
            part['depth'] = 18
        if part.get('in_channels') == 2048:
            part['in_channels'] = 512
        return part
    return _SMALLER_STAGES if part == _STAGES else part


def shrunken(part: Any, is_size: bool = False) -> Any:
    """Pipelines and batch augmentations for images of about 100 pixels."""
    if isinstance(part, dict):
        return {key: shrunken(value, key in _SIZES) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return type(part)(shrunken(value, is_size) for value in part)
    if is_size and isinstance(part, int) and abs(part) > STEP:
        # A border is half of a size.
        unit = STEP // 2 if part < 0 else STEP
        return max(round(abs(part) / SHRINK / unit), 1) * (-unit if part < 0 else unit)
    return part
