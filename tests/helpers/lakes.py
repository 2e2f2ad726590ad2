"""Writes small lakes for the tests: the only test module that imports Deep Lake."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import deeplake
import numpy as np
from deeplake import types as T

WIDTH, HEIGHT = 64, 40
CLASSES = ('cat', 'dog', 'owl')
# Columns of a lake as the converters write it; a test changes what it is about.
COLUMNS = {
    'images': T.Image(sample_compression='jpeg'),
    'boxes': T.BoundingBox(dtype='float64', format='ltwh', bbox_type='pixel'),
    'categories': T.ClassLabel(T.Array('int32', 1)),
    'image_id': T.Int64(),
    'file_name': T.Text(),
    'width': T.Int32(),
    'height': T.Int32(),
}
# Other types that a column may have, by what a test calls them.
TYPES = {
    'image': T.Image(sample_compression='jpeg'),
    'labels': T.ClassLabel(T.Array('int32', 1)),
    'label': T.ClassLabel('int32'),
    'label sequence': T.Sequence(T.ClassLabel('int32')),
    'text': T.Text(),
    'int': T.Int64(),
    'int or null': T.Nullable(T.Int64()),
    'floats': T.Array('float64', 1),
    'float32s': T.Array('float32', 1),
    'ints': T.Array('int32', 1),
    'table': T.Array('float64', 2),
    'bitmaps': T.BinaryMask(),
    'bitmaps or null': T.Nullable(T.BinaryMask()),
    'polygons': T.Polygon(),
    'polygons or null': T.Nullable(T.Polygon()),
    'text or null': T.Nullable(T.Text()),
    'map': T.SegmentMask(),
    'map or null': T.Nullable(T.SegmentMask()),
    'lz4 map': T.SegmentMask(sample_compression='lz4'),
    'png map': T.SegmentMask(sample_compression='png'),
    'map-16-bit': T.SegmentMask(dtype='uint16'),
    'map-32-bit': T.SegmentMask(dtype='int32'),
    'png image': T.Image(sample_compression='png'),
    'bytes': T.Bytes(),
    'bytes table': T.Array('uint8', 2),
    'ints table': T.Array('int32', 2),
    'colours': T.SegmentMask(dtype='uint8'),
}
# Types of image columns.
IMAGE_TYPES = {
    'jpeg': T.Image(sample_compression='jpeg'),
    'png': T.Image(sample_compression='png'),
    'png-16-bit': T.Image(dtype='uint16', sample_compression='png'),
    'uncompressed': T.Image(sample_compression='null'),
    'uncompressed-16-bit': T.Image(dtype='uint16', sample_compression='null'),
    'array': T.Array('uint8', 3),
    'floats': T.Array('float32', 3),
    'bytes': T.Bytes(),
    'nullable': T.Nullable(T.Image(sample_compression='png')),
    'nullable-jpeg': T.Nullable(T.Image(sample_compression='jpeg')),
    'nullable-uncompressed': T.Nullable(T.Image(sample_compression='null')),
    'link': T.Link(T.Image(sample_compression='jpeg')),
    'nullable-link': T.Nullable(T.Link(T.Image(sample_compression='jpeg'))),
}


def box_type(
    order: str | None, unit: str | None, dtype: str = 'float64', nullable: bool = False
) -> Any:
    """Type of a box column, ``ltrb``/``ltwh``/``ccwh`` in ``pixel``/``fractional``."""
    boxes = T.BoundingBox(dtype=dtype, format=order, bbox_type=unit)
    return T.Nullable(boxes) if nullable else boxes


def picture(shade: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A JPEG whose pixels are all close to one shade of grey, 0 to 255."""
    pixels = np.full((height, width, 3), shade, np.uint8)
    return cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def row(number: int, boxes: Any = ((1, 2, 10, 12),), labels: Any = None) -> dict:
    """A row whose id, name and shade of grey tell its number."""
    boxes = np.asarray(boxes, dtype=np.float64)
    count = len(boxes)
    labels = (
        [(number + i) % len(CLASSES) for i in range(count)] if labels is None else labels
    )
    return {
        'images': picture(number % 250),
        'boxes': boxes,
        'categories': np.asarray(labels, np.int32),
        'image_id': number,
        'file_name': f'{number:06d}.jpg',
        'width': WIDTH,
        'height': HEIGHT,
    }


