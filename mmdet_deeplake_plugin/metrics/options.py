"""Check the options of ``DeepLakeMetric`` when it is built, not after an epoch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..evaluation import crowdhuman, voc
from ..evaluation.backends.coco import BACKENDS
from ..evaluation.backends.mmdet_tracks import MOT_BENCHMARKS
from ..utils.messages import did_you_mean
from ..utils.values import (
    check_bool,
    check_choice,
    is_int,
    is_list,
    is_number,
    shown,
    wrong,
)

_OF_LAKE = (
    ', which reads the ground truth from the lake; leave it out (if it comes from the '
    'base config, begin the dict with _delete_=True)'
)
_OF_STOCK = '; leave it out (if it comes from the base config, write _delete_=True)'
# Keys of the stock metrics that DeepLakeMetric does not have.
ELSEWHERE = {
    **dict.fromkeys(('ann_file', 'seg_prefix'), _OF_LAKE),
    **dict.fromkeys(('backend_args', 'file_client_args'), _OF_LAKE),
    **dict.fromkeys(('use_mp_eval', 'nproc', 'num_ji_process'), _OF_STOCK),
    'merge_boxes': '; leave it out (it fails in stock too)',
    'iou_thres': '; write iou_thrs=0.5',
    'compare_matching_method': '; leave it out (None is what works in stock too)',
    'track_iou_thr': '; leave it out (stock takes 0.5, whatever it says)',
    'iou_metrics': "; write metric=['mIoU'], or the others",
}


def check_values(values: Mapping[str, Any]) -> None:
    """Refuse values of wrong type or range; those of ``metric_items`` a format checks.

    Raises:
        ValueError: If one is wrong. The message names the key, what was found and what
            to write.
    """
    for key, value in values.items():
        if key in _CHECKS:
            _CHECKS[key](key, value)


def check_metric_items(items: Sequence[str] | None, known: Sequence[str]) -> None:
    """Refuse a ``metric_items`` without numbers, or with ones that are not known.

    Raises:
        ValueError: If there are none, or one is not known.
    """
    if items is None:
        return
    names = f'one or more of {", ".join(known)}'
    example = f'metric_items={[known[0]]!r}, or leave it out'
    if not is_list(items) or not len(items):
        raise wrong('metric_items', f'a list of {names}', items, example)
    for item in items:
        if not isinstance(item, str) or item not in known:
            raise ValueError(
                f'metric_items must be {names}, got {item!r} in {shown(items)}'
                f'{did_you_mean(item, known)}; write {example}'
            )


def check_ascending(nums: Sequence[int], metric: str) -> None:
    """Refuse a ``proposal_nums`` whose last number is not the largest.

    Raises:
        ValueError: If they are not in the order that the metric needs.
    """
    if list(nums) != sorted(nums):
        raise ValueError(
            f'proposal_nums must be in ascending order for metric={metric!r}, where the '
            f'last one limits the others, got {shown(nums)}; write '
            f'proposal_nums={tuple(sorted(map(int, nums)))}'
        )


def _check_nums(key: str, value: Any) -> None:
    if is_int(value):
        wanted = 'a list of positive integers'
        raise wrong(key, wanted, value, f'{key}=({value},) or {key}=(100, 300, 1000)')
    if (
        not is_list(value)
        or not len(value)
        or not all(is_int(each) and each > 0 for each in value)
    ):
        raise wrong(key, 'a list of positive integers', value, f'{key}=(100, 300, 1000)')


def _check_thresholds(key: str, value: Any) -> None:
    if value is None:
        return
    numbers = value if is_list(value) else [value]
    if not len(numbers) or not all(
        is_number(each) and 0 <= each <= 1 for each in numbers
    ):
        wanted = 'a number from 0 to 1, or a list of them'
        raise wrong(key, wanted, value, f'{key}=0.5 or {key}=[0.5, 0.75]')


def _check_some_thresholds(key: str, value: Any) -> None:
    if value is None:
        raise wrong(key, 'a number from 0 to 1, or a list of them', value, f'{key}=0.5')
    _check_thresholds(key, value)


def _check_topk(key: str, value: Any) -> None:
    numbers = value if is_list(value) else [1 if value is None else value]
    if not len(numbers) or not all(
        is_int(each) and (each > 0 or (each == -1 and is_list(value))) for each in numbers
    ):
        wanted = 'a positive integer, or a list of them, with -1 for all'
        raise wrong(key, wanted, value, f'{key}=10000 or {key}=(1, 5, 10)')


def check_share(key: str, value: Any) -> None:
    """Refuse what is not a number from 0 to 1."""
    if not is_number(value) or not 0 <= value <= 1:
        raise wrong(key, 'a number from 0 to 1', value, f'{key}=0.5')


def _check_ranges(key: str, value: Any) -> None:
    if value is None:
        return
    if not is_list(value) or not len(value) or not all(map(is_range, value)):
        wanted = 'a list of pairs of box sizes in pixels, the lesser one first'
        raise wrong(key, wanted, value, f'{key}=[(0, 32), (32, 96)]')


def is_range(value: Any) -> bool:
    """Return whether a value is a pair of numbers from 0 on, the lesser one first."""
    return (
        is_list(value)
        and len(value) == 2
        and all(map(is_number, value))
        and 0 <= value[0] < value[1]
    )


def _check_path(key: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, (str, os.PathLike)) or not str(value):
        raise wrong(key, 'a path', value, f"{key}='out/results', or leave it out")


def _check_prefix(key: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise wrong(key, 'a string', value, f"{key}='val', or leave it out")


def _check_beta(key: str, value: Any) -> None:
    if not is_number(value) or value <= 0:
        raise wrong(key, 'a positive number', value, f'{key}=1')


def _check_ignore_index(key: str, value: Any) -> None:
    if value is not None and not is_int(value):
        raise wrong(key, 'an integer', value, f'{key}=255, or leave it out')


def _check_steps(key: str, value: Any) -> None:
    if value is not None and not (
        is_list(value)
        and all(isinstance(each, Mapping) and 'type' in each for each in value)
    ):
        example = f"{key}=[dict(type='InterpolateTracklets')]"
        raise wrong(key, 'a list of dicts with type', value, example)


def _check_ranks(key: str, value: Any) -> None:
    if value is None:
        return
    given = value if isinstance(value, Mapping) else {}
    ranks, most = given.get('rank_list', ()), given.get('max_rank')
    if (
        set(given) != {'rank_list', 'max_rank'}
        or not is_int(most)
        or not is_list(ranks)
        or not len(ranks)
        or not all(is_int(each) and 1 <= each <= most for each in ranks)
    ):
        wanted = 'a dict of rank_list, positive integers, and max_rank, no less than they'
        example = f'{key}=dict(rank_list=[1, 5, 10, 20], max_rank=20)'
        raise wrong(key, wanted, value, example)


_CHECKS: Mapping[str, Callable[[str, Any], None]] = {
    'classwise': check_bool,
    'proposal_nums': _check_nums,
    'iou_thrs': _check_thresholds,
    'format_only': check_bool,
    'outfile_prefix': _check_path,
    'sort_categories': check_bool,
    'backend': lambda key, value: check_choice(key, value, BACKENDS),
    'scale_ranges': _check_ranges,
    'eval_mode': lambda key, value: check_choice(key, value, voc.EVAL_MODES),
    'output_dir': _check_path,
    'beta': _check_beta,
    'reduce_zero_label': check_bool,
    'ignore_index': _check_ignore_index,
    'mr_ref': lambda key, value: check_choice(key, value, crowdhuman.MISS_RATES),
    'ioa_thrs': _check_some_thresholds,
    **dict.fromkeys(('use_group_of', 'get_supercategory', 'filter_labels'), check_bool),
    **dict.fromkeys(('occluded_ann', 'separated_ann'), _check_path),
    **dict.fromkeys(
        ('score_thr', 'mask_iou_thr', 'thresh_score', 'thresh_f1'), check_share
    ),
    **dict.fromkeys(('dump_matches', 'use_postprocess'), check_bool),
    'benchmark': lambda key, value: check_choice(key, value, MOT_BENCHMARKS),
    'postprocess_tracklet_cfg': _check_steps,
    'metric_options': _check_ranks,
    'topk': _check_topk,
    'collect_device': lambda key, value: check_choice(key, value, ('cpu', 'gpu', 'npu')),
    'prefix': _check_prefix,
    'collect_dir': _check_path,
}
