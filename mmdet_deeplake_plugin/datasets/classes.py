"""Choose the classes of a dataset, their order, and which are things and stuff."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.logging import print_log

from ..lake import Lake
from ..utils.messages import did_you_mean


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset.

    Args:
        metainfo: ``classes`` in the order of the labels; for a panoptic lake also
            ``thing_classes`` and ``stuff_classes``.
        things: Whether each stored label is a thing; empty if unknown.
        label_map: See :func:`label_map`.
    """

    metainfo: dict[str, tuple[str, ...]]
    things: tuple[bool, ...]
    label_map: dict[int, int] | None


def choose_classes(
    lake: Lake, metainfo: dict[str, Any], label_order: str
) -> tuple[Lake, Classes]:
    """Choose the classes of a dataset.

    Args:
        lake: The lake.
        metainfo: ``metainfo`` of the config.
        label_order: ``'classes'`` for the order of ``metainfo``, ``'lake'`` for that of
            the lake.

    Returns:
        The lake, with a class name for every label, and the chosen classes.

    Raises:
        ValueError: If a class is unknown or named twice, or if neither the lake nor the
            config names the classes, or says which of them are things.
    """
    lake, classes = _choose_names(lake, metainfo.get('classes'))
    columns = lake.columns
    if label_order == 'lake':
        classes = tuple(name for name in columns.class_names if name in classes)
    things, chosen = columns.things, {'classes': classes}
    if columns.is_panoptic:
        things = things or _requested_things(lake, metainfo)
        is_thing = dict(zip(columns.class_names, things))
        chosen['thing_classes'] = tuple(name for name in classes if is_thing[name])
        chosen['stuff_classes'] = tuple(name for name in classes if not is_thing[name])
    if columns.is_semantic:
        _warn_of_left_out(lake, classes)
    return lake, Classes(chosen, things, label_map(lake, classes))


def label_map(lake: Lake, classes: Sequence[str]) -> dict[int, int] | None:
    """Return how ``LoadAnnotations`` must map the stored labels of maps.

    Args:
        lake: A lake with maps.
        classes: Classes of the dataset.

    Returns:
        Stored label -> label, 0 for classes that were not chosen, as in
        ``BaseSegDataset(use_label_map=True)``. ``None`` if labels stay as they are, e.g.
        in a lake with boxes, where the classes are those of the boxes.
    """
    names = lake.columns.class_names
    if not lake.columns.is_semantic or list(classes) == list(names):
        return None
    return {
        label: classes.index(name) if name in classes else 0
        for label, name in enumerate(names)
    }


def _choose_names(lake: Lake, requested: Any) -> tuple[Lake, tuple[str, ...]]:
    names = lake.columns.class_names
    if isinstance(requested, str):
        raise ValueError(
            f'metainfo.classes must be a tuple of names, or a file with one name per '
            f'line, got the string {requested!r}; write classes=({requested!r},)'
        )
    classes = tuple(requested) if requested is not None else names
    if not classes:
        column = lake.columns.of('gt_labels') or lake.columns.of('gt_seg_map')
        raise ValueError(
            f'{lake.name} has no class names (metadata class_names of column '
            f"{column!r}); write metainfo=dict(classes=('name of label 0', …))"
        )
    if not names:
        return lake.with_class_names(classes), classes
    for name in classes:
        if name not in names:
            raise ValueError(
                f'metainfo.classes holds {name!r}, which is not a class of {lake.name}'
                f'{did_you_mean(name, names)}; its classes are {", ".join(names)}'
            )
    if len(set(classes)) < len(classes):
        raise ValueError(f'metainfo.classes must not name a class twice, got {classes!r}')
    return lake, classes


def _requested_things(lake: Lake, metainfo: dict[str, Any]) -> tuple[bool, ...]:
    """Return whether each stored label is a thing, according to the config."""
    if 'thing_classes' not in metainfo:
        raise ValueError(
            f'{lake.name} does not say which classes are things (metadata isthing of the '
            "column of labels); write metainfo=dict(thing_classes=('NAME', …)); all "
            'other classes are stuff'
        )
    return tuple(name in metainfo['thing_classes'] for name in lake.columns.class_names)


def _warn_of_left_out(lake: Lake, classes: Sequence[str]) -> None:
    """Warn that the pixels of classes that were not chosen become label 0."""
    left_out = [name for name in lake.columns.class_names if name not in classes]
    if left_out:
        print_log(
            f'{lake.name}: metainfo.classes leaves out {len(left_out)} classes '
            f'({left_out[0]}, …); their pixels become label 0 ({classes[0]}), as in '
            'BaseSegDataset with use_label_map=True',
            logger='current',
            level=logging.WARNING,
        )
