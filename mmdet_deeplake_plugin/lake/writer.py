"""Writes a lake for detection: the one module of the tools that knows Deep Lake.

The result has one row an image and one commit. Either it is complete or it is
not there:

- On a local disk it is written beside its destination and renamed at the end
  (see ``staging``), so a failure keeps the lake that was to be replaced.
- Elsewhere (``s3://``, ``al://``, ``mem://`` ...) nothing can be renamed. The
  old lake is deleted when the first new row is about to be written, that is
  after the input was checked, and a half-written new one is deleted. A storage
  failure in mid-write then loses the old lake: convert to a new url if that
  matters.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import deeplake
import deeplake.types as types
from mmengine.logging import print_log

from mmdet_deeplake_plugin.utils.atomic_folder import atomic_folder
from mmdet_deeplake_plugin.version import __version__

MAX_BATCH_ROWS = 64
MAX_BATCH_BYTES = 64 * 2**20

Row = Mapping[str, Any]


@dataclass(frozen=True)
class LakeLayout:
    """Columns and metadata of a lake.

    A row holds ``images`` (encoded bytes, stored verbatim), ``boxes`` ``(N, 4)``
    in pixels, ``categories`` ``(N,)`` (indices into ``class_names``), each name
    of ``per_box`` ``(N,)``, each name of ``texts``, ``image_id``, ``file_name``,
    ``width``, ``height``, and ``seg_map`` (a PNG, stored verbatim) if there are maps.

    Args:
        converter: Module that writes the lake, such as ``'from_coco'``.
        annotation_style: ``'coco'``, ``'voc'`` or ``'panoptic'``.
        box_format: ``'ltwh'`` (left, top, width, height) or ``'ltrb'`` (left,
            top, right, bottom).
        image_compression: ``'jpeg'`` or ``'png'``.
        class_names: Name of each label.
        per_box: Further columns with one number a box: name to numpy dtype.
        text_ids: Whether ``image_id`` holds strings instead of 64-bit integers.
        category_metadata: Further metadata of the column ``categories``.
        texts: Further columns with one text an image.
        image_metadata: Metadata of the column ``images``.
        map_metadata: Metadata of the column ``seg_map``; ``None`` if there are no maps.
        text_metadata: Metadata of columns in ``texts``: name to metadata.
    """

    converter: str
    annotation_style: str
    box_format: str
    image_compression: str
    class_names: list[str]
    per_box: dict[str, str]
    text_ids: bool
    category_metadata: dict[str, Any] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    image_metadata: dict[str, Any] = field(default_factory=dict)
    map_metadata: dict[str, Any] | None = None
    text_metadata: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def signature(self) -> str:
        """Tool and version that wrote the lake."""
        return f'mmdet_deeplake_plugin.tools.{self.converter} {__version__}'


def check_dest(dest: str, overwrite: bool) -> None:
    """Fails early if a lake cannot be written to ``dest``.

    Args:
        dest: Any Deep Lake url: a folder, ``file://``, ``s3://``, ``mem://`` ...
        overwrite: Whether an existing lake may be replaced.

    Raises:
        FileExistsError: If ``dest`` holds a lake and ``overwrite`` is false, or
            holds anything else than a lake.
        ValueError: If ``dest`` names no place to write to.
        OSError: If the storage cannot be asked.
    """
    url, folder = _place(dest)
    if _holds_lake(url):
        if not overwrite:
            raise FileExistsError(
                f'DEST {dest} already holds a lake; pass --overwrite to replace it'
            )
    elif folder is not None and folder.exists():
        if not folder.is_dir() or any(folder.iterdir()):
            raise FileExistsError(
                f'DEST {dest} exists and is neither a lake nor an empty folder; '
                'choose another place'
            )


def write_lake(
    dest: str,
    layout: LakeLayout,
    rows: Iterable[Row],
    message: str,
    overwrite: bool = False,
) -> None:
    """Writes ``rows`` in their order as a new lake with one commit.

    Rows are drawn from ``rows`` as they are written, at most 64 rows or about
    64 MiB of image bytes at a time, so a generator keeps memory bounded.

    Args:
        dest: Any Deep Lake url.
        layout: Columns and metadata.
        rows: What each row holds, see :class:`LakeLayout`.
        message: Message of the commit.
        overwrite: Whether an existing lake is replaced.

    Raises:
        FileExistsError, ValueError: As in :func:`check_dest`.
        OSError: If the storage fails.
    """
    check_dest(dest, overwrite)
    url, folder = _place(dest)
    if folder is not None:
        with atomic_folder(folder, replace=overwrite) as partial:
            with closing(_NewLake(str(partial), layout)) as lake:
                lake.fill(rows, message)
        return
    if _holds_lake(url):
        _delete(url)
    new_lake = _NewLake(url, layout)
    try:
        with closing(new_lake):
            new_lake.fill(rows, message)
    except BaseException:
        _discard(url)
        raise


def _place(dest: str) -> tuple[str, Path | None]:
    """The url for Deep Lake and, if ``dest`` is local, its absolute path."""
    path = dest[len('file://') :] if dest.startswith('file://') else dest
    if re.match(r'[A-Za-z][A-Za-z0-9+.-]*://', path):
        url, folder = path, None
    else:
        folder = Path(path).expanduser().resolve()
        url = str(folder)
    if not path or '@' in url:
        raise ValueError(
            f"DEST {dest!r} is no place to write a lake to: give a path without '@', "
            'which Deep Lake reads as the start of a branch or tag'
        )
    return url, folder


class _NewLake:
    """A lake that is being written.

    Deep Lake's handle writes what is uncommitted when it is destroyed, even if
    the folder was deleted meanwhile, which then is there again. So it must be
    gone before the lake is renamed or deleted: it lives in this object alone, not
    in local variables, which the traceback of an exception keeps alive.
    """

    def __init__(self, url: str, layout: LakeLayout) -> None:
        with _storage_errors(f'cannot create a lake at {url}'):
            self._dataset = deeplake.create(url)
        self._layout = layout

    def close(self) -> None:
        """Destroys the handle."""
        del self._dataset

    def fill(self, rows: Iterable[Row], message: str) -> None:
        """Writes columns, metadata and rows, and commits."""
        columns = _column_types(self._layout)
        with _storage_errors('cannot create the columns'):
            for name, column_type in columns.items():
                self._dataset.add_column(name, column_type)
            self._write_metadata()
        done = 0
        for batch in _batches(rows):
            with _storage_errors(f'cannot write rows {done} to {done + len(batch)}'):
                self._dataset.append(
                    {name: [row[name] for row in batch] for name in columns}
                )
            done += len(batch)
        with _storage_errors('cannot commit'):
            self._dataset.commit(f'{message} ({self._layout.signature})')

    def _write_metadata(self) -> None:
        style = self._layout.annotation_style
        # Not in the lake's own metadata, which has no versions.
        self._dataset['boxes'].metadata['annotation_style'] = style
        self._dataset.metadata['converter'] = self._layout.signature
        values = {
            'class_names': list(self._layout.class_names),
            **self._layout.category_metadata,
        }
        for key, value in values.items():
            self._dataset['categories'].metadata[key] = value
        for key, value in self._layout.image_metadata.items():
            self._dataset['images'].metadata[key] = value
        for key, value in (self._layout.map_metadata or {}).items():
            self._dataset['seg_map'].metadata[key] = value
        for name, metadata in self._layout.text_metadata.items():
            for key, value in metadata.items():
                self._dataset[name].metadata[key] = value


def _column_types(layout: LakeLayout) -> dict[str, Any]:
    per_box = {name: types.Array(dtype, 1) for name, dtype in layout.per_box.items()}
    # Any PNG is stored verbatim: 16-bit, with a palette or colours too.
    maps = {'seg_map': types.SegmentMask(sample_compression='png')}
    return {
        'images': types.Image(dtype='uint8', sample_compression=layout.image_compression),
        # Doubles: float32 corners differ from CocoDataset's in the last bit.
        'boxes': types.BoundingBox(
            dtype='float64', format=layout.box_format, bbox_type='pixel'
        ),
        'categories': types.ClassLabel(types.Array('int32', 1)),
        **per_box,
        **{name: types.Text() for name in layout.texts},
        **(maps if layout.map_metadata is not None else {}),
        'image_id': types.Text() if layout.text_ids else types.Int64(),
        'file_name': types.Text(),
        'width': types.Int32(),
        'height': types.Int32(),
    }


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row['images']) + len(row.get('seg_map', b''))
        if len(batch) >= MAX_BATCH_ROWS or size >= MAX_BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _delete(dest: str) -> None:
    with _storage_errors(f'cannot delete the lake at {dest}'):
        deeplake.delete(dest)


def _holds_lake(dest: str) -> bool:
    with _storage_errors(f'cannot tell whether {dest} holds a lake'):
        return bool(deeplake.exists(dest))


def _discard(dest: str) -> None:
    """Deletes a half-written lake; if that fails too, says so and goes on."""
    try:
        _delete(dest)
    except OSError as error:
        print_log(
            f'DEST {dest} is incomplete and could not be deleted, delete it by '
            f'hand: {error}',
            logger='current',
            level=logging.ERROR,
        )


@contextmanager
def _storage_errors(what: str) -> Iterator[None]:
    """Turns Deep Lake's errors, which share no base class, into ``OSError``."""
    try:
        yield
    except Exception as error:
        raise OSError(f'{what}: {error}') from error
