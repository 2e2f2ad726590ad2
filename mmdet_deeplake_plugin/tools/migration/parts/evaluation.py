"""Translates ``evaluation`` and ``deeplake_metrics_format`` into the evaluators."""

from __future__ import annotations

from typing import Any

from ..expressions import Unread
from ..findings import Findings
from ..text import Raw

_FORMATS = {'coco': 'COCO', 'pascalvoc': 'PascalVOC', 'voc': 'PascalVOC'}
_METRICS = {
    'COCO': ('bbox', 'segm', 'proposal', 'proposal_fast'),
    'PascalVOC': ('mAP', 'recall'),
}
# Key of the old evaluation -> key of DeepLakeMetric.
_OPTIONS = {
    'COCO': {
        **{name: name for name in ('classwise', 'proposal_nums', 'iou_thrs')},
        **{'metric_items': 'metric_items', 'jsonfile_prefix': 'outfile_prefix'},
    },
    'PascalVOC': {
        **{'iou_thr': 'iou_thrs', 'iou_thrs': 'iou_thrs'},
        **{name: name for name in ('scale_ranges', 'proposal_nums')},
    },
}
PREFIXES = {'COCO': 'coco', 'PascalVOC': 'pascal_voc'}
# Belong to other parts of the new config, which translate them.
_ELSEWHERE = ('interval', 'start', 'save_best', 'rule', 'by_epoch', 'type')


def metrics_format(values: dict[str, Any], findings: Findings) -> str:
    """Return ``'COCO'`` or ``'PascalVOC'``, as the old config says."""
    old = values.get('deeplake_metrics_format', 'COCO')
    found = _FORMATS.get(old.lower()) if isinstance(old, str) else None
    if found is not None:
        return found
    shown = old.shown if isinstance(old, Unread) else repr(old)
    findings.attend(
        'deeplake_metrics_format',
        f"must be 'COCO' or 'PascalVOC' in the old config, got {shown}; COCO is written, "
        'DeepLakeMetric has LVIS, Panoptic and SemSeg too',
    )
    return 'COCO'


def translate_evaluation(
    values: dict[str, Any],
    base: dict[str, Any],
    has_val: bool,
    has_test: bool,
    findings: Findings,
) -> dict[str, Any]:
    """Translate what is scored.

    Args:
        values: Top-level values of the old config.
        base: The new base, as a dict.
        has_val: Whether something is validated.
        has_test: Whether something is tested.
        findings: Gets what was translated.

    Returns:
        ``val_evaluator`` and ``test_evaluator``.
    """
    name = metrics_format(values, findings)
    old = findings.readable_keys('evaluation', values.get('evaluation') or {})
    extra = values.get('deeplake_metrics')
    if isinstance(extra, dict):
        old = {**findings.readable_keys('deeplake_metrics', extra), **old}
    elif extra is not None and findings.readable('deeplake_metrics', extra):
        old.setdefault('metric', extra)
    new: dict[str, Any] = dict(type='DeepLakeMetric', metrics_format=name)
    metric = _metric(name, old.pop('metric', None), base, findings)
    if metric is not None:
        new['metric'] = metric
    for key, value in old.items():
        if key in _OPTIONS[name]:
            new[_OPTIONS[name][key]] = value
            findings.carry(f'evaluation.{key}', f'val_evaluator.{_OPTIONS[name][key]}')
        elif key not in _ELSEWHERE:
            findings.leave(f'evaluation.{key}', f'{name} does not have it')
    if 'deeplake_metrics_format' in values:
        findings.carry('deeplake_metrics_format', 'val_evaluator.metrics_format')
    if base.get('val_evaluator'):
        new = {'_delete_': True, **new}
    sections: dict[str, Any] = {'val_evaluator': new if has_val else None}
    if has_val:
        sections['test_evaluator'] = Raw('val_evaluator')
    else:
        sections['test_evaluator'] = new if has_test else None
    return sections


def _metric(
    name: str, old: Any, base: dict[str, Any], findings: Findings
) -> str | list[str] | None:
    if old is None:
        inherited = base.get('val_evaluator')
        kind = inherited.get('type') if isinstance(inherited, dict) else None
        if kind != 'CocoMetric' or name != 'COCO' or not isinstance(inherited, dict):
            return None
        return inherited.get('metric')
    asked = [old] if isinstance(old, str) else list(old)
    kept = [each for each in asked if each in _METRICS[name]]
    for each in asked:
        if each not in kept:
            options = ' or '.join(_METRICS[name])
            findings.leave(f'evaluation.metric {each!r}', f'{name} has {options}')
    findings.carry('evaluation.metric', 'val_evaluator.metric')
    if not kept:
        return None
    if name == 'PascalVOC' and len(kept) > 1:
        findings.leave(f'evaluation.metric {kept[1]!r}', 'PascalVOC scores one at a time')
    return kept[0] if len(kept) == 1 or name == 'PascalVOC' else kept


def best_metric(name: str, old: Any) -> Any:
    """Return the name that a number of ``save_best`` has now."""
    if not isinstance(old, str) or old == 'auto' or '/' in old:
        return old
    return f'{PREFIXES[name]}/{old}'


def validation_loops(
    base: dict[str, Any], has_val: bool, has_test: bool
) -> dict[str, Any]:
    """Return the loops of validation and test, as far as they differ from the base."""
    off = {'val_cfg': has_val, 'test_cfg': has_test}
    sections: dict[str, Any] = {name: None for name, there in off.items() if not there}
    loops = {'val_cfg': 'ValLoop', 'test_cfg': 'TestLoop'}
    for name, there in off.items():
        if there and not base.get(name):
            sections[name] = dict(type=loops[name])
    return sections
