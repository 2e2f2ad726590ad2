"""A batch that is handed over is equal to ``pseudo_collate``'s, whatever is in it."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from helpers.samples import assert_equal, handed_over
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData

from mmdet_deeplake_plugin import deeplake_collate
from mmdet_deeplake_plugin.collate import leases
from mmdet_deeplake_plugin.collate.batch_pickle import SMALL, dumps
from mmdet_deeplake_plugin.collate.collate import hand_over
from mmdet_deeplake_plugin.collate.shared_blocks import CAPACITY, BlockPool

LARGE = (3, 200, 300)


def det_sample() -> DetDataSample:
    """A sample of detection, with all that pipelines pack."""
    sample = DetDataSample(metainfo=dict(img_id=7, flip=None, ori_shape=(480, 640)))
    sample.gt_instances = InstanceData(
        bboxes=HorizontalBoxes(torch.rand(5, 4)),
        labels=torch.arange(5),
        masks=BitmapMasks(np.random.default_rng(0).random((5, 90, 80)) > 0.5, 90, 80),
    )
    sample.ignored_instances = InstanceData(
        bboxes=torch.zeros(0, 4), masks=PolygonMasks([[np.arange(8.0)]], 90, 80)
    )
    return sample


VALUES: dict[str, Any] = {
    'image': torch.arange(np.prod(LARGE), dtype=torch.uint8).reshape(LARGE),
    'small tensor': torch.tensor([1.5, -0.0, float('nan')]),
    'scalar': torch.tensor(3),
    'no elements': torch.zeros(0, 4, dtype=torch.float16),
    'no elements of a large tensor': torch.zeros(200, 200)[:, :0],
    'bfloat16': torch.rand(LARGE).bfloat16(),
    'bool': torch.rand(LARGE) > 0.5,
    'complex': torch.rand(100, 200, dtype=torch.complex64),
    'conjugated': torch.rand(100, 200, dtype=torch.complex64).conj(),
    'imaginary': torch.rand(100, 200, dtype=torch.complex64).conj().imag,
    'transposed': torch.rand(LARGE).permute(1, 2, 0),
    'strided': torch.rand(LARGE)[:, ::2, 1::3],
    'expanded': torch.rand(300, 1).expand(300, 50),
    'sparse': torch.eye(5).to_sparse(),
    'none': [],
    'parameter': torch.nn.Parameter(torch.rand(LARGE)),
    'needs gradients': torch.rand(LARGE, requires_grad=True),
    'array': np.random.default_rng(0).random(LARGE),
    'Fortran order': np.asfortranarray(np.random.default_rng(0).random((300, 200))),
    'reversed array': np.arange(90000)[::-1],
    'small array': np.arange(5, dtype='>i2'),
    'array of one': np.array(3.5),
    'empty array': np.zeros((0, 7)),
    'texts': np.array(['a', 'ß' * 20000]),
    'structured': np.zeros(5000, [('id', 'i8'), ('name', 'U9')]),
    'dates': np.arange('2020-01', '2022-01', dtype='datetime64[D]'),
    'objects': np.array([{'a': 1}, None], dtype=object),
    'numpy scalar': np.float32(0.1),
    'nothing': None,
    'bytes': b'x' * 50000,
    'bytearray': bytearray(50000),
    'text': 'x' * 50000,
    'nested': {'a': [torch.rand(LARGE), (np.ones(LARGE), {'b': torch.rand(3)})]},
    'boxes': HorizontalBoxes(torch.rand(5000, 4)),
    'detection': det_sample(),
}


def same(left: Any, right: Any, where: str) -> None:
    """Fails unless values are equal, with types, strides and gradients."""
    if isinstance(left, torch.Tensor):
        assert left.requires_grad == right.requires_grad, where
        assert left.layout == right.layout, where
        if left.layout == torch.strided and not left.is_neg():
            assert left.stride() == right.stride(), where
        if left.is_sparse:
            left, right = left.to_dense(), right.to_dense()
        if left.is_floating_point():
            left, right = left.nan_to_num(77), right.nan_to_num(77)
    if isinstance(left, np.ndarray):
        assert right.flags.writeable, where
    assert_equal(left, right, where)


@pytest.mark.parametrize('name', VALUES)
@pytest.mark.filterwarnings('ignore:Sparse invariant checks')
def test_a_value_arrives_as_it_was(name):
    """Types, numbers, strides and gradients are equal; arrays can be written to."""
    found = handed_over({'value': [VALUES[name]] * 2})
    assert type(found) is dict and len(found['value']) == 2
    for value in found['value']:
        same(VALUES[name], value, name)


def test_a_read_only_array_arrives_writable_as_through_a_pipe():
    """PyTorch's own transfer gives a copy, which can be written to."""
    for size in (4, 90000):
        array = np.arange(size)
        array.flags.writeable = False
        found = handed_over({'array': array})['array']
        found += 1
        assert found.tolist() == (array + 1).tolist()


