"""Share what formats of predicted maps need: find them, write them, name their row."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from ..lake import Lake
from ..structures.seg_maps import encode_png
from .format import MetricFormat


class MapFormat(MetricFormat):
    """A format that compares maps image by image.

    Each rank compares the maps of its own images and keeps numbers, which the main rank
    sums up. So no map travels between ranks, and none is held longer than its batch.

    Attributes:
        key: Key of the map in a data sample.
    """

    key: ClassVar[str]

    @classmethod
    def prediction_of(cls, sample: Mapping[str, Any]) -> Any:
        """Return the map of a data sample, or raise a ``KeyError`` if there is none."""
        if cls.key not in sample:
            raise KeyError(
                f'metrics_format={cls.name!r} compares maps, but the model does not '
                f'predict {cls.key}; use a model that does, or another metrics_format'
            )
        return sample[cls.key]


@contextlib.contextmanager
def naming_row(lake: Lake, row: int) -> Iterator[None]:
    """Put the names of a lake and a row in front of the text of a ``ValueError``."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f'{lake.name}, row {row}: {error}') from error


def png_name(img_path: str) -> str:
    """Return the file name of the map that is written for an image."""
    return f'{Path(img_path).stem}.png'


def write_png(file: Path, pixels: NDArray[Any]) -> None:
    """Write a map, shape ``(H, W)``, or ``(H, W, 3)`` as BGR, into a folder made here."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(encode_png(pixels, level=1))
