"""Lakes of many stored chunks, whose images tell their row, and loaders over them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmengine.fileio import get
from torch.utils.data import DataLoader

from helpers.lakes import (
    CLASSES,
    COLUMNS,
    HEIGHT,
    WIDTH,
    open_lake,
    picture,
    write_columns,
)
from mmdet_deeplake_plugin.lake import find_lake

_JPEG = picture(9)


def image(number: int, size: int = 8000) -> bytes:
    """A JPEG of about ``size`` bytes that no other row has."""
    noise = np.random.default_rng(number).bytes(size)
    comments = [noise[start : start + 60_000] for start in range(0, size, 60_000)]
    marked = [b'\xff\xfe' + (len(c) + 2).to_bytes(2, 'big') + c for c in comments]
    return _JPEG[:2] + b''.join(marked) + _JPEG[2:]


def write_chunked(
    path: Path | str, sizes: Sequence[int], image_size: int = 8000, **creds: Any
) -> str:
    """Writes a lake with a stored chunk for each of ``sizes``, so many rows in each.

    Row ``i`` has the image :func:`image` of ``i``, the id ``i`` and one box.
    """
    batches, start = [], 0
    for size in sizes:
        numbers = range(start, start + size)
        start += size
        batches.append(
            {
                'images': [image(number, image_size) for number in numbers],
                'boxes': [np.array([[1.0, 2.0, 10.0, 12.0]])] * size,
                'categories': [
                    np.array([number % len(CLASSES)], np.int32) for number in numbers
                ],
                'image_id': list(numbers),
                'file_name': [f'{number}.jpg' for number in numbers],
                'width': [WIDTH] * size,
                'height': [HEIGHT] * size,
            }
        )
    return write_columns(path, COLUMNS, batches, **creds)


def rewrite_in_chunks(source: str, path: Path, rows_of_a_chunk: int) -> None:
    """Writes a lake made by ``from_coco`` anew, with so many rows in a stored chunk."""
    rows = open_lake(source, writable=False)
    types = {column.name: column.dtype for column in rows.schema.columns}

    def values(start: int) -> dict[str, list]:
        part = slice(start, min(start + rows_of_a_chunk, len(rows)))
        batch = {name: list(rows[name][part]) for name in types if name != 'images'}
        return {**batch, 'images': list(rows['images'].get_bytes(part))}

    write_columns(path, types, map(values, range(0, len(rows), rows_of_a_chunk)))
    written = open_lake(str(path))
    for key, value in dict(rows['categories'].metadata).items():
        written['categories'].metadata[key] = value
    written.commit()


class Seen(BaseTransform):
    """Ends a pipeline with what it saw: id, checksum, and what its reader held."""

    def transform(self, results: dict) -> dict:
        """``img_id``, ``crc`` of the bytes, ``held`` bytes of chunks, ``worker``."""
        path = results['img_path']
        content = get(path)
        reader = find_lake(path)[0].reader
        cache = reader and reader.cache
        return {
            'img_id': results['img_id'],
            'crc': zlib.crc32(content),
            'held': cache.held_bytes if cache else 0,
        }


def run(dataset: Any, sampler: Any = None, **keys: Any) -> list[dict]:
    """What a dataloader gives, sample by sample."""
    keys = {'batch_size': 8, 'collate_fn': list, **keys}
    if keys.get('num_workers'):
        keys.setdefault('multiprocessing_context', 'fork')
    return [
        seen for batch in DataLoader(dataset, sampler=sampler, **keys) for seen in batch
    ]


def intact(seen: list[dict], image_size: int = 8000) -> bool:
    """Whether every sample has the bytes that were written for its id."""
    return all(
        each['crc'] == zlib.crc32(image(each['img_id'], image_size)) for each in seen
    )


@TRANSFORMS.register_module()
class Seen3(BaseTransform):
    """Mixes a sample with the three before it, as a mosaic takes other images."""

    def get_indexes(self, dataset: Any) -> list[int]:
        """Indices of the other samples."""
        return np.random.default_rng(0).integers(0, len(dataset), 3).tolist()

    def transform(self, results: dict) -> list[dict]:
        """All samples that went into it, its own first."""
        others = results.pop('mix_results')
        return [results, *others]


@TRANSFORMS.register_module()
class Draw(BaseTransform):
    """Draws as Mosaic and MixUp do, and notes what it drew: ``mixed``.

    Args:
        count: How many others it takes.
        noted: Whether to note the ids of all that it could have drawn: ``from``.
    """

    def __init__(self, count: int, noted: bool = False) -> None:
        self.count, self.noted = count, noted

    def get_indexes(self, dataset: Any) -> list[int]:
        """Indices, and all that might have been."""
        every = range(len(dataset) if self.noted else 0)
        self.from_ids = sorted(dataset.get_data_info(i)['img_id'] for i in every)
        return [np.random.randint(0, len(dataset)) for _ in range(self.count)]

    def transform(self, results: dict) -> dict:
        """The sample with those that it was mixed with."""
        mixed = results.pop('mix_results')
        found = [*results.get('mixed', []), *mixed]
        return {**results, 'mixed': found, 'from': self.from_ids}