def test_tensors_that_share_memory_still_do():
    """A change of one shows in the other, and the memory is sent once."""
    image = torch.zeros(LARGE)
    batch = {'image': image, 'again': image, 'part': image[1]}
    pickled, buffers = dumps(batch)
    assert len(buffers) == 1 and len(pickled) < 2000
    found = handed_over(batch)
    assert found['image'] is found['again']
    found['image'] += 1
    assert found['part'].min() == 1


def test_a_batch_is_copied_once():
    """Into the block; little crosses the pipe, and what arrives shows the block."""
    images = [torch.zeros(LARGE, dtype=torch.uint8) for _ in range(8)]
    batch = {'inputs': images, 'samples': [det_sample()] * 8}
    message = pickle.dumps(hand_over(batch, BlockPool()))
    assert len(message) < 30_000
    found = pickle.loads(message)['inputs']
    (blocks,) = leases._pools.values()
    first = blocks[0].ctypes.data
    assert all(first < image.data_ptr() < first + CAPACITY for image in found)
    gaps = np.diff([image.data_ptr() for image in found])
    assert (gaps >= images[0].nbytes).all() and (gaps < images[0].nbytes + 64).all()


def test_tensors_of_one_array_keep_their_own_memory():
    """Two of them begin at one address, and have different lengths."""
    array = np.arange(40000)
    batch = {'part': torch.from_numpy(array[:10]), 'all': torch.from_numpy(array)}
    found = handed_over(batch)
    assert found['part'].tolist() == [*range(10)]
    assert torch.equal(found['all'], batch['all'])


def test_a_default_device_does_not_matter():
    """Batches are on the CPU, as those that PyTorch sends."""
    message = pickle.dumps(hand_over([torch.ones(LARGE), torch.ones(2)], BlockPool()))
    torch.set_default_device('meta')
    try:
        found = pickle.loads(message)
    finally:
        torch.set_default_device(None)
    assert [each.device.type for each in found] == ['cpu', 'cpu'] and found[0].min() == 1


def test_small_buffers_hold_no_block():
    """What is small is part of the pickle; so a kept label doesn't keep an image."""
    at_limit, below = np.zeros(SMALL, np.uint8), torch.zeros(SMALL - 1, dtype=torch.uint8)
    assert [buffer.raw().nbytes for buffer in dumps([at_limit, below])[1]] == [SMALL]


def test_a_batch_may_be_changed_in_place():
    """A data preprocessor that normalises in place changes its own batch only."""
    pool = BlockPool()
    first, second = (
        pickle.loads(pickle.dumps(hand_over([torch.ones(LARGE)], pool)))[0]
        for _ in range(2)
    )
    first.mul_(3)
    assert second.max() == 1 and first.min() == 3


def test_a_gradient_that_cannot_be_sent_is_an_error():
    """The worker raises it, so that the main process shows it."""
    with pytest.raises(RuntimeError, match='non-leaf tensor which requires_grad'):
        hand_over([torch.rand(LARGE, requires_grad=True) * 2], BlockPool())


def test_what_cannot_be_pickled_is_an_error():
    """PyTorch would lose the batch, and wait for it."""
    with pytest.raises((AttributeError, pickle.PicklingError), match='lambda'):
        hand_over([lambda: 0], BlockPool())


@dataclass
class Huge:
    """Says that it is larger than a block."""

    nbytes: int = CAPACITY

    def raw(self) -> Huge:
        """Itself."""
        return self


def test_a_batch_that_does_not_fit_takes_the_way_of_pytorch(monkeypatch):
    """It is returned as it is, and no block is used."""
    pool = BlockPool()
    assert pool.write([Huge()]) == (None, [])  # type: ignore[list-item]
    monkeypatch.setattr('mmdet_deeplake_plugin.collate.shared_blocks.CAPACITY', SMALL)
    batch = [torch.zeros(LARGE)]
    assert hand_over(batch, pool) is batch


def test_without_workers_it_is_pseudo_collate():
    """Nothing is sent, so nothing is written."""
    samples = [{'inputs': torch.rand(LARGE)}, {'inputs': torch.rand(LARGE)}]
    batch = deeplake_collate(samples)
    assert batch.keys() == {'inputs'}
    assert [found is sample['inputs'] for found, sample in zip(batch['inputs'], samples)]
    assert batch['inputs'][1] is samples[1]['inputs']
