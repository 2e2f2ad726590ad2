"""Translates hooks, checkpoints, logging and the other keys of a run."""

from __future__ import annotations

from typing import Any

from ..accepted import find_class, refused_keys
from ..expressions import Unread
from ..findings import Findings, has_secret, is_secret
from ..text import Noted, Raw
from .evaluation import best_metric
from .model import override

_CHECKPOINT = (
    *('interval', 'by_epoch', 'max_keep_ckpts', 'save_last', 'save_optimizer', 'out_dir'),
)
# Logger hook of MMCV -> backend of MMEngine, and the keys that both have.
_LOGGERS = {
    'TensorboardLoggerHook': ('TensorboardVisBackend', ()),
    'WandbLoggerHook': ('WandbVisBackend', ('init_kwargs',)),
    'MMDetWandbHook': ('WandbVisBackend', ('init_kwargs',)),
    'MlflowLoggerHook': ('MLflowVisBackend', ('exp_name', 'tags')),
    'ClearMLLoggerHook': ('ClearMLVisBackend', ('init_kwargs',)),
}
_SAME = ('work_dir', 'log_level', 'find_unused_parameters', 'auto_scale_lr')
_HOOK_NAMES = {'ExpMomentumEMAHook': 'EMAHook', 'LinearMomentumEMAHook': 'EMAHook'}
_GONE = {
    'dataset_type': 'the dataset is a DeepLakeDataset',
    'data_root': 'images and annotations come from the lake',
    'gpu_ids': 'the launcher says which GPUs: CUDA_VISIBLE_DEVICES, dist_train.sh',
    'device': 'MMEngine takes the GPU if there is one; CUDA_VISIBLE_DEVICES=-1 for none',
    'workflow': 'validation has a loop of its own',
    'momentum_config': 'write a scheduler of momentum into param_scheduler',
    'mp_start_method': 'write env_cfg.mp_cfg.mp_start_method',
    'opencv_num_threads': 'write env_cfg.mp_cfg.opencv_num_threads',
    'dist_params': 'NCCL is the default; write env_cfg.dist_cfg for another backend',
    'custom_imports': (
        'modules for MMDetection 2 do not load here; port them and add them to '
        'custom_imports'
    ),
    'train_cfg': 'write it as model.train_cfg',
    'test_cfg': 'write it as model.test_cfg',
    'classes': 'the classes come from the lake; metainfo=dict(classes=…) selects some',
    'checkpoint': 'the key has no counterpart',
}
# Translated in other files.
_ELSEWHERE = (
    *('data', 'model', 'runner', 'total_epochs', 'optimizer', 'optimizer_config', 'fp16'),
    *('lr_config', 'evaluation', 'deeplake_metrics', 'deeplake_metrics_format'),
    *('deeplake_dataloader_type', 'train_pipeline', 'test_pipeline', 'val_pipeline'),
    *('checkpoint_config', 'log_config', 'load_from', 'resume_from', 'custom_hooks'),
    *('seed', 'deterministic', 'cudnn_benchmark', 'img_norm_cfg'),
)


def translate_runtime(
    values: dict[str, Any],
    base: dict[str, Any],
    metrics_format: str,
    used: set[str],
    findings: Findings,
) -> dict[str, Any]:
    """Translate the keys that belong to neither data, model nor schedule.

    Args:
        values: Top-level values of the old config.
        base: The new base, as a dict.
        metrics_format: ``'COCO'`` or ``'PascalVOC'``.
        used: Names that other values of the old config use; they are not keys.
        findings: Gets what was translated.

    Returns:
        Sections of the new config that differ from the base.
    """
    sections: dict[str, Any] = {}
    hooks = _default_hooks(values, metrics_format, findings)
    hooks = override(hooks, base.get('default_hooks'), exact=False)
    if hooks:
        sections['default_hooks'] = hooks
    sections |= _custom_hooks(values, base, findings) | _logging(values, base, findings)
    sections |= _weights(values, findings)
    seed = values.get('seed')
    if isinstance(seed, int):
        sections['randomness'] = dict(seed=seed)
        if values.get('deterministic'):
            sections['randomness']['deterministic'] = True
        findings.carry('seed', 'randomness.seed')
    if values.get('cudnn_benchmark'):
        sections['env_cfg'] = dict(cudnn_benchmark=True)
        findings.carry('cudnn_benchmark', 'env_cfg.cudnn_benchmark')
    for name in _SAME:
        if values.get(name) is not None and findings.readable(name, values[name]):
            if values[name] != base.get(name):
                sections[name] = values[name]
            findings.carry(name, name)
    for name, value in values.items():
        if name in (*_ELSEWHERE, *_SAME) or value is None:
            continue
        if name in _GONE:
            findings.leave(name, _GONE[name])
        elif name not in used and not is_secret(name):
            findings.leave(name, 'neither MMDetection 3 nor this package reads it')
    return sections


def _default_hooks(
    values: dict[str, Any], metrics_format: str, findings: Findings
) -> dict[str, Any]:
    hooks: dict[str, Any] = {}
    logged = values.get('log_config')
    interval = logged.get('interval') if isinstance(logged, dict) else None
    if interval is not None and findings.readable('log_config.interval', interval):
        hooks['logger'] = dict(interval=interval)
        findings.carry('log_config.interval', 'default_hooks.logger.interval')
    saved: dict[str, Any] = {}
    old = findings.readable_keys(
        'checkpoint_config', values.get('checkpoint_config') or {}
    )
    for name, value in old.items():
        if name in _CHECKPOINT:
            saved[name] = value
            findings.carry(
                f'checkpoint_config.{name}', f'default_hooks.checkpoint.{name}'
            )
        elif name != 'type':
            findings.leave(f'checkpoint_config.{name}', 'CheckpointHook does not have it')
    evaluation = values.get('evaluation')
    for name in ('save_best', 'rule'):
        value = evaluation.get(name) if isinstance(evaluation, dict) else None
        if value is not None and findings.readable(f'evaluation.{name}', value):
            saved[name] = best_metric(metrics_format, value)
            findings.carry(f'evaluation.{name}', f'default_hooks.checkpoint.{name}')
    if saved:
        hooks['checkpoint'] = saved
    return hooks


