"""Translates the runner, the optimiser and the learning rate."""

from __future__ import annotations

from typing import Any

from ..accepted import find_class
from ..expressions import as_dict
from ..migration import Migration
from .model import override, same

_EPOCHS, _ITERATIONS = 'EpochBasedTrainLoop', 'IterBasedTrainLoop'
_RUNNERS = {
    'EpochBasedRunner': _EPOCHS,
    'DeeplakeEpochBasedRunner': _EPOCHS,
    'IterBasedRunner': _ITERATIONS,
    'DeeplakeIterBasedRunner': _ITERATIONS,
}
_LENGTHS = ('max_epochs', 'max_iters')
_VALIDATION = {'interval': 'val_interval', 'start': 'val_begin'}
_WARMUP = ('warmup', 'warmup_iters', 'warmup_ratio', 'warmup_by_epoch')
_COSINE = 'CosineAnnealingLR', {'min_lr': 'eta_min'}
# Policy -> scheduler, and old -> new names of its arguments.
_POLICIES: dict[Any, tuple[str, dict[str, str]]] = {
    'step': ('MultiStepLR', {'step': 'milestones', 'gamma': 'gamma'}),
    'CosineAnnealing': _COSINE,
    'CosineAnealing': _COSINE,
    'poly': ('PolyLR', {'power': 'power', 'min_lr': 'eta_min'}),
    'exp': ('ExponentialLR', {'gamma': 'gamma'}),
    'fixed': ('', {}),
}
# Arguments that MMCV does not require.
_DEFAULTS = {'milestones': (), 'power': 1.0, 'gamma': 0.1}
_SCALER = ('Fp16OptimizerHook', 'GradientCumulativeFp16OptimizerHook')


def translate_schedule(migration: Migration) -> dict[str, Any]:
    """Translate how long and how the model is trained.

    Returns:
        ``train_cfg``, ``optim_wrapper`` and ``param_scheduler``, each only if it differs
        from the base.
    """
    base = migration.base
    loop = _loop(migration)
    sections: dict[str, Any] = {}
    change = override(loop, base.get('train_cfg'), exact=False)
    if change:
        # Keys of the other loop, or intervals that the old config did not have.
        inherited = base.get('train_cfg', {})
        other = loop['type'] != inherited.get('type', loop['type'])
        dynamic = inherited.get('dynamic_intervals') and migration.has_val
        sections['train_cfg'] = {'_delete_': True, **loop} if other or dynamic else change
    wrapper = _optimizer(migration)
    if wrapper:
        sections['optim_wrapper'] = wrapper
    scheduler = _scheduler(migration, loop)
    if scheduler is not None and not same(scheduler, base.get('param_scheduler')):
        sections['param_scheduler'] = scheduler
    return sections


def _loop(migration: Migration) -> dict[str, Any]:
    values, inherited = migration.old, migration.base.get('train_cfg') or {}
    old = migration.readable_keys('runner')
    if values.get('total_epochs') and not old.keys() & set(_LENGTHS):
        old['max_epochs'] = values['total_epochs']
    unknown = 'the training loop does not have it'
    lengths = migration.move('runner', _LENGTHS, 'train_cfg', unknown, old=old)
    new: dict[str, Any] = {'type': inherited.get('type', _EPOCHS)}
    kind = old.get('type', 'EpochBasedRunner')
    if kind not in _RUNNERS:
        migration.attend(
            'runner.type', f'{kind} is unknown; {new["type"]} of the new base is kept'
        )
    elif lengths:
        new['type'] = _RUNNERS[kind]
    new |= lengths or {n: inherited[n] for n in _LENGTHS if n in inherited}
    if not new.keys() & set(_LENGTHS):
        new['max_epochs'] = 12
        migration.attend(
            'runner', 'neither the old config nor the base says how long; 12 epochs'
        )
    if migration.has_val:
        new |= migration.move('evaluation', _VALIDATION, 'train_cfg')
    return new


def _optimizer(migration: Migration) -> dict[str, Any]:
    values, inherited = migration.old, migration.base.get('optim_wrapper') or {}
    new: dict[str, Any] = {}
    old = migration.readable_keys('optimizer')
    if old:
        for name in ('paramwise_cfg', 'constructor'):
            if name in old:
                new[name] = old.pop(name)
        kind = old.get('type')
        if isinstance(kind, str) and find_class('optimizer', kind) is None:
            migration.attend('optimizer.type', f'MMDetection 3 has no optimizer {kind!r}')
        change = override(old, inherited.get('optimizer'), exact='type' in old)
        new |= {'optimizer': change} if change else {}
        migration.carry('optimizer', 'optim_wrapper.optimizer')
    key = 'optimizer_config'
    config = migration.readable_keys(key)
    kind = config.pop('type', None)
    for name, renamed in (
        ('grad_clip', 'clip_grad'),
        ('cumulative_iters', 'accumulative_counts'),
    ):
        if name in config:
            new[renamed] = config.pop(name)
            migration.carry(f'{key}.{name}', f'optim_wrapper.{renamed}')
    fp16 = values.get('fp16')
    if isinstance(fp16, dict) or kind in _SCALER:
        scale = config.pop('loss_scale', as_dict(fp16).get('loss_scale'))
        new = {'type': 'AmpOptimWrapper', **new}
        new |= {'loss_scale': 'dynamic' if scale in (None, -1.0) else scale}
        migration.carry('fp16', 'optim_wrapper.type')
    elif kind not in (None, 'OptimizerHook', 'GradientCumulativeOptimizerHook'):
        migration.leave(f'{key}.type', f'{kind} has no counterpart')
    for name in config:
        migration.leave(f'{key}.{name}', 'OptimWrapper does not have it')
    new = {n: v for n, v in new.items() if not same(v, inherited.get(n))}
    return {'type': 'OptimWrapper', **new} if new and not inherited else new


