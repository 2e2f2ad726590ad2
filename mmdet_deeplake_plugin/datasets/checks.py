"""Check the keys of ``DeepLakeDataset`` before a lake is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

from ..lake import ReadTimeouts
from ..utils.messages import did_you_mean

_FILE_KEYS = (
    *('ann_file', 'data_root', 'data_prefix', 'img_subdir', 'ann_subdir'),
    'proposal_file',
)
_FILTER_KEYS = ('filter_empty_gt', 'min_size', 'bbox_min_size')


def refuse_unknown(unknown: Mapping[str, Any], init: Callable[..., None]) -> None:
    """Refuse keys that the dataset does not have.

    Args:
        unknown: Unknown keys and their values.
        init: The constructor, whose arguments are the known keys.

    Raises:
        ValueError: If there are unknown keys. The message suggests the nearest key, or
            explains that the key belongs to a dataset of files in the base config.
    """
    known = [key for key in signature(init).parameters if key not in ('self', 'unknown')]
    for key, value in unknown.items():
        if key in _FILE_KEYS:
            raise ValueError(
                f'{key}={value!r} has no meaning for DeepLakeDataset, which reads images '
                'and annotations from the lake. If the key comes from the base config, '
                'begin the dict with _delete_=True'
            )
        raise ValueError(
            f'{key!r} is not a key of DeepLakeDataset{did_you_mean(key, known)}; '
            f'its keys are {", ".join(known)}'
        )


def check_filter(filter_cfg: Mapping[str, Any] | None, test_mode: bool) -> None:
    """Refuse a ``filter_cfg`` that would have no effect, or would change a test.

    Raises:
        ValueError: If a key is unknown, or ``bbox_min_size`` is set in test mode.
    """
    for key in filter_cfg or {}:
        if key not in _FILTER_KEYS:
            raise ValueError(
                f'filter_cfg.{key} is unknown{did_you_mean(key, _FILTER_KEYS)}; '
                f'the keys are {", ".join(_FILTER_KEYS)}'
            )
    if test_mode and (filter_cfg or {}).get('bbox_min_size') is not None:
        raise ValueError(
            'filter_cfg.bbox_min_size must not be set with test_mode=True: it marks '
            'small boxes as ignored, which would change the ground truth; leave it out'
        )


def check_choice(key: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a value that is not one of a few words.

    Args:
        key: The key.
        value: Its value.
        choices: The words that it may be.

    Raises:
        ValueError: If it is none of them; the message suggests the nearest.
    """
    if value not in choices:
        raise ValueError(
            f'{key}={value!r} is unknown{did_you_mean(value, choices)}; write '
            + ' or '.join(map(repr, choices))
        )


def check_caption(caption_prompt: Any, return_classes: Any) -> None:
    """Refuse a ``caption_prompt`` without effect, and an unknown ``return_classes``.

    Raises:
        ValueError: If ``caption_prompt`` is set without ``return_classes=True``, or
            ``return_classes`` is neither a bool nor ``'label_map'``.
    """
    if not isinstance(return_classes, bool) and return_classes != 'label_map':
        raise ValueError(
            f'return_classes={return_classes!r} is unknown; write True (a tuple, as in '
            "CocoDataset), 'label_map' (a dict from label to name, as in ODVGDataset) or "
            'False'
        )
    if caption_prompt is not None and return_classes is not True:
        raise ValueError(
            'caption_prompt needs return_classes=True, as it changes the text that this '
            'adds to samples; set return_classes=True or leave caption_prompt out'
        )


def read_timeouts(read_timeout: Any, retry_timeout: Any) -> ReadTimeouts:
    """Check and return the time limits of reads.

    Args:
        read_timeout: Limit of one attempt, in seconds.
        retry_timeout: Limit of all attempts of a read together, in seconds.

    Raises:
        ValueError: If one of them is not a positive number.
    """
    for key, value in (('read_timeout', read_timeout), ('retry_timeout', retry_timeout)):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (is_number and value > 0):
            raise ValueError(
                f'{key} of DeepLakeDataset must be a positive number of seconds, got '
                f'{value!r}'
            )
    return ReadTimeouts(float(read_timeout), float(retry_timeout))
