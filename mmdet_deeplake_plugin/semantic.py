"""Labels of semantic maps where a dataset chooses or re-orders classes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mmengine.logging import print_log

from .lake import Lake


def label_map(lake: Lake, classes: Sequence[str]) -> dict[int, int] | None:
    """What ``LoadAnnotations`` makes of stored labels, as ``BaseSegDataset`` has it.

    Args:
        lake: A lake of maps alone.
        classes: Classes of the dataset.

    Returns:
        Stored label -> label. Classes that were not chosen become 0, as
        ``BaseSegDataset(use_label_map=True)`` does; a warning says so. ``None`` if
        labels stay as they are.
    """
    names = lake.columns.class_names
    if list(classes) == list(names):
        return None
    left = [name for name in names if name not in classes]
    if left:
        print_log(
            f'{lake.name}: metainfo.classes leaves out {len(left)} classes ({left[0]}, '
            f'…); their pixels become label 0 ({classes[0]}), as in BaseSegDataset with '
            'use_label_map=True',
            logger='current',
            level=logging.WARNING,
        )
    return {
        label: classes.index(name) if name in classes else 0
        for label, name in enumerate(names)
    }
