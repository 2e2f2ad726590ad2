"""Check the keys of ``DeepLakeLoader`` and resolve their defaults."""

from __future__ import annotations

from typing import Any

from mmengine.dist import all_gather_object

from ..utils.messages import did_you_mean
from ..utils.values import check_bool, is_bool, is_int
from .dataloader_shape import DataloaderShape
from .wrappers import SampleMap

SHUFFLES = ('auto', 'full', 'lanes', 'none')
LOADER_TYPES = ('auto', 'c++', 'python')
ORDERS = ('auto', 'dataset', 'by_worker')
_OPTIONAL = ('batch_size', 'num_workers', 'lanes')
_LANES = 64


def check_loader_keys(
    loader_type: Any, shuffle: Any, seed: Any, round_up: Any, **counts: Any
) -> None:
    """Raise an error for an invalid value.

    Args:
        loader_type: One of ``LOADER_TYPES``.
        shuffle: A bool or one of ``SHUFFLES``.
        seed: An integer of 0 or more, or ``None``.
        round_up: A bool.
        counts: Values of the keys that are counts; ``None`` for an optional key that
            is not set.

    Raises:
        ValueError: If a value is invalid; the message names the key and what to write.
    """
    check_bool('round_up of DeepLakeLoader', round_up)
    if seed is not None and not (is_int(seed) and seed >= 0):
        raise ValueError(
            f'seed of DeepLakeLoader must be an integer of 0 or more, got {seed!r}; '
            'write such a number, or leave the key out'
        )
    if not is_bool(shuffle) and not _is_word(shuffle, SHUFFLES):
        raise ValueError(
            f'shuffle of DeepLakeLoader must be True, False or one of '
            f'{", ".join(SHUFFLES)}, got {shuffle!r}{did_you_mean(shuffle, SHUFFLES)}; '
            'write one of them'
        )
    if not _is_word(loader_type, LOADER_TYPES):
        raise ValueError(
            f'loader_type of DeepLakeLoader must be one of {", ".join(LOADER_TYPES)}, '
            f'got {loader_type!r}{did_you_mean(loader_type, LOADER_TYPES)}; write one of '
            'them'
        )
    for key, value in counts.items():
        least = 0 if key in ('num_workers', 'cache_bytes') else 1
        is_unset = value is None and key in _OPTIONAL
        if not is_unset and not (is_int(value) and value >= least):
            sign = 'positive' if least else 'non-negative'
            raise ValueError(
                f'{key} of DeepLakeLoader must be a {sign} integer, got {value!r}; '
                'write one, or leave the key out'
            )


def check_order(
    order: Any, shuffle: bool | str, batch_size: int | None, num_workers: int | None
) -> None:
    """Raise an error unless the key ``order`` suits the others.

    Args:
        order: One of ``ORDERS``.
        shuffle: The key ``shuffle``, checked.
        batch_size: The key ``batch_size``, checked.
        num_workers: The key ``num_workers``, checked.

    Raises:
        ValueError: If it does not; the message says what to write.
    """
    if not _is_word(order, ORDERS):
        raise ValueError(
            f'order of DeepLakeLoader must be one of {", ".join(ORDERS)}, got {order!r}'
            f'{did_you_mean(order, ORDERS)}; write one of them'
        )
    if order != 'auto' and shuffle not in (False, 'none'):
        raise ValueError(
            f'order={order!r} of DeepLakeLoader is for samples in sequence, but they are '
            'shuffled; write shuffle=False, or leave order out'
        )
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
        same: What the user should make the same on all ranks.

    Raises:
        ValueError: If the ranks have different numbers.
    """
    counts = all_gather_object(count)
    if len(set(counts)) > 1:
        per_rank = ', '.join(f'rank {i}: {count}' for i, count in enumerate(counts))
        raise ValueError(
            f'all ranks must have the same number of {what}, or they wait for each other '
            f'forever; got {per_rank}. Use the same {same} on all ranks'
        )


def _is_word(value: Any, words: tuple[str, ...]) -> bool:
    return isinstance(value, str) and value in words


def choose_shuffle(shuffle: bool | str, sample_map: SampleMap | None) -> str:
    """Resolve the key ``shuffle``.

    Args:
        shuffle: A bool or one of ``SHUFFLES``, checked.
        sample_map: Map of the samples to lakes; ``None`` for other datasets.

    Returns:
        ``'full'``, ``'lanes'`` or ``'none'``.

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
    """Return the number of lanes that suits a dataloader.

    Args:
        world_size: Number of ranks.
        batch_size: Batch size per rank, if known.
        num_workers: Workers per rank, if known.

    Returns:
        The least multiple of ranks x workers x batch size that is at least 64; 64 if
        one of them is not known, which suits powers of two.
    """
    if batch_size is None or num_workers is None:
        return _LANES
    round_size = DataloaderShape(world_size, num_workers, batch_size).round_size
    return -(-_LANES // round_size) * round_size
