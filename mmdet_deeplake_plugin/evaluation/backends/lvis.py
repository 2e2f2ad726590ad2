"""The package ``lvis`` as three calls: with any numpy, without files and chatter.

Its last release, 0.5.3, asks numpy for ``np.float``, which is gone since numpy 1.24;
MMDetection's own ``LVISMetric`` fails there. What it means by it is Python's float.
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
    """The package.

    Raises:
        ImportError: If it is not installed; says how to.
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
    """Annotations as an ``LVIS`` object.

    Args:
        content: Content of an annotation file.
    """
    return _indexed(lvis_package().LVIS, content)


def load_lvis_results(lvis_gt: Any, detections: list[dict[str, Any]]) -> Any:
    """Detections as an ``LVISResults`` object.

    Args:
        lvis_gt: The annotations.
        detections: Content of a result file, may be empty; they gain keys. Those with
            masks keep their ``bbox``, whose area then is the detection's, as in
            MMDetection.
    """
    results = lvis_package().LVISResults
    if not detections:  # it looks at the first one
        return _indexed(results, {**lvis_gt.dataset, 'annotations': []})
    with _quiet():
        return results(lvis_gt, detections)


def run_lvis(
    lvis_gt: Any,
    lvis_dt: Any,
    kind: str,
    cat_ids: list[int],
    logger: logging.Logger | str,
) -> Any:
    """Runs an ``LVISEval`` to its end, and logs the summary that it prints.

    Args:
        lvis_gt: The annotations.
        lvis_dt: The detections.
        kind: ``bbox`` or ``segm``.
        cat_ids: The categories that count.
        logger: Where the summary goes.
    """
    evaluation = lvis_package().LVISEval(lvis_gt, lvis_dt, kind)
    evaluation.params.cat_ids = sorted(cat_ids)
    with _quiet(), contextlib.redirect_stdout(io.StringIO()) as table:
        evaluation.run()
        evaluation.print_results()
    print_log('\n' + table.getvalue().rstrip('\n'), logger=logger)
    return evaluation


def _indexed(kind: type, content: dict[str, Any]) -> Any:
    # Its constructors take files only.
    made: Any = object.__new__(kind)
    made.logger = logging.getLogger('lvis')
    made.dataset = content
    with _quiet():
        made._create_index()
    return made


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lends the package the old name of float, and silences its warnings."""
    module: Any = importlib.import_module('lvis.eval')
    logger = logging.getLogger('lvis')
    level, own = logger.level, module.np
    logger.setLevel(logging.ERROR)
    module.np = _Numpy()
    try:
        yield
    finally:
        module.np = own
        logger.setLevel(level)
