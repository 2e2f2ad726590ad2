"""Check the keys of the datasets before a lake is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..lake import check_roles, check_style
from ..structures.boxes import check_box_format
from ..utils.messages import comma_joined, did_you_mean, warn
from ..utils.values import (
    check_bool,
    check_choice,
    check_int,
    check_keys_of,
    check_text,
    is_bool,
    is_int,
    is_list,
    is_number,
    shown,
    wrong,
)

_OF_FILES = (
    ', which reads images and annotations from the lake. If the key comes from the base '
    'config, begin the dict with _delete_=True'
)
_IN_METAINFO = '; write metainfo=dict({}=…)'
ELSEWHERE = {
    **dict.fromkeys(
        (
            *('ann_file', 'data_root', 'data_prefix', 'img_subdir', 'ann_subdir'),
            *('proposal_file', 'label_file', 'sub_data_root', 'img_prefix', 'seg_prefix'),
            *('img_suffix', 'seg_map_suffix', 'file_client_args', 'use_label_map'),
            *('label_map_file', 'split_file', 'hierarchy_file', 'meta_file'),
            *('image_level_ann_file', 'extra_ann_file'),
        ),
        _OF_FILES,
    ),
    **dict.fromkeys(
        ('classes', 'CLASSES', 'class_names'), _IN_METAINFO.format('classes')
    ),
    **dict.fromkeys(('palette', 'PALETTE'), _IN_METAINFO.format('palette')),
    'thing_classes': _IN_METAINFO.format('thing_classes'),
    'need_text': '; write return_classes=False',
    'dataset_version': ', as the classes are those of the lake; leave it out',
}
# Keys of DeepLakeDataset that datasets for tracking have too.
LAKE_KEYS = (
    *('dataset', 'deeplake_credentials', 'deeplake_commit_id', 'deeplake_view_id'),
    *('deeplake_query', 'read_timeout', 'retry_timeout', 'open_timeout', 'backend_args'),
)
VIDEO_KEYS = (*LAKE_KEYS, 'deeplake_tensors', 'box_format', 'label_order', 'metainfo')
# Styles of stock datasets that do not filter their samples.
UNFILTERED = {
    'crowdhuman': 'CrowdHumanDataset',
    'openimages': 'OpenImagesDataset',
    'odvg': 'ODVGDataset',
    'grounding': 'Flickr30kDataset',
}
_FILTER_KEYS = (
    *('filter_empty_gt', 'min_size', 'bbox_min_size', 'filter_crowds'),
    'visibility_thr',
)
_PROMPT_KEYS = ('name', 'prefix', 'suffix')


def check_keys(values: Mapping[str, Any]) -> None:
    """Refuse values of wrong type or range for keys of a dataset.

    Raises:
        TypeError, ValueError: If one is wrong. The message names the key, what was found
            and what to write.
    """
    for key, check in _CHECKS.items():
        if key in values and not (values[key] is None and key in _OPTIONAL):
            check(key, values[key])
    filter_cfg = values.get('filter_cfg') or {}
    if values['test_mode'] and filter_cfg.get('bbox_min_size') is not None:
        raise ValueError(
            'filter_cfg.bbox_min_size must not be set with test_mode=True: it marks '
            'small boxes as ignored, which would change the ground truth; leave it out'
        )
    if values.get('caption_prompt') is not None and (
        values['return_classes'] == 'label_map' or not values['return_classes']
    ):
        raise ValueError(
            'caption_prompt needs return_classes=True, as it changes the text that this '
            'adds to samples; set return_classes=True or leave caption_prompt out'
        )


def check_indices_exist(indices: Any, count: int) -> None:
    """Refuse ``indices``, checked before, if they name samples beyond the last."""
    if is_list(indices):
        for index in indices:
            if not -count <= index < count:
                raise ValueError(
                    f'indices must name some of the {count} samples that are left after '
                    f'filtering, got {index}; write numbers from 0 to {count - 1}'
                )


def warn_of_no_effect(
    caption_prompt: Any, classes: Sequence[str], filter_cfg: Any, style: str
) -> None:
    """Warn of what has no effect on a lake of a style, but occurs in stock configs."""
    texts = [
        f'caption_prompt[{name!r}] has no effect{did_you_mean(name, classes)}: the '
        f'classes are {comma_joined(classes)}'
        for name in caption_prompt or ()
        if name not in classes
    ]
    if style in UNFILTERED and filter_cfg:
        texts.append(
            f'filter_cfg has no effect with annotation_style={style!r}, as in '
            f"{UNFILTERED[style]}; write annotation_style='voc', which filters, or leave "
            'it out'
        )
    elif style != 'voc' and (filter_cfg or {}).get('bbox_min_size') is not None:
        texts.append(
            f'filter_cfg.bbox_min_size has no effect with annotation_style={style!r}; '
            "write annotation_style='voc', or leave it out"
        )
    for text in texts:
        warn(text)


def _check_seconds(key: str, value: Any) -> None:
    if not is_number(value) or value <= 0:
        raise ValueError(
            f'{key} of DeepLakeDataset must be a positive number of seconds, got '
            f'{value!r}; write for example {key}=60'
        )


def _check_number(key: str, value: Any, remedy: str) -> None:
    if not is_number(value):
        raise wrong(key, 'a number', value, remedy)


def _check_filter(key: str, value: Any) -> None:
    check_keys_of(key, value, _FILTER_KEYS, f'{key}=dict(filter_empty_gt=True)')
    for name in ('filter_empty_gt', 'filter_crowds'):
        if name in value:
            check_bool(f'{key}.{name}', value[name])
    for name in ('min_size', 'bbox_min_size'):
        size = value.get(name, 0)
        if size is None and name == 'bbox_min_size':
            continue
        if not is_number(size) or size < 0:
            wanted = 'a number of pixels, 0 or more'
            raise wrong(f'{key}.{name}', wanted, size, f'{key}=dict({name}=32)')
    least = value.get('visibility_thr', 0)
    _check_number(f'{key}.visibility_thr', least, f'{key}=dict(visibility_thr=0.3)')


def _check_triplets(key: str, value: Any) -> None:
    example = f'{key}=dict(num_ids=8, ins_per_id=4)'
    check_keys_of(key, value, ('num_ids', 'ins_per_id'), example)
    for name, count in value.items():
        check_int(f'{key}.{name}', count, 1, example)


def _check_indices(key: str, value: Any) -> None:
    if is_int(value) and value != 0:
        return
    if not is_list(value) or not len(value) or not all(map(is_int, value)):
        wanted = 'a number of samples or a list of indices, as integers, and keep samples'
        raise wrong(key, wanted, value, f'{key}=100 or {key}=[0, 1, 2]')


def _check_pipeline(key: str, value: Any) -> None:
    remedy = f"{key}=[dict(type='LoadImageFromFile'), …]"
    if not is_list(value):
        raise wrong(key, 'a list of transforms', value, remedy)
    for transform in value:
        has_type = isinstance(transform, Mapping) and 'type' in transform
        if not has_type and not callable(transform):
            wanted = 'a list of transforms, dicts with a type,'
            raise wrong(key, wanted, transform, remedy)


def _check_return_classes(key: str, value: Any) -> None:
    if not is_bool(value) and not (isinstance(value, str) and value == 'label_map'):
        raise ValueError(
            f'{key}={shown(value)} is unknown; write True (a tuple, as in '
            "CocoDataset), 'label_map' (a dict from label to name, as in ODVGDataset) or "
            'False'
        )


def _check_prompts(key: str, value: Any) -> None:
    example = f"{key}={{'person': {{'suffix': ' walking'}}}}"
    if not isinstance(value, Mapping) or not all(isinstance(n, str) for n in value):
        raise wrong(key, 'a dict of prompts by class name', value, example)
    for name, prompt in value.items():
        check_keys_of(f'{key}[{name!r}]', prompt, _PROMPT_KEYS, example)
        for part, text in prompt.items():
            if not isinstance(text, str):
                raise wrong(f'{key}[{name!r}].{part}', 'a string', text, example)


def _check_backend_args(key: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise wrong(key, 'a dict or None', value, 'None, as it has no effect')


# Keys that may be None, which leaves them out.
_OPTIONAL = (
    *('box_format', 'annotation_style', 'filter_cfg', 'indices', 'triplet_sampler'),
    *('caption_prompt', 'backend_args'),
)
# Others are checked where they are read, before a lake is opened too: dataset by
# open_object, deeplake_credentials by LakeSpec, which hides secrets, metainfo by
# checked_metainfo of classes.py.
_CHECKS: Mapping[str, Callable[[str, Any], object]] = {
    'deeplake_path': check_text,
    'deeplake_commit_id': check_text,
    'deeplake_view_id': check_text,
    'deeplake_query': check_text,
    'deeplake_tensors': lambda key, value: check_roles(value),
    'box_format': lambda key, value: check_box_format(value, key),
    'annotation_style': lambda key, value: check_style(value),
    'label_order': lambda key, value: check_choice(key, value, ('classes', 'lake')),
    'visibility_thr': lambda key, value: _check_number(key, value, f'{key}=0.3'),
    'filter_cfg': _check_filter,
    'triplet_sampler': _check_triplets,
    'indices': _check_indices,
    'serialize_data': check_bool,
    'pipeline': _check_pipeline,
    'test_mode': check_bool,
    'lazy_init': check_bool,
    'max_refetch': lambda key, value: check_int(key, value, 0, f'{key}=1000'),
    'read_timeout': _check_seconds,
    'retry_timeout': _check_seconds,
    'open_timeout': _check_seconds,
    'on_broken_image': lambda key, value: check_choice(key, value, ('raise', 'skip')),
    'return_classes': _check_return_classes,
    'caption_prompt': _check_prompts,
    'backend_args': _check_backend_args,
}
