"""Read the proposals of single rows: boxes from another model, with their scores.

Two thousand proposals take 40 KB per image, tens of times the size of the annotations,
so they are read row by row and not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...structures.boxes import to_xyxy
from ..connection.source import LakeSource
from .box_format import declared_box_format


@dataclass(eq=False)
class ProposalColumns:
    """The columns that play the roles ``proposals`` and ``proposal_scores``."""

    source: LakeSource
    boxes: str
    scores: str | None

    @cached_property
    def _box_format(self) -> str:
        return declared_box_format(self.source.handle, self.boxes) or 'xyxy'

    def of_row(self, row: int, size: tuple[int, int]) -> dict[str, NDArray[np.float32]]:
        """Read the proposals of a row, in the form of MMDetection's proposal files.

        Args:
            row: Row number.
            size: Width and height of its image in pixels.

        Returns:
            ``bboxes`` of shape ``(P, 4)``, corners in pixels (xyxy), and, if the lake
            has a column for them, ``scores`` of shape ``(P,)``; both in stored order.

        Raises:
            ValueError: If the boxes are not ``(P, 4)``, or there is not one score per
                proposal. The message names lake, column and row.
        """
        boxes = self._array(self.boxes, row)
        if boxes.size and (boxes.ndim != 2 or boxes.shape[1] != 4):
            raise ValueError(
                f'{self.source.where(self.boxes, row)}: proposals must have the shape '
                f'(P, 4), got {boxes.shape}; write four numbers per proposal'
            )
        corners = to_xyxy(boxes.reshape(-1, 4), self._box_format, *size)
        proposals = {'bboxes': corners.astype(np.float32)}
        if self.scores is not None:
            scores = self._array(self.scores, row).ravel()
            if len(scores) != len(corners):
                raise ValueError(
                    f'{self.source.where(self.scores, row)}: there must be one score per '
                    f'proposal, found {len(scores)} scores for {len(corners)} proposals '
                    f'in column {self.boxes!r}; correct the row, or write None for '
                    'proposal_scores in deeplake_tensors'
                )
            proposals['scores'] = scores.astype(np.float32)
        return proposals

    def _array(self, column: str, row: int) -> NDArray[np.generic]:
        value = self.source.values(column, np.array([row]))[0]
        return np.zeros(0) if value is None else np.asarray(value)
