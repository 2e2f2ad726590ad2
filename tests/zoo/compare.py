"""Holds what a config makes of files against what it makes of a lake."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from helpers.samples import assert_equal, handed_over, seeded
from mmdet.datasets.transforms import LoadTextAnnotations
from mmdet.registry import DATASETS
from mmengine.evaluator import Evaluator
from mmengine.registry import EVALUATOR
from mmengine.runner import Runner

from zoo.lent import lent
from zoo.moving import as_rows, person_sample, video_sample
from zoo.rewrite import KINDS, TEXTS, leaves
from zoo.truth import found_labels, guessed_segments, true_masks

BATCHES = 2
SEED = 0


@dataclass(frozen=True)
class Outcome:
    """What came of a comparison.

    Attributes:
        verdict: ``'equal'``; ``'stock'``: files do not work either; ``'ours'``:
            the lake gives something else, or fails.
        reason: One line without paths, empty if equal.
    """

    verdict: str
    reason: str = ''


def compare_loaders(files: dict[str, Any], lake: dict[str, Any]) -> Outcome:
    """Compares the first batches of two dataloaders, tensor for tensor.

    Args:
        files: Config of the stock dataloader.
        lake: Config of the dataloader on a lake.
    """
    # Stock datasets of texts and of persons do not name classes.
    kinds = [KINDS.get(leaf['type']) for leaf in leaves(files['dataset'])]
    named = not any(kind in (*TEXTS, 'persons') for kind in kinds)
    return _compare(
        lambda: _batches(files, named), lambda: handed_over(_batches(lake, named))
    )


def compare_evaluators(
    files: tuple[dict[str, Any], Any], lake: tuple[dict[str, Any], Any]
) -> Outcome:
    """Compares what two evaluators make of the same predictions on all images.

    Args:
        files: Configs of the stock dataset and evaluator.
        lake: Configs of the dataset of lakes and its evaluator.
    """
    return _compare(lambda: _numbers(*files), lambda: _numbers(*lake))


def smaller(loader: dict[str, Any]) -> dict[str, Any]:
    """A dataloader without workers, with batches of two.

    Args:
        loader: Config of a dataloader. A sampler that composes batches keeps their size.
    """
    dropped = ('persistent_workers', 'prefetch_factor', 'pin_memory')
    kept = {key: value for key, value in loader.items() if key not in dropped}
    sampler = dict(loader.get('sampler') or {})
    if 'dataset_size' in sampler:  # of each joined dataset; ours have fewer images
        sampler['dataset_size'] = [min(size, 20) for size in sampler['dataset_size']]
        kept['sampler'] = sampler
    fixed = 'batch_size' in sampler
    return {**kept, 'num_workers': 0, **({} if fixed else {'batch_size': 2})}


def one_line(text: str) -> str:
    """The first line of a message, without what is peculiar to a machine.

    Args:
        text: Message of an error.
    """
    first = re.sub(r'(/[\w.@+-]+){2,}/?', '…', text.strip().splitlines()[0])
    return first if len(first) <= 160 else f'{first[:159]}…'


def _batches(loader: dict[str, Any], named: bool) -> list[Any]:
    built = Runner.build_dataloader(loader, seed=SEED)
    dataset = built.dataset

    def first() -> list[Any]:
        return [batch for _, batch in zip(range(BATCHES), built)]

    batches = seeded(first, SEED)
    names = _class_names(dataset.metainfo) if named else None
    return [len(dataset), names, *batches]


def _class_names(metainfo: Any) -> Any:
    if isinstance(metainfo, (list, tuple)):
        return [_class_names(part) for part in metainfo]
    return tuple(metainfo['classes'])


def _numbers(dataset: dict[str, Any], evaluator: Any) -> dict[str, Any]:
    data = DATASETS.build(dataset)
    if isinstance(evaluator, dict) and 'metrics' in evaluator:
        judge = EVALUATOR.build(evaluator)
    else:
        judge = Evaluator(evaluator)
    judge.dataset_meta = data.metainfo
    random = np.random.default_rng(SEED)
    for index in range(len(data)):
        info = data.get_data_info(index)
        if 'images' in info:
            video = video_sample(info, random)
            tracked = isinstance(evaluator, dict) and evaluator.get('use_postprocess')
            judge.process(data_samples=[as_rows(video) if tracked else video])
            continue
        if 'gt_label' in info:
            judge.process(data_samples=[person_sample(info, random)])
            continue
        sample = _judged(info, _found(info, random))
        if 'segments_info' in info:
            classes = len(data.metainfo['classes'])
            sample['pred_panoptic_seg'] = guessed_segments(info, classes, random)
        judge.process(data_samples=[sample])
    numbers = judge.evaluate(len(data))
    # NaN, the precision of a class without annotations, equals nothing.
    return {key: 'NaN' if value != value else value for key, value in numbers.items()}


def _judged(info: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """A sample as a model hands it on, with the ground truth that VOCMetric wants."""
    sample = {**info, 'ori_shape': (info['height'], info['width'])}
    for key, flag in (('gt_instances', 0), ('ignored_instances', 1)):
        real = [part for part in info['instances'] if part['ignore_flag'] == flag]
        boxes = np.array([part['bbox'] for part in real], np.float32).reshape(-1, 4)
        labels = np.array([part['bbox_label'] for part in real], np.int64)
        sample[key] = dict(
            bboxes=torch.from_numpy(boxes), labels=torch.from_numpy(labels)
        )
    if info.get('dataset_mode') in ('OD', 'VG') and 'text' in info:
        LoadTextAnnotations().transform(sample)
    return {**sample, 'pred_instances': found}


def _found(info: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
    """What a mediocre model finds: nine in ten, moved a little, some mistaken."""
    real = [i for i in range(len(info['instances'])) if random.random() < 0.9]
    instances = [info['instances'][i] for i in real]
    boxes = np.array([part['bbox'] for part in instances], np.float64).reshape(-1, 4)
    boxes += random.normal(0, 4, boxes.shape).round()
    labels = found_labels(info)[real]
    labels[random.random(len(labels)) < 0.1] = 0
    labels = np.maximum(labels, 0)  # an ignored instance of CrowdHuman has -1
    dtype = np.float32 if 'text' in info else np.float64
    if 'tokens_positive' in info and not len(labels):  # stock fails without any
        boxes, labels = np.array([[1.0, 2, 30, 40]]), np.zeros(1, np.int64)
    found = dict(
        bboxes=torch.from_numpy(boxes.astype(dtype)),
        scores=torch.from_numpy(random.random(len(labels)).astype(dtype)),
        labels=torch.from_numpy(labels),
    )
    masks = true_masks(info)
    if masks is not None:
        found['masks'] = torch.from_numpy(masks[real])
    return found


def _compare(files: Callable[[], Any], lake: Callable[[], Any]) -> Outcome:
    expected, stock_fault = _attempt(files)
    found, our_fault = _attempt(lake)
    if stock_fault:
        return Outcome('stock', stock_fault)
    if our_fault:
        return Outcome('ours', our_fault)
    try:
        assert_equal(found, expected)
    except AssertionError as error:
        return Outcome('ours', one_line(f'differs: {error}'))
    return Outcome('equal')


def _attempt(make: Callable[[], Any]) -> tuple[Any, str]:
    """What a call returns, and in one line why it does not."""
    try:
        with lent(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            return make(), ''
    except Exception as error:
        return None, one_line(f'{type(error).__name__}: {error}')
