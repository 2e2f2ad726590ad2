"""Bring together what a page shows: a lake, predictions, and those of another run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...evaluation import GroundTruth
from ...lake import (
    Lake,
    LakeSource,
    LakeSpec,
    StoredPredictions,
    open_columns,
    open_source,
    prediction_names,
)
from ...utils.messages import comma_joined
from ..formats.coco_predictions import predicted_rows
from .comparison import compare_runs
from .data import numbers_of, page_data, run_data
from .run import read_annotations, read_run
from .selection import choose_predictions


@dataclass(frozen=True)
class Content:
    """What a page shows.

    Args:
        lake: The lake of the images.
        rows: Row numbers of the images, shape ``(R,)``.
        data: All but the images, see :func:`.page_data`.
    """

    lake: Lake
    rows: NDArray[np.int64]
    data: dict[str, Any]


def open_other(
    stored: StoredPredictions, where: str, credentials: Any, name: str | None
) -> StoredPredictions:
    """Open the predictions that those of the page are compared with.

    Args:
        stored: The predictions of the page.
        where: A branch of the same lake, or ``LAKE@BRANCH``.
        credentials: ``deeplake_credentials`` of a config.
        name: Name of the predictions. With None, that of ``stored`` if there are some of
            it, else the only ones.

    Raises:
        ValueError: If the branch does not exist, belongs to another lake, has none of
            these predictions, or either run was not judged, or they were judged by
            different rules.
    """
    source, spec = stored.source, stored.source.spec
    path = where if '@' in where or '://' in where else f'{spec.path}@{where}'
    found, _ = open_source(LakeSpec.from_config(path, credentials))
    if found.pin.lake_id != source.pin.lake_id or not found.pin.lake_id:
        raise ValueError(
            f'--compare {where} must be a branch of the same lake, but {found.name} has '
            f'another id than {source.name}; predict on the same lake with both models'
        )
    same_branch = found.pin.branch == source.pin.branch
    besides = stored.name if same_branch else ''
    if name is None and not same_branch:
        name = stored.name if stored.name in prediction_names(found.handle) else None
    other = choose_predictions(found, name, '--compare-name', besides)
    for each in (stored, other):
        if not each.has('verdict'):
            raise ValueError(
                '--compare needs annotations to judge predictions by, but '
                f'{each.name!r} of {each.source.name} were written without'
            )
    _check_same_rules(stored, other)
    return other


def _check_same_rules(stored: StoredPredictions, other: StoredPredictions) -> None:
    """Refuse to compare verdicts that mean different things."""
    one, two = (each.provenance.get('rules', {}) for each in (stored, other))
    differing = [key for key in {**one, **two} if one.get(key) != two.get(key)]
    if differing:
        found, keys = (
            comma_joined(f'{key}={rules.get(key)!r}' for key in differing)
            for rules in (two, one)
        )
        raise ValueError(
            '--compare needs two runs that were judged by the same rules, but '
            f'{stored.name!r} of {stored.source.name} was judged with {keys}, and '
            f'{other.name!r} of {other.source.name} with {found}; run tools/test.py '
            f'again for the second, with {keys} and another name= in DeepLakePredictions'
        )


def read_content(
    source: LakeSource,
    stored: StoredPredictions,
    rows: NDArray[np.int64] | None,
    score_thr: float,
    texts: Mapping[str, str],
    other: StoredPredictions | None = None,
    progress: bool = False,
) -> Content:
    """Read all that a page shows but the images.

    Args:
        source: The lake.
        stored: The predictions.
        rows: Row numbers, shape ``(R,)``; None for all. Those without predictions are
            left out.
        score_thr: Least score of a prediction on the page.
        texts: What the page says about itself, by name.
        other: Predictions to compare with. Defaults to None: none.
        progress: Whether to draw progress bars on stderr.

    Raises:
        ValueError: If none of the rows has predictions, two runs have other images, or
            predictions were judged by other annotations than those of ``source``.
    """
    rows = predicted_rows(stored, np.arange(source.num_rows) if rows is None else rows)
    # A lake without annotations has no verdicts on predictions.
    without = None if stored.has('verdict') else {'gt_bboxes': None, 'gt_labels': None}
    lake = open_columns(source, without)
    gt = read_annotations(lake, stored, rows)
    _check_same_annotations(lake, stored, gt, rows)
    run = read_run(stored, gt, rows, progress)
    data = page_data(lake, run, gt, rows, score_thr, texts)
    if other is not None:
        _check_same_images(lake, other, rows)
        _check_same_annotations(lake, other, gt, rows)
        second = read_run(other, gt, rows, progress)
        both = data['numbers'], numbers_of(other, rows)
        data['runs'].append(run_data(second, score_thr))
        data['compare'] = compare_runs(run, second, gt, rows, both, progress)
    return Content(lake, rows, data)


def _check_same_images(
    lake: Lake, other: StoredPredictions, rows: NDArray[np.int64]
) -> None:
    """Refuse a run on a version of the lake that has other images in these rows."""
    if lake.source.pin.tag:
        raise ValueError(
            f'--compare needs the rows of the lake, but {lake.name} is a saved view; '
            'write --query in place of --view'
        )
    fits = other.source.num_rows > int(rows.max())
    for role in ('img_id', 'file_name'):
        column = lake.columns.of(role)
        if fits and column is not None:
            ids = (each.values(column, rows) for each in (lake.source, other.source))
            fits = fits and next(ids) == next(ids)
    if not fits:
        raise ValueError(
            f'{other.source.name} has other images in the same rows than {lake.name}, as '
            'the two were predicted on different versions; predict on one version with '
            'both models'
        )


def _check_same_annotations(
    lake: Lake, stored: StoredPredictions, gt: GroundTruth, rows: NDArray[np.int64]
) -> None:
    """Refuse verdicts about other annotations than those that the page shows."""
    if not stored.has('verdict'):
        return
    judged = f'{stored.name!r} of {stored.source.name}'
    remedy = (
        f'run tools/test.py again with deeplake_path={lake.source.spec.url!r} and '
        'another name= in DeepLakePredictions'
    )
    if not stored.has('gt_digest'):
        raise ValueError(
            f'{judged} must have a column gt_digest, which tells by what annotations it '
            f'was judged, but an earlier version wrote it without; {remedy}'
        )
    kept = stored.values('gt_digest', rows)
    differing = [
        row
        for index, (row, digest) in enumerate(zip(rows.tolist(), kept))
        if digest is not None and digest != gt.digest_of(index)
    ]
    if differing:
        raise ValueError(
            f'{judged} was judged by other annotations than {lake.name} has, in '
            f'{len(differing)} of {len(rows)} images (the first in row {differing[0]}): '
            'they were corrected since, are those of another branch, or were read by '
            f'other keys of the dataset (deeplake_tensors, …); {remedy}, or make the '
            'page of the branch that it wrote to'
        )
