"""Turn predictions and annotations into what the page reads: a script that sets a global.

A page that is opened from a disk may not fetch files, but it may load scripts. Arrays are
base64 of their little-endian bytes, which a browser decodes in a fraction of the time
that numbers in a text take.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...evaluation import ERRORS, GroundTruth
from ...lake import Lake, StoredPredictions
from ...utils.ragged import offsets_of
from .curves import curves_of, plain
from .run import PAGE_FATES, PAGE_VERDICTS, Run

PREFIX = 'window.TRIAGE = '


def page_data(
    lake: Lake,
    run: Run,
    gt: GroundTruth,
    rows: NDArray[np.int64],
    score_thr: float,
    texts: Mapping[str, str],
) -> dict[str, Any]:
    """Return all that the page shows but the images: see :func:`.read_content`."""
    return {
        **texts,
        'classes': list(run.stored.class_names or gt.category_names),
        'errors': ERRORS,
        'verdicts': PAGE_VERDICTS,
        'fates': PAGE_FATES,
        'key': _key_column(lake, gt),
        'images': {
            'row': rows.tolist(),
            'id': [str(each) for each in gt.img_ids],  # exact beyond 2**53 too
            'file': gt.file_names,
            'width': gt.widths.tolist(),
            'height': gt.heights.tolist(),
        },
        'numbers': numbers_of(run.stored, rows),
        'annotations': {
            'offsets': packed(gt.offsets, 'i4'),
            'boxes': packed(gt.boxes_xyxy, 'f4'),
            'labels': packed(gt.labels, 'i4'),
            'crowd': packed(gt.crowd, 'u1'),
        },
        'runs': [run_data(run, score_thr)],
        'curves': curves_of(run, gt) if run.is_judged else None,
    }


def run_data(run: Run, score_thr: float) -> dict[str, Any]:
    """Return the predictions of at least a score as the page reads them."""
    kept = run.scores >= score_thr
    counts = np.bincount(run.images[kept], minlength=len(run.offsets) - 1)
    pin = run.stored.source.pin
    return {
        'name': run.stored.name,
        'branch': pin.tag or pin.branch,
        'judged': run.is_judged,
        'provenance': plain(run.stored.provenance),
        'scoreThr': run.rules.score_thr,
        'iouThr': run.rules.iou_thr,
        'leftOut': int((~kept).sum()),
        'offsets': packed(offsets_of(counts), 'i4'),
        'boxes': packed(run.boxes[kept], 'f4'),
        'labels': packed(run.labels[kept], 'i4'),
        'scores': packed(run.scores[kept], 'f4'),
        'verdicts': packed(run.verdicts[kept], 'u1'),
        'errors': packed(run.errors[kept], 'u1'),
        'ious': packed(run.ious[kept], 'f4'),
        'about': packed(run.about[kept], 'i4'),
        'fates': packed(run.fates, 'u1'),
    }


def numbers_of(
    stored: StoredPredictions, rows: NDArray[np.int64]
) -> dict[str, list[float | None]]:
    """Return the numbers of the images in rows, shape ``(R,)``, by their short names."""
    return {
        short: [_as_number(value) for value in stored.source.values(column, rows)]
        for short, column in stored.numbers().items()
    }


def packed(values: NDArray[Any], kind: str) -> dict[str, str]:
    """Return an array as a type, ``'f4'``, ``'i4'`` or ``'u1'``, and bytes in base64."""
    content = values.astype(f'<{kind}').tobytes()
    return {'type': kind, 'data': base64.b64encode(content).decode()}


def as_script(data: Mapping[str, Any], suffixes: Sequence[str]) -> bytes:
    """Return the script that the page loads; the suffix of a broken image is ``''``."""
    images = {**data['images'], 'suffix': list(suffixes)}
    # In ASCII, nothing in it can end the script or the line.
    text = json.dumps({**data, 'images': images}, separators=(',', ':'), allow_nan=False)
    return f'{PREFIX}{text.replace("<", chr(92) + "u003c")};\n'.encode()


def _key_column(lake: Lake, gt: GroundTruth) -> dict[str, Any] | None:
    """Return the column whose values name images in a query, None for row numbers."""
    column = lake.columns.of('img_id')
    handle = lake.source.handle
    if column is None or column not in {each.name for each in handle.schema.columns}:
        return None
    return {'column': column, 'isText': isinstance(gt.img_ids[0], str)}


def _as_number(value: Any) -> float | int | None:
    single = None if value is None else np.asarray(value).item()
    return int(single) if isinstance(single, bool) else plain(single)
