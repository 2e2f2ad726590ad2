"""Translates single transforms of MMDetection 2 whose name or arguments changed."""

from __future__ import annotations

from typing import Any

from ..accepted import find_class, refused_keys
from ..migration import Migration
from ..text import Remark

Step = dict[str, Any]
# Arguments whose name alone changed: transform -> old -> new.
_RENAMED = {
    'RandomShift': {'shift_ratio': 'prob'},
    'Resize': {'bbox_clip_border': 'clip_object_border'},
}
# Arguments that are (height, width) there, and (width, height) here.
_SWAPPED = {
    'Mosaic': 'img_scale',
    'MixUp': 'img_scale',
    'RandomAffine': 'border',
    'RandomCrop': 'crop_size',
    'RandomCenterCropPad': 'crop_size',
    'Pad': 'size',
}
# Transforms whose name alone changed.
_NEW_NAMES = {'LoadImageFromWebcam': 'LoadImageFromNDArray'}
# Transforms whose level has another meaning, with what takes their place.
_OTHER_LEVELS = {
    'Shear': 'ShearX or ShearY',
    'Translate': 'TranslateX or TranslateY',
    'Rotate': 'Rotate',
    'ColorTransform': 'Color',
    'BrightnessTransform': 'Brightness',
    'ContrastTransform': 'Contrast',
    'EqualizeTransform': 'Equalize',
}
_REASONS = {
    'file_client_args': 'images come from the lake',
    'override': 'Resize may follow another Resize in any case',
    'skip_filter': 'boxes are filtered by FilterAnnotations',
    'min_bbox_size': 'boxes are filtered by FilterAnnotations',
    'update_pad_shape': 'the shapes are updated in any case',
}


def translate_step(migration: Migration, key: str, old: Step) -> list[Step | Remark]:
    """Translate a transform that stays in the pipeline, or put a remark in its place."""
    kind = str(old.get('type'))
    old = {name: value for name, value in old.items() if name != '_delete_'}
    if kind == 'Resize':
        return _resize(migration, key, old)
    if kind == 'AutoAugment':
        return _auto_augment(migration, key, old)
    if kind in _OTHER_LEVELS:
        instead = _OTHER_LEVELS[kind]
        reason = f'its strength is set in another way by {instead} now'
        return _missing(migration, key, kind, reason)
    if kind == 'RandomFlip':
        ratio = old.pop('flip_ratio', old.get('prob'))
        old['prob'] = 0.0 if ratio is None else ratio
    return _checked(migration, key, old)


def _checked(migration: Migration, key: str, step: Step) -> list[Step | Remark]:
    """Rename arguments and leave out those that the class does not take."""
    kind = _NEW_NAMES.get(str(step['type']), str(step['type']))
    renamed = _RENAMED.get(kind, {})
    new = {renamed.get(name, name): value for name, value in step.items()}
    new['type'] = kind
    cls = find_class('transform', kind)
    if cls is None:
        reason = 'MMDetection 3 has no transform of this name'
        return _missing(migration, key, kind, reason)
    # Deprecated, and refused together with backend_args.
    refused = [*refused_keys(cls, new), *(['file_client_args'] & new.keys())]
    for name in dict.fromkeys(refused):
        reason = _REASONS.get(name, f'{kind} of MMDetection 3 does not take it')
        migration.leave(f'{key}.{name}', reason)
        del new[name]
    size = new.get(_SWAPPED.get(kind, ''))
    is_range = str(new.get('crop_type', '')).endswith('_range')
    if isinstance(size, (list, tuple)) and len(size) == 2 and not is_range:
        new[_SWAPPED[kind]] = tuple(size[::-1])
    return [new]


def _missing(
    migration: Migration, key: str, kind: str, reason: str
) -> list[Step | Remark]:
    migration.leave(f'{key} ({kind})', reason)
    return [Remark(f'{kind} is left out: {reason}.')]


def _resize(migration: Migration, key: str, old: Step) -> list[Step | Remark]:
    """Split what ``Resize`` did into the three transforms that do it now."""
    scale, mode = old.pop('img_scale', None), old.pop('multiscale_mode', 'range')
    ratio_range = old.pop('ratio_range', None)
    keep_ratio = old.pop('keep_ratio', True)
    new: Step = {'type': 'Resize'}
    if isinstance(scale, list) and len(scale) == 1:
        scale = scale[0]
    if ratio_range is not None:
        new = {'type': 'RandomResize', 'scale': scale, 'ratio_range': ratio_range}
    elif isinstance(scale, list) and mode == 'value':
        new = {'type': 'RandomChoiceResize', 'scales': scale}
    elif isinstance(scale, list):
        new = {'type': 'RandomResize', 'scale': scale}
    elif scale is not None:
        new['scale'] = scale
    new['keep_ratio'] = keep_ratio
    # The random ones hand their other arguments to Resize, which is asked here.
    (asked,) = _checked(migration, key, old)
    return [{**new, **asked, 'type': new['type']}] if isinstance(asked, dict) else [asked]


def _auto_augment(migration: Migration, key: str, old: Step) -> list[Step | Remark]:
    policies = []
    for number, policy in enumerate(old.get('policies', ())):
        steps = []
        for index, step in enumerate(policy):
            here = f'{key}.policies[{number}][{index}]'
            found = translate_step(migration, here, step)
            steps += [each for each in found if isinstance(each, dict)]
        if steps:
            policies.append(steps)
    if not policies:
        reason = 'none of its policies can be kept'
        return _missing(migration, key, 'AutoAugment', reason)
    return [{'type': 'AutoAugment', 'policies': policies}]
