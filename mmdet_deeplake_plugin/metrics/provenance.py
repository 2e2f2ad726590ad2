"""Say which run predictions come from, and keep what it says of them, without secrets.

The config itself may hold secrets, so only its digest is kept.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

import mmdet
import mmengine
import torch
from mmengine.logging import MessageHub

from ..version import __version__

_NUMBERS, _LOSSES = 'deeplake_metric', 'deeplake_losses'
_BYTES_AT_ONCE = 2**20


def keep_numbers(prefix: str | None, numbers: Mapping[str, float]) -> None:
    """Keep what a metric reported, for the predictions of the same evaluation."""
    if stage() == 'val':
        return  # predictions of validations are not written
    named = {f'{prefix}/{k}' if prefix else k: _plain(v) for k, v in numbers.items()}
    hub = MessageHub.get_current_instance()
    kept = {**hub.runtime_info.get(_NUMBERS, {}), **named}
    hub.update_info(_NUMBERS, kept, resumed=False)  # checkpoints stay as they are


def _plain(value: Any) -> Any:
    """Return a scalar of NumPy or PyTorch as that of Python, for JSON."""
    return value.item() if hasattr(value, 'item') else value


def take_numbers() -> dict[str, float]:
    """Return what was kept since the last call."""
    hub = MessageHub.get_current_instance()
    return dict(hub.runtime_info.pop(_NUMBERS, {}))


def keep_losses(losses: Mapping[str, float]) -> None:
    """Keep the losses by ``img_path`` of the batch that is predicted next, no others."""
    hub = MessageHub.get_current_instance()
    hub.update_info(_LOSSES, dict(losses), resumed=False)  # checkpoints stay as they are


def loss_of(path: str) -> float | None:
    """Return the loss of an ``img_path`` of the current batch, ``None`` if not known."""
    losses = MessageHub.get_current_instance().runtime_info.get(_LOSSES) or {}
    return losses.get(path)


def stage() -> str:
    """Return what the runner does: ``train``, ``val``, ``test``; ``''`` without one."""
    return str(MessageHub.get_current_instance().runtime_info.get('loop_stage', ''))


def run_name() -> str:
    """Return the name of the folder ``work_dir`` of the run, ``''`` without one."""
    return os.path.basename(_of_config('work_dir').rstrip('/'))


def describe_run() -> dict[str, Any]:
    """Return digest of the config, name and digest of the checkpoint, and versions."""
    checkpoint = _of_config('load_from')
    text = _config()
    return {
        'config': hashlib.sha256(text.encode()).hexdigest()[:16] if text else '',
        # A signed URL ends in a signature.
        'checkpoint': os.path.basename(re.split('[?#]', checkpoint)[0]),
        'checkpoint_sha256': _digest(checkpoint),
        'versions': {
            'mmdet_deeplake_plugin': __version__,
            'mmdet': mmdet.__version__,
            'mmengine': mmengine.__version__,
            'torch': str(torch.__version__),
        },
    }


def _config() -> str:
    return str(MessageHub.get_current_instance().runtime_info.get('cfg', ''))


def _of_config(key: str) -> str:
    found = re.search(rf'^{key} = ([\'"])(.+)\1$', _config(), re.MULTILINE)
    return found[2] if found else ''


def _digest(path: str) -> str:
    if not os.path.isfile(path):
        return ''
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while content := file.read(_BYTES_AT_ONCE):
            digest.update(content)
    return digest.hexdigest()[:16]
