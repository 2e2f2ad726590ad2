"""The loss of each validated image, by the hook and as ``model.loss`` gives it."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.hooks import Hook
from torch import nn

from mmdet_deeplake_plugin.metrics.provenance import loss_of

_AS_EVALUATED = (nn.modules.batchnorm._BatchNorm, nn.Dropout)
_NAMES = ('Drop', 'Attention')  # attention drops by itself, also that of transformers


def annotated_first(dataset: dict[str, Any]) -> dict[str, Any]:
    """A dataset whose annotations are loaded before the image is transformed.

    Args:
        dataset: Config of a dataset with a stock pipeline for tests.
    """
    pipeline = list(dataset['pipeline'])
    kinds = ('LoadAnnotations', 'LoadPanopticAnnotations')
    (place,) = (n for n, each in enumerate(pipeline) if each['type'] in kinds)
    pipeline.insert(1, pipeline.pop(place))
    return {**dataset, 'pipeline': pipeline}


class Losses(Hook):
    """Notes the loss of each image of a validation, and what is expected of it.

    Args:
        dataset: Config of the files, by :func:`annotated_first`.
    """

    priority = 'LOWEST'

    def __init__(self, dataset: dict[str, Any]) -> None:
        self._dataset = dataset
        self.found: dict[Any, float] = {}
        self.expected: dict[Any, float] = {}

    def before_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Compute what is expected with a copy of the model, which the hook has left."""
        if not batch_idx:
            for module in runner.model.modules():
                if hasattr(module, '_raw_positive_infos'):
                    module._raw_positive_infos = {}  # of the step, cannot be copied
            model = copy.deepcopy(runner.model)
            if hasattr(model, 'teacher'):  # both validate, one after the other
                model = getattr(model, model.semi_test_cfg['predict_on'])
            dataset = DATASETS.build(self._dataset)
            self.expected = {
                item['data_samples'].img_id: _loss(model, item)
                for item in map(dataset.__getitem__, range(len(dataset)))
            }
        for sample in data_batch['data_samples']:
            self.found[sample.img_id] = loss_of(sample.img_path)


def _loss(model: Any, item: dict[str, Any]) -> float:
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    model.train()
    for module in model.modules():
        name = type(module).__name__
        if isinstance(module, _AS_EVALUATED) or any(part in name for part in _NAMES):
            module.eval()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    preprocessor = model.data_preprocessor
    preprocessor.batch_augments = None  # draw another size
    border = item['data_samples'].get('border')
    if border is not None:  # RandomCenterCropPad leaves boxes where they were in a test
        item['data_samples'].gt_instances.bboxes.translate_((border[2], border[0]))
    data = preprocessor({key: [value] for key, value in item.items()}, True)
    losses = model.loss(data['inputs'], data['data_samples'])
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
    return float(model.parse_losses(losses)[0])
