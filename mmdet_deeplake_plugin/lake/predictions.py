"""Write predictions as columns on a branch of the lake that they were made on.

The branch that was evaluated stays as it is, unless it is the one that is named. Columns
get one commit at the end; until then no reader sees them. After a failure the branch is
deleted if it was new; what a process that was killed or has lost its storage leaves is a
branch without columns, which the next try takes over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..utils.messages import comma_joined
from .branch import History, LakeBranch, check_name
from .connection.opening import column_names, open_branch, open_version
from .connection.resolve import select_rows
from .connection.resolve_object import same_rows
from .connection.source import LakeSource
from .prediction_draft import MESSAGE, Block, PredictionColumn, PredictionDraft

_WITHOUT = 'deeplake_credentials that may write, or leave DeepLakePredictions out'


class PredictionBranch:
    """The branch of a lake that predictions are written to.

    Args:
        source: The lake that was evaluated.
        branch: Name of the branch.
        name: Name of the predictions: their columns are ``<name>/boxes`` and so on.
    """

    def __init__(self, source: LakeSource, branch: str, name: str) -> None:
        self.source, self.branch, self.name = source, branch, name
        self._target = LakeBranch(
            source, branch, 'predictions', 'predict again', _WITHOUT
        )

    def check(self) -> None:
        """Refuse what cannot be written, before the work begins.

        Raises:
            PermissionError, OSError: If the storage refuses to write, or fails.
            ValueError: If the branch exists and is not one of predictions of this
                version, the name is taken, the lake cannot be written to, or it is a
                view whose rows are not found in it.
        """
        self._open()
        self._rows_of_view()

    def write(
        self,
        columns: Mapping[str, PredictionColumn],
        blocks: Iterable[Block],
        provenance: Mapping[str, Any],
    ) -> None:
        """Write columns in one commit; see :class:`PredictionWrite`.

        Raises:
            ValueError, PermissionError: As :meth:`check`.
            OSError: If the storage fails; the lake then reads as before, unless it has
                lost what it confirmed.
        """
        write_predictions([PredictionWrite(self, columns, blocks, provenance)])

    def draft(self) -> PredictionDraft:
        """Open the branch for writing, with the errors of :meth:`check`."""
        dataset, is_new = self._open()
        rows = self._rows_of_view()
        return PredictionDraft(self._target, self.name, dataset, is_new, rows)

    def _open(self) -> tuple[Any, bool]:
        """Return the lake, open for writing, and whether the branch is new."""
        dataset, history = self._target.open()
        if history is None:
            return dataset, True
        self._check_branch(history)
        columns = column_names(history.head)
        taken = [each for each in columns if each.startswith(f'{self.name}/')]
        if taken:
            raise ValueError(
                f'{self._target.where}: the name {self.name!r} is taken by its columns '
                f'({taken[0]}, …); write another name=, or another branch='
            )
        return dataset, False

    def _check_branch(self, history: History) -> None:
        pin, versions = self.source.pin, history.versions
        if self.branch == pin.branch:
            if pin.version == versions[-1][0]:
                return
            problem = f'its newest version is {versions[-1][0]}'
        elif not history.is_base:
            problem = 'it was not made from the version that was evaluated'
        elif all(message.startswith(MESSAGE) for _, message in versions[1:]):
            return
        else:
            problem = f'it has other changes ({versions[-1][1]!r})'
        raise ValueError(
            f'{self._target.where} exists, and {problem}, so its rows may be others; '
            'write another branch=, or delete it'
        )

    def _rows_of_view(self) -> NDArray[np.int64] | None:
        """Return the row in the lake of each row of a saved view, ``None`` for others."""
        spec, pin = self.source.spec, self.source.pin
        if not pin.tag:
            return None
        view = self.source.handle
        head = open_branch(spec, pin.branch)
        query = head.tags[pin.tag].query
        rows = None
        with suppress(ValueError):  # if the view is one of another branch
            handle = open_version(head, spec, pin.version)
            rows = select_rows(handle, [query], spec)
        if rows is None or not same_rows(view, handle, rows):
            raise ValueError(
                f'the view {pin.tag!r} of {spec.path} must have rows that its query '
                f'{query!r} finds again, but it found others; predict on the lake, or on '
                'the branch on which the view was saved, with deeplake_query'
            )
        return rows


@dataclass(frozen=True)
class PredictionWrite:
    """What is written to a lake.

    Args:
        branch: Where.
        columns: The columns, by what follows ``<name>/``.
        blocks: Row numbers, ascending, shape ``(K,)``, and K values of each column.
            Rows that are in none of them are null.
        provenance: What is to be known of the predictions; plain values. It is stored
            with the boxes.
    """

    branch: PredictionBranch
    columns: Mapping[str, PredictionColumn]
    blocks: Iterable[Block]
    provenance: Mapping[str, Any]


def write_predictions(writes: Iterable[PredictionWrite]) -> None:
    """Write predictions to several lakes: to all of them, or to none.

    All values are written before the first commit. If a later one fails, the branches
    that were made are deleted, and columns on branches of others removed by a commit.

    Args:
        writes: One per lake.

    Raises:
        ValueError, PermissionError: As :meth:`PredictionBranch.check`; or if two are for
            the same branch of a lake.
        OSError: If a storage fails. The message names the branches that could not be
            restored.
    """
    drafts: list[PredictionDraft] = []
    seen: set[tuple[str, str]] = set()
    try:
        for write in writes:
            source, branch = write.branch.source, write.branch.branch
            if (source.spec.path, branch) in seen:
                raise ValueError(
                    f'branch {branch!r} of {source.spec.path} must be written to once, '
                    'but several of the joined datasets are views or versions of this '
                    'lake; predict on the lake, or on one after the other'
                )
            seen.add((source.spec.path, branch))
            drafts.append(write.branch.draft())
            drafts[-1].fill(write.columns, write.blocks, write.provenance)
        for draft in drafts:
            draft.finish()
    except BaseException as error:
        left = [draft.branch.where for draft in drafts if not draft.take_back()]
        if left:
            raise OSError(
                f'{error}. Predictions were committed to {comma_joined(left)} and could '
                'not be taken back; delete what is there before the next try'
            ) from error
        raise


def check_prediction_name(key: str, value: Any) -> None:
    """Refuse what cannot be a name of predictions or a branch, see :func:`check_name`.

    Args:
        key: ``'name'`` or ``'branch'``.
        value: Its value; ``None`` for the default.
    """
    example = f'{key}={"runs/" if key == "branch" else ""}rtmdet_tiny'
    if value is not None:
        check_name(f'{key} of DeepLakePredictions', value, key == 'branch', example)
