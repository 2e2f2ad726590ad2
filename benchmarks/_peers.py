"""The other ways of streaming from object storage: how each writes and reads the data.

All give the same JPEGs and boxes to the same pipeline, in batches through a dataloader of
the same number of workers, shuffled as each does by default. Their shards are about 8 MB,
as Deep Lake's chunks: the data are small, and of larger ones there would be too few.
"""

from __future__ import annotations

import io
import json
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from _children import NotRunError
from _contenders import LOADERS, coco, collate, sample_of
from _data import Data
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmengine.dataset import Compose
from mmengine.fileio import LocalBackend, register_backend
from torch.utils.data import DataLoader, Dataset

SHARD_BYTES = 8 << 20
BUCKET = 'lakes'
Transforms = list[dict[str, Any]]


@TRANSFORMS.register_module()
class DecodeBytes(BaseTransform):
    """Takes the place of ``LoadImageFromFile`` for samples that hold a JPEG."""

    def transform(self, results: dict) -> dict:
        """Adds the keys that ``LoadImageFromFile`` adds."""
        results['img'] = mmcv.imfrombytes(results.pop('jpeg'))
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


def pipeline_of(transforms: Transforms) -> Compose:
    """The pipeline for samples that hold a JPEG."""
    return Compose([dict(type='DecodeBytes'), LOADERS[1], *transforms])


def rows_of(data: Data) -> Iterator[dict[str, Any]]:
    """What the peers store of each image."""
    found = json.loads(Path(data.ann_file).read_text())
    boxes: dict[int, list[Any]] = {image['id']: [] for image in found['images']}
    for annotation in found['annotations']:
        boxes[annotation['image_id']].append(annotation)
    for image in found['images']:
        own = boxes[image['id']]
        yield {
            'jpeg': Path(data.images, image['file_name']).read_bytes(),
            'boxes': np.array([each['bbox'] for each in own], np.float64).tobytes(),
            'labels': np.array(
                [each['category_id'] - 1 for each in own], np.int64
            ).tobytes(),
            'id': image['id'],
        }


def restored(row: dict[str, Any]) -> dict[str, Any]:
    """The sample of a stored row."""
    boxes = np.frombuffer(row['boxes'], np.float64)
    labels = np.frombuffer(row['labels'], np.int64)
    return sample_of(boxes, labels, int(row['id']), jpeg=row['jpeg'])


# ----------------------------------------------------------------------------- writing


def write_mds(data: Data) -> None:
    """Writes the shards of MosaicML Streaming."""
    streaming = _import('streaming')
    columns = {'jpeg': 'bytes', 'boxes': 'bytes', 'labels': 'bytes', 'id': 'int'}
    folder = str(data.folder / 'mds')
    with streaming.MDSWriter(
        out=folder, columns=columns, size_limit=SHARD_BYTES
    ) as writer:
        for row in rows_of(data):
            writer.write(row)


def write_litdata(data: Data) -> None:
    """Writes the chunks of LitData."""
    _import('litdata')
    from litdata.streaming.writer import BinaryWriter

    folder = data.folder / 'litdata'
    folder.mkdir()
    writer = BinaryWriter(str(folder), chunk_bytes=SHARD_BYTES)
    for number, row in enumerate(rows_of(data)):
        writer[number] = row
    writer.done()
    writer.merge()


def write_wds(data: Data) -> None:
    """Writes the tar files of WebDataset."""
    wds = _import('webdataset')
    folder = data.folder / 'wds'
    folder.mkdir()
    with wds.ShardWriter(f'{folder}/%06d.tar', maxsize=SHARD_BYTES, verbose=0) as writer:
        for row in rows_of(data):
            writer.write(
                {
                    '__key__': f'{row["id"]:012d}',
                    'jpg': row['jpeg'],
                    'boxes': row['boxes'],
                    'labels': row['labels'],
                }
            )


WRITERS: dict[str, Callable[[Data], None]] = {
    'mds': write_mds,
    'litdata': write_litdata,
    'wds': write_wds,
}


# ----------------------------------------------------------------------------- reading


def mds_loader(
    data: Data, transforms: Transforms, cache: str, creds: dict[str, str], **keys: Any
) -> DataLoader:
    """MosaicML Streaming.

    Args:
        data: The data.
        transforms: Transforms behind the loaders.
        cache: An empty folder.
        creds: Deep Lake's credentials of the server.
        keys: Batch size and workers of the dataloader.
    """
    streaming = _import('streaming')
    # What a run that was ended left behind lets the next one wait for a minute.
    streaming.base.util.clean_stale_shared_memory()
    for left in Path('/dev/shm').glob('[0-9][0-9][0-9][0-9][0-9][0-9]_*'):
        left.unlink(missing_ok=True)
    os.environ['S3_ENDPOINT_URL'] = creds['endpoint_url']
    _export(creds)
    pipeline = pipeline_of(transforms)

    class Rows(streaming.StreamingDataset):  # type: ignore[name-defined,misc]
        def __getitem__(self, index: int) -> Any:
            return pipeline(restored(super().__getitem__(index)))

    dataset = Rows(
        remote=f's3://{BUCKET}/mds',
        local=cache,
        shuffle=True,
        batch_size=keys['batch_size'],
    )
    for stream in dataset.streams:
        # Else the workers inherit a connection, and mix up what comes through it.
        stream._downloader.clean_up()
    return DataLoader(dataset, collate_fn=collate, **keys)


