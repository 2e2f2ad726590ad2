"""Translates hooks, checkpoints, logging and the other keys of a run."""

from __future__ import annotations

from typing import Any

from ..accepted import find_class, refused_keys
from ..expressions import Unread, as_dict
from ..migration import Migration
from ..secrets import ADDRESS_NOT_COPIED, is_secret, secrets_of
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
_LOCAL = dict(type='LocalVisBackend')
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


def translate_runtime(migration: Migration) -> dict[str, Any]:
    """Translate the keys that belong to neither data, model nor schedule."""
    values, base = migration.old, migration.base
    hooks = _default_hooks(migration)
    hooks = override(hooks, base.get('default_hooks'), exact=False)
    sections: dict[str, Any] = {'default_hooks': hooks} if hooks else {}
    sections |= _custom_hooks(migration) | _logging(migration) | _weights(migration)
    seed = values.get('seed')
    if isinstance(seed, int):
        sections['randomness'] = dict(seed=seed)
        if values.get('deterministic'):
            sections['randomness']['deterministic'] = True
        migration.carry('seed', 'randomness.seed')
    if values.get('cudnn_benchmark'):
        sections['env_cfg'] = dict(cudnn_benchmark=True)
        migration.carry('cudnn_benchmark', 'env_cfg.cudnn_benchmark')
    kept = migration.move('', _SAME, '', old=values)
    sections |= {name: v for name, v in kept.items() if v != base.get(name)}
    for name, value in values.items():
        if name in (*_ELSEWHERE, *_SAME) or value is None:
            continue
        if name in _GONE:
            migration.leave(name, _GONE[name])
        elif name not in migration.used and not is_secret(name):
            migration.leave(name, 'neither MMDetection 3 nor this package reads it')
    return sections


def _default_hooks(migration: Migration) -> dict[str, Any]:
    target = 'default_hooks.checkpoint'
    logger = migration.move('log_config', ['interval'], 'default_hooks.logger')
    unknown = 'CheckpointHook does not have it'
    saved = migration.move('checkpoint_config', _CHECKPOINT, target, unknown)
    saved |= migration.move('evaluation', ['save_best', 'rule'], target)
    if 'save_best' in saved:
        saved['save_best'] = best_metric(migration, saved['save_best'])
    hooks = {'logger': logger, 'checkpoint': saved}
    return {name: keys for name, keys in hooks.items() if keys}


def _custom_hooks(migration: Migration) -> dict[str, Any]:
    old = migration.old.get('custom_hooks')
    if isinstance(old, Unread):
        migration.readable('custom_hooks', old)
    hooks: dict[str, Any] = {}  # by their old names
    refused = False
    for number, hook in enumerate(old if isinstance(old, (list, tuple)) else ()):
        key = f'custom_hooks[{number}]'
        if not isinstance(hook, dict) or not migration.readable(key, hook):
            continue
        kind = str(hook.get('type'))
        cls = None if kind in _HOOK_NAMES else find_class('hook', kind)
        # The runner takes the priority from any hook.
        given = {name: v for name, v in hook.items() if name != 'priority'}
        if cls is None or refused_keys(cls, given):
            refused = True
            instead = f'; see {_HOOK_NAMES[kind]}' if kind in _HOOK_NAMES else ''
            migration.leave(
                f'{key} ({kind})',
                f'MMDetection 3 has no hook of this name with these keys{instead}',
            )
        else:
            hooks[f'{key} ({kind})'] = hook
    inherited = migration.base.get('custom_hooks')
    if inherited and refused:
        migration.attend(
            'custom_hooks',
            'the hooks of the new base are kept, as not all of the old ones can be; '
            'compare them',
        )
    kept: list[Any] = []
    known = new = list[Any](hooks.values())
    if inherited and (old is None or refused):
        kept, known, new = [Raw('*_base_.custom_hooks')], inherited, []
    else:
        for key in hooks:
            migration.carry(key, 'custom_hooks')
    if all(hook.get('type') != 'NumClassCheckHook' for hook in known):
        check = dict(type='NumClassCheckHook')
        note = 'An error if num_classes of a head differs from the lake.'
        new = [*new, Noted(check, note)]
    return {'custom_hooks': [*kept, *new]} if new else {}


def _logging(migration: Migration) -> dict[str, Any]:
    hooks = as_dict(migration.old.get('log_config')).get('hooks')
    backends: list[dict[str, Any]] = []
    for hook in hooks if isinstance(hooks, (list, tuple)) else ():
        kind = as_dict(hook).get('type')
        if kind == 'TextLoggerHook' or kind is None:
            continue
        place = f'log_config.hooks ({kind})'
        if kind not in _LOGGERS:
            migration.leave(place, 'MMEngine has no such backend')
            continue
        name, keys = _LOGGERS[kind]
        target = f'visualizer ({name})'
        migration.carry(place, target)
        hook = _without_secrets(migration, place, hook)
        unknown, elsewhere = f'{name} does not have it', ('type', 'interval')
        given = migration.move(place, keys, target, unknown, elsewhere, hook)
        backends.append(dict(type=name, **given))
    if not backends:
        return {}
    kind = {} if migration.base.get('visualizer') else {'type': 'DetLocalVisualizer'}
    return {'visualizer': {**kind, 'vis_backends': [_LOCAL, *backends]}}


def _without_secrets(migration: Migration, key: str, old: Any) -> Any:
    if isinstance(old, (list, tuple)):
        return type(old)(_without_secrets(migration, key, item) for item in old)
    if not isinstance(old, dict):
        return old
    new = {}
    for name, value in old.items():
        here = f'{key}.{name}'
        if is_secret(name):
            migration.attend(here, 'is a secret, which is not copied')
        elif isinstance(value, dict) or (
            name != '_delete_' and migration.readable(here, value)
        ):
            new[name] = _without_secrets(migration, here, value)
    return new


def _weights(migration: Migration) -> dict[str, Any]:
    for name in ('resume_from', 'load_from'):
        path = migration.old.get(name)
        if isinstance(path, str) and secrets_of(path):
            migration.attend(name, ADDRESS_NOT_COPIED)
            return {}
        if not path or not migration.readable(name, path):
            continue
        if name == 'load_from':
            migration.carry(name, name)
            return {name: path}
        text = (
            'a checkpoint of MMDetection 2 has no state from which MMEngine can go on: '
            'its weights are loaded, and the training begins at epoch 0'
        )
        migration.attend(name, text)
        return {'load_from': Noted(path, f'Was {name}; {text}.')}
    return {}
