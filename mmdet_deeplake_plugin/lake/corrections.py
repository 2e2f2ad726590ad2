"""Write corrected annotations of some rows to a branch of their lake.

See ``branch.py`` for how. Values are written in the types and the box convention of the
lake's own columns, all of a row, so that it stays whole if branches that correct the same
row are merged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..structures.boxes import from_xywh
from ..structures.masks import (
    bitmaps_of_segmentations,
    pack_segmentations,
    polygons_of_segmentations,
)
from .branch import SIGNATURE, Draft, LakeBranch, assign
from .coco_columns import CocoColumns
from .columns import names
from .columns.mapping import PER_BOX
from .columns.per_box import columns_per_box
from .columns.roles import MaskKind, holds_numbers
from .connection.json_values import is_json, split_key
from .connection.opening import column_names
from .lake import Lake
from .stored_predictions import StoredPredictions, prediction_names

# Roles with one value per box that a COCO file has too, and those that it does not have,
# or that refer to boxes by their numbers.
CORRECTED = ('gt_bboxes', 'gt_labels', 'area', 'gt_ignore_flags', 'ignore', 'gt_masks')
_FOREIGN = [role for role in (*PER_BOX, 'phrases', 'grounding') if role not in CORRECTED]
_FOREIGN_COLUMNS = (names.HEAD_IGNORE,)
_OWN_COLUMNS = (names.ANN_ID, names.ANN_POSITION)
_MESSAGE = 'Corrected annotations'


@dataclass(frozen=True)
class CorrectedRow:
    """What becomes of the annotations of a row.

    Args:
        row: Number of the row.
        size: Width and height of its image in pixels.
        stored: Number of its stored annotations.
        kept: For each annotation that the row is to have, the number of the stored one
            that it was; -1 for one that is new, shape ``(N,)``.
        values: New values by role, or ``ANN_ID`` and ``ANN_POSITION``: number of the
            annotation to value. Boxes are left, top, width, height in pixels, labels
            those of the lake, masks segmentations of COCO. A new annotation has a value
            of each role that the lake has.
    """

    row: int
    size: tuple[int, int]
    stored: int
    kept: NDArray[np.int64]
    values: dict[str, dict[int, Any]] = field(default_factory=dict)

    @property
    def is_rearranged(self) -> bool:
        """Whether annotations are added, removed or in another order."""
        return self.kept.tolist() != list(range(self.stored))


class CorrectionBranch:
    """The branch of a lake that corrected annotations are written to.

    Args:
        lake: The lake that was corrected.
        branch: Name of the branch: a new one, or the one that was read.

    Raises:
        ValueError: If the annotations of the lake cannot be corrected.
    """

    def __init__(self, lake: Lake, branch: str) -> None:
        self.lake, self.source, self.branch = lake, lake.source, branch
        self._target = LakeBranch(
            lake.source,
            branch,
            what='corrections',
            again='export and correct it again',
            without='credentials that may write (--creds, --token)',
        )
        self._columns = self._find_columns()

    def has(self, role: str) -> bool:
        """Return whether the lake has a column for a role, or of a name.

        Args:
            role: One of :data:`CORRECTED`, or ``ANN_ID`` or ``ANN_POSITION``.
        """
        return role in self._columns

    def check(self) -> None:
        """Refuse what cannot be written, before the work begins.

        Raises:
            PermissionError, OSError: If the storage refuses to write, or fails.
            ValueError: If the branch exists and is not the newest version that was read.
        """
        self._open()

    def write(self, columns: Mapping[str, Mapping[int, Any]], summary: str) -> None:
        """Write corrected rows in one commit.

        Args:
            columns: What :meth:`values_of` returned.
            summary: What was corrected, for the message of the commit.

        Raises:
            ValueError, PermissionError: As :meth:`check`.
            OSError: If the storage fails; the lake then reads as before, unless it has
                lost what it confirmed.
        """
        draft = Draft(self._target, *self._open())
        try:
            draft.open()
            with draft.storage('cannot write to it'):
                for column, of_row in columns.items():
                    numbers = np.fromiter(of_row, np.int64)
                    assign(draft.target[column], numbers, list(of_row.values()))
            draft.commit(f'{_MESSAGE} ({SIGNATURE}): {summary}')
            for column, of_row in columns.items():
                row = max(of_row)
                if not isinstance(of_row[row], list):  # polygons come back stacked
                    self._target.verify(row, {column: of_row[row]})
        except BaseException:
            draft.take_back()
            raise

    def _open(self) -> tuple[Any, bool]:
        pin = self.source.pin
        dataset, history = self._target.open()
        if history is None:
            return dataset, True
        if self.branch != pin.branch:
            # One without a commit is left by a process that was killed.
            if history.is_base and len(history.versions) == 1:
                return dataset, False
            raise ValueError(
                f'{self._target.where} exists; to correct what it has, write '
                f'LAKE@{self.branch} in place of LAKE, else another --branch'
            )
        newest = history.versions[-1][0]
        if newest != pin.version:
            raise ValueError(
                f'{self._target.where}: its newest version is {newest}, so the '
                'corrections are of an older one; leave --commit out, or write another '
                '--branch'
            )
        return dataset, False

    def _find_columns(self) -> dict[str, str]:
        """Return the column of each role, and refuse lakes that cannot be corrected."""
        lake, pin, handle = self.lake, self.source.pin, self.source.handle
        if pin.tag:
            raise ValueError(
                f'{lake.name} is a saved view, whose rows have other numbers than those '
                'of the lake; write the lake or a branch'
            )
        if lake.columns.of('gt_bboxes') is None:
            raise ValueError(
                f'{lake.name} has no annotations to correct; choose their columns with '
                '--tensors, or import them with python -m '
                'mmdet_deeplake_plugin.tools.from_coco'
            )
        if lake.columns.is_panoptic:
            raise ValueError(
                f'{lake.name} is panoptic: its annotations are segments of maps, which '
                'must change with them; correct the files, and import them again'
            )
        judged = [
            name
            for name in prediction_names(handle)
            if StoredPredictions(self.source, name).has('gt_fate')
        ]
        if judged:
            raise ValueError(
                f'{lake.name} has predictions {judged[0]!r}, whose verdicts are about '
                'its annotations as they are; correct the branch that was predicted on, '
                'and predict again'
            )
        columns = {role: lake.columns.of(role) for role in CORRECTED}
        columns.update({name: name for name in _OWN_COLUMNS})
        known = column_names(handle)
        found = {}
        for role, column in columns.items():
            if column is None or split_key(column, known)[0] not in known:
                continue
            self._check_type(role, column)
            found[role] = column
        return found

    def _check_type(self, role: str, column: str) -> None:
        dtype = self.source.type_of(column)
        is_plain = column in column_names(self.source.handle)
        is_plain &= role == 'gt_masks' or (
            holds_numbers(dtype) and not is_json(dtype) and not dtype.is_sequence
        )
        if not is_plain:
            raise ValueError(
                f'{self.source.where(column)}: corrections can be written to columns of '
                f'numbers, but its type is {dtype}; correct the source of the lake, and '
                'import it again'
            )

    def values_of(self, rows: Sequence[CorrectedRow]) -> dict[str, dict[int, Any]]:
        """Return what is to be written: column -> row, ascending -> value.

        Raises:
            ValueError: If a value does not fit its column, or annotations are added or
                removed in a lake with more values per box than a COCO file.
        """
        self._refuse_foreign(rows)
        numbers = np.array([each.row for each in rows], dtype=np.int64)
        written = {}
        for role, column in self._columns.items():
            change = self._masks if role == 'gt_masks' else self._numbers
            stored = self.source.values(column, numbers)
            written[column] = {
                each.row: change(role, column, each, value)
                for each, value in zip(rows, stored)
            }
        return written

    def _refuse_foreign(self, rows: Sequence[CorrectedRow]) -> None:
        """Refuse new annotations if the lake has more per box than a COCO file."""
        changed = [each.row for each in rows if each.is_rearranged]
        if not changed:
            return
        known = column_names(self.source.handle)
        columns = [self.lake.columns.of(role) for role in _FOREIGN]
        columns += [name for name in _FOREIGN_COLUMNS if name in known]
        columns += CocoColumns(self.source, self.lake.columns).track_numbers
        of_no_role = columns_per_box(
            self.source, self.lake.columns, _OWN_COLUMNS, np.array(changed)
        )
        foreign = next(chain(filter(None, columns), of_no_role), None)
        if foreign is not None:
            raise ValueError(
                f'{self.lake.name}, row {changed[0]}: annotations can be moved and '
                'relabelled, but not added or removed, as the lake has values per box '
                f'that a COCO file does not have ({foreign}); correct the source of the '
                'lake and import it again, or drop the column'
            )

    def _numbers(self, role: str, column: str, row: CorrectedRow, value: Any) -> Any:
        dtype = np.dtype(self.source.type_of(column).id)
        shape = (-1, 4) if role == 'gt_bboxes' else (-1,)
        stored = np.asarray([] if value is None else value, dtype=dtype).reshape(shape)
        numbers = np.zeros((len(row.kept), *stored.shape[1:]), dtype=dtype)
        is_old = row.kept >= 0
        numbers[is_old] = stored[row.kept[is_old]]
        given = row.values.get(role)
        if given:
            new = np.array(list(given.values()))
            if role == 'gt_bboxes':
                new = from_xywh(new, self.lake.columns.box_format, *row.size)
            cast = new.astype(numbers.dtype)
            if numbers.dtype.kind != 'f' and not np.array_equal(cast, new):
                raise ValueError(
                    f'{self.source.where(column, row.row)}: the column holds '
                    f'{numbers.dtype}, got {new.tolist()}; round the values in the file'
                )
            numbers[list(given)] = cast
        return numbers

    def _masks(self, role: str, column: str, row: CorrectedRow, value: Any) -> Any:
        masks = self.lake.masks
        assert masks is not None  # it has the role
        stored = masks.of_row(row.row, row.stored, row.size)
        given = row.values.get(role, {})
        merged = [
            given[number] if number in given else stored[kept]
            for number, kept in enumerate(row.kept.tolist())
        ]
        if masks.kind is MaskKind.TEXT:
            return pack_segmentations(merged)
        if masks.kind is MaskKind.BITMAPS:
            return bitmaps_of_segmentations(merged, *row.size)
        try:
            return polygons_of_segmentations(merged)
        except ValueError as error:
            raise ValueError(f'{self.source.where(column, row.row)}: {error}') from error
