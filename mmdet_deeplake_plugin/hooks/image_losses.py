"""Compute the loss of single images, and leave the model as it was.

The model computes as in training, but normalises and drops as in evaluation: with stored
statistics and without dropout. Each image is a batch of its own, with the same random
numbers, on this rank alone, so that its loss depends on the image and the model only.
"""

from __future__ import annotations

import copy
import random
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from mmdet.models.detectors import SemiBaseDetector
from mmengine.model import is_model_wrapper
from mmengine.runner.amp import autocast
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

_SEED = 0
_AS_EVALUATED = (_BatchNorm, _InstanceNorm, _DropoutNd, nn.MultiheadAttention)
_NAMES_AS_EVALUATED = ('drop', 'attention')
# Of the attributes of a module, what holds other modules and what is not changed.
_NOT_KEPT = ('_parameters', '_modules')


def detector_of(model: Any) -> tuple[str, Any]:
    """Return which detector of a runner's model predicts, and this one without a wrapper.

    It is ``'teacher'`` or ``'student'`` for a semi-supervised model, ``''`` for others.
    """
    inner = model.module if is_model_wrapper(model) else model
    if not isinstance(inner, SemiBaseDetector):
        return '', inner
    name = str(inner.semi_test_cfg.get('predict_on', 'teacher'))
    return name, getattr(inner, name)


@contextmanager
def as_in_training(model: nn.Module) -> Iterator[None]:
    """Let a model compute losses, and restore its state and all random numbers."""
    kept = [(module, _attributes_of(module)) for module in model.modules()]
    states = random.getstate(), np.random.get_state()
    devices = {each.device for each in model.parameters() if each.is_cuda}
    with torch.random.fork_rng(devices=list(devices)), ExitStack() as stack:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            stack.enter_context(_without_other_ranks())
        try:
            model.train()
            for module in model.modules():
                if _is_as_evaluated(module):
                    module.training = False
            yield
        finally:
            for module, attributes in kept:
                _restore(module, attributes)
            random.setstate(states[0])
            np.random.set_state(states[1])


def losses_of(
    model: Any, image: Tensor, sample: Any, half_precision: bool
) -> dict[str, float]:
    """Return the losses of an image by name, their sum first as ``'loss'``.

    Args:
        model: A detector, which is left as it was, see :func:`as_in_training`.
        image: The image as the pipeline gives it, shape ``(3, H, W)``.
        sample: Its ``DetDataSample`` with annotations in pixels of ``image``; it is
            changed.
        half_precision: Whether to compute as with ``fp16`` of a loop.
    """
    with as_in_training(model), torch.no_grad():
        random.seed(_SEED)
        np.random.seed(_SEED)
        torch.manual_seed(_SEED)
        preprocessor = model.data_preprocessor
        # Not as in training, which draws another size for the batch.
        data = preprocessor({'inputs': [image], 'data_samples': [sample]}, False)
        samples = data['data_samples']
        if getattr(preprocessor, 'pad_mask', False):
            preprocessor.pad_gt_masks(samples)
        if getattr(preprocessor, 'pad_seg', False):
            preprocessor.pad_gt_sem_seg(samples)
        with autocast(enabled=half_precision):
            losses = model(data['inputs'], samples, mode='loss')
        _, values = model.parse_losses(losses)
    return {name: float(value) for name, value in values.items() if 'loss' in name}


def _is_as_evaluated(module: nn.Module) -> bool:
    name = type(module).__name__.lower()
    named = any(part in name for part in _NAMES_AS_EVALUATED)
    return named or isinstance(module, _AS_EVALUATED)


def _attributes_of(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Return the attributes of a module, each with a copy of what it holds."""
    return {
        name: (value, _copied(value))
        for name, value in vars(module).items()
        if name not in _NOT_KEPT
    }


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if type(value) in (dict, OrderedDict):  # buffers among them
        return {key: (part, _copied(part)) for key, part in value.items()}
    if _is_helper(value):
        return dict(vars(value))
    return copy.copy(value) if isinstance(value, (list, set)) else value


def _is_helper(value: Any) -> bool:
    """Return whether an object is a part of a head such as an assigner or a sampler."""
    is_part = type(value).__module__.startswith('mmdet.models.task_modules')
    return is_part and not isinstance(value, nn.Module)


def _restore(module: nn.Module, attributes: dict[str, tuple[Any, Any]]) -> None:
    own = vars(module)
    for name in set(own) - set(attributes) - set(_NOT_KEPT):
        del own[name]
    for name, (value, kept) in attributes.items():
        own[name] = value
        _put_back(value, kept)


def _put_back(value: Any, kept: Any) -> None:
    """Give an object what it held before."""
    if isinstance(value, Tensor):
        with torch.no_grad():
            value.copy_(kept)
    elif type(value) in (dict, OrderedDict):
        value.clear()
        for key, (part, before) in kept.items():
            value[key] = part
            _put_back(part, before)
    elif _is_helper(value):
        vars(value).clear()
        vars(value).update(kept)
    elif isinstance(value, list):
        value[:] = kept
    elif isinstance(value, set):
        value.clear()
        value.update(kept)


@contextmanager
def _without_other_ranks() -> Iterator[None]:
    """Let heads count the annotations of this rank alone.

    They divide losses by a mean over all ranks (``reduce_mean`` of MMDetection), which
    would mix other images in, and wait for ranks that have none left.
    """
    is_initialized = torch.distributed.is_initialized
    torch.distributed.is_initialized = lambda: False
    try:
        yield
    finally:
        torch.distributed.is_initialized = is_initialized
