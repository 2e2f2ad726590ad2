"""Call the package ``lvis`` with any numpy, without files and output to the terminal.

Its last release, 0.5.3, uses ``np.float``, which numpy removed in 1.24; MMDetection's own
``LVISMetric`` fails there. It was an alias of Python's float.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.logging import print_log

from .old_numpy import old_numpy


def lvis_package() -> Any:
    """Return the package.

    Raises:
        ImportError: If it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module('lvis')
    except ImportError as error:
        raise ImportError(
            'the metrics of LVIS need the package lvis, which is not installed: '
            "pip install 'mmdet_deeplake_plugin[lvis]', or pip install lvis; or write "
            "metrics_format='COCO'"
        ) from error


def evaluation_of(
    truth: dict[str, Any], detections: list[dict[str, Any]], kind: str
) -> Any:
    """Return an ``LVISEval`` that is not evaluated yet.

    Args:
        truth: Content of an annotation file.
        detections: Content of a result file with ``id`` and ``area``, not more than 300
            of an image, as ``LVISResults`` completes and cuts it.
        kind: ``'bbox'`` or ``'segm'``.
    """
    package = lvis_package()
    evaluation = package.LVISEval(
        _indexed(package.LVIS, truth),
        _indexed(package.LVISResults, {**truth, 'annotations': detections}),
        kind,
    )
    evaluation.params.cat_ids = sorted(each['id'] for each in truth['categories'])
    return evaluation


def score_all(
    truth: dict[str, Any],
    detections: list[dict[str, Any]],
    cat_ids: Sequence[int],
) -> dict[str, float]:
    """Score boxes of some categories, any number per image, and log the summary.

    Ids and areas are added to the detections.
    """
    for number, detection in enumerate(detections, start=1):
        _, _, width, height = detection['bbox']
        detection.update(id=number, area=width * height)
    evaluation = evaluation_of(truth, detections, 'bbox')
    evaluation.params.cat_ids = sorted(cat_ids)
    evaluation.params.max_dets = -1
    with quiet():
        evaluation.evaluate()
        evaluation.accumulate()
    log_summary(evaluation, 'current')
    return {key: float(value) for key, value in evaluation.get_results().items()}


def log_summary(evaluation: Any, logger: logging.Logger | str) -> None:
    """Log the summary that a finished ``LVISEval`` prints."""
    with quiet(), contextlib.redirect_stdout(io.StringIO()) as table:
        evaluation.summarize()
        evaluation.print_results()
    print_log('\n' + table.getvalue().rstrip('\n'), logger=logger)


def _indexed(kind: type, content: dict[str, Any]) -> Any:
    # The constructors only accept files.
    instance: Any = object.__new__(kind)
    instance.logger = logging.getLogger('lvis')
    instance.dataset = content
    with quiet():
        instance._create_index()
    return instance


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Give the package the old name of float for a while, and silence its warnings."""
    logger = logging.getLogger('lvis')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with old_numpy(importlib.import_module('lvis.eval')):
            yield
    finally:
        logger.setLevel(level)
