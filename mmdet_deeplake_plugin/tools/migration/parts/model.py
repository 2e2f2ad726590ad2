"""Translates ``model`` into the difference from the model of the new base."""

from __future__ import annotations

from typing import Any

from ..accepted import find_class, refused_keys
from ..expressions import as_dict
from ..migration import Migration
from ..secrets import ADDRESS_NOT_COPIED, secrets_of
from ..text import Raw
from .pipelines import Pipeline

# Parts whose arguments are not those of a class of MMDetection.
_UNCHECKED = (
    *('norm_cfg', 'conv_cfg', 'act_cfg', 'init_cfg', 'upsample_cfg', 'plugins'),
    *('nms', 'roi_layer', 'dcn'),
)
_INPUT = ('input_size', 'random_size_range', 'random_size_interval')
_NOT_PARTS = ('type', 'data_preprocessor', 'init_cfg', 'train_cfg', 'test_cfg')


def translate_model(migration: Migration, pipeline: Pipeline | None) -> dict[str, Any]:
    """Translate ``model`` into what to override in that of the new base.

    Args:
        migration: Has the old model: overrides of a base, or a whole one.
        pipeline: The training pipeline, whose normalisation and padding moved here.
    """
    base = migration.base.get('model') or {}
    old = migration.readable_keys('model')
    if 'pretrained' in old:
        checkpoint = old.pop('pretrained')
        init = dict(type='Pretrained', checkpoint=checkpoint) if checkpoint else None
        old['backbone'] = {**old.get('backbone', {}), 'init_cfg': init}
    for name in [name for name in _INPUT if name in old]:
        migration.leave(
            f'model.{name}',
            'write model.data_preprocessor.batch_augments with '
            'BatchSyncRandomResize instead',
        )
        del old[name]
    whole = 'type' in old and 'backbone' in old
    new = _accepted(migration, 'model', old, base)
    if whole:  # a part that the old model does not have
        new |= {n: None for n in base if n not in (*new, *_NOT_PARTS)}
    parts = {
        name: override(value, base.get(name), exact=whole and name not in _NOT_PARTS)
        if name in base
        else value
        for name, value in new.items()
    }
    result = {
        name: value
        for name, value in parts.items()
        if value != {} and not same(value, base.get(name, ...))
    }
    if 'type' in result and base:
        migration.attend(
            'model.type',
            f'is {old["type"]!r}, but that of the new base is {base.get("type")!r}; its '
            'pipelines and schedule may not suit the model: see --base',
        )
        preprocessor = Raw('_base_.model.data_preprocessor')
        result = {'_delete_': True, 'data_preprocessor': preprocessor, **new}
    for name in old:
        migration.carry(f'model.{name}', f'model.{name}')
    inner = base.get('data_preprocessor') or {}
    changed = {} if pipeline is None else _preprocessing(migration, pipeline, inner)
    if changed and isinstance(result.get('data_preprocessor', {}), dict):
        changed |= {} if inner else {'type': 'DetDataPreprocessor'}
        result['data_preprocessor'] = changed
    return result


def _preprocessing(
    migration: Migration, pipeline: Pipeline, base: dict[str, Any]
) -> dict[str, Any]:
    """Return what to override in ``data_preprocessor`` of the new base."""
    new: dict[str, Any] = {}
    if pipeline.normalize is not None:
        # MMDetection 2 converts to RGB unless it is told not to.
        for name, value in {'to_rgb': True, **pipeline.normalize}.items():
            new['bgr_to_rgb' if name == 'to_rgb' else name] = value
        migration.carry('Normalize', 'model.data_preprocessor')
    elif base.get('mean') is not None:
        migration.attend(
            'data.train.pipeline',
            'has no Normalize, but the model of the new base normalises images; set '
            'mean=None and std=None in model.data_preprocessor to switch that off',
        )
    if pipeline.divisor is not None:
        new['pad_size_divisor'] = pipeline.divisor
        migration.carry('Pad', 'model.data_preprocessor')
    if isinstance(pipeline.pad_value, (int, float)) and pipeline.pad_value:
        new['pad_value'] = pipeline.pad_value
    if pipeline.has_masks and not base.get('pad_mask'):
        new['pad_mask'] = True
    # With a preprocessor of their own, some bases convert the colours by default.
    return {name: v for name, v in new.items() if not same(v, base.get(name))}


def override(new: Any, base: Any, exact: bool) -> Any:
    """Return what, merged over ``base``, gives ``new``.

    Args:
        new: The wanted value.
        base: The inherited value.
        exact: Whether keys that ``base`` has beyond ``new`` have to go.

    Returns:
        ``{}`` if nothing is to be overridden.
    """
    if not isinstance(new, dict):
        return new
    if not isinstance(base, dict) or new.get('_delete_'):
        return new
    others = 'type' in new and new['type'] != base.get('type')
    if others or (exact and base.keys() - new.keys()):
        return {'_delete_': True, **new}
    parts = {
        name: override(value, base.get(name), exact)
        for name, value in new.items()
        if not same(value, base.get(name, ...))
    }
    return {name: value for name, value in parts.items() if value != {}}


def same(left: Any, right: Any) -> bool:
    """Return whether two values of configs mean the same: lists are as good as tuples."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def _has_secret_address(init: Any) -> bool:
    several = init if isinstance(init, (list, tuple)) else [init]
    return any(secrets_of(as_dict(each).get('checkpoint')) for each in several)


def _accepted(
    migration: Migration, key: str, old: dict[str, Any], base: Any
) -> dict[str, Any]:
    """Leave out what the classes of MMDetection 3 do not take."""
    base = as_dict(base)
    kind = old.get('type', base.get('type'))
    cls = find_class('model', kind) if isinstance(kind, str) else None
    if isinstance(kind, str) and cls is None:
        migration.attend(
            f'{key}.type',
            f'MMDetection 3 has no {kind!r}; name a module that registers it in '
            'custom_imports, or choose another type',
        )
    refused = [] if cls is None else refused_keys(cls, old)
    new = {}
    for name, value in old.items():
        here = f'{key}.{name}'
        if name in refused:
            migration.leave(here, f'{kind} of MMDetection 3 does not take it')
        elif name == 'init_cfg' and _has_secret_address(value):
            migration.attend(f'{here}.checkpoint', ADDRESS_NOT_COPIED)
        elif isinstance(value, dict) and name not in _UNCHECKED:
            new[name] = _accepted(migration, here, value, base.get(name))
        else:
            new[name] = value
    return new
