"""Choose the classes of a dataset and their order, and compare those of several."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from mmengine.logging import print_log
from torch.utils.data import get_worker_info

from ..lake import Lake
from ..utils.messages import did_you_mean

_SHOWN = 20
# The dataset for tests (True) and the one for training (False) that was read last.
_latest: WeakValueDictionary[bool, Any] = WeakValueDictionary()
# Workers that have compared them.
_checked_in: set[int] = set()


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


def members_of(dataset: Any) -> Iterator[Any]:
    """Yield the ``DeepLakeDataset`` objects below any wrappers.

    Args:
        dataset: A dataset, or wrappers with ``dataset`` or ``datasets`` around some.
    """
    inner = getattr(dataset, 'dataset', None)
    for part in getattr(dataset, 'datasets', [] if inner is None else [inner]):
        yield from members_of(part)
    if isinstance(getattr(dataset, 'lake', None), Lake):
        yield dataset


def refuse_other_classes(dataset: Any) -> None:
    """Refuse datasets that are trained together, but whose labels differ in meaning.

    Datasets without boxes, and those whose samples contain their classes as text, may
    differ.

    Args:
        dataset: A dataset, or wrappers around several.

    Raises:
        ValueError: If names or order of the classes differ.
    """
    first, *others = [
        (member.lake.name, member.metainfo['classes'])
        for member in members_of(dataset)
        if member.has_labels and not member.return_classes
    ] or [('', ())]
    for name, classes in others:
        if classes != first[1]:
            raise ValueError(
                'datasets that are joined must have the same classes in the same order, '
                f'but {compared(*first, name, classes)}'
            )


def refuse_joined_classes(metas: Sequence[Mapping[str, Any]]) -> None:
    """Refuse several ``metainfo``, which ``ConcatDataset`` passes on if they differ.

    Args:
        metas: ``metainfo`` of each member.

    Raises:
        ValueError: In any case; it shows the lists of classes that differ.
    """
    first, *others = [tuple(meta.get('classes', ())) for meta in metas]
    for number, classes in enumerate(others, 1):
        if classes != first:
            raise ValueError(
                'datasets that are joined must have the same classes in the same order, '
                'but ' + compared('dataset 0', first, f'dataset {number}', classes)
            )
    raise ValueError(
        'datasets that are joined must have the same metainfo, but their keys or values '
        f'differ: {list(metas)!r}; write the same metainfo=dict(…) in each'
    )


def check_classes_in_worker() -> None:
    """Run :func:`refuse_other_classes` once in each worker, whatever the sampler.

    A dataset does not know with which others it is joined, but a worker does.
    """
    worker = get_worker_info()
    if worker is not None and os.getpid() not in _checked_in:
        refuse_other_classes(worker.dataset)
        _checked_in.add(os.getpid())


def warn_of_other_classes(dataset: Any) -> None:
    """Warn if a dataset for tests and one for training differ in their classes.

    Args:
        dataset: A dataset that was just read; compared with the one of the other kind
            that this process read last, if it is still in use.
    """
    if dataset.return_classes:
        return
    _latest[dataset.test_mode] = dataset
    tested, trained = _latest.get(True), _latest.get(False)
    if tested is None or trained is None:
        return
    classes, others = trained.metainfo['classes'], tested.metainfo['classes']
    if classes != others:
        print_log(
            'a model gets wrong scores if it is tested on other classes than it is '
            'trained on: '
            + compared(
                f'the training set ({trained.lake.name})',
                classes,
                f'the test set ({tested.lake.name})',
                others,
            ),
            logger='current',
            level=logging.WARNING,
        )


def compared(
    name: str, classes: Sequence[str], other_name: str, others: Sequence[str]
) -> str:
    """Show two lists of classes that differ, and what to write.

    Args:
        name: Where the first list comes from.
        classes: The first list.
        other_name: Where the second one comes from.
        others: The second list.
    """
    common = [each for each in classes if each in others]
    advice = '; use lakes with the same classes'
    if common:
        where = 'each dataset'
        if common == list(others):
            where = name
        elif len(common) == len(classes):
            where = other_name
        advice = f'; write metainfo=dict(classes={_listed(common)}) for {where}'
    return (
        f'{name} has {len(classes)} classes {_listed(classes)} and {other_name} has '
        f'{len(others)} classes {_listed(others)}, which differ from label '
        f'{_first_difference(classes, others)} on{advice}'
    )


def _first_difference(classes: Sequence[str], others: Sequence[str]) -> int:
    pairs = enumerate(zip(classes, others))
    shorter = min(len(classes), len(others))
    return next((label for label, (one, two) in pairs if one != two), shorter)


def _listed(classes: Sequence[str]) -> str:
    more = ', …' if len(classes) > _SHOWN else ''
    return f'({", ".join(map(repr, classes[:_SHOWN]))}{more})'
