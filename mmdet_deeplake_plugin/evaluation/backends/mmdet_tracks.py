"""Let metrics of MMDetection score videos, without loose ends.

The numbers are theirs, so they equal those of the stock metrics by construction. Their
constructors and ``process`` are not used: they exchange folders between ranks, delete
earlier results, and keep what a later evaluation would take for its own.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from mmengine.logging import print_log
from numpy.typing import NDArray

from .coco import quiet
from .mmdet import stock_class, stock_metric
from .old_numpy import old_numpy

MOT_METRICS = ('HOTA', 'CLEAR', 'Identity')
MOT_BENCHMARKS = ('MOT15', 'MOT16', 'MOT17', 'MOT20', 'DanceTrack')
VIS_METRICS = ('youtube_vis_ap',)
VIS_ITEMS = (
    *('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l'),
    *('AR@1', 'AR@10', 'AR@100', 'AR_s@100', 'AR_m@100', 'AR_l@100'),
)
_TABLES = '\nEvaluating default-tracker\n'  # what trackeval prints before its numbers


@dataclass(frozen=True)
class Tracks:
    """The tracks in a video, or in a frame of it.

    Attributes:
        truth: Annotated boxes, shape ``(M, 9)``: frame from 1, id, left, top, width,
            height, whether it counts, class, visibility.
        found: Predicted boxes, shape ``(N, 7)``: frame from 1, id, left, top, width,
            height, score.
    """

    truth: NDArray[np.float64]
    found: NDArray[np.float64]


def check_trackeval() -> None:
    """Look for the package ``trackeval``.

    Raises:
        ImportError: If MMDetection could not import it, or is too old; the message says
            how to install it.
    """
    module = importlib.import_module(stock_class('MOTChallengeMetric').__module__)
    if module.trackeval is None:
        raise ImportError(
            "metrics_format='MOT' needs the package trackeval, which cannot be imported: "
            "pip install 'mmdet_deeplake_plugin[tracking]', or pip install trackeval"
        )


def mot_numbers(
    videos: Mapping[str, Sequence[Tracks]],
    metrics: Sequence[str],
    benchmark: str,
    steps: Sequence[Any],
    *,
    format_only: bool,
    outfile_prefix: str | None,
) -> dict[str, float]:
    """Return the numbers of ``MOTChallengeMetric``, and write its files.

    Args:
        videos: The tracks in each frame by name of the video.
        metrics: Some of :data:`MOT_METRICS`.
        benchmark: One of :data:`MOT_BENCHMARKS`.
        steps: Change the predicted tracks of a video.
        format_only: Whether to write the predictions alone.
        outfile_prefix: Folder of the files; ``None`` for one that is deleted.
    """
    scratch = TemporaryDirectory()
    with scratch as folder:
        results = Path(folder if outfile_prefix is None else outfile_prefix)
        predictions = results / stock_class('MOTChallengeMetric').TRACKER
        truths = Path(folder) / 'gt'
        for each in (predictions, truths):
            each.mkdir(parents=True, exist_ok=True)
        metric = stock_metric(
            'MOTChallengeMetric',
            metrics=list(metrics),
            benchmark=benchmark,
            format_only=format_only,
            tmp_dir=scratch,
            gt_dir=str(truths),
            pred_dir=str(predictions),
            seqmap=str(predictions / 'videoseq.txt'),
            seq_info={},
        )
        Path(metric.seqmap).write_text('name\n')
        for name, frames in videos.items():
            found = np.concatenate([frame.found for frame in frames])
            truth = np.concatenate([frame.truth for frame in frames])
            for step in steps if len(found) else ():
                found = step.forward(found)
            metric.seq_info[name] = dict(
                seq_length=len(frames), gt_tracks=list(truth), pred_tracks=found
            )
            metric._save_one_video_gts_preds(name)
        with quiet() as printed:
            numbers = metric.compute_metrics()
    if numbers:
        tables = printed.getvalue().partition(_TABLES)[2]
        print_log('\n' + tables.strip('\n'), logger='current')
    return {key: float(value) for key, value in numbers.items()}


def vis_numbers(
    videos: Sequence[Sequence[tuple[dict[str, Any], dict[str, Any]]]],
    classes: Sequence[str],
    metric_items: Sequence[str] | None,
    *,
    format_only: bool,
    outfile_prefix: str | None,
) -> dict[str, float]:
    """Return the numbers of ``YouTubeVISMetric``, or write its file.

    Args:
        videos: For each frame of a video what ``YouTubeVISMetric`` keeps of prediction
            and ground truth.
        classes: Class names.
        metric_items: Some of :data:`VIS_ITEMS`; ``None`` for the first six.
        format_only: Whether to write the predictions alone.
        outfile_prefix: Path of the file without its suffix.
    """
    kind = stock_class('YouTubeVISMetric')
    module = importlib.import_module('mmdet.evaluation.functional.ytviseval')
    metric = kind(
        metric_items=metric_items, format_only=format_only, outfile_prefix=outfile_prefix
    )
    metric.dataset_meta = {'classes': classes}
    results, numbers = [], itertools.count(1)
    for frames in videos:
        predictions, truths = zip(*frames)
        truth = metric._format_one_video_gts(truths)
        for instance in truth:  # stock takes those of one id for one, and 0 for none
            instance['id'] = next(numbers)
        results.append((metric._format_one_video_preds(predictions), truth))
    if not format_only and not any(found for found, _ in results):
        # Stock fails without any; one of no class counts for nothing.
        nothing = dict(category_id=0, score=0.0, segmentations=[])
        results[0][0].append({**nothing, 'video_id': videos[0][0][1]['video_id']})
    with quiet() as printed, old_numpy(module):
        scores = metric.compute_metrics(results)
    if scores:
        print_log('\n' + printed.getvalue().strip('\n'), logger='current')
    return dict(scores)
