"""Translates the runner, the optimiser and the learning rate."""

from __future__ import annotations

from typing import Any

from ..accepted import find_class
from ..findings import Findings
from .model import override, same

_EPOCHS, _ITERATIONS = 'EpochBasedTrainLoop', 'IterBasedTrainLoop'
_RUNNERS = {
    'EpochBasedRunner': _EPOCHS,
    'DeeplakeEpochBasedRunner': _EPOCHS,
    'IterBasedRunner': _ITERATIONS,
    'DeeplakeIterBasedRunner': _ITERATIONS,
}
_WARMUP = ('warmup', 'warmup_iters', 'warmup_ratio', 'warmup_by_epoch')
_POLICIES: dict[str, tuple[str, ...]] = {
    'step': ('step', 'gamma', 'min_lr'),
    'CosineAnnealing': ('min_lr', 'min_lr_ratio'),
    'CosineAnealing': ('min_lr', 'min_lr_ratio'),
    'poly': ('power', 'min_lr'),
    'exp': ('gamma',),
    'fixed': (),
}
_SCALER = ('Fp16OptimizerHook', 'GradientCumulativeFp16OptimizerHook')


def translate_schedule(
    values: dict[str, Any], base: dict[str, Any], has_val: bool, findings: Findings
) -> dict[str, Any]:
    """Translate how long and how the model is trained.

    Args:
        values: Top-level values of the old config.
        base: The new base, as a dict.
        has_val: Whether something is validated.
        findings: Gets what was translated.

    Returns:
        ``train_cfg``, ``optim_wrapper`` and ``param_scheduler``, each only if it differs
        from the base.
    """
    loop = _loop(values, base, has_val, findings)
    sections: dict[str, Any] = {}
    change = override(loop, base.get('train_cfg'), exact=False)
    if change:
        # Keys of the other loop, or intervals that the old config did not have.
        other = loop['type'] != base.get('train_cfg', {}).get('type', loop['type'])
        dynamic = base.get('train_cfg', {}).get('dynamic_intervals') and has_val
        sections['train_cfg'] = {'_delete_': True, **loop} if other or dynamic else change
    wrapper = _optimizer(values, base, findings)
    if wrapper:
        sections['optim_wrapper'] = wrapper
    scheduler = _scheduler(values, base, loop, findings)
    if scheduler is not None and not same(scheduler, base.get('param_scheduler')):
        sections['param_scheduler'] = scheduler
    return sections


def _loop(
    values: dict[str, Any], base: dict[str, Any], has_val: bool, findings: Findings
) -> dict[str, Any]:
    inherited = base.get('train_cfg') or {}
    old = findings.readable_keys('runner', values.get('runner') or {})
    kind = old.pop('type', 'EpochBasedRunner')
    if values.get('total_epochs') and 'max_epochs' not in old:
        old['max_epochs'] = values['total_epochs']
    known = ('max_epochs', 'max_iters')
    for name in old:
        if name not in known:
            findings.leave(f'runner.{name}', 'the training loop does not have it')
    new: dict[str, Any] = {'type': inherited.get('type', _EPOCHS)}
    if kind not in _RUNNERS:
        findings.attend(
            'runner.type', f'{kind} is unknown; {new["type"]} of the new base is kept'
        )
    elif any(name in old for name in known):
        new['type'] = _RUNNERS[kind]
    for name in known:
        if name in old:
            new[name] = old[name]
            findings.carry(f'runner.{name}', f'train_cfg.{name}')
    if not any(name in new for name in known):
        new |= {name: inherited[name] for name in known if name in inherited}
    if not any(name in new for name in known):
        new['max_epochs'] = 12
        findings.attend(
            'runner', 'neither the old config nor the base says how long; 12 epochs'
        )
    evaluation = values.get('evaluation')
    if has_val and isinstance(evaluation, dict):
        for name, key in (('interval', 'val_interval'), ('start', 'val_begin')):
            value = evaluation.get(name)
            if value is not None and findings.readable(f'evaluation.{name}', value):
                new[key] = value
                findings.carry(f'evaluation.{name}', f'train_cfg.{key}')
    return new


