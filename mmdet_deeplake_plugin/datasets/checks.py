"""Checks of the keys of ``DeepLakeDataset`` that need no lake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lake import (
    LakeSource,
    LakeSpec,
    ReadTimeouts,
    open_object,
    open_source,
)
from ..utils.messages import did_you_mean

_FILE_KEYS = (
    *('ann_file', 'data_root', 'data_prefix', 'img_subdir', 'ann_subdir'),
    'proposal_file',
)
_FILTER_KEYS = ('filter_empty_gt', 'min_size', 'bbox_min_size')
_LABEL_ORDERS = ('classes', 'lake')
_BROKEN_POLICIES = ('raise', 'skip')


def refuse_unknown(unknown: Mapping[str, Any], init: Callable[..., None]) -> None:
    """Refuses keys that the dataset does not have.

    Args:
        unknown: The keys that were left over, with their values.
        init: The constructor, whose arguments are the known keys.

    Raises:
        ValueError: If there are any; names the nearest key, or says that keys
            of a dataset of files remained from the base config.
    """
    known = [key for key in signature(init).parameters if key not in ('self', 'unknown')]
    for key, value in unknown.items():
        if key in _FILE_KEYS:
            raise ValueError(
                f'{key}={value!r} has no meaning for DeepLakeDataset, whose lake holds '
                'images and annotations. It may come from the base config: begin the '
                'dict with _delete_=True'
            )
        raise ValueError(
            f'{key!r} is no key of DeepLakeDataset{did_you_mean(key, known)}; '
            f'its keys are {", ".join(known)}'
        )


def check_filter(filter_cfg: Mapping[str, Any] | None, test_mode: bool) -> None:
    """Refuses a ``filter_cfg`` that would be ignored, or change a test.

    Raises:
        ValueError: If a key is unknown, or ``bbox_min_size`` is given in test mode.
    """
    for key in filter_cfg or {}:
        if key not in _FILTER_KEYS:
            raise ValueError(
                f'filter_cfg.{key} is unknown{did_you_mean(key, _FILTER_KEYS)}; '
                f'the keys are {", ".join(_FILTER_KEYS)}'
            )
    if test_mode and (filter_cfg or {}).get('bbox_min_size') is not None:
        raise ValueError(
            'filter_cfg.bbox_min_size turns small boxes into ignored ones and would '
            'change the ground truth of a test; leave it out where test_mode=True'
        )


def check_label_order(label_order: str) -> None:
    """Refuses an unknown ``label_order``.

    Raises:
        ValueError: If it is neither ``'classes'`` nor ``'lake'``.
    """
    if label_order not in _LABEL_ORDERS:
        raise ValueError(
            f'label_order={label_order!r} is unknown'
            f'{did_you_mean(label_order, _LABEL_ORDERS)}; write classes or lake'
        )


def check_on_broken(on_broken_image: str) -> None:
    """Refuses an unknown ``on_broken_image``.

    Raises:
        ValueError: If it is neither ``'raise'`` nor ``'skip'``.
    """
    if on_broken_image not in _BROKEN_POLICIES:
        raise ValueError(
            f'on_broken_image={on_broken_image!r} is unknown'
            f'{did_you_mean(on_broken_image, _BROKEN_POLICIES)}; write raise or skip'
        )


def check_caption(caption_prompt: Any, return_classes: Any) -> None:
    """Refuses a ``caption_prompt`` for a text that is not asked for.

    Raises:
        ValueError: If it is given without ``return_classes``, or that is neither a
            truth value nor ``'label_map'``.
    """
    if not isinstance(return_classes, bool) and return_classes != 'label_map':
        raise ValueError(
            f'return_classes={return_classes!r} is unknown; write True (a tuple, as '
            "CocoDataset gives it), 'label_map' (a dict by number, as ODVGDataset), or "
            'False'
        )
    if caption_prompt is not None and return_classes is not True:
        raise ValueError(
            'caption_prompt words the text that return_classes=True adds to samples; '
            'set that too, or leave caption_prompt out'
        )


def read_timeouts(read_timeout: Any, retry_timeout: Any) -> ReadTimeouts:
    """How long reads may take.

    Args:
        read_timeout: Seconds of an attempt.
        retry_timeout: Seconds of all attempts.

    Raises:
        ValueError: If one is no positive number; names the key and what to write.
    """
    for key, value in (('read_timeout', read_timeout), ('retry_timeout', retry_timeout)):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (is_number and value > 0):
            raise ValueError(
                f'{key}={value!r} of DeepLakeDataset is no number of seconds above 0'
            )
    return ReadTimeouts(float(read_timeout), float(retry_timeout))


def open_requested(
    dataset: Any, timeouts: ReadTimeouts, **keys: Any
) -> tuple[LakeSource, NDArray[np.int64] | None]:
    """Open the lake that a config names, by a path or by an open dataset.

    Args:
        dataset: An open Deep Lake dataset or view, or ``None``.
        timeouts: How long reads may take.
        keys: The keys ``deeplake_*`` that name a lake.

    Returns:
        Reads the lake; and its rows that are meant, ``None`` for all.

    Raises:
        ValueError: If both are given, or the keys are wrong.
    """
    if dataset is None:
        names = {key.removeprefix('deeplake_'): value for key, value in keys.items()}
        return open_source(LakeSpec.from_config(**names, timeouts=timeouts))
    if any(keys.values()):
        raise ValueError(
            'dataset= is an open lake, so deeplake_path, deeplake_credentials, '
            'deeplake_commit_id, deeplake_view_id and deeplake_query must be left out'
        )
    return open_object(dataset)
