"""The key ``weights`` of ``DeepLakeLoader``: from a lake's columns to numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lake import did_you_mean
from ..shuffle.repeats import class_balanced_weights, repeat_factors
from ..utils.ragged import indices_of_ranges, offsets_of
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
    weights: Any, shuffle: str, places: SampleMap | None
) -> tuple[NDArray[np.float64], int]:
    """Reads what a weighted order needs; no image is read.

    Args:
        weights: The key's value.
        shuffle: Shuffle of the loader.
        places: Where the samples lie; ``None`` for other datasets.

    Returns:
        Weight of each sample, shape ``(N,)``, and the length of an epoch: the sum of
        the repeat factors, else ``N``.

    Raises:
        ValueError: If the key is wrong, or the weights are.
    """
    kind, argument = _checked(weights)
    if shuffle == 'none':
        raise ValueError(
            f'weights={weights!r} of DeepLakeLoader needs a shuffled order; write '
            'shuffle=True'
        )
    if places is None:
        raise ValueError(
            f'weights={weights!r} of DeepLakeLoader needs a dataset made of '
            'DeepLakeDataset alone (Concat, Repeat, ClassBalanced and MultiImageMix may '
            'be around it)'
        )
    if kind in ('repeat_factor', 'class_balanced'):
        offsets, labels = _labels(places)
        if kind == 'repeat_factor':
            factors = repeat_factors(offsets, labels, argument)
            return factors, round(float(factors.sum()))
        values = class_balanced_weights(offsets, labels)
    else:
        values = places.gather(
            [
                dataset.lake.numbers(argument, dataset.rows_of(), kind == 'query')
                for dataset in places.datasets
            ]
        )
    if not len(values):
        return values, 0
    if not ((values >= 0).all() and 0 < values.sum() < np.inf):
        raise ValueError(
            f'weights={weights!r} of DeepLakeLoader gives weights from {values.min()} to '
            f'{values.max()}; they must be finite, 0 or more, and not all 0'
        )
    return values, len(values)


def _checked(weights: Any) -> tuple[str, Any]:
    kind = weights.get('type') if isinstance(weights, dict) else None
    if not isinstance(kind, str) or kind not in _KEYS:
        raise ValueError(
            f'weights={weights!r} of DeepLakeLoader has no known type'
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
        is_fit = isinstance(argument, (int, float)) and 0 < argument < np.inf
    else:
        is_fit = key is None or (isinstance(argument, str) and bool(argument))
    if not is_fit:
        raise ValueError(
            f'weights={weights!r} of DeepLakeLoader: {key} is {argument!r}; write '
            f'{_EXAMPLES}'
        )
    return kind, argument


def _labels(places: SampleMap) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Labels of all samples of a wrapped dataset, as flat arrays with offsets."""
    parts = [dataset.labels_of_samples() for dataset in places.datasets]
    labels = np.concatenate([part[1] for part in parts])
    shifts = offsets_of([len(part[1]) for part in parts])
    begin = places.gather([part[0][:-1] + shift for part, shift in zip(parts, shifts)])
    sizes = places.gather([np.diff(part[0]) for part in parts])
    return offsets_of(sizes), labels[indices_of_ranges(begin, sizes)]
