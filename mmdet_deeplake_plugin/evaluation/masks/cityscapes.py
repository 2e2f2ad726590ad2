"""Compute the AP of Cityscapes' instance masks, with the package ``cityscapesscripts``.

Numbers and written files are those of MMDetection's ``CityScapesMetric``. The
differences: earlier files of ``outfile_prefix`` stay, and the instances of the ground
truth are not kept in a file, which a later evaluation would take for its own.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from mmengine.logging import print_log
from PIL import Image
from pycocotools import mask as coco_mask

from ..backends.coco import quiet
from ..backends.mmdet import functional
from ..backends.old_numpy import old_numpy
from ..ground_truth import GroundTruth, Prediction

METRICS = ('mAP',)


def cityscapes_package() -> tuple[Any, dict[str, Any]]:
    """Return the module that evaluates, and the labels by name.

    Raises:
        ImportError: If the package is not installed; the message says how to install it.
    """
    name = 'cityscapesscripts'
    try:
        labels = importlib.import_module(f'{name}.helpers.labels')
        module = f'{name}.evaluation.evalInstanceLevelSemanticLabeling'
        return importlib.import_module(module), labels.name2label
    except ImportError as error:
        raise ImportError(
            "metrics_format='Cityscapes' needs the package cityscapesscripts, which "
            "cannot be imported: pip install 'mmdet_deeplake_plugin[cityscapes]', or pip "
            f"install cityscapesscripts; or write metrics_format='COCO' ({error})"
        ) from error


def evaluate_cityscapes(
    gt: GroundTruth,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    maps: Sequence[str],
    *,
    format_only: bool = False,
    outfile_prefix: str | os.PathLike[str] | None = None,
    dump_matches: bool = False,
) -> dict[str, float]:
    """Score masks as ``CityScapesMetric`` does.

    Args:
        gt: The annotations, of which names and sizes of images count.
        predictions: One per image, in the order of ``gt.img_ids``, with masks.
        classes: Class names: label i of a prediction means ``classes[i]``.
        maps: Paths of the maps of instance ids (``gtFine_instanceIds.png``), which
            MMEngine's file backends can read; one per image. Unused with ``format_only``.
        format_only: Whether to write the predictions only. Defaults to False.
        outfile_prefix: Folder in which ``results`` gets a text file per image and a PNG
            per mask. Defaults to None: they are not kept.
        dump_matches: Whether to write ``matches.json``. Defaults to False.

    Returns:
        ``mAP`` and ``AP@50``; empty with ``format_only``.

    Raises:
        ImportError: If the package is not installed.
        ValueError: If a class is not one of Cityscapes', a prediction is damaged or has
            no masks, or a map does not hold instance ids.
    """
    gt.check_predictions(predictions, classes)
    evaluation, known = cityscapes_package()
    for each in classes:
        if each not in known:
            raise ValueError(
                f"metrics_format='Cityscapes' knows the classes of Cityscapes, but "
                f'metainfo.classes has {each!r}; write their names, such as '
                "metainfo=dict(classes=('person', 'rider', 'car', …))"
            )
    names = [Path(name).stem for name in gt.file_names]
    if len(set(names)) < len(names):
        names = [f'{index}_{name}' for index, name in enumerate(names)]
    with TemporaryDirectory() as temporary:
        folder = Path(temporary if outfile_prefix is None else outfile_prefix) / 'results'
        folder.mkdir(parents=True, exist_ok=True)
        files = [
            _write(folder, name, prediction, [(each, known[each].id) for each in classes])
            for name, prediction in zip(names, predictions)
        ]
        if format_only:
            print_log(f'Predictions are written to {folder}', logger='current')
            return {}
        args = evaluation.args
        args.JSONOutput = args.colorized = False
        args.gtInstancesFile = os.path.join(temporary, 'gtInstances.json')
        with quiet() as table, old_numpy(evaluation):
            try:
                averages = functional.evaluateImgLists(
                    files, list(maps), args, dump_matches=dump_matches
                )['averages']
            except KeyError as error:
                raise ValueError(
                    "metrics_format='Cityscapes' needs maps of Cityscapes' instance ids "
                    f'(gtFine_instanceIds.png), but the label {error} is unknown; store '
                    'these maps with tools.from_coco --seg-dir'
                ) from error
        print_log(f'\n{table.getvalue().rstrip()}', logger='current')
    return {'mAP': float(averages['allAp']), 'AP@50': float(averages['allAp50%'])}


def _write(
    folder: Path, name: str, prediction: Prediction, classes: Sequence[tuple[str, int]]
) -> str:
    """Write the masks of an image, and return the path of the file that lists them."""
    if prediction.masks is None and len(prediction.labels):
        raise ValueError(
            f"metrics_format='Cityscapes' compares masks, but the model predicts none "
            f"(image {name!r}); write metrics_format='COCO', or use a model with a mask "
            'head'
        )
    masks, scores = prediction.masks or (), prediction.mask_scores
    if scores is None:
        scores = prediction.scores
    lines = []
    for number, (label, mask, score) in enumerate(zip(prediction.labels, masks, scores)):
        class_name, class_id = classes[label]
        file = folder / f'{name}_{number}_{class_name}.png'
        Image.fromarray(np.ascontiguousarray(coco_mask.decode(mask))).save(file)
        lines.append(f'{file.name} {class_id} {score}\n')
    listed = folder / f'{name}_pred.txt'
    listed.write_text(''.join(lines))
    return str(listed)
