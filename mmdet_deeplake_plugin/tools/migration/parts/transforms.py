"""Translates single transforms of MMDetection 2 whose name or arguments changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..accepted import find_class, refused_keys
from ..findings import Findings
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
NEW_NAMES = {'LoadImageFromWebcam': 'LoadImageFromNDArray'}
_REPLACED = {
    'Shear': 'ShearX or ShearY',
    'Translate': 'TranslateX or TranslateY',
    'ColorTransform': 'Color',
    'BrightnessTransform': 'Brightness',
    'ContrastTransform': 'Contrast',
    'EqualizeTransform': 'Equalize',
}
# The same names with other meanings of level.
_OTHER_LEVELS = ('Rotate', 'ColorTransform')
_REASONS = {
    'file_client_args': 'images come from the lake',
    'override': 'Resize may follow another Resize in any case',
    'skip_filter': 'boxes are filtered by FilterAnnotations',
    'min_bbox_size': 'boxes are filtered by FilterAnnotations',
    'update_pad_shape': 'the shapes are updated in any case',
}


def translate_step(key: str, old: Step, findings: Findings) -> list[Step | Remark]:
    """Translate a transform that stays in the pipeline.

    Args:
        key: Name of the transform, for messages.
        old: The transform.
        findings: Gets what has no counterpart.

    Returns:
        Transforms of MMDetection 3, or a remark in their place.
    """
    kind = str(old.get('type'))
    old = {name: value for name, value in old.items() if name != '_delete_'}
    if kind in _SPECIAL:
        return _SPECIAL[kind](key, old, findings)
    if kind in _REPLACED or kind in _OTHER_LEVELS:
        instead = _REPLACED.get(kind, kind)
        return _missing(
            key, kind, f'its strength is set in another way by {instead} now', findings
        )
    return [*_checked(key, old, findings)]


def _checked(key: str, step: Step, findings: Findings) -> list[Step | Remark]:
    """Rename arguments and leave out those that the class does not take."""
    kind = NEW_NAMES.get(str(step['type']), str(step['type']))
    renamed = _RENAMED.get(kind, {})
    new = {renamed.get(name, name): value for name, value in step.items()}
    new['type'] = kind
    cls = find_class('transform', kind)
    if cls is None:
        return _missing(
            key, kind, 'MMDetection 3 has no transform of this name', findings
        )
    # Deprecated, and refused together with backend_args.
    refused = [*refused_keys(cls, new), *(['file_client_args'] & new.keys())]
    for name in dict.fromkeys(refused):
        reason = _REASONS.get(name, f'{kind} of MMDetection 3 does not take it')
        findings.leave(f'{key}.{name}', reason)
        del new[name]
    size = new.get(_SWAPPED.get(kind, ''))
    is_range = str(new.get('crop_type', '')).endswith('_range')
    if isinstance(size, (list, tuple)) and len(size) == 2 and not is_range:
        new[_SWAPPED[kind]] = tuple(size[::-1])
    return [new]


def _missing(key: str, kind: str, reason: str, findings: Findings) -> list[Step | Remark]:
    findings.leave(f'{key} ({kind})', reason)
    return [Remark(f'{kind} is left out: {reason}.')]


def _resize(key: str, old: Step, findings: Findings) -> list[Step | Remark]:
    """Split what ``Resize`` did into the three transforms that do it now."""
    rest = dict(old)
    scale, mode = rest.pop('img_scale', None), rest.pop('multiscale_mode', 'range')
    ratio_range = rest.pop('ratio_range', None)
    keep_ratio = rest.pop('keep_ratio', True)
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
    (asked,) = _checked(key, {**rest, 'type': 'Resize'}, findings)
    return [{**new, **asked, 'type': new['type']}] if isinstance(asked, dict) else [asked]


def _random_flip(key: str, old: Step, findings: Findings) -> list[Step | Remark]:
    ratio = old.get('flip_ratio', old.get('prob'))
    rest = {name: value for name, value in old.items() if name != 'flip_ratio'}
    return _checked(key, {**rest, 'prob': 0.0 if ratio is None else ratio}, findings)


def _auto_augment(key: str, old: Step, findings: Findings) -> list[Step | Remark]:
    policies = []
    for number, policy in enumerate(old.get('policies', ())):
        steps = []
        for index, step in enumerate(policy):
            found = translate_step(f'{key}.policies[{number}][{index}]', step, findings)
            steps += [each for each in found if isinstance(each, dict)]
        if steps:
            policies.append(steps)
    if not policies:
        return _missing(key, 'AutoAugment', 'none of its policies can be kept', findings)
    return [{'type': 'AutoAugment', 'policies': policies}]


_SPECIAL: dict[str, Callable[[str, Step, Findings], list[Step | Remark]]] = {
    'Resize': _resize,
    'RandomFlip': _random_flip,
    'AutoAugment': _auto_augment,
}
