"""Add texts to samples: captions, and the phrases of a text with their boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lake import Lake, TextColumn
from ..utils.packed_strings import PackedStrings
from ..utils.shared_by_copies import SharedByCopies
from .samples import Samples


class SampleTexts(SharedByCopies):
    """Texts of samples, in the form of MMDetection's own datasets.

    ``caption`` becomes ``gt_caption`` (``CocoCaptionDataset``). ``text`` stays ``text``;
    with ``phrases``, labels are indices of the phrases of the image (``ODVGDataset``).

    Args:
        lake: The lake with the texts.
        samples: The samples.
        texts: Result of :func:`packed_texts`.
    """

    def __init__(
        self, lake: Lake, samples: Samples, texts: dict[str, PackedStrings]
    ) -> None:
        self._samples, self._texts = samples, texts
        self._columns = _columns_of_texts(lake)

    def add_to(self, data_info: dict[str, Any], position: int) -> None:
        """Add its texts to a sample.

        Args:
            data_info: The sample, changed in place; its ``instances`` must be the result
                of :meth:`Samples.instances`.
            position: Index into the samples.

        Raises:
            ValueError: If a text does not have the format of its role.
        """
        row = int(self._samples.rows[position])
        texts = {role: text[position] for role, text in self._texts.items()}
        if 'caption' in texts:
            column = self._columns['caption']
            data_info['gt_caption'] = column.caption(texts['caption'], row)
        if 'text' in texts:
            data_info['text'] = texts['text']
        if 'phrases' in texts:
            self._add_phrases(data_info, position, texts['phrases'])

    def _add_phrases(self, data_info: dict[str, Any], position: int, text: str) -> None:
        samples, row = self._samples, int(self._samples.rows[position])
        num_boxes = int(samples.num_stored[position])
        regions = self._columns['phrases'].regions(text, row, num_boxes)
        label_of = {box: i for i, region in enumerate(regions) for box in region['boxes']}
        phrases: dict[int, dict[str, Any]] = {}
        for instance, box in zip(
            data_info['instances'], samples.stored[samples.part(position)].tolist()
        ):
            label = label_of[box]
            instance['bbox_label'] = label
            region = regions[label]
            phrases[label] = {
                'phrase': region['phrase'],
                'tokens_positive': region['tokens_positive'],
            }
        data_info['phrases'] = phrases
        data_info['dataset_mode'] = 'VG'


def packed_texts(lake: Lake, rows: NDArray[np.int64]) -> dict[str, PackedStrings]:
    """Read the texts of rows: role -> texts; empty if the lake has none.

    Args:
        lake: The lake.
        rows: Row numbers, shape ``(R,)``.
    """
    return {role: column.packed(rows) for role, column in _columns_of_texts(lake).items()}


def _columns_of_texts(lake: Lake) -> dict[str, TextColumn]:
    return {
        role: TextColumn(lake.source, column)
        for role in ('caption', 'text', 'phrases')
        if (column := lake.columns.of(role)) is not None
    }


def class_prompt(
    lake: Lake,
    metainfo: dict[str, Any],
    return_classes: bool | str,
    caption_prompt: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return the keys of a sample that hold the classes as text.

    Args:
        lake: The lake of the sample; its role ``text`` takes precedence.
        metainfo: ``metainfo`` of the dataset.
        return_classes: ``True`` for the form of ``CocoDataset``, ``'label_map'`` for that
            of ``ODVGDataset``, ``False`` for nothing.
        caption_prompt: Prompts by class name.
    """
    if not return_classes:
        return {}
    if return_classes == 'label_map':
        names = enumerate(metainfo['classes'])
        return {
            'text': {str(label): name for label, name in names},
            'dataset_mode': 'OD',
        }
    if lake.columns.of('text'):
        return {}
    if lake.columns.is_panoptic:
        return {
            'text': metainfo['thing_classes'],
            'stuff_text': metainfo['stuff_classes'],
            'custom_entities': True,
        }
    if lake.columns.is_semantic:
        return {'text': list(metainfo['classes'])}
    return {
        'text': metainfo['classes'],
        'caption_prompt': caption_prompt,
        'custom_entities': True,
    }
