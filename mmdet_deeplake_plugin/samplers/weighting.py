"""Compute the sample weights that the key ``weights`` of ``DeepLakeLoader`` asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.dataset import DeepLakeDataset
from ..shuffle.repeats import class_balanced_weights, repeat_factors
from ..utils.distributed import once_per_node
from ..utils.messages import did_you_mean
from ..utils.ragged import indices_of_ranges, offsets_of
from ..utils.shared_memory import SharedArray
from ..utils.values import is_number
from .wrappers import SampleMap

_KEYS = {
    'repeat_factor': 'threshold',
    'class_balanced': None,
    'column': 'name',
    'query': 'expression',
}
_EXAMPLES = (
    "dict(type='repeat_factor', threshold=0.001), dict(type='class_balanced'), "
    "dict(type='column', name='…') or dict(type='query', expression='…')"
)


def sample_weights(
    weights: Any, shuffle: str, sample_map: SampleMap | None
) -> tuple[NDArray[np.float64], int]:
    """Compute the weight of each sample, without reading images.

    Args:
        weights: The key's value.
        shuffle: ``'full'``, ``'lanes'`` or ``'none'``.
        sample_map: Map of the samples to lakes; ``None`` for other datasets.

    Returns:
        Weight of each sample, shape ``(N,)``, and the length of an epoch: the rounded
        sum of the repeat factors, else ``N``.

    Raises:
        ValueError: If the key or the weights are invalid.
    """
    kind, argument = parse_weights(weights)
    if shuffle == 'none':
        raise ValueError(
            f'weights={weights!r} of DeepLakeLoader needs a shuffled order, but shuffle '
            'is off; write shuffle=True'
        )
    if sample_map is None:
        raise ValueError(
            f'weights={weights!r} of DeepLakeLoader needs a dataset that consists of '
            'DeepLakeDataset alone (Concat, Repeat, ClassBalanced and MultiImageMix may '
            'wrap it)'
        )
    if kind in ('repeat_factor', 'class_balanced'):
        offsets, labels = _labels(sample_map)
        if kind == 'repeat_factor':
            factors = repeat_factors(offsets, labels, argument)
            return factors, round(float(factors.sum()))
        values = class_balanced_weights(offsets, labels)
    else:
        values = sample_map.per_sample(
            [_numbers(each, argument, kind == 'query') for each in sample_map.datasets]
        )
    if not len(values):
        return values, 0
    if not ((values >= 0).all() and 0 < values.sum() < np.inf):
        raise ValueError(
            f'weights={weights!r} of DeepLakeLoader must yield finite, non-negative '
            f'numbers that are not all 0, got {values.min()} to {values.max()}'
        )
    return values, len(values)


def parse_weights(weights: Any) -> tuple[str, Any]:
    """Check the key's value, without a dataset; a ``ValueError`` says what to write.

    Returns:
        The kind of weights, and its argument, ``None`` without one.
    """
    kind = weights.get('type') if isinstance(weights, Mapping) else None
    if not isinstance(kind, str) or kind not in _KEYS:
        raise ValueError(
            f'weights={weights!r} of DeepLakeLoader has an unknown type'
            f'{did_you_mean(kind, _KEYS)}; write {_EXAMPLES}'
        )
    key = _KEYS[kind]
    if set(weights) != {'type', key} - {None}:
        raise ValueError(
            f'weights={weights!r} of DeepLakeLoader has the wrong keys for {kind}; write '
            f'{_EXAMPLES}'
        )
    argument = weights[key] if key else None
    if key == 'threshold':
        is_valid = is_number(argument) and float(argument or 0) > 0
    else:
        is_valid = key is None or (isinstance(argument, str) and bool(argument))
    if not is_valid:
        raise ValueError(
            f'weights={weights!r} of DeepLakeLoader: {key} must be a '
            f'{"positive number" if key == "threshold" else "non-empty string"}, got '
            f'{argument!r}; write {_EXAMPLES}'
        )
    return kind, argument


def _numbers(
    dataset: DeepLakeDataset, what: str, is_expression: bool
) -> NDArray[np.float64]:
    """Return a number for each sample of a dataset; see :meth:`.Lake.numbers`."""
    lake, rows = dataset.lake, dataset.rows_of()

    def read() -> SharedArray:
        return SharedArray(lake.numbers(what, rows, is_expression))

    return once_per_node(read, lake.key, what, is_expression, rows).values


def _labels(sample_map: SampleMap) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the offsets and the flat labels of all samples of a wrapped dataset."""
    parts = [dataset.labels_of_samples() for dataset in sample_map.datasets]
    labels = np.concatenate([part[1] for part in parts])
    shifts = offsets_of([len(part[1]) for part in parts])
    begin = sample_map.per_sample(
        [part[0][:-1] + shift for part, shift in zip(parts, shifts)]
    )
    sizes = sample_map.per_sample([np.diff(part[0]) for part in parts])
    return offsets_of(sizes), labels[indices_of_ranges(begin, sizes)]
