"""Say what a correction changes, and what is to be written for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from ...lake import CorrectedRow, CorrectionBranch, names
from .corrected_file import Corrected
from .pairs import NEW, Annotation, pair_by_id, pair_by_place

KINDS = ('added', 'removed', 'moved', 'relabelled', 'other mask', 'other flags', 'area')
# Role of the lake and key of the file, where an absent key means what is stored.
_FLAGS = (('gt_ignore_flags', 'iscrowd'), ('ignore', 'ignore'))


@dataclass(frozen=True)
class Difference:
    """What a correction changes in an image.

    Args:
        lines: What changes, for people; empty if nothing does.
        counts: Number of annotations by kind, one of :data:`KINDS`, or ``'stale'``:
            moved, but with the stored area.
        row: What is to be written.
    """

    lines: list[str]
    counts: Counter[str]
    row: CorrectedRow


def numbers_after(
    ids: Sequence[int] | None, positions: Sequence[int] | None
) -> dict[str, Iterator[int]]:
    """Return ids and positions in the file for new annotations of a lake, by column.

    Args:
        ids: Ids of all its annotations; ``None`` if the lake stores none.
        positions: Their positions in the file; ``None`` if the lake stores none.
    """
    return {
        names.ANN_ID: count(max(ids or (), default=0) + 1),
        names.ANN_POSITION: count(max(positions or (), default=-1) + 1),
    }


@dataclass(frozen=True)
class Comparison:
    """Compares corrected annotations with stored ones.

    Args:
        branch: The branch to write to.
        class_names: Name of each label; empty if the lake has none.
        numbers: Numbers for new annotations, see :func:`numbers_after`.
        tolerance: Pixels by which coordinates may differ and still be the same.
        by_id: Whether the file has the ids of the lake; else annotations are paired by
            place and class, and stored ids and areas are kept.
    """

    branch: CorrectionBranch
    class_names: Sequence[str]
    numbers: Mapping[str, Iterator[int]]
    tolerance: float
    by_id: bool

    def compare(
        self,
        image: Corrected,
        stored: Sequence[Annotation],
        row: int,
        size: tuple[int, int],
    ) -> Difference:
        """Compare an image of the file with what is stored of it.

        If no annotation is added or removed, they keep the stored order; else they get
        that of the file.

        Args:
            image: The image.
            stored: Its annotations in the lake, with ``id`` and ``label``.
            row: Its row.
            size: Its width and height in pixels.

        Raises:
            ValueError: If the lake has no column for what changes, or an annotation with
                a mask was moved and has none.
        """
        annotations = image.annotations
        if self.by_id:
            kept = pair_by_id(stored, annotations)
        else:
            kept = pair_by_place(stored, annotations, self.tolerance)
        values: dict[str, dict[int, Any]] = {}
        counts: Counter[str] = Counter()
        lines = []
        for number, (annotation, of) in enumerate(zip(annotations, kept.tolist())):
            where = f'image {image.image_id!r} ({image.name}), annotation {number}'
            if of == NEW:
                changes = self._added(where, annotation)
                counts['added'] += 1
                lines.append(f'  + {self._describe(annotation)}')
            else:
                changes, found = self._changed(where, stored[of], annotation)
                counts.update(found.keys())
                texts = [text for kind, text in found.items() if kind != 'stale']
                if changes:
                    lines.append(f'  ~ {self._describe(stored[of])}: {", ".join(texts)}')
            for role, value in changes.items():
                values.setdefault(role, {})[number] = value
        for number in sorted(set(range(len(stored))) - set(kept.tolist())):
            counts['removed'] += 1
            lines.append(f'  - {self._describe(stored[number])}')
        if sorted(kept.tolist()) == list(range(len(stored))):
            # The same annotations stay in the stored order, to which other columns and
            # texts of the row may refer.
            values = {
                role: {int(kept[number]): value for number, value in given.items()}
                for role, given in values.items()
            }
            kept = np.arange(len(stored))
        title = f'image {image.image_id!r} ({image.name}):'
        corrected = CorrectedRow(row, size, len(stored), kept, values)
        return Difference([title, *lines] if lines else [], counts, corrected)

    def _added(self, where: str, new: Annotation) -> dict[str, Any]:
        """Return the values of a new annotation, by role."""
        values = {
            'gt_bboxes': new['bbox'],
            'gt_labels': new['label'],
            'area': _area(new),
            'gt_masks': new.get('segmentation'),
            **{role: int(new.get(key) or 0) for role, key in _FLAGS},
        }
        for role, value in values.items():
            self._check_column(where, role, value)
        values[names.ANN_ID] = new['id']
        for column in (names.ANN_ID, names.ANN_POSITION):
            if self.branch.has(column) and not (self.by_id and column == names.ANN_ID):
                values[column] = next(self.numbers[column])
        return {role: value for role, value in values.items() if self.branch.has(role)}

    def _changed(
        self, where: str, old: Annotation, new: Annotation
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the new values by role, and what changes, in words by kind."""
        values: dict[str, Any] = {}
        found: dict[str, str] = {}
        if not _are_close(old['bbox'], new['bbox'], self.tolerance):
            values['gt_bboxes'] = new['bbox']
            found['moved'] = f'moved to {_box(new)}'
        if old['label'] != new['label']:
            values['gt_labels'] = new['label']
            found['relabelled'] = f'relabelled {self._class_of(new)}'
        if self._is_other_mask(where, old, new, 'moved' in found):
            values['gt_masks'] = new['segmentation']
            found['other mask'] = 'other mask' if new['segmentation'] else 'no mask'
        flags = []
        for role, key in _FLAGS:
            before = int(old.get(key) or 0)
            now = int(new.get(key, before) or 0)
            if before != now:
                self._check_column(where, role, now)
                values[role] = now
                flags.append(f'{key} {before} -> {now}')
        if flags:
            found['other flags'] = ', '.join(flags)
        is_changed = 'moved' in found or 'other mask' in found
        given = new.get('area') if is_changed or self.by_id else None
        area = _area(new) if is_changed else given
        if not self.branch.has('area') or area is None:
            return values, found
        if area != old['area']:
            values['area'] = area
            if not is_changed:
                found['area'] = f'area {old["area"]:g} -> {area:g}'
        elif 'moved' in found and given is not None:
            found['stale'] = ''
        return values, found

    def _is_other_mask(
        self, where: str, old: Annotation, new: Annotation, is_moved: bool
    ) -> bool:
        before, now = old.get('segmentation'), new.get('segmentation')
        if 'segmentation' not in new:
            if before and is_moved:
                raise ValueError(
                    f"{where} was moved, so it must have a 'segmentation', as the lake "
                    'has a mask for it; write the mask, or null for none'
                )
            return False
        if not (before or now) or _are_close(before, now, self.tolerance):
            return False
        self._check_column(where, 'gt_masks', now)
        return True

    def _check_column(self, where: str, role: str, value: Any) -> None:
        """Refuse a value that the lake has no column for."""
        if role == 'area' or self.branch.has(role) or not value:
            return
        key = {'gt_masks': 'segmentation', **dict(_FLAGS)}.get(role, role)
        raise ValueError(
            f'{where} has {key!r}, but the lake has no column for it ({role}); leave the '
            'key out'
        )

    def _describe(self, annotation: Annotation) -> str:
        number = annotation.get('id') if self.by_id else None
        name = '' if number is None else f'{number} '
        return f'{name}{self._class_of(annotation)} {_box(annotation)}'

    def _class_of(self, annotation: Annotation) -> str:
        label = annotation['label']
        return self.class_names[label] if self.class_names else f'label {label}'


def summary_of(differences: Sequence[Difference]) -> str:
    """Say in a line how much changes, by the differences of all images."""
    counts = sum((each.counts for each in differences), Counter())
    images = sum(bool(each.lines) for each in differences)
    words = ', '.join(f'{counts[kind]} {kind}' for kind in KINDS if counts[kind])
    return f'{images} of {len(differences)} images change: {words or "nothing"}'


def _are_close(one: Any, other: Any, tolerance: float) -> bool:
    """Return whether boxes or segmentations differ by at most some pixels."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            _are_close(a, b, tolerance) for a, b in zip(one, other)
        )
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return abs(one - other) <= tolerance
    return bool(one == other)


def _area(annotation: Annotation) -> float:
    """Return the area of an annotation, width times height if it states none."""
    area = annotation.get('area')
    return annotation['bbox'][2] * annotation['bbox'][3] if area is None else area


def _box(annotation: Annotation) -> str:
    return '[{}]'.format(', '.join(f'{value:g}' for value in annotation['bbox']))
