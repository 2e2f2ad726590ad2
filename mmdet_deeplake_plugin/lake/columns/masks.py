"""Read the masks of single rows, whichever of three column types stores them.

The text column that ``from_coco`` writes is compact (about 300 bytes per COCO instance,
the size of its coordinates as doubles), so it can be read as a whole and kept packed.
Dense masks take megabytes per image, and Deep Lake returns polygons as Python objects:
both are read row by row and not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...structures.masks import (
    Segmentation,
    check_segmentations,
    segmentations_of_bitmaps,
    segmentations_of_polygons,
    unpack_segmentations,
)
from ...utils.packed_strings import PackedStrings
from ..connection.source import LakeSource
from .roles import MaskKind, mask_kind


@dataclass(eq=False)
class MaskColumn:
    """The column that plays the role ``gt_masks``."""

    source: LakeSource
    column: str

    @cached_property
    def kind(self) -> MaskKind | None:
        """How the column stores masks."""
        return mask_kind(self.source.handle.schema[self.column].dtype)

    def packed(self, rows: NDArray[np.int64]) -> PackedStrings | None:
        """Read the texts of rows into one block; ``None`` if the column is not text."""
        if self.kind is not MaskKind.TEXT:
            return None
        return PackedStrings(self.source.values(self.column, rows))

    def of_row(
        self, row: int, count: int, size: tuple[int, int], text: str | None = None
    ) -> list[Segmentation]:
        """Read the segmentations of a row's instances, one per box in their order.

        Args:
            row: Row number.
            count: Number of boxes of the row.
            size: Width and height of its image in pixels.
            text: The row's text if it was read already.

        Raises:
            ValueError: If there is not one mask per box, or a mask does not fit the
                image. The message names lake, column and row.
        """
        try:
            masks = self._decoded(row) if text is None else unpack_segmentations(text)
            check_segmentations(masks, count, *size)
        except ValueError as error:
            where = self.source.where(self.column, row)
            raise ValueError(f'{where}: {error}') from error
        return masks

    def _decoded(self, row: int) -> list[Segmentation]:
        value = self.source.values(self.column, np.array([row]))[0]
        if value is None:  # a nullable column, or a mask without pixels
            return []
        if self.kind is MaskKind.TEXT:
            return unpack_segmentations(value)
        if self.kind is MaskKind.POLYGONS:
            return segmentations_of_polygons(value)
        return segmentations_of_bitmaps(value)
