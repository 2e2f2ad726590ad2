"""Turn the classes of a dataset into the text that grounding detectors read."""

from __future__ import annotations

from typing import Any

from ..lake import Lake


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
