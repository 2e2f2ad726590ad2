"""Checks of the keys of ``DeepLakeLoader``, and what they stand for."""

from __future__ import annotations

from ..lake import did_you_mean
from .dataloader_shape import DataloaderShape
from .wrappers import SampleMap

SHUFFLES = ('auto', 'full', 'lanes', 'none')
LOADER_TYPES = ('auto', 'c++', 'python')
_OPTIONAL = ('batch_size', 'num_workers', 'lanes')
_LANES = 64


def check_loader_keys(loader_type: str, **counts: int | None) -> None:
    """Refuses values that mean nothing.

    Args:
        loader_type: One of ``LOADER_TYPES``.
        counts: Values of the keys that count something; ``None`` where one that may
            be unset is.

    Raises:
        ValueError: If a value is wrong; names the key and what to write.
    """
    if loader_type not in LOADER_TYPES:
        raise ValueError(
            f'loader_type={loader_type!r} of DeepLakeLoader is none of '
            f'{", ".join(LOADER_TYPES)}{did_you_mean(loader_type, LOADER_TYPES)}'
        )
    for key, value in counts.items():
        least = 0 if key in ('num_workers', 'cache_bytes') else 1
        is_unset = value is None and key in _OPTIONAL
        is_count = isinstance(value, int) and not isinstance(value, bool)
        if not is_unset and not (is_count and int(value or 0) >= least):
            raise ValueError(
                f'{key}={value!r} of DeepLakeLoader is no whole number from {least} on; '
                'write one, or leave it out'
            )


def choose_shuffle(shuffle: bool | str, places: SampleMap | None) -> str:
    """The shuffle that is meant.

    Args:
        shuffle: A bool or one of ``SHUFFLES``.
        places: Where the samples lie; ``None`` for other datasets.

    Returns:
        ``'full'``, ``'lanes'`` or ``'none'``.

    Raises:
        ValueError: If it is none of these, or cannot be had for the dataset.
    """
    if isinstance(shuffle, bool):
        shuffle = 'auto' if shuffle else 'none'
    if shuffle not in SHUFFLES:
        raise ValueError(
            f'shuffle={shuffle!r} of DeepLakeLoader is no bool and none of '
            f'{", ".join(SHUFFLES)}{did_you_mean(shuffle, SHUFFLES)}'
        )
    if shuffle == 'lanes' and places is None:
        raise ValueError(
            "shuffle='lanes' of DeepLakeLoader goes along the chunks of lakes, and the "
            'dataset is not made of DeepLakeDataset alone (Concat, Repeat, ClassBalanced '
            "and MultiImageMix may be around it); write shuffle='full'"
        )
    if shuffle == 'auto':
        readers = [dataset.reader for dataset in places.datasets] if places else []
        along = any(reader.is_remote and reader.has_chunks for reader in readers)
        return 'lanes' if along else 'full'
    return shuffle


def default_lanes(
    world_size: int, batch_size: int | None, num_workers: int | None
) -> int:
    """Number of lanes that suits a dataloader.

    Args:
        world_size: Number of ranks.
        batch_size: Batch size of each rank, if it is known.
        num_workers: Workers of each rank, if known.

    Returns:
        The least multiple of all three from 64 on; 64 where one is not known, which
        suits powers of two.
    """
    if batch_size is None or num_workers is None:
        return _LANES
    round_size = DataloaderShape(world_size, num_workers, batch_size).round_size
    return -(-_LANES // round_size) * round_size
