"""Translates ``evaluation`` and ``deeplake_metrics_format`` into the evaluators."""

from __future__ import annotations

from typing import Any

from ..expressions import as_dict, shown
from ..migration import Migration
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
# Belong to other parts of the new config, which translate them.
_ELSEWHERE = ('interval', 'start', 'save_best', 'rule', 'by_epoch', 'type')


def _metrics_format(migration: Migration) -> str:
    """Return ``'COCO'`` or ``'PascalVOC'``, as the old config says."""
    old = migration.old.get('deeplake_metrics_format', 'COCO')
    found = _FORMATS.get(old.lower()) if isinstance(old, str) else None
    if found is not None:
        return found
    migration.attend(
        'deeplake_metrics_format',
        f"must be 'COCO' or 'PascalVOC' in the old config, got {shown(old)}; COCO is "
        'written, DeepLakeMetric has LVIS, Panoptic and SemSeg too',
    )
    return 'COCO'


def translate_evaluation(migration: Migration) -> dict[str, Any]:
    """Translate what is scored into the evaluators, and loops that the base lacks."""
    values, base = migration.old, migration.base
    name = _metrics_format(migration)
    old = migration.readable_keys('evaluation')
    extra = values.get('deeplake_metrics')
    if isinstance(extra, dict):
        old = {**migration.readable_keys('deeplake_metrics'), **old}
    elif extra is not None and migration.readable('deeplake_metrics', extra):
        old.setdefault('metric', extra)
    new: dict[str, Any] = dict(type='DeepLakeMetric', metrics_format=name)
    metric = _metric(migration, name, old.pop('metric', None))
    if metric is not None:
        new['metric'] = metric
    unknown = f'{name} does not have it'
    new |= migration.move(
        'evaluation', _OPTIONS[name], 'val_evaluator', unknown, _ELSEWHERE, old
    )
    if 'deeplake_metrics_format' in values:
        migration.carry('deeplake_metrics_format', 'val_evaluator.metrics_format')
    if base.get('val_evaluator'):
        new = {'_delete_': True, **new}
    tested: Any = new if migration.has_test else None
    sections: dict[str, Any] = {
        'val_evaluator': new if migration.has_val else None,
        'test_evaluator': Raw('val_evaluator') if migration.has_val else tested,
    }
    for section, runs, loop in (
        ('val_cfg', migration.has_val, 'ValLoop'),
        ('test_cfg', migration.has_test, 'TestLoop'),
    ):
        if not runs:
            sections[section] = None
        elif not base.get(section):
            sections[section] = dict(type=loop)
    return sections


def _metric(migration: Migration, name: str, old: Any) -> str | list[str] | None:
    if old is None:
        inherited = as_dict(migration.base.get('val_evaluator'))
        is_same = inherited.get('type') == 'CocoMetric' and name == 'COCO'
        return inherited.get('metric') if is_same else None
    asked = [old] if isinstance(old, str) else list(old)
    kept = [each for each in asked if each in _METRICS[name]]
    for each in asked:
        if each not in kept:
            options = ' or '.join(_METRICS[name])
            migration.leave(f'evaluation.metric {each!r}', f'{name} has {options}')
    migration.carry('evaluation.metric', 'val_evaluator.metric')
    if name == 'PascalVOC' and len(kept) > 1:
        migration.leave(
            f'evaluation.metric {kept[1]!r}', 'PascalVOC scores one at a time'
        )
        kept = kept[:1]
    return kept[0] if len(kept) == 1 else kept or None


def best_metric(migration: Migration, old: Any) -> Any:
    """Return the name that a number of ``save_best`` has now."""
    if not isinstance(old, str) or old == 'auto' or '/' in old:
        return old
    prefix = {'COCO': 'coco', 'PascalVOC': 'pascal_voc'}[_metrics_format(migration)]
    return f'{prefix}/{old}'
