"""DeepLakeLossHook: annotations as the image is, a model left as it was, clear errors.

That losses are those of ``model.loss`` is tested for families of models in
``tests/stock/test_families.py``, and on two ranks in
``tests/stock/test_predictions_in_the_lake.py``.
"""

from __future__ import annotations

import copy
import math
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.lakes import row, write_lake
from helpers.samples import assert_equal
from mmdet.datasets import ConcatDataset
from mmdet.models.losses import SeesawLoss
from mmdet.models.task_modules import MaxIoUAssigner
from mmdet.utils import register_all_modules
from mmengine.model import BaseModel, BaseTTAModel
from torch import nn

from mmdet_deeplake_plugin import DeepLakeDataset, DeepLakeLossHook
from mmdet_deeplake_plugin.hooks.image_annotations import ImageAnnotations
from mmdet_deeplake_plugin.hooks.image_losses import _attributes_of, _restore, losses_of
from mmdet_deeplake_plugin.metrics.provenance import loss_of

register_all_modules()

LOAD = dict(type='LoadImageFromFile')
BOXES = dict(type='LoadAnnotations', with_bbox=True)
PACK = dict(type='PackDetInputs')
SMALL = dict(type='Resize', scale=(120, 90), keep_ratio=True)
GREY = dict(img=(114, 114, 114))
TRANSFORMS = {
    'ratio': [SMALL],
    'stretched': [dict(type='Resize', scale=(77, 131), keep_ratio=False)],
    'padded': [SMALL, dict(type='Pad', size=(128, 128), pad_val=GREY)],
    'divisor': [SMALL, dict(type='Pad', size_divisor=32)],
    'factor': [dict(type='Resize', scale_factor=0.37)],
    'unclipped': [{**SMALL, 'clip_object_border': False}],
    'fixed': [dict(type='FixShapeResize', width=96, height=64, keep_ratio=True)],
    'none': [],
}
KINDS = {
    'boxes': BOXES,
    'bitmaps': {**BOXES, 'with_mask': True},
    'polygons': {**BOXES, 'with_mask': True, 'poly2mask': False},
}


def dataset_of(path: str, *transforms: Any, **keys: Any) -> DeepLakeDataset:
    return DeepLakeDataset(path, pipeline=list(transforms), test_mode=True, **keys)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', TRANSFORMS)
def test_annotations_become_those_of_the_image(kind, name, lake):
    """As if they had been loaded before the image was resized, crowds among them."""
    load, transforms = KINDS[kind], TRANSFORMS[name]
    late = dataset_of(lake('coco_cc'), LOAD, *transforms, load, PACK)
    early = dataset_of(lake('coco_cc'), LOAD, load, *transforms, PACK)
    annotations = ImageAnnotations(late, 'val')
    ignored = 0
    crowded = [
        index
        for index in range(len(late))
        if any(each['ignore_flag'] for each in late.get_data_info(index)['instances'])
    ]
    for index in [*crowded[:2], *range(0, len(late), 12)]:
        sample, expected = late[index]['data_samples'], early[index]['data_samples']
        before = copy.deepcopy(sample)
        found = annotations.as_image(sample)
        for field in ('gt_instances', 'ignored_instances'):
            assert_equal(found.get(field), expected.get(field), f'{index} {field}')
        assert_equal(sample, before)
        ignored += len(found.ignored_instances)
    assert ignored >= 2
    again = ImageAnnotations(early, 'val')
    sample = early[0]['data_samples']
    assert_equal(again.as_image(sample), sample)


def test_maps_become_those_of_the_image(panoptic_lake):
    """Segmentation maps too."""
    load = dict(type='LoadPanopticAnnotations')
    pytest.importorskip('panopticapi', reason="MMDetection's transform needs it")
    path = panoptic_lake
    late = dataset_of(path, LOAD, *TRANSFORMS['padded'], load, PACK)
    early = dataset_of(path, LOAD, load, *TRANSFORMS['padded'], PACK)
    annotations = ImageAnnotations(late, 'val')
    for index in range(len(late)):
        found = annotations.as_image(late[index]['data_samples'])
        expected = early[index]['data_samples']
        for field in ('gt_instances', 'gt_sem_seg'):
            assert_equal(found.get(field), expected.get(field), f'{index} {field}')


CENTRED = dict(
    type='RandomCenterCropPad',
    ratios=None,
    border=None,
    mean=[0, 0, 0],
    std=[1, 1, 1],
    to_rgb=True,
    test_mode=True,
    test_pad_mode=['logical_or', 31],
)