def _scheduler(migration: Migration, loop: dict[str, Any]) -> list[dict[str, Any]] | None:
    if migration.old.get('lr_config') is None:
        return None
    old = migration.readable_keys('lr_config')
    inherited = _as_old(migration.base.get('param_scheduler'))
    policy = old.get('policy', inherited.get('policy'))
    if policy not in _POLICIES:
        migration.attend(
            'lr_config',
            f'policy {policy!r} has no translation here, so the param_scheduler of the '
            'new base is kept; write one in its place',
        )
        return None
    if policy == inherited.get('policy'):
        old = {**inherited, **old}
    by_epoch = old.pop('by_epoch', loop['type'] == _EPOCHS)
    end = loop.get('max_epochs' if by_epoch else 'max_iters')
    kind, names = _POLICIES[policy]
    extra = {'MultiStepLR': 'min_lr', _COSINE[0]: 'min_lr_ratio'}.get(kind)
    for name in old:
        if name not in (*_WARMUP, *names, 'policy', extra):
            migration.leave(f'lr_config.{name}', f'policy {policy} does not have it')
    migration.carry('lr_config', 'param_scheduler')
    warmup = _warmup(migration, old)
    schedulers = [] if warmup is None else [warmup]
    if not kind:
        return schedulers
    given = {n: old[n] for n in names if old.get(n) is not None}
    known = {n: _DEFAULTS[new] for n, new in names.items() if new in _DEFAULTS}
    main = {names[name]: value for name, value in {**known, **given}.items()}
    if kind == 'MultiStepLR':  # goes on until the end, however long that is
        if old.get('min_lr') is not None:
            migration.leave('lr_config.min_lr', 'MultiStepLR does not have it')
        if isinstance(main['milestones'], int):
            kind, main = 'StepLR', {'step_size': main.pop('milestones'), **main}
        else:
            main['milestones'] = list(main['milestones'])
        return [*schedulers, dict(type=kind, **main, by_epoch=by_epoch)]
    ratio = old.get('min_lr_ratio')
    if kind == _COSINE[0] and ratio is not None:
        rate = _learning_rate(migration)
        main = {'eta_min': rate * ratio} if rate else {}
        if ratio and not rate:
            migration.attend('lr_config.min_lr_ratio', 'write eta_min = ratio × lr')
    return [*schedulers, dict(type=kind, **main, begin=0, end=end, by_epoch=by_epoch)]


def _warmup(migration: Migration, old: dict[str, Any]) -> dict[str, Any] | None:
    kind = old.get('warmup')
    if kind is None:
        return None
    end, factor = old.get('warmup_iters', 0), old.get('warmup_ratio', 0.1)
    by_epoch = bool(old.get('warmup_by_epoch'))
    new = dict(by_epoch=by_epoch, begin=0, end=end)
    if by_epoch:
        new['convert_to_iter_based'] = True
    if kind == 'constant':
        return dict(type='ConstantLR', factor=factor, **new)
    if kind == 'exp':
        text = 'exp has no counterpart; QuadraticWarmupLR, which begins at 0, is written'
        migration.attend('lr_config.warmup', text)
        return dict(type='QuadraticWarmupLR', **new)
    return dict(type='LinearLR', start_factor=factor, **new)


def _as_old(schedulers: Any) -> dict[str, Any]:
    """Return the keys of ``lr_config`` that the schedulers of the base stand for."""
    old: dict[str, Any] = {}
    for each in schedulers if isinstance(schedulers, list) else ():
        if each.get('type') == 'LinearLR' and each.get('begin', 0) == 0:
            old |= dict(warmup='linear', warmup_iters=each.get('end'))
            old |= dict(warmup_ratio=each.get('start_factor', 1 / 3))
            old |= dict(warmup_by_epoch=each.get('by_epoch', True))
        elif each.get('type') == 'MultiStepLR':
            old |= dict(policy='step', step=each.get('milestones'))
            old |= dict(gamma=each.get('gamma', 0.1))
    return old


def _learning_rate(migration: Migration) -> float | None:
    inherited = migration.base.get('optim_wrapper', {}).get('optimizer')
    for place in (migration.old.get('optimizer'), inherited):
        rate = as_dict(place).get('lr')
        if isinstance(rate, (int, float)):
            return float(rate)
    return None
