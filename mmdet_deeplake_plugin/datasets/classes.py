"""Labels of semantic maps where a dataset chooses or re-orders classes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mmengine.logging import print_log

from ..lake import Lake


def label_map(lake: Lake, classes: Sequence[str]) -> dict[int, int] | None:
    """What ``LoadAnnotations`` makes of stored labels, as ``BaseSegDataset`` has it.

    Args:
        lake: A lake with maps.
        classes: Classes of the dataset.

    Returns:
        Stored label -> label, 0 for classes that were not chosen, as in
        ``BaseSegDataset(use_label_map=True)``. ``None`` if labels stay as they are; so
        in a lake with boxes, whose classes are those of boxes.
    """
    names = lake.columns.class_names
    if not lake.columns.is_semantic or list(classes) == list(names):
        return None
    return {
        label: classes.index(name) if name in classes else 0
        for label, name in enumerate(names)
    }


def warn_of_left_out(lake: Lake, classes: Sequence[str]) -> None:
    """Says what becomes of the pixels of classes that were not chosen.

    Args:
        lake: A lake of maps alone.
        classes: Classes of the dataset.
    """
    left = [name for name in lake.columns.class_names if name not in classes]
    if left:
        print_log(
            f'{lake.name}: metainfo.classes leaves out {len(left)} classes ({left[0]}, '
            f'…); their pixels become label 0 ({classes[0]}), as in BaseSegDataset with '
            'use_label_map=True',
            logger='current',
            level=logging.WARNING,
        )