@pytest.mark.parametrize('order', ['behind', 'before'])
def test_boxes_move_with_an_image_that_is_put_into_a_larger_one(order, tmp_path):
    """RandomCenterCropPad of CenterNet and CornerNet, which leaves boxes where they were."""
    path = write_lake(tmp_path / 'lake')
    load, meta = {**LOAD, 'to_float32': True}, ('ori_shape', 'img_shape', 'border')
    parts = [CENTRED, BOXES] if order == 'behind' else [BOXES, CENTRED]
    dataset = dataset_of(path, load, *parts, {**PACK, 'meta_keys': meta})
    sample = dataset[0]['data_samples']
    assert (sample.ori_shape, sample.img_shape) == ((40, 64), (63, 95))
    found = ImageAnnotations(dataset, 'val').as_image(sample)
    # By half of the 23 and 31 pixels that were added.
    assert found.gt_instances.bboxes.tensor.tolist() == [[16, 13, 26, 25]]
    dataset = dataset_of(path, load, *parts, PACK)
    with pytest.raises(ValueError, match=r"RandomCenterCropPad in .* needs 'border' in the"):
        ImageAnnotations(dataset, 'val').as_image(dataset[0]['data_samples'])


class Net(BaseModel):
    """A model with everything that may change while it computes a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.data_preprocessor = _Preprocessor()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.attention = nn.MultiheadAttention(4, 2, dropout=0.5)
        self.seesaw = SeesawLoss(num_classes=2)  # counts samples in a buffer
        self.steps, self.seen = torch.zeros(3), []
        self.kept: dict[str, Any] = {}

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'loss') -> Any:
        assert self.training and self.conv.training
        assert not (self.norm.training or self.drop.training)
        assert not self.attention.training
        self.steps[1] += 1
        self.seen.append(len(data_samples))
        self.kept['last'] = self.new = inputs
        drawn = torch.rand(1) + random.random() + np.random.rand()
        pixels = self.drop(self.norm(self.conv(inputs))).mean(dim=(2, 3))
        scores = torch.cat([pixels, pixels])[:1]
        counted = self.seesaw(scores, torch.tensor([1]))
        losses = counted if isinstance(counted, dict) else {'loss_cls': counted}
        return {**losses, 'loss_box': [pixels.sum(), drawn.sum()], 'acc': pixels.max()}


class _Preprocessor(nn.Module):
    def forward(self, data: dict, training: bool) -> dict:
        assert not training
        inputs = torch.stack([each.float() / 255 for each in data['inputs']])
        return {**data, 'inputs': inputs}


class Tta(BaseTTAModel):
    """A model of ``test.py --tta``."""

    def merge_preds(self, data_samples_list: Any) -> Any:
        return data_samples_list


def _numbers_of(net: Net) -> list[Any]:
    return [
        copy.deepcopy({name: value.tolist() for name, value in net.state_dict().items()}),
        [module.training for module in net.modules()],
        [parameter.grad for parameter in net.parameters()],
        [net.steps.tolist(), list(net.seen), dict(net.kept), sorted(vars(net))],
        [torch.get_rng_state().tolist(), random.getstate()],
        [part.tolist() if hasattr(part, 'tolist') else part for part in np.random.get_state()],
    ]


@pytest.mark.parametrize('training', [True, False])
def test_the_model_is_left_as_it_was(training):
    """Weights, buffers, attributes, modes, gradients, and random numbers."""
    net = Net().train(training)
    net.norm.eval()
    image, steps = torch.full((3, 8, 8), 100, dtype=torch.uint8), net.steps
    before = _numbers_of(net)
    first = losses_of(net, image, object(), False)
    assert _numbers_of(net) == before
    second = losses_of(net, image + 50, object(), False)
    assert _numbers_of(net) == before
    assert net.steps is steps
    assert losses_of(net, image, object(), False) == first
    assert next(iter(first)) == 'loss' and 'acc' not in first
    assert first['loss'] != second['loss']
    with pytest.raises(RuntimeError):
        losses_of(net, image[:2], object(), False)
    assert _numbers_of(net) == before


def _hook_on(path: str, *transforms: Any, model: Any = None) -> tuple[Any, Any]:
    dataset = dataset_of(path, *transforms)
    loop = SimpleNamespace(fp16=False, dataloader=SimpleNamespace(dataset=dataset))
    runner = SimpleNamespace(model=model, val_loop=loop, test_loop=loop)
    return DeepLakeLossHook(), runner


def test_means_and_losses_of_images(tmp_path):
    """The metrics get the mean of each loss, and the batch's are known by path."""
    path = write_lake(tmp_path / 'lake')
    net = Net()
    for stage in ('val', 'test'):
        hook, runner = _hook_on(path, LOAD, SMALL, BOXES, PACK, model=net)
        dataset = runner.val_loop.dataloader.dataset
        getattr(hook, f'before_{stage}_epoch')(runner)
        seen = {}
        for start in (0, 4):
            items = [dataset[index] for index in range(start, min(start + 4, 6))]
            batch = {key: [item[key] for item in items] for key in items[0]}
            getattr(hook, f'before_{stage}_iter')(runner, start, batch)
            paths = [sample.img_path for sample in batch['data_samples']]
            seen.update({path: loss_of(path) for path in paths})
        metrics = {'coco/bbox_mAP': 0.5}
        getattr(hook, f'after_{stage}_epoch')(runner, metrics)
        assert next(iter(metrics)) == 'coco/bbox_mAP'
        assert metrics[f'{stage}/loss'] == math.fsum(seen.values()) / 6
        assert f'{stage}/loss_box' in metrics
        assert {loss_of(path) for path in seen} == {None}
        alone = losses_of(net, dataset[5]['inputs'], object(), False)
        assert list(seen.values())[5] == alone['loss']


