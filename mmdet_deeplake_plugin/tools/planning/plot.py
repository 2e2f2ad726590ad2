"""Plot an order: rows over positions in the epoch, one colour per worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...samplers.dataloader_shape import DataloaderShape

_SHOWN = 20_000  # points
_COLOURS = 'tab20'


def draw_order(
    file: Path,
    order: NDArray[np.integer],
    rows: NDArray[np.int64],
    dataloader: DataloaderShape,
) -> None:
    """Write the plot of an order to a PNG.

    Args:
        file: PNG to write.
        order: Sample at each position of the epoch, shape ``(N,)``.
        rows: Row of each sample, shape ``(N,)``.
        dataloader: The dataloaders that read it.
    """
    positions = np.arange(len(order))
    if len(order) > _SHOWN:
        # Random, because even steps could hit the same worker every time.
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
        f'{len(order)} samples; one colour for each of '
        f'{dataloader.world_size * dataloader.readers} reading processes'
    )
    axes.margins(0.01)
    figure.savefig(file, dpi=120, format='png')


def reader_of(
    positions: NDArray[np.int64], dataloader: DataloaderShape
) -> NDArray[np.int64]:
    """Return the number of the process, over all ranks, that reads each position."""
    ranks = positions % dataloader.world_size
    batches = positions // dataloader.world_size // dataloader.batch_size
    return ranks * dataloader.readers + batches % dataloader.readers
