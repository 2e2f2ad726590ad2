"""Read texts: captions of images, phrases with their boxes, and prompts.

Texts are short (about 300 bytes per COCO image), so a column is read as a whole and kept
packed.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...utils.packed_strings import PackedStrings
from ..connection.opening import metadata_of
from ..connection.source import LakeSource
from . import names

_REGION_KEYS = ('phrase', 'tokens_positive', 'boxes')


class TextColumn:
    """A column that plays the role ``caption``, ``text``, ``phrases`` or ``grounding``.

    Rows are read by :meth:`packed`; the other methods take the text of a row and its
    number. They raise a ``ValueError`` that names lake, column and row if the text is not
    in their format.

    Args:
        source: Reads the lake.
        column: Name of the column.

    Attributes:
        has_several: Whether a row holds COCO caption annotations rather than plain
            text.
    """

    def __init__(self, source: LakeSource, column: str) -> None:
        self.source = source
        self.column = column
        content = metadata_of(source.handle[column], names.CONTENT)
        self.has_several = content == names.COCO_CAPTIONS

    def packed(self, rows: NDArray[np.int64]) -> PackedStrings:
        """Read the texts of rows into one block; empty where a row has none."""
        # Deep Lake returns None for an empty text.
        return PackedStrings(self.source.values(self.column, rows))

    def caption(self, text: str, row: int) -> str | list[str]:
        """Return the caption of an image, or the list of its captions."""
        if not self.has_several:
            return text
        return [annotation['caption'] for _, annotation in self.captions(text, row)]

    def captions(self, text: str, row: int) -> list[tuple[int, dict[str, Any]]]:
        """Return COCO caption annotations, each with its position in the source file."""
        pairs = self._json(text, row, 'captions')
        try:
            return [(int(position), dict(annotation)) for position, annotation in pairs]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f'{self.source.where(self.column, row)}: captions must be a list as '
                f'tools.from_coco writes it, got {text!r:.60}; correct the row, or write '
                'the lake again'
            ) from error

    def prompt(self, text: str, row: int) -> dict[str, Any]:
        """Return the keys of a sample that the role ``grounding`` gives."""
        return self._json(text, row, 'grounding', dict)

    def regions(self, text: str, row: int, num_boxes: int) -> list[dict[str, Any]]:
        """Return the phrases of an image's text, each with the boxes that it describes.

        Args:
            text: Content of the row.
            row: Row number.
            num_boxes: Number of boxes of the row.

        Returns:
            Dicts of ``phrase``, ``tokens_positive`` (pairs of first and last position
            in the text) and ``boxes`` (indices of the row's boxes).

        Raises:
            ValueError: Also if a phrase lacks a key, or a box does not have exactly one
                phrase.
        """
        regions = self._json(text, row, 'phrases')
        for region in regions:
            keys = region if isinstance(region, dict) else {}
            missing = [key for key in _REGION_KEYS if key not in keys]
            if missing:
                raise ValueError(
                    f'{self.source.where(self.column, row)}: every phrase must have the '
                    f'keys phrase, tokens_positive and boxes, but {region!r:.60} lacks '
                    f'{missing[0]!r}; add it'
                )
        groups = [region['boxes'] for region in regions]
        boxes = [b for g in groups for b in (g if isinstance(g, list) else [None])]
        if Counter(map(repr, boxes)) != Counter(map(repr, range(num_boxes))):
            raise ValueError(
                f'{self.source.where(self.column, row)}: each of the {num_boxes} boxes '
                f'must belong to one phrase, but the phrases list the boxes {boxes}; '
                'write every box, from 0, in one phrase'
            )
        return regions

    def _json(self, text: str, row: int, what: str, kind: type = list) -> Any:
        problem = ''
        try:
            items = json.loads(text) if text else kind()
        except ValueError as error:
            items, problem = None, f': {error}'
        if not isinstance(items, kind):
            name = 'list' if kind is list else 'object'
            raise ValueError(
                f'{self.source.where(self.column, row)}: {what} must be a JSON {name}, '
                f'got {text!r:.60}{problem}; correct the row'
            )
        return items
