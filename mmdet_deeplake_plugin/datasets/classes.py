"""Choose the classes of a dataset, their order, and which are things and stuff."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config
from mmengine.fileio import list_from_file

from ..lake import Lake
from ..utils.messages import did_you_mean, warn
from ..utils.values import is_list, is_number, shown, wrong

_NAME_LISTS = ('classes', 'thing_classes', 'stuff_classes')
_META_KEYS = (*_NAME_LISTS, 'palette')
# Misspellings of 'classes' that are not close to it.
_NOT_CLASSES = (
    *('class', 'class_name', 'class_names', 'class_list'),
    *('classname', 'classnames', 'classes_names'),
)
# What MMDetection's get_palette takes instead of a list of colours.
_PALETTES = (
    *('coco', 'citys', 'voc', 'random'),
    *('red', 'green', 'blue', 'cyan', 'yellow', 'magenta', 'white', 'black'),
)


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


def checked_metainfo(metainfo: Any) -> dict[str, Any]:
    """Check ``metainfo``, and return it with lists of names as tuples of strings.

    A list of names may be a file with one name per line.

    Raises:
        ValueError: If a key is misspelt, names are not text or repeat, or the palette has
            too few colours.
    """
    if metainfo is None:
        return {}
    if not isinstance(metainfo, (Mapping, Config)):
        raise wrong('metainfo', 'a dict', metainfo, "metainfo=dict(classes=('NAME', …))")
    meta = dict(metainfo.items())
    for key in meta:
        meant = _meant(key)
        if meant and meant not in meta:
            raise ValueError(
                f'metainfo.{key} has no meaning (did you mean {meant!r}?); write '
                f'metainfo=dict({meant}=…)'
            )
    for key in _NAME_LISTS:
        if meta.get(key) is not None:
            meta[key] = _names(f'metainfo.{key}', meta[key])
    if meta.get('palette') is not None:
        meta['palette'] = _palette(meta['palette'])
        if 'classes' in meta:
            _check_palette_length(meta)
    return meta


def _check_palette_length(metainfo: Mapping[str, Any]) -> None:
    palette, classes = metainfo.get('palette'), metainfo['classes']
    if isinstance(palette, list) and classes and len(palette) < len(classes):
        raise ValueError(
            f'metainfo.palette must have a colour for each of the {len(classes)} '
            f'classes, got {len(palette)} in {shown(palette)}; write {len(classes)} '
            'colours, such as [(220, 20, 60), …], or leave it out'
        )


def choose_classes(
    lake: Lake, metainfo: dict[str, Any], label_order: str
) -> tuple[Lake, Classes]:
    """Choose the classes of a dataset by its keys ``metainfo`` and ``label_order``.

    Returns:
        The lake, with a class name for every label, and the chosen classes.

    Raises:
        ValueError: If a class is unknown, or if neither the lake nor the config names
            the classes, or says which of them are things.
    """
    lake, classes = _choose_names(lake, metainfo.get('classes'))
    columns = lake.columns
    if label_order == 'lake':
        classes = tuple(name for name in columns.class_names if name in classes)
    things, chosen = columns.things, {'classes': classes}
    if columns.is_panoptic:
        things = _choose_things(lake, metainfo, classes)
        is_thing = dict(zip(columns.class_names, things))
        chosen['thing_classes'] = tuple(name for name in classes if is_thing[name])
        chosen['stuff_classes'] = tuple(name for name in classes if not is_thing[name])
    if columns.is_semantic:
        _warn_of_left_out(lake, classes)
    _check_palette_length({**metainfo, **chosen})
    return lake, Classes(chosen, things, label_map(lake, classes))


def label_map(lake: Lake, classes: Sequence[str]) -> dict[int, int] | None:
    """Return how ``LoadAnnotations`` must map the stored labels of maps.

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
    classes = tuple(requested) if requested is not None else names
    found = [] if names else lake.label_names()
    if not classes and found:
        raise ValueError(
            f'{lake.name} stores the names of classes in place of labels, so '
            'metainfo.classes must say their order; write '
            f'metainfo=dict(classes={tuple(found)!r}), or some of them'
        )
    if not classes:
        column = lake.columns.of('gt_labels') or lake.columns.of('gt_seg_map')
        raise ValueError(
            f'{lake.name} has no class names (metadata class_names of column '
            f"{column!r}); write metainfo=dict(classes=('name of label 0', …))"
        )
    if not names:
        others = [name for name in found if name not in classes]
        return lake.with_class_names((*classes, *others)), classes
    _check_known(lake, 'classes', classes)
    return lake, classes


