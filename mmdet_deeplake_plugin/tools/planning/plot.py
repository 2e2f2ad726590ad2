"""A picture of an order: row against position in the epoch, a colour for each worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...samplers.dataloader_shape import DataloaderShape

_SHOWN = 20_000  # dots
_COLOURS = 'tab20'


def draw_order(
    file: Path,
    order: NDArray[np.integer],
    rows: NDArray[np.int64],
    dataloader: DataloaderShape,
) -> None:
    """Writes the picture.

    Args:
        file: PNG to write.
        order: Position in the epoch -> sample, shape ``(N,)``.
        rows: Row of each sample, shape ``(N,)``.
        dataloader: Who reads the epoch.

    Raises:
        OSError: If the file cannot be written.
    """
    positions = np.arange(len(order))
    if len(order) > _SHOWN:
        # At random: even steps could meet the same worker again and again.
        chosen = np.random.default_rng(0).choice(len(order), _SHOWN, replace=False)
        positions = np.sort(chosen)
    figure = Figure(figsize=(10, 6), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.scatter(
        positions,
        rows[order[positions]],
        s=3,
        c=reader_of(positions, dataloader) % 20,
        cmap=_COLOURS,
        vmin=0,
        vmax=19,
        linewidths=0,
    )
    axes.set_xlabel('position in the epoch')
    axes.set_ylabel('row of the lake')
    axes.set_title(
        f'{len(order)} samples; a colour for each of '
        f'{dataloader.world_size * dataloader.readers} reading processes'
    )
    axes.margins(0.01)
    figure.savefig(file, dpi=120, format='png')


def reader_of(
    positions: NDArray[np.int64], dataloader: DataloaderShape
) -> NDArray[np.int64]:
    """Number of the process, over all ranks, that reads a position of the epoch."""
    ranks = positions % dataloader.world_size
    batches = positions // dataloader.world_size // dataloader.batch_size
    return ranks * dataloader.readers + batches % dataloader.readers