def write_lake(
    path: Path | str,
    rows: Sequence[Mapping[str, Any]] | None = None,
    columns: Mapping[str, Any] | None = None,
    class_names: Sequence[str] | None = CLASSES,
    metadata: Mapping[str, Any] | None = None,
    **creds: Any,
) -> str:
    """Writes a lake and returns its path.

    Args:
        path: Where.
        rows: Values by column; six plain rows by default.
        columns: Column -> type on top of ``COLUMNS``; ``None`` drops one.
        class_names: Names of the labels; ``None`` stores none.
        metadata: Metadata of the column ``boxes``.
        creds: Storage credentials.
    """
    types = {**COLUMNS, **(columns or {})}
    types = {name: dtype for name, dtype in types.items() if dtype is not None}
    rows = [row(number) for number in range(6)] if rows is None else rows
    lake = deeplake.create(str(path), **({'creds': creds} if creds else {}))
    for name, dtype in types.items():
        lake.add_column(name, dtype)
    for key, value in (metadata or {}).items():
        lake['boxes'].metadata[key] = value
    if class_names is not None and 'categories' in types:
        lake['categories'].metadata['class_names'] = list(class_names)
    if rows:
        lake.append({name: [values[name] for values in rows] for name in types})
    lake.commit()
    return str(path)


def write_columns(
    path: Path | str, columns: Mapping[str, Any], batches: Any, **creds: Any
) -> str:
    """Writes batches of columns, each in a commit and so in stored chunks of its own."""
    lake = deeplake.create(str(path), **({'creds': creds} if creds else {}))
    for name, dtype in columns.items():
        lake.add_column(name, dtype)
    lake['categories'].metadata['class_names'] = list(CLASSES)
    for batch in batches:
        lake.append(batch)
        lake.commit()
    return str(path)


def change(path: str, delete: Sequence[int] = (), update: Any = ()) -> None:
    """Deletes rows, then replaces images: pairs of row and bytes, in a commit."""
    lake = deeplake.open(path)
    for number in sorted(delete, reverse=True):
        lake.delete(number)
    for number, content in update:
        lake[number]['images'] = content
    lake.commit()


def add_columns(path: str, columns: Mapping[str, tuple[Any, Sequence[Any]]]) -> None:
    """Adds columns to a lake: name -> type, and a value for each row."""
    lake = deeplake.open(path)
    for name, (dtype, values) in columns.items():
        lake.add_column(name, dtype)
        for number, value in enumerate(values):
            lake[number][name] = value
    lake.commit()


def deeplake_from_coco(ann_file: str, images: str, path: Path | str) -> str:
    """Imports COCO files by Deep Lake's own converter and returns the lake's path."""
    deeplake.from_coco(
        images_directory=images,
        annotation_files={'instances': ann_file},
        dest=str(path),
        file_to_group_mapping={'instances': ''},
    )
    return str(path)


def open_lake(path: str, writable: bool = True) -> Any:
    """Opens a lake."""
    return (deeplake.open if writable else deeplake.open_read_only)(path)


def image_bytes(path: str, creds: Mapping[str, str] | None = None) -> list[bytes]:
    """The stored images of a lake, read one by one."""
    lake = deeplake.open_read_only(path, **({'creds': dict(creds)} if creds else {}))
    return [lake['images'].get_bytes(number) for number in range(len(lake))]


def append(path: str, numbers: Sequence[int]) -> str:
    """Appends rows in a commit and returns its version id."""
    lake = deeplake.open(path)
    add_rows(lake, numbers)
    lake.commit()
    return lake.version


def add_rows(lake: Any, numbers: Sequence[int]) -> None:
    """Appends rows to a lake that is open for writing, without a commit."""
    rows = [row(number) for number in numbers]
    lake.append({name: [values[name] for values in rows] for name in COLUMNS})


def version(path: str) -> str:
    """Id of the newest version."""
    return deeplake.open_read_only(path).version


def tag(path: str, query: str, name: str, fixed: bool = True) -> None:
    """Saves the rows of a query under a name."""
    deeplake.open(path).query(query).tag(name, fixed_version=fixed)


def branch(path: str, name: str, numbers: Sequence[int]) -> None:
    """Makes a branch and appends rows to it."""
    main = deeplake.open(path)
    main.branch(name)
    lake = main.branches[name].open()  # `open(path@name)` would write to main
    add_rows(lake, numbers)
    lake.commit()


class Writer:
    """A process that appends two rows to a lake and deletes its first, on demand."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def wait(self, commits: int = 1) -> None:
        """Returns after so many more commits."""
        assert self._process.stdin and self._process.stdout
        for _ in range(commits):
            self._process.stdin.write('go\n')
            self._process.stdin.flush()
            answer = self._process.stdout.readline().strip()
            assert answer == 'done', f'the writer died: {answer!r}'


@contextmanager
def writer(path: str) -> Iterator[Writer]:
    """Starts a process that changes a lake whenever it is told to."""
    process = subprocess.Popen(
        [sys.executable, __file__, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Writer(process)
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(timeout=60)


def _churn(path: str) -> None:
    lake = deeplake.open(path)
    for count, _ in enumerate(sys.stdin):
        add_rows(lake, [200 + count % 40] * 2)
        lake.delete(0)
        lake.commit()
        print('done', flush=True)


if __name__ == '__main__':
    _churn(sys.argv[1])
