"""Check the keys of ``DeepLakeLoader`` and resolve their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.dist import all_gather_object

from ..utils.messages import did_you_mean
from ..utils.values import check_bool, check_int, is_bool, is_int
from .dataloader_shape import DataloaderShape
from .wrappers import SampleMap

SHUFFLES = ('auto', 'full', 'lanes', 'none')
LOADER_TYPES = ('auto', 'c++', 'python')
ORDERS = ('auto', 'dataset', 'by_worker')
_WORDS = {'shuffle': SHUFFLES, 'loader_type': LOADER_TYPES, 'order': ORDERS}
_LEAST = {'batch_size': 1, 'num_workers': 0, 'window': 1, 'lanes': 1, 'cache_bytes': 0}
_OPTIONAL = ('batch_size', 'num_workers', 'lanes')
_LANES = 64


def check_loader_keys(values: Mapping[str, Any]) -> None:
    """Refuse values of wrong type or range, and an ``order`` that the others do not suit.

    Args:
        values: The keys of ``DeepLakeLoader`` and their values, of which ``dataset`` and
            ``weights`` are not checked here.

    Raises:
        ValueError: If a value is invalid; the message names the key and what to write.
    """
    check_bool('round_up of DeepLakeLoader', values['round_up'])
    seed, order = values['seed'], values['order']
    if seed is not None:
        remedy = 'such a number, or leave the key out'
        check_int('seed of DeepLakeLoader', seed, 0, remedy)
    for key, words in _WORDS.items():
        word, wanted = values[key], f'one of {", ".join(words)}'
        if key == 'shuffle':
            wanted = f'True, False or {wanted}'
            if is_bool(word):
                continue
        if not isinstance(word, str) or word not in words:
            raise ValueError(
                f'{key} of DeepLakeLoader must be {wanted}, got {word!r}'
                f'{did_you_mean(word, words)}; write one of them'
            )
    for key, least in _LEAST.items():
        count = values[key]
        is_unset = count is None and key in _OPTIONAL
        if not is_unset and not (is_int(count) and count >= least):
            sign = 'positive' if least else 'non-negative'
            raise ValueError(
                f'{key} of DeepLakeLoader must be a {sign} integer, got {count!r}; '
                'write one, or leave the key out'
            )
    if order != 'auto' and values['shuffle'] not in (False, 'none'):
        raise ValueError(
            f'order={order!r} of DeepLakeLoader is for samples in sequence, but they are '
            'shuffled; write shuffle=False, or leave order out'
        )
    batch_size, num_workers = values['batch_size'], values['num_workers']
    if order == 'by_worker' and (batch_size is None or num_workers is None):
        raise ValueError(
            "order='by_worker' of DeepLakeLoader deals samples to workers, so it needs "
            f'their number and that of images in a batch, got batch_size={batch_size}, '
            f'num_workers={num_workers}; write both as in the dataloader'
        )


def check_equal_on_ranks(count: int, what: str, same: str) -> None:
    """Raise an error unless all ranks have the same number of something.

    Args:
        count: This rank's number.
        what: What is counted, for the message.
        same: What the user should make the same on all ranks, for the message.
    """
    counts = all_gather_object(count)
    if len(set(counts)) > 1:
        per_rank = ', '.join(f'rank {i}: {count}' for i, count in enumerate(counts))
        raise ValueError(
            f'all ranks must have the same number of {what}, or they wait for each other '
            f'forever; got {per_rank}. Use the same {same} on all ranks'
        )


def choose_shuffle(shuffle: bool | str, sample_map: SampleMap | None) -> str:
    """Resolve the key ``shuffle``, checked, to ``'full'``, ``'lanes'`` or ``'none'``.

    Args:
        shuffle: A bool or one of ``SHUFFLES``.
        sample_map: Map of the samples to lakes; ``None`` for other datasets.

    Raises:
        ValueError: If the value is not possible for the dataset.
    """
    if not isinstance(shuffle, str):
        shuffle = 'auto' if shuffle else 'none'
    if shuffle == 'lanes' and sample_map is None:
        raise ValueError(
            "shuffle='lanes' of DeepLakeLoader follows the chunks of lakes, so the "
            'dataset must consist of DeepLakeDataset alone (Concat, Repeat, '
            'ClassBalanced and MultiImageMix may wrap it), which it does not; write '
            "shuffle='full'"
        )
    if shuffle == 'auto':
        datasets = sample_map.datasets if sample_map else []
        suits_lanes = any(d.reader.is_remote and d.reader.has_chunks for d in datasets)
        return 'lanes' if suits_lanes else 'full'
    return shuffle


def default_lanes(
    world_size: int, batch_size: int | None, num_workers: int | None
) -> int:
    """Return the number of lanes that suits the dataloaders of all ranks.

    Returns:
        The least multiple of ranks x workers x batch size that is at least 64; 64 if
        one of them is not known, which suits powers of two.
    """
    if batch_size is None or num_workers is None:
        return _LANES
    round_size = DataloaderShape(world_size, num_workers, batch_size).round_size
    return -(-_LANES // round_size) * round_size