RANDOM = dict(type='RandomFlip', prob=0.5)
WRONG = {
    'not-loaded': ([LOAD, SMALL, PACK], "does not load them; write dict.type='LoadAnno"),
    'between': ([LOAD, SMALL, BOXES, dict(type='Pad', size_divisor=32), PACK], 'of Resize, Pad, but is between them'),
    'random': ([LOAD, RANDOM, BOXES, PACK], 'what RandomFlip draws in the pipeline of val_'),
}


@pytest.mark.parametrize('case', WRONG)
def test_pipelines_that_do_not_fit(case, tmp_path):
    """The error comes before the first image, and says what to write."""
    transforms, text = WRONG[case]
    hook, runner = _hook_on(write_lake(tmp_path / 'lake'), *transforms)
    with pytest.raises(ValueError, match=text):
        hook.before_val_epoch(runner)


def test_joined_datasets_need_one_pipeline(tmp_path):
    """Which sample is of which dataset is not known to the hook."""
    path = write_lake(tmp_path / 'lake')
    pipelines = ([LOAD, SMALL, BOXES, PACK], [LOAD, BOXES, PACK])
    parts = [dataset_of(path, *each) for each in pipelines]
    with pytest.raises(ValueError, match='must have the same pipeline, got'):
        ImageAnnotations(ConcatDataset(parts), 'val')
    ImageAnnotations(ConcatDataset([parts[0], parts[0]]), 'val')
    with pytest.raises(ValueError, match='needs a dataset with a pipeline in val_data'):
        ImageAnnotations([1, 2], 'val')


def test_what_the_sample_must_have(tmp_path):
    """The original size; and the transforms must give what the image got."""
    path = write_lake(tmp_path / 'lake')
    pack = {**PACK, 'meta_keys': ('img_path', 'img_shape')}
    dataset = dataset_of(path, LOAD, SMALL, BOXES, pack)
    with pytest.raises(ValueError, match="needs 'ori_shape' of each sample; keep it"):
        ImageAnnotations(dataset, 'val').as_image(dataset[0]['data_samples'])
    dataset = dataset_of(path, LOAD, SMALL, BOXES, PACK)
    sample = dataset[0]['data_samples']
    sample.set_metainfo(dict(img_shape=(1, 2)))
    with pytest.raises(ValueError, match=r'has the img_shape \(1, 2\), but its annot'):
        ImageAnnotations(dataset, 'val').as_image(sample)


def test_models_that_cannot(tmp_path):
    """An error of the model names the image and what may be missing; TTA is refused."""
    path = write_lake(tmp_path / 'lake')
    hook, runner = _hook_on(path, LOAD, BOXES, PACK, model=Net())
    hook.before_val_epoch(runner)
    item = runner.val_loop.dataloader.dataset[0]
    batch = {'inputs': [item['inputs'][:1]], 'data_samples': [item['data_samples']]}
    with pytest.raises(RuntimeError, match=r'cannot compute the loss of deeplake://.*with_'):
        hook.before_val_iter(runner, 0, batch)
    runner.model = Tta.__new__(Tta)
    with pytest.raises(ValueError, match='leave out --tta or the hook'):
        hook.before_test_epoch(runner)


def test_broken_images_have_no_loss(tmp_path):
    """A black image that stands in for a broken one is left out of the mean."""
    rows = [row(number) for number in range(3)]
    rows[1]['images'] = rows[1]['images'][:200]
    path = write_lake(tmp_path / 'lake', rows)
    net = Net()
    hook, runner = _hook_on(path, LOAD, BOXES, PACK, model=net)
    dataset = dataset_of(path, LOAD, BOXES, PACK, on_broken_image='skip')
    runner.val_loop.dataloader.dataset = dataset
    hook.before_val_epoch(runner)
    for index in range(3):
        item = dataset[index]
        hook.before_val_iter(runner, index, {key: [value] for key, value in item.items()})
    metrics: dict[str, float] = {}
    hook.after_val_epoch(runner, metrics)
    losses = [
        losses_of(net, dataset[index]['inputs'], object(), False)['loss']
        for index in (0, 2)
    ]
    assert metrics['val/loss'] == sum(losses) / 2


def test_assigners_are_left_as_they_were():
    """Heads such as Dynamic R-CNN's change thresholds of plain objects as they learn."""
    head = torch.nn.Module()
    head.assigner = assigner = MaxIoUAssigner(pos_iou_thr=0.5, neg_iou_thr=0.5)
    before = _attributes_of(head)
    assigner.pos_iou_thr, assigner.new = 0.9, 1
    _restore(head, before)
    assert head.assigner is assigner and assigner.pos_iou_thr == 0.5
    assert not hasattr(assigner, 'new')
