"""Texts of rows: captions of images, and phrases of captions with their boxes.

Texts are short (about 300 bytes an image of COCO), so their columns are read as a
whole and kept packed.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...utils.packed_strings import PackedStrings
from ..connection.source import LakeSource
from . import names
from .mapping import metadata_of

_REGION_KEYS = ('phrase', 'tokens_positive', 'boxes')


class TextColumn:
    """A column that plays the role ``caption``, ``text`` or ``phrases``.

    Args:
        source: Reads the lake.
        column: Name of the column.

    Attributes:
        has_several: Whether a row holds COCO's annotations of captions instead of a
            plain text.
    """

    def __init__(self, source: LakeSource, column: str) -> None:
        self.source = source
        self.column = column
        content = metadata_of(source.handle[column], names.CONTENT)
        self.has_several = content == names.COCO_CAPTIONS

    def packed(self, rows: NDArray[np.int64]) -> PackedStrings:
        """The texts of rows in one block, empty where a row has none.

        Args:
            rows: Row numbers, shape ``(R,)``.
        """
        values = self.source.values(self.column, rows)
        # An empty text comes back as None.
        return PackedStrings(['' if value is None else value for value in values])

    def caption(self, text: str, row: int) -> str | list[str]:
        """The caption of an image, or all of them.

        Args:
            text: What the row holds.
            row: Row number.

        Raises:
            ValueError: If the text is not what ``tools.from_coco`` writes, and the
                column says that it is; names lake, column and row.
        """
        if not self.has_several:
            return text
        return [annotation['caption'] for _, annotation in self.captions(text, row)]

    def captions(self, text: str, row: int) -> list[tuple[int, dict[str, Any]]]:
        """COCO's annotations of captions: position in the file, and the annotation.

        Args:
            text: What the row holds.
            row: Row number.

        Raises:
            ValueError: If it is not that; names lake, column and row.
        """
        found = self._json(text, row, 'a list of captions')
        try:
            return [(int(position), dict(annotation)) for position, annotation in found]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f'{self.source.where(self.column, row)}: {text!r:.60} is no list of captions as '
                'tools.from_coco writes it'
            ) from error

    def regions(self, text: str, row: int, num_boxes: int) -> list[dict[str, Any]]:
        """The phrases of an image's text, each with the boxes that it is about.

        Args:
            text: What the row holds.
            row: Row number.
            num_boxes: Number of boxes of the row.

        Returns:
            Dicts of ``phrase``, ``tokens_positive`` (pairs of first and last position
            in the text) and ``boxes`` (numbers of the row's boxes).

        Raises:
            ValueError: If a phrase lacks a key, or a box has not just one phrase;
                names lake, column and row.
        """
        found = self._json(text, row, 'a list of phrases')
        for region in found:
            known = region if isinstance(region, dict) else {}
            missing = [key for key in _REGION_KEYS if key not in known]
            if missing:
                raise ValueError(
                    f'{self.source.where(self.column, row)}: the phrase {region!r:.60} has no '
                    f'{missing[0]!r}; write phrase, tokens_positive and boxes'
                )
        groups = [region['boxes'] for region in found]
        boxes = [b for g in groups for b in (g if isinstance(g, list) else [None])]
        if Counter(map(repr, boxes)) != Counter(map(repr, range(num_boxes))):
            raise ValueError(
                f'{self.source.where(self.column, row)}: phrases have the boxes {boxes}, but the '
                f'row has {num_boxes} boxes; write each of them, from 0, in one phrase'
            )
        return found

    def _json(self, text: str, row: int, what: str) -> list[Any]:
        try:
            found = json.loads(text) if text else []
        except ValueError as error:
            raise ValueError(
                f'{self.source.where(self.column, row)}: {text!r:.60} is no JSON of {what}: {error}'
            ) from error
        if not isinstance(found, list):
            raise ValueError(
                f'{self.source.where(self.column, row)}: {text!r:.60} is no JSON of {what}'
            )
        return found