def litdata_loader(
    data: Data, transforms: Transforms, cache: str, creds: dict[str, str], **keys: Any
) -> DataLoader:
    """LitData; arguments as of :func:`mds_loader`."""
    litdata = _import('litdata')
    from litdata.streaming import downloader
    from litdata.streaming.resolver import Dir

    # The server speaks no TLS.
    downloader._OBSTORE_CLIENT_OPTIONS = {
        **downloader._OBSTORE_CLIENT_OPTIONS,
        'allow_http': True,
    }
    _export(creds)
    pipeline = pipeline_of(transforms)

    class Rows(litdata.StreamingDataset):  # type: ignore[name-defined,misc]
        def __getitem__(self, index: Any) -> Any:
            return pipeline(restored(super().__getitem__(index)))

    dataset = Rows(
        Dir(path=cache, url=f's3://{BUCKET}/litdata'),
        shuffle=True,
        storage_options={
            'endpoint_url': creds['endpoint_url'],
            'aws_access_key_id': creds['aws_access_key_id'],
            'aws_secret_access_key': creds['aws_secret_access_key'],
            'region_name': creds['aws_region'],
        },
    )
    keys.pop('multiprocessing_context', None)
    return litdata.StreamingDataLoader(dataset, collate_fn=collate, **keys)


def wds_loader(
    data: Data, transforms: Transforms, cache: str, creds: dict[str, str], **keys: Any
) -> DataLoader:
    """WebDataset, whose shards come by boto3; arguments as of :func:`mds_loader`."""
    wds = _import('webdataset')

    def open_s3(url: str, mode: str = 'rb', bufsize: int = 8192, **other: Any) -> Any:
        return io.BytesIO(_object(url, creds))

    sys.modules['webdataset.gopen'].gopen_schemes['s3'] = open_s3
    pipeline = pipeline_of(transforms)

    def prepare(row: dict[str, Any]) -> Any:
        return pipeline(restored({**row, 'jpeg': row['jpg'], 'id': row['__key__']}))

    count = len(list((data.folder / 'wds').glob('*.tar')))
    dataset = (
        wds.WebDataset(
            f's3://{BUCKET}/wds/{{000000..{count - 1:06d}}}.tar',
            shardshuffle=100,
            empty_check=False,
        )
        .shuffle(500)
        .map(prepare)
    )
    return DataLoader(dataset, collate_fn=collate, **keys)


class S3Backend(LocalBackend):
    """MMEngine's file backend for ``s3://``, by boto3."""

    creds: dict[str, str]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()

    def get(self, filepath: Any) -> bytes:
        """Bytes of an object."""
        return _object(str(filepath), self.creds)

    def join_path(self, filepath: Any, *filepaths: Any) -> str:
        """Joins parts of a path."""
        return '/'.join([str(filepath).rstrip('/'), *map(str, filepaths)])


def coco_on_s3(data: Data, transforms: Transforms, creds: dict[str, str]) -> Dataset:
    """``CocoDataset`` with its JSON on the disk and its images on the server."""
    S3Backend.creds = creds
    register_backend('s3', S3Backend, force=True, prefixes='s3')
    images = dict(img=f's3://{BUCKET}/images')
    return coco(data, transforms, data_prefix=images)


# ----------------------------------------------------------------------------- private

_clients: dict[int, Any] = {}


def _object(url: str, creds: dict[str, str]) -> bytes:
    import boto3

    if os.getpid() not in _clients:
        _clients[os.getpid()] = boto3.client(
            's3',
            endpoint_url=creds['endpoint_url'],
            aws_access_key_id=creds['aws_access_key_id'],
            aws_secret_access_key=creds['aws_secret_access_key'],
            region_name=creds['aws_region'],
        )
    bucket, _, key = url.partition('://')[2].partition('/')
    answer = _clients[os.getpid()].get_object(Bucket=bucket, Key=key)
    return bytes(answer['Body'].read())


def _export(creds: dict[str, str]) -> None:
    os.environ['AWS_ACCESS_KEY_ID'] = creds['aws_access_key_id']
    os.environ['AWS_SECRET_ACCESS_KEY'] = creds['aws_secret_access_key']
    os.environ['AWS_DEFAULT_REGION'] = creds['aws_region']


def _import(name: str) -> Any:
    """A peer's package."""
    if name == 'streaming':
        _stand_in_for_torchvision()
    try:
        return __import__(name)
    except ImportError as error:
        raise NotRunError(f'{error} (make .venv-bench/.ready)') from error


def _stand_in_for_torchvision() -> None:
    """Lets ``streaming`` be imported, whose ready-made data sets want torchvision.

    That has no build for every torch, and nothing here needs it.
    """
    from importlib.machinery import ModuleSpec

    if 'torchvision' in sys.modules:
        return
    names = ('', '.datasets', '.transforms', '.transforms.functional')
    for name in (f'torchvision{rest}' for rest in names):
        module = types.ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        sys.modules[name] = module
    sys.modules['torchvision.datasets'].VisionDataset = object  # type: ignore[attr-defined]
    sys.modules['torchvision.transforms.functional'].to_tensor = None  # type: ignore[attr-defined]
