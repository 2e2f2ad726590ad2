"""Says what the loader would do with a lake before a training begins.

Which order and why, how many lanes, what is read in an epoch, what a worker holds in
memory and how well it is shuffled, with a sampler to paste. The numbers come from
workers that go through an epoch as in a training, but only count what they read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..dataset import DeepLakeDataset
from ..lake import (
    Expected,
    ImageReader,
    LakeSource,
    LakeSpec,
    map_columns,
    open_lake,
    resolve,
)
from ..lanes import Lanes
from ..loader_keys import (
    LOADER_TYPES,
    check_loader_keys,
    choose_shuffle,
    default_lanes,
)
from ..places import Places
from ..quality import ShuffleQuality, measure_quality
from ..reading import plan_reading
from ..simulation import Dataloader, Epoch, Reads, simulate
from ._cli import make_parser, run_tool, with_progress
from ._plan_plot import draw_order
from ._plan_text import describe

_SIZED = 32  # images whose size is looked up


@dataclass(frozen=True)
class LoaderKeys:
    """Keys of ``DeepLakeLoader``, as they stand in a config.

    Args:
        shuffle: ``'auto'``, ``'full'``, ``'lanes'`` or ``'none'``.
        lanes: Number of lanes; ``None`` for the one that suits the dataloader.
        window: Chunks whose samples a lane mixes.
        seed: Seed of the order.
        loader_type: ``'auto'``, ``'c++'`` or ``'python'``.
        cache_bytes: Largest size of the chunks that a worker holds, in bytes.
    """

    shuffle: str = 'auto'
    lanes: int | None = None
    window: int = 1
    seed: int = 0
    loader_type: str = 'auto'
    cache_bytes: int = 1 << 30


@dataclass(frozen=True)
class Plan:
    """What the loader would do.

    Attributes:
        name: The lake in words.
        is_remote: Whether a read goes over a network.
        total_rows: Rows of the lake.
        rows: Row of each sample, shape ``(N,)``.
        chunk_sizes: Rows of each chunk, shape ``(C,)``.
        chunks_stored: Whether chunks are the stored ones; else blocks of rows.
        row_bytes: Mean size of some images, in bytes.
        keys: The loader's keys, ``shuffle`` and ``lanes`` settled.
        was_auto: Whether the shuffle was left to the loader.
        warning: What the loader would warn of; ``''`` if nothing.
        dataloader: Who reads.
        along_chunks: Whether chunks are read whole.
        reads: What an epoch reads.
        unbound: The same if a worker might hold as much as it likes.
        quality: Of the shuffle.
        order: Position -> sample, shape ``(N,)``.
    """

    name: str
    is_remote: bool
    total_rows: int
    rows: NDArray[np.int64]
    chunk_sizes: NDArray[np.int64]
    chunks_stored: bool
    row_bytes: int
    keys: LoaderKeys
    was_auto: bool
    warning: str
    dataloader: Dataloader
    along_chunks: bool
    reads: Reads
    unbound: Reads
    quality: ShuffleQuality
    order: NDArray[np.int64]