def _check_known(lake: Lake, key: str, names: Sequence[str]) -> None:
    known = lake.columns.class_names
    for name in names:
        if name not in known:
            raise ValueError(
                f'metainfo.{key} holds {name!r}, which is not a class of {lake.name}'
                f'{did_you_mean(name, known)}; its classes are {", ".join(known)}'
            )


def _choose_things(
    lake: Lake, metainfo: dict[str, Any], classes: Sequence[str]
) -> tuple[bool, ...]:
    """Return whether each stored label is a thing, by the lake or else the config."""
    names, things = lake.columns.class_names, lake.columns.things
    requested = metainfo.get('thing_classes')
    if not things:
        if requested is None:
            raise ValueError(
                f'{lake.name} does not say which classes are things (metadata isthing of '
                "the column of labels); write metainfo=dict(thing_classes=('NAME', …)); "
                'all other classes are stuff'
            )
        _check_known(lake, 'thing_classes', requested)
        return tuple(name in requested for name in names)
    if requested is None:
        return things
    is_thing = dict(zip(names, things))
    for name in classes:
        if (name in requested) != is_thing[name]:
            raise ValueError(
                f'metainfo.thing_classes must agree with {lake.name}, where {name!r} is '
                f'{"a thing" if is_thing[name] else "stuff"}, got {tuple(requested)!r}; '
                'leave thing_classes out'
            )
    return things


def _warn_of_left_out(lake: Lake, classes: Sequence[str]) -> None:
    """Warn that the pixels of classes that were not chosen become label 0."""
    left_out = [name for name in lake.columns.class_names if name not in classes]
    if left_out:
        warn(
            f'{lake.name}: metainfo.classes leaves out {len(left_out)} classes '
            f'({left_out[0]}, …); their pixels become label 0 ({classes[0]}), as in '
            'BaseSegDataset with use_label_map=True'
        )


def _meant(key: object) -> str:
    """Return the key of ``metainfo`` that a misspelt one must mean, ``''`` if none."""
    if key in _META_KEYS:
        return ''
    text = str(key).lower().replace('-', '_')
    if text in _META_KEYS:
        return text
    if text in _NOT_CLASSES:
        return 'classes'
    # base_classes and num_classes are keys of others.
    *qualifier, last = text.split('_')
    known = [each for each in _META_KEYS if not (qualifier and last == each)]
    matches = get_close_matches(text, known, n=1, cutoff=0.83)
    return matches[0] if matches else ''


def _names(key: str, value: Any) -> tuple[str, ...]:
    name = key.partition('.')[2]
    wanted = 'a tuple of names, or a file with one name per line'
    example = f"{name}=('NAME', …)"
    if isinstance(value, str):
        try:
            value = list_from_file(value)
        except Exception as error:  # backends of MMEngine raise errors of their own
            raise ValueError(
                f'{key} must be {wanted}, got the string {value!r}; write '
                f'{name}=({value or "NAME"!r},)'
            ) from error
    if not is_list(value):
        if isinstance(value, (set, frozenset, dict)):
            wanted += ' (the order of a set or dict is not that of labels)'
        raise wrong(key, wanted, value, example)
    for each in value:
        if not isinstance(each, str) or not each:
            raise ValueError(
                f'{key} must hold names, each a string that is not empty, got '
                f'{shown(each)} in {shown(value)}; write {example}'
            )
    names = tuple(map(str, value))
    if not names:
        raise wrong(key, f'{wanted}, not empty', value, f'{example}, or leave it out')
    if len(set(names)) < len(names):
        raise ValueError(
            f'{key} must not name a class twice, got {shown(names)}; write each once'
        )
    return names


def _palette(value: Any) -> Any:
    remedy = 'a colour for each class, such as [(220, 20, 60), …], or leave it out'
    if isinstance(value, str):
        if value not in _PALETTES:
            hint = f'one of {", ".join(_PALETTES)}{did_you_mean(value, _PALETTES)}'
            raise wrong(
                'metainfo.palette', f'a list of colours, or {hint}', value, remedy
            )
        return value
    if _is_colour(value):
        return value  # one for all classes
    if not is_list(value) or not all(
        is_list(each) and _is_colour(tuple(each)) for each in value
    ):
        wanted = 'a list of colours, each three numbers from 0 to 255'
        raise wrong('metainfo.palette', wanted, value, remedy)
    return [tuple(each) for each in value]


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 3
        and all(is_number(part) and 0 <= part <= 255 for part in value)
    )
