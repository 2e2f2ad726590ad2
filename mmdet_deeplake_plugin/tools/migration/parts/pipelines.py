"""Translates the pipelines of MMDetection 2."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..migration import Migration
from ..text import Remark
from .transforms import Step, translate_step

_META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
_OLD_META_KEYS = {'filename': 'img_path', 'ori_filename': 'img_path'}
_GONE_META_KEYS = ('pad_shape', 'img_norm_cfg')
_LOADERS = ('LoadImageFromFile', 'LoadMultiChannelImageFromFiles')
_ANNOTATIONS = ('LoadAnnotations', 'LoadPanopticAnnotations')
# PackDetInputs does what these did; the report names the others.
_PACKING = ('DefaultFormatBundle', 'ImageToTensor', 'ToTensor', 'Transpose')
_OTHER_PACKING = ('DefaultFormatBundle3D', 'WrapFieldsToLists', 'ToDataContainer')


@dataclass
class Pipeline:
    """A pipeline of MMDetection 3, and what moved from it to the model.

    Args:
        steps: The transforms.
        normalize: Arguments of ``Normalize``.
        divisor: ``size_divisor`` of ``Pad``.
        pad_value: Value that ``Pad`` fills images with.
        has_masks: Whether the samples have masks.
    """

    steps: list[Step | Remark] = field(default_factory=list)
    normalize: Step | None = None
    divisor: int | None = None
    pad_value: Any = None
    has_masks: bool = False


def translate_pipeline(
    migration: Migration,
    key: str,
    old: list[Any],
    for_test: bool,
    has_masks: bool,
    loads: bool = True,
    packs: bool = True,
) -> Pipeline:
    """Translate a pipeline.

    Args:
        migration: The migration.
        key: Name of the pipeline.
        old: Its transforms.
        for_test: Whether it is one of validation or test.
        has_masks: Whether the training samples have masks (for a pipeline of a test).
        loads: Whether it begins with images and annotations, unlike the pipeline of a
            wrapper.
        packs: Whether it ends with samples for the model, unlike the pipeline within
            ``MultiImageMixDataset``.

    Returns:
        The pipeline. Loading is part of it even if the old one left that to Deep Lake.
    """
    old = [step for step in old if migration.readable(key, step)]
    old = [step for step in old if isinstance(step, dict)]
    kinds = [step.get('type') for step in old]
    has_annotations = any(kind in _ANNOTATIONS for kind in kinds)
    collected = [name for step in old for name in step.get('keys', ())]
    result = Pipeline(has_masks=has_masks or 'gt_masks' in collected)
    load = dict(type='LoadAnnotations', with_bbox=True)
    load |= {'with_mask': True} if result.has_masks else {}
    meta_keys: tuple[str, ...] | None = _META_KEYS if for_test else None
    if loads and not any(kind in _LOADERS for kind in kinds):
        result.steps.append(dict(type='LoadImageFromFile'))
    has_boxes = not collected or 'gt_bboxes' in collected
    if loads and has_boxes and not for_test and not has_annotations:
        old.insert(1 if kinds and kinds[0] in _LOADERS else 0, dict(load))
    for number, step in enumerate(_flat(migration, key, old)):
        kind = step.get('type')
        here = f'{key}[{number}]'
        if kind == 'Normalize':
            result.normalize = {k: v for k, v in step.items() if k != 'type'}
        elif kind == 'Pad' and step.get('size_divisor'):
            result.divisor = step['size_divisor']
            value = step.get('pad_val')
            result.pad_value = value.get('img') if isinstance(value, dict) else value
        elif kind == 'Collect':
            meta_keys = _meta_keys(migration, here, step, meta_keys)
        elif kind in _OTHER_PACKING:
            migration.leave(f'{here} ({kind})', 'PackDetInputs takes its place')
        elif kind not in _PACKING:
            if kind == 'LoadAnnotations' and result.has_masks:
                step = {**step, 'with_mask': True}
            result.steps += translate_step(migration, here, step)
    if for_test and loads and not has_annotations:
        result.steps.append(load)
    if packs:
        pack: Step = dict(type='PackDetInputs')
        result.steps.append(pack | ({'meta_keys': meta_keys} if meta_keys else {}))
    return result


def _flat(migration: Migration, key: str, old: list[Step]) -> list[Step]:
    """Unfold ``MultiScaleFlipAug``, which test pipelines no longer have."""
    steps: list[Step] = []
    for step in old:
        if step.get('type') != 'MultiScaleFlipAug':
            steps.append(step)
            continue
        scales = step.get('img_scale')
        scale = scales[0] if isinstance(scales, list) and scales else scales
        if step.get('flip') or (isinstance(scales, list) and len(scales) > 1):
            migration.attend(
                f'{key}.MultiScaleFlipAug',
                'only its first scale is kept, without flip; for augmentation at test '
                'time write tta_model and tta_pipeline and call test.py with --tta',
            )
        size = {'scale_factor': step.get('scale_factor')}
        size = size if scale is None else {'img_scale': scale}
        for inner in step.get('transforms', ()):
            if inner.get('type') == 'Resize' and None not in size.values():
                inner = {**size, **inner}
            if inner.get('type') != 'RandomFlip':
                steps.append(inner)
    return steps


def _meta_keys(
    migration: Migration, key: str, step: Step, default: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    if 'meta_keys' not in step:
        return default
    kept = ['img_id']
    for name in step['meta_keys']:
        if name in _GONE_META_KEYS:
            migration.leave(
                f'{key}.meta_keys.{name}', 'images are normalised by the model'
            )
        else:
            kept.append(_OLD_META_KEYS.get(name, name))
    return tuple(dict.fromkeys(kept))
