"""What is not the fault of an image is told as what it is."""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.lakes import IMAGE_TYPES, row, write_lake
from mmcv.transforms import LoadImageFromFile
from mmdet.registry import TRANSFORMS
from mmdet.utils import register_all_modules

from mmdet_deeplake_plugin import DeepLakeDataset
from mmdet_deeplake_plugin.structures.image_check import BrokenImageError

register_all_modules()


@TRANSFORMS.register_module(name='WrongCauseLoader')
class Loader(LoadImageFromFile):
    """A loader of one's own, with a fault."""

    def __init__(self, error: type[Exception], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def transform(self, results: dict) -> dict:
        raise self.error('a fault of the loader')


@pytest.fixture()
def path(tmp_path) -> str:
    """A lake of sound JPEG images."""
    return write_lake(tmp_path / 'lake')


OTHER_BACKENDS = {
    'local': dict(type='LoadImageFromFile', backend_args=dict(backend='local')),
    'petrel': dict(
        type='LoadImageFromFile',
        backend_args=dict(backend='petrel', path_mapping={'./data/': 's3://x/'}),
    ),
    'by the old name': dict(
        type='LoadImageFromFile', file_client_args=dict(backend='disk')
    ),
    'of annotations': dict(
        type='LoadAnnotations', with_seg=True, backend_args=dict(backend='local')
    ),
    'nested': dict(
        type='RandomApply',
        transforms=[dict(type='LoadImageFromFile', backend_args=dict(backend='http'))],
    ),
}


@pytest.mark.parametrize('policy', ['raise', 'skip'])
@pytest.mark.parametrize('case', OTHER_BACKENDS)
def test_another_backend_is_named_before_the_first_image(case, policy, path):
    """It was told as a broken image, with the advice to delete the row."""
    step = OTHER_BACKENDS[case]
    inner = step['transforms'][0] if 'transforms' in step else step
    key = 'backend_args' if 'backend_args' in inner else 'file_client_args'
    text = (
        f'{key}={inner[key]!r} of {inner["type"]} must not name a backend, but names '
        f'{inner[key]["backend"]!r}: images and maps are in the lake, and their paths '
        f'begin with deeplake://; leave {key} out'
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        DeepLakeDataset(path, pipeline=[step], on_broken_image=policy)


@pytest.mark.parametrize('arguments', [None, {}, dict(backend='deeplake')])
def test_no_backend_or_our_own_is_taken(arguments, path):
    """As stock configs pass it."""
    step = dict(type='LoadImageFromFile', backend_args=arguments)
    assert DeepLakeDataset(path, pipeline=[step])[0]['img'].shape == (40, 64, 3)


@pytest.mark.parametrize('policy', ['raise', 'skip'])
@pytest.mark.parametrize('error', [PermissionError, ImportError, TypeError, OSError])
def test_the_error_of_a_loader_is_passed_on(error, policy, path):
    """With a sound image, whatever the loader raises is its own fault."""
    steps = [dict(type='WrongCauseLoader', error=error)]
    dataset = DeepLakeDataset(path, pipeline=steps, on_broken_image=policy)
    with pytest.raises(error, match='a fault of the loader'):
        dataset[0]


@pytest.mark.parametrize('policy', ['raise', 'skip'])
@pytest.mark.parametrize('decoder', ['turbojpeg', 'tifffile', 'no-such-decoder'])
def test_a_decoder_that_does_not_work_is_not_taken_for_a_broken_image(
    decoder, policy, path
):
    """Its package is missing, or it reads another format, or it does not exist."""
    steps = [dict(type='LoadImageFromFile', imdecode_backend=decoder)]
    dataset = DeepLakeDataset(path, pipeline=steps, on_broken_image=policy)
    with pytest.raises(Exception) as caught:
        dataset[0]
    assert not isinstance(caught.value, BrokenImageError)
    assert 'delete the row' not in str(caught.value)


@pytest.mark.parametrize('decoder', ['cv2', 'pillow', 'turbojpeg'])
def test_a_damaged_image_is_told_whatever_the_decoder(decoder, tmp_path):
    """No decoder can help there."""
    content = cv2.imencode(
        '.png', (np.arange(7680) % 251).astype(np.uint8).reshape(40, 64, 3)
    )
    damaged = bytearray(content[1].tobytes())
    damaged[60:120] = bytes(60)
    columns = {'images': IMAGE_TYPES['png']}
    path = write_lake(tmp_path / 'lake', [{**row(0), 'images': bytes(damaged)}], columns)
    steps = [dict(type='LoadImageFromFile', imdecode_backend=decoder)]
    dataset = DeepLakeDataset(path, pipeline=steps)
    with pytest.raises(BrokenImageError, match=f'the decoder {decoder} cannot decode it'):
        dataset[0]
