"""Compare the classes of datasets that are trained or tested together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

from torch.utils.data import get_worker_info

from ..lake import Lake
from ..utils.messages import warn

_SHOWN = 20
# The dataset for tests (True) and the one for training (False) that was read last.
_latest: WeakValueDictionary[bool, Any] = WeakValueDictionary()
# Workers that have compared them.
_checked_in: set[int] = set()


def members_of(dataset: Any) -> Iterator[Any]:
    """Yield the ``DeepLakeDataset`` objects below any wrappers.

    Args:
        dataset: A dataset, or wrappers with ``dataset`` or ``datasets`` around some.
    """
    inner = getattr(dataset, 'dataset', getattr(dataset, 'frames', None))
    for part in getattr(dataset, 'datasets', [] if inner is None else [inner]):
        yield from members_of(part)
    if isinstance(getattr(dataset, 'lake', None), Lake):
        yield dataset


def refuse_other_classes(dataset: Any) -> None:
    """Refuse datasets that are trained together, but whose labels differ in meaning.

    Datasets without boxes, and those whose samples contain their classes as text, may
    differ; so may those for tests, which can be scored one by one, see
    :func:`refuse_joined_classes`.

    Args:
        dataset: A dataset, or wrappers around several.

    Raises:
        ValueError: If names or order of the classes differ.
    """
    _refuse_difference(
        [
            (member.lake.name, member.metainfo['classes'])
            for member in members_of(dataset)
            if member.has_labels and not (_has_texts(member) or member.test_mode)
        ]
    )


def refuse_joined_classes(metas: Sequence[Mapping[str, Any]]) -> None:
    """Refuse the ``metainfo`` of members, which ``ConcatDataset`` keeps if they differ.

    Raises:
        ValueError: In any case; it shows the lists of classes that differ.
    """
    _refuse_difference(
        [
            (f'dataset {number}', tuple(meta.get('classes', ())))
            for number, meta in enumerate(metas)
        ]
    )
    raise ValueError(
        'datasets that are joined must have the same metainfo, but their keys or values '
        f'differ: {list(metas)!r}; write the same metainfo=dict(…) in each'
    )


def _refuse_difference(named: Sequence[tuple[str, Sequence[str]]]) -> None:
    for name, classes in named[1:]:
        if classes != named[0][1]:
            raise ValueError(
                'datasets that are joined must have the same classes in the same order, '
                f'but {compared(*named[0], name, classes)}'
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

    A dataset that was just read is compared with the one of the other kind that this
    process read last, if it is still in use.
    """
    if _has_texts(dataset) or dataset.lake.columns.style == 'reid':
        return
    _latest[dataset.test_mode] = dataset
    tested, trained = _latest.get(True), _latest.get(False)
    if tested is None or trained is None:
        return
    classes, others = trained.metainfo['classes'], tested.metainfo['classes']
    if classes != others and not has_distractors(tested, classes):
        difference = compared(
            f'the training set ({trained.lake.name})',
            classes,
            f'the test set ({tested.lake.name})',
            others,
        )
        warn(
            'a model gets wrong scores if it is tested on other classes than it is '
            f'trained on: {difference}'
        )


def has_distractors(dataset: Any, classes: Sequence[str]) -> bool:
    """Return whether a test set has MOT's distractors beside the classes of a training.

    Its metric needs them to know which detections do not count.
    """
    first = dataset.metainfo['classes'][: len(classes)]
    return tuple(classes) == first and bool(dataset.lake.columns.of('mot_conf'))


def _has_texts(dataset: Any) -> bool:
    style = dataset.lake.columns.style
    return bool(dataset.return_classes) or style in ('odvg', 'grounding')


def compared(
    name: str, classes: Sequence[str], other_name: str, others: Sequence[str]
) -> str:
    """Show two lists of classes that differ, by where they come from, and a remedy."""
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
    more = ', …' if len(classes) > _SHOWN else ',' if len(classes) == 1 else ''
    return f'({", ".join(map(repr, classes[:_SHOWN]))}{more})'