def _custom_hooks(
    values: dict[str, Any], base: dict[str, Any], findings: Findings
) -> dict[str, Any]:
    old = values.get('custom_hooks')
    if isinstance(old, Unread):
        findings.readable('custom_hooks', old)
    hooks: list[Any] = []
    carried: list[str] = []
    refused = False
    for number, hook in enumerate(old if isinstance(old, (list, tuple)) else ()):
        key = f'custom_hooks[{number}]'
        if not isinstance(hook, dict) or not findings.readable(key, hook):
            continue
        kind = str(hook.get('type'))
        cls = None if kind in _HOOK_NAMES else find_class('hook', kind)
        # The runner takes the priority from any hook.
        given = {name: v for name, v in hook.items() if name != 'priority'}
        if cls is None or refused_keys(cls, given):
            refused = True
            instead = f'; see {_HOOK_NAMES[kind]}' if kind in _HOOK_NAMES else ''
            findings.leave(
                f'{key} ({kind})',
                f'MMDetection 3 has no hook of this name with these keys{instead}',
            )
        else:
            hooks.append(hook)
            carried.append(f'{key} ({kind})')
    inherited = base.get('custom_hooks')
    if inherited and refused:
        findings.attend(
            'custom_hooks',
            'the hooks of the new base are kept, as not all of the old ones can be; '
            'compare them',
        )
    kept: list[Any] = []
    known = hooks
    if inherited and (old is None or refused):
        kept, known = [Raw('*_base_.custom_hooks')], inherited
        hooks, carried = [], []
    for key in carried:
        findings.carry(key, 'custom_hooks')
    if not any(hook.get('type') == 'NumClassCheckHook' for hook in known):
        hooks.append(
            Noted(
                dict(type='NumClassCheckHook'),
                'An error if num_classes of a head differs from the lake.',
            )
        )
    return {'custom_hooks': [*kept, *hooks]} if hooks else {}


def _logging(
    values: dict[str, Any], base: dict[str, Any], findings: Findings
) -> dict[str, Any]:
    old = values.get('log_config')
    hooks = old.get('hooks') if isinstance(old, dict) else None
    backends: list[dict[str, Any]] = []
    for hook in hooks if isinstance(hooks, (list, tuple)) else ():
        kind = hook.get('type') if isinstance(hook, dict) else None
        if kind == 'TextLoggerHook' or kind is None:
            continue
        if kind not in _LOGGERS:
            findings.leave(f'log_config.hooks ({kind})', 'MMEngine has no such backend')
            continue
        name, keys = _LOGGERS[kind]
        backend: dict[str, Any] = dict(type=name)
        for key, value in hook.items():
            here = f'log_config.hooks ({kind}).{key}'
            if key in keys and (
                isinstance(value, dict) or findings.readable(here, value)
            ):
                backend[key] = _without_secrets(here, value, findings)
            elif key not in ('type', 'interval'):
                findings.leave(here, f'{name} does not have it')
        backends.append(backend)
        findings.carry(f'log_config.hooks ({kind})', f'visualizer ({name})')
    if not backends:
        return {}
    local = dict(type='LocalVisBackend')
    if base.get('visualizer'):
        return {'visualizer': dict(vis_backends=[local, *backends])}
    kind = 'DetLocalVisualizer'
    return {'visualizer': dict(type=kind, vis_backends=[local, *backends])}


def _without_secrets(key: str, old: Any, findings: Findings) -> Any:
    if isinstance(old, (list, tuple)):
        return type(old)(_without_secrets(key, item, findings) for item in old)
    if not isinstance(old, dict):
        return old
    new = {}
    for name, value in old.items():
        here = f'{key}.{name}'
        if is_secret(str(name)):
            findings.attend(here, 'is a secret, which is not copied')
        elif isinstance(value, dict):
            new[name] = _without_secrets(here, value, findings)
        elif name != '_delete_' and findings.readable(here, value):
            new[name] = _without_secrets(here, value, findings)
    return new


def _weights(values: dict[str, Any], findings: Findings) -> dict[str, Any]:
    resumed = values.get('resume_from')
    if isinstance(resumed, str) and has_secret(resumed):
        text = 'the address contains a secret, which is not copied; download the file'
        findings.attend('resume_from', text)
        return {}
    if resumed and findings.readable('resume_from', resumed):
        text = (
            'a checkpoint of MMDetection 2 has no state from which MMEngine can go on: '
            'its weights are loaded, and the training begins at epoch 0'
        )
        findings.attend('resume_from', text)
        return {'load_from': Noted(resumed, f'Was resume_from; {text}.')}
    loaded = values.get('load_from')
    if isinstance(loaded, str) and has_secret(loaded):
        text = 'the address contains a secret, which is not copied; download the file'
        findings.attend('load_from', text)
        return {}
    if loaded and findings.readable('load_from', loaded):
        findings.carry('load_from', 'load_from')
        return {'load_from': loaded}
    return {}
