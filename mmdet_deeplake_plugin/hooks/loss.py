"""Compute the loss of each image in validations and tests."""

from __future__ import annotations

import math
from typing import Any

from mmdet.engine.runner import TeacherStudentValLoop
from mmengine.dist import broadcast_object_list, collect_results, is_main_process
from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel
from mmengine.registry import HOOKS

from ..lake import blank_size
from ..metrics.provenance import keep_losses
from ..utils.values import refuse_unknown
from .image_annotations import ImageAnnotations
from .image_losses import detector_of, losses_of


@HOOKS.register_module()
class DeepLakeLossHook(Hook):
    """Report the loss in validations and tests, and hand that of each image on.

    The stock loops predict without a loss. With this hook the log has ``val/loss`` and
    its parts (``val/loss_cls``, ``val/loss_bbox``, …; ``test/…`` in a test), each the
    mean over the images, as numbers that ``save_best`` and early stopping may monitor.
    :class:`DeepLakePredictions` writes the loss of each image to ``<name>/loss``.

    The loss of an image is that of ``model.loss`` for it alone: as in training, but with
    stored statistics of normalisation, without dropout and batch augmentations, and
    always with the same random numbers. It does not depend on the batch or the ranks.
    The model is left as it was: weights, gradients, buffers, modes and random numbers.
    It costs a further forward pass per image.

    Pipelines that load annotations after the image was resized, as those of MMDetection
    do, stay as they are: the same transforms are applied to the annotations.

    Raises:
        ValueError: Before the first image, if the pipeline does not load annotations, or
            draws random numbers before it does.
    """

    # Before RuntimeInfoHook, which logs the metrics of a loop.
    priority = 'HIGHEST'

    def __init__(self, **unknown: Any) -> None:
        refuse_unknown(unknown, DeepLakeLossHook.__init__)
        self._losses: dict[str, list[dict[str, float] | None]] = {}
        self._annotations: ImageAnnotations | None = None

    def after_val_epoch(
        self, runner: Any, metrics: dict[str, float] | None = None
    ) -> None:
        """Add the mean losses to the metrics."""
        self._report('val', metrics, runner.val_loop)

    def after_test_epoch(
        self, runner: Any, metrics: dict[str, float] | None = None
    ) -> None:
        """Add the mean losses to the metrics."""
        self._report('test', metrics, runner.test_loop)

    def _before_epoch(self, runner: Any, mode: str = 'train') -> None:
        if mode == 'train':
            return
        if isinstance(runner.model, BaseTTAModel):
            raise ValueError(
                'DeepLakeLossHook computes the loss of an image, but with --tta each is '
                'predicted several times; leave out --tta or the hook'
            )
        loop = getattr(runner, f'{mode}_loop')
        self._annotations = ImageAnnotations(loop.dataloader.dataset, mode)
        # This loop validates one model after the other, and names their metrics so.
        is_double = isinstance(loop, TeacherStudentValLoop)
        names = ('teacher/', 'student/') if is_double else ('',)
        self._losses = {name: [] for name in names}

    def _before_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, mode: str = 'train'
    ) -> None:
        if mode == 'train':
            return
        assert self._annotations is not None  # set before the epoch
        name, detector = detector_of(runner.model)
        half_precision = getattr(runner, f'{mode}_loop').fp16
        prefix = f'{name}/'
        of_images = self._losses[prefix if prefix in self._losses else '']
        of_path = {}
        for image, sample in zip(data_batch['inputs'], data_batch['data_samples']):
            path = sample.get('img_path', '')
            if blank_size(path):  # a broken image
                of_images.append({})  # not None, which MMEngine leaves out
                continue
            annotated = self._annotations.as_image(sample)
            try:
                losses = losses_of(detector, image, annotated, half_precision)
            except Exception as error:
                raise RuntimeError(
                    f'DeepLakeLossHook: the model cannot compute the loss of {path} '
                    f'({type(error).__name__}: {error}); does LoadAnnotations load '
                    'all that the model is trained with (with_mask=True, …)? Else '
                    'leave the hook out'
                ) from error
            of_images.append(losses)
            of_path[path] = losses['loss']
        keep_losses(of_path)

    def _report(self, stage: str, metrics: dict[str, float] | None, loop: Any) -> None:
        keep_losses({})
        size = len(loop.dataloader.dataset)
        for prefix, of_images in self._losses.items():
            losses = collect_results(of_images, size, 'cpu')
            means = [_means(losses or []) if is_main_process() else None]
            broadcast_object_list(means)
            if metrics is not None:
                for name, value in (means[0] or {}).items():
                    metrics[f'{stage}/{prefix}{name}'] = value
        self._losses = {}


def _means(losses: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each loss over the images that have it."""
    names = dict.fromkeys(name for each in losses for name in each)
    values = {name: [each[name] for each in losses if name in each] for name in names}
    # Exact sums, so that the order of images does not matter.
    return {name: math.fsum(each) / len(each) for name, each in values.items()}
