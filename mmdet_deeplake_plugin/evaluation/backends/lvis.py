"""Call the package ``lvis`` with any numpy, without files and output to the terminal.

Its last release, 0.5.3, uses ``np.float``, which numpy removed in 1.24; MMDetection's own
``LVISMetric`` fails there. It was an alias of Python's float.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.logging import print_log


class _Numpy:
    """numpy with the name that it no longer has."""

    float = float

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def lvis_package() -> Any:
    """Return the package.

    Raises:
        ImportError: If it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module('lvis')
    except ImportError as error:
        raise ImportError(
            "metrics_format='LVIS' needs the package lvis, which is not installed: "
            "pip install 'mmdet_deeplake_plugin[lvis]', or pip install lvis; or write "
            "metrics_format='COCO'"
        ) from error


def load_lvis(content: dict[str, Any]) -> Any:
    """Return annotations as an ``LVIS`` object.

    Args:
        content: Content of an annotation file.
    """
    return _indexed(lvis_package().LVIS, content)


def load_lvis_results(
    lvis_gt: Any, detections: list[dict[str, Any]], max_dets: int = 300
) -> Any:
    """Return detections as an ``LVISResults`` object.

    Args:
        lvis_gt: The annotations.
        detections: Content of a result file, may be empty; keys are added to them. Those
            with masks keep their ``bbox``, whose area is then used as the detection's, as
            in MMDetection.
        max_dets: Number of detections of an image that count, the best; -1 for all.
    """
    results = lvis_package().LVISResults
    if not detections:  # the class accesses the first one
        return _indexed(results, {**lvis_gt.dataset, 'annotations': []})
    with _quiet():
        return results(lvis_gt, detections, max_dets)


def run_lvis(
    lvis_gt: Any,
    lvis_dt: Any,
    kind: str,
    cat_ids: list[int],
    logger: logging.Logger | str,
    max_dets: int = 300,
) -> Any:
    """Run an ``LVISEval`` to its end, and log the summary that it prints.

    Args:
        lvis_gt: The annotations.
        lvis_dt: The detections.
        kind: ``bbox`` or ``segm``.
        cat_ids: The categories that count.
        logger: Logger for the summary.
        max_dets: As for :func:`load_lvis_results`.
    """
    evaluation = lvis_package().LVISEval(lvis_gt, lvis_dt, kind)
    evaluation.params.cat_ids = sorted(cat_ids)
    evaluation.params.max_dets = max_dets
    with _quiet(), contextlib.redirect_stdout(io.StringIO()) as table:
        evaluation.run()
        evaluation.print_results()
    print_log('\n' + table.getvalue().rstrip('\n'), logger=logger)
    return evaluation


def _indexed(kind: type, content: dict[str, Any]) -> Any:
    # The constructors only accept files.
    instance: Any = object.__new__(kind)
    instance.logger = logging.getLogger('lvis')
    instance.dataset = content
    with _quiet():
        instance._create_index()
    return instance


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Give the package the old name of float for a while, and silence its warnings."""
    module: Any = importlib.import_module('lvis.eval')
    logger = logging.getLogger('lvis')
    level, original = logger.level, module.np
    logger.setLevel(logging.ERROR)
    module.np = _Numpy()
    try:
        yield
    finally:
        module.np = original
        logger.setLevel(level)
