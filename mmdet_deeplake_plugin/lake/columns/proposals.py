"""Proposals of single rows: boxes that another model found, with its scores.

Two thousand of them take 40 KB an image, tens of times what the annotations take, so
they are read row by row, and nothing of them is kept.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...structures.boxes import to_xyxy
from ..connection.source import LakeSource
from .mapping import declared_box_format


class ProposalColumns:
    """The columns that play the roles ``proposals`` and ``proposal_scores``.

    Args:
        source: Reads the lake.
        boxes: Name of the column of boxes.
        scores: Name of the column of scores, ``None`` if there is none.
    """

    def __init__(self, source: LakeSource, boxes: str, scores: str | None) -> None:
        self.source = source
        self.boxes = boxes
        self.scores = scores

    @cached_property
    def _box_format(self) -> str:
        return declared_box_format(self.source.handle, self.boxes) or 'xyxy'

    def of_row(self, row: int, size: tuple[int, int]) -> dict[str, NDArray[np.float32]]:
        """Proposals of a row as MMDetection's proposal files hold them.

        Args:
            row: Row number.
            size: Width and height of its image in pixels.

        Returns:
            ``bboxes`` of shape ``(P, 4)``, corners in pixels (xyxy), and, if there is
            a column of them, ``scores`` of shape ``(P,)``; both in stored order.

        Raises:
            ValueError: If boxes are not ``(P, 4)``, or scores are not as many; names
                lake, column and row.
        """
        boxes = self._array(self.boxes, row)
        if boxes.size and (boxes.ndim != 2 or boxes.shape[1] != 4):
            raise ValueError(
                f'{self.source.where(self.boxes, row)}: proposals of shape {boxes.shape}; '
                'write (P, 4), one row of four numbers a proposal'
            )
        corners = to_xyxy(boxes.reshape(-1, 4), self._box_format, *size)
        found = {'bboxes': corners.astype(np.float32)}
        if self.scores is not None:
            scores = self._array(self.scores, row).ravel()
            if len(scores) != len(corners):
                raise ValueError(
                    f'{self.source.where(self.scores, row)}: {len(scores)} scores for '
                    f'{len(corners)} proposals in column {self.boxes!r}; write one a '
                    'proposal, or None for proposal_scores in deeplake_tensors'
                )
            found['scores'] = scores.astype(np.float32)
        return found

    def _array(self, column: str, row: int) -> NDArray[np.generic]:
        value = self.source.values(column, np.array([row]))[0]
        return np.zeros(0) if value is None else np.asarray(value)
