"""Add texts to samples: captions, phrases with their boxes, and prompts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lake import Lake, TextColumn
from ..utils.packed_strings import PackedStrings
from ..utils.shared_by_copies import SharedByCopies
from .samples import Samples

ROLES = ('caption', 'text', 'phrases', 'grounding')


class SampleTexts(SharedByCopies):
    """Texts of samples, in the form of MMDetection's own datasets.

    ``caption`` becomes ``gt_caption`` (``CocoCaptionDataset``). ``text`` stays ``text``;
    with ``phrases``, labels are indices of the phrases of the image (``ODVGDataset``).
    ``grounding`` becomes the keys that it holds (``MDETRStyleRefCocoDataset``,
    ``Flickr30kDataset``, ``DODDataset``, ``RefCocoDataset``), with ``labels``, if there
    are any, in place of the stored ones. ``texts`` is a result of :func:`packed_texts`.
    """

    def __init__(
        self, lake: Lake, samples: Samples, texts: dict[str, PackedStrings]
    ) -> None:
        self._samples, self._texts = samples, texts
        self._columns = _columns_of_texts(lake)

    def add_to(self, data_info: dict[str, Any], position: int) -> None:
        """Add its texts to a sample and to its instances, in place.

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
        if 'grounding' in texts:
            self._add_prompt(data_info, position, texts['grounding'])

    def _add_phrases(self, data_info: dict[str, Any], position: int, text: str) -> None:
        samples, row = self._samples, int(self._samples.rows[position])
        num_boxes = int(samples.num_stored[position])
        regions = self._columns['phrases'].regions(text, row, num_boxes)
        label_of = {box: i for i, region in enumerate(regions) for box in region['boxes']}
        phrases: dict[int, dict[str, Any]] = {}
        for instance, box in zip(
            data_info['instances'], samples.stored[samples.part(position)].tolist()
        ):
            instance['bbox_label'] = label = label_of[box]
            region = regions[label]
            phrases[label] = {key: region[key] for key in ('phrase', 'tokens_positive')}
        data_info['phrases'] = phrases
        data_info['dataset_mode'] = 'VG'

    def _add_prompt(self, data_info: dict[str, Any], position: int, text: str) -> None:
        samples, column = self._samples, self._columns['grounding']
        row, count = int(samples.rows[position]), int(samples.num_stored[position])
        keys = column.prompt(text, row)
        labels = keys.pop('labels', None)
        if labels is not None:
            if not isinstance(labels, list) or len(labels) != count:
                raise ValueError(
                    f'{column.source.where(column.column, row)}: labels must be a list '
                    f'with one integer per box, got {labels!r} for {count} boxes; '
                    'correct the row'
                )
            stored = samples.stored[samples.part(position)].tolist()
            for instance, index in zip(data_info['instances'], stored):
                instance['bbox_label'] = labels[index]
        if 'sent_ids' in keys:  # an array, as DODCocoMetric indexes it
            keys['sent_ids'] = np.array(keys['sent_ids'])
        data_info.update(keys)


def packed_texts(lake: Lake, rows: NDArray[np.int64]) -> dict[str, PackedStrings]:
    """Read the texts of rows, shape ``(R,)``: role -> texts; empty without any."""
    return {role: column.packed(rows) for role, column in _columns_of_texts(lake).items()}


def _columns_of_texts(lake: Lake) -> dict[str, TextColumn]:
    return {
        role: TextColumn(lake.source, column)
        for role in ROLES
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
        lake: The lake of the sample; its texts take precedence.
        metainfo: ``metainfo`` of the dataset.
        return_classes: ``True`` for the form of ``CocoDataset``, ``'label_map'`` for that
            of ``ODVGDataset``, which ``True`` also stands for with the style ``odvg``;
            ``False`` for nothing.
        caption_prompt: Prompts by class name.
    """
    is_odvg = lake.columns.style == 'odvg' and not lake.columns.of('text')
    if return_classes == 'label_map' or (return_classes and is_odvg):
        names = {str(label): name for label, name in enumerate(metainfo['classes'])}
        return {'text': names, 'dataset_mode': 'OD'}
    if is_odvg:
        return {'dataset_mode': 'OD'}
    if not return_classes or lake.columns.of('text') or lake.columns.of('grounding'):
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