def _optimizer(
    values: dict[str, Any], base: dict[str, Any], findings: Findings
) -> dict[str, Any]:
    inherited = base.get('optim_wrapper') or {}
    new: dict[str, Any] = {}
    old = findings.readable_keys('optimizer', values.get('optimizer') or {})
    if old:
        for name in ('paramwise_cfg', 'constructor'):
            if name in old:
                new[name] = old.pop(name)
        kind = old.get('type')
        if isinstance(kind, str) and find_class('optimizer', kind) is None:
            findings.attend('optimizer.type', f'MMDetection 3 has no optimizer {kind!r}')
        change = override(old, inherited.get('optimizer'), exact='type' in old)
        new |= {'optimizer': change} if change else {}
        findings.carry('optimizer', 'optim_wrapper.optimizer')
    config = findings.readable_keys(
        'optimizer_config', values.get('optimizer_config') or {}
    )
    kind = config.pop('type', None)
    if 'grad_clip' in config:
        clip = config.pop('grad_clip')
        if not same(clip, inherited.get('clip_grad')):
            new['clip_grad'] = clip
        findings.carry('optimizer_config.grad_clip', 'optim_wrapper.clip_grad')
    if 'cumulative_iters' in config:
        new['accumulative_counts'] = config.pop('cumulative_iters')
        findings.carry(
            'optimizer_config.cumulative_iters', 'optim_wrapper.accumulative_counts'
        )
    fp16 = values.get('fp16')
    if isinstance(fp16, dict) or kind in _SCALER:
        scale = fp16.get('loss_scale') if isinstance(fp16, dict) else None
        scale = config.pop('loss_scale', scale)
        new = {'type': 'AmpOptimWrapper', **new}
        new |= {'loss_scale': 'dynamic' if scale in (None, -1.0) else scale}
        findings.carry('fp16', 'optim_wrapper.type')
    elif kind not in (None, 'OptimizerHook', 'GradientCumulativeOptimizerHook'):
        findings.leave('optimizer_config.type', f'{kind} has no counterpart')
    for name in config:
        findings.leave(f'optimizer_config.{name}', 'OptimWrapper does not have it')
    if new and not inherited:
        new = {'type': 'OptimWrapper', **new}
    return {n: v for n, v in new.items() if not same(v, inherited.get(n, ...))}


def _scheduler(
    values: dict[str, Any], base: dict[str, Any], loop: dict[str, Any], findings: Findings
) -> list[dict[str, Any]] | None:
    old = values.get('lr_config')
    if old is None:
        return None
    old = findings.readable_keys('lr_config', old)
    inherited = _as_old(base.get('param_scheduler'))
    policy = old.get('policy', inherited.get('policy'))
    if policy not in _POLICIES:
        findings.attend(
            'lr_config',
            f'policy {policy!r} has no translation here, so the param_scheduler of the '
            'new base is kept; write one in its place',
        )
        return None
    if policy == inherited.get('policy'):
        old = {**inherited, **old}
    by_epoch = old.pop('by_epoch', loop['type'] == _EPOCHS)
    end = loop.get('max_epochs' if by_epoch else 'max_iters')
    for name in old:
        if name not in (*_WARMUP, *_POLICIES[policy], 'policy'):
            findings.leave(f'lr_config.{name}', f'policy {policy} does not have it')
    findings.carry('lr_config', 'param_scheduler')
    main = _main_scheduler(policy, old, values, base, findings)
    warmup = _warmup(old, findings)
    if main is not None:
        main |= dict(begin=0, end=end, by_epoch=by_epoch)
        if policy == 'step':  # goes on until the end, however long that is
            del main['begin'], main['end']
    return [each for each in (warmup, main) if each is not None]


def _main_scheduler(
    policy: str,
    old: dict[str, Any],
    values: dict[str, Any],
    base: dict[str, Any],
    findings: Findings,
) -> dict[str, Any] | None:
    least = {'eta_min': old['min_lr']} if old.get('min_lr') is not None else {}
    if policy == 'step':
        gamma = old.get('gamma', 0.1)
        if least:
            findings.leave('lr_config.min_lr', 'MultiStepLR does not have it')
        if isinstance(old.get('step'), int):
            return dict(type='StepLR', step_size=old['step'], gamma=gamma)
        milestones = list(old.get('step') or ())
        return dict(type='MultiStepLR', milestones=milestones, gamma=gamma)
    if policy in ('CosineAnnealing', 'CosineAnealing'):
        ratio = old.get('min_lr_ratio')
        if ratio is not None:
            rate = _learning_rate(values, base)
            least = {'eta_min': rate * ratio} if rate else {}
            if ratio and not rate:
                findings.attend('lr_config.min_lr_ratio', 'write eta_min = ratio × lr')
        return dict(type='CosineAnnealingLR', **least)
    if policy == 'poly':
        return dict(type='PolyLR', power=old.get('power', 1.0), **least)
    if policy == 'exp':
        return dict(type='ExponentialLR', gamma=old.get('gamma', 0.1))
    return None


def _warmup(old: dict[str, Any], findings: Findings) -> dict[str, Any] | None:
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
        findings.attend('lr_config.warmup', text)
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


def _learning_rate(values: dict[str, Any], base: dict[str, Any]) -> float | None:
    for place in (
        values.get('optimizer'),
        base.get('optim_wrapper', {}).get('optimizer'),
    ):
        rate = place.get('lr') if isinstance(place, dict) else None
        if isinstance(rate, (int, float)):
            return float(rate)
    return None
