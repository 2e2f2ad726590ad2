"""Write a lake for detection, completely or not at all.

The lake has one row per image and one commit.

- On a local disk it is written beside its destination and renamed at the end (see
  ``utils/atomic_folder.py``), so a failure keeps the lake that was to be replaced.
- Other storage (``s3://``, ``al://``, ``mem://`` ...) cannot rename. The old lake is
  deleted right before the first new row is written, after the input was checked, and a
  half-written new lake is deleted. If the storage fails in the middle of writing, the old
  lake is lost; write to a new URL if that matters.
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

from ..utils.atomic_folder import atomic_folder
from ..version import __version__
from .columns import names
from .connection.credentials import Credentials, resolved_secrets
from .connection.redaction import redact
from .connection.retry import check_connection
from .connection.spec import LakeSpec, address_of

MAX_BATCH_ROWS = 64
MAX_BATCH_BYTES = 64 * 2**20

Row = Mapping[str, Any]


@dataclass(frozen=True)
class LakeLayout:
    """Columns and metadata of a lake.

    A row has ``images`` (encoded bytes, stored verbatim), ``boxes`` of shape ``(N, 4)``
    in pixels, ``categories`` of shape ``(N,)`` (indices into ``class_names``),
    ``image_id``, ``file_name``, ``width``, ``height``, if there are maps ``seg_map`` (a
    PNG, stored verbatim), and the further columns below.

    Args:
        converter: Module that writes the lake, such as ``'from_coco'``.
        annotation_style: ``annotation_style`` of a config.
        box_format: ``'ltwh'`` (left, top, width, height) or ``'ltrb'`` (left, top,
            right, bottom).
        image_compression: ``'jpeg'`` or ``'png'``.
        class_names: Name of each label.
        per_box: Further columns of shape ``(N,)``: name to numpy dtype.
        text_ids: Whether image ids are strings instead of 64-bit integers.
        texts: Further columns with one text per image.
        has_maps: Whether there is a segmentation map per image.
        extra_boxes: Further columns of shape ``(N, 4)``, in ``box_format``.
        per_image: Further columns with a list of numbers per image: name to dtype.
        integers: Further columns with one integer per image.
        metadata: Further metadata of columns: name of the column to metadata.
    """

    converter: str
    annotation_style: str
    box_format: str
    image_compression: str
    class_names: list[str]
    per_box: dict[str, str]
    text_ids: bool
    texts: tuple[str, ...] = ()
    has_maps: bool = False
    extra_boxes: tuple[str, ...] = ()
    per_image: dict[str, str] = field(default_factory=dict)
    integers: tuple[str, ...] = ()
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)


def check_dest(dest: str, overwrite: bool, credentials: Any = None) -> None:
    """Check early that a lake can be written to ``dest``.

    Args:
        dest: Any Deep Lake URL: a folder, ``file://``, ``s3://``, ``mem://`` ...
        overwrite: Whether an existing lake may be replaced.
        credentials: ``deeplake_credentials`` of a config; ``None``: the environment.

    Raises:
        FileExistsError: If ``dest`` contains a lake and ``overwrite`` is false, or
            contains anything other than a lake.
        ValueError: If ``dest`` is not a place to write to.
        OSError: If the storage cannot be accessed.
    """
    url, folder = _locate(dest)
    if _contains_lake(url, _arguments(url, credentials)):
        if not overwrite:
            raise FileExistsError(
                f'DEST {dest} already contains a lake; pass --overwrite to replace it'
            )
    elif folder is not None and folder.exists():
        if not folder.is_dir() or any(folder.iterdir()):
            raise FileExistsError(
                f'DEST {dest} exists and is neither a lake nor an empty folder; '
                'choose another path'
            )


def write_lake(
    dest: str,
    layout: LakeLayout,
    rows: Iterable[Row],
    message: str,
    overwrite: bool = False,
    credentials: Any = None,
) -> None:
    """Write ``rows`` in their order as a new lake with one commit.

    Rows are consumed as they are written, at most 64 rows or about 64 MiB of image bytes
    at a time, so a generator keeps memory bounded.

    Args:
        dest: As in :func:`check_dest`.
        layout: Columns and metadata.
        rows: Values of each row, see :class:`LakeLayout`.
        message: Message of the commit.
        overwrite: As in :func:`check_dest`. Defaults to False.
        credentials: As in :func:`check_dest`.

    Raises:
        FileExistsError, ValueError, OSError: As :func:`check_dest`.
    """
    check_dest(dest, overwrite, credentials)
    url, folder = _locate(dest)
    if folder is not None:
        with atomic_folder(folder, replace=overwrite) as partial:
            with closing(_NewLake(address_of(str(partial)), {})) as lake:
                lake.fill(layout, rows, message)
        return
    arguments = _arguments(url, credentials)
    if _contains_lake(url, arguments):
        _delete(url, arguments)
    new_lake = _NewLake(url, arguments)
    try:
        with closing(new_lake):
            new_lake.fill(layout, rows, message)
    except BaseException:
        try:
            _delete(url, arguments)
        except OSError as error:
            print_log(
                f'DEST {url} is incomplete and could not be deleted; delete it '
                f'manually: {error}',
                logger='current',
                level=logging.ERROR,
            )
        raise


def _arguments(url: str, credentials: Any) -> dict[str, Any]:
    """Return the arguments of Deep Lake's functions that hold the credentials."""
    keys = Credentials.from_config(credentials)
    with _storage_errors(f'cannot reach {url}'):
        check_connection(LakeSpec(url, credentials=keys))
    return keys.resolve()


def _locate(dest: str) -> tuple[str, Path | None]:
    """Return the URL for Deep Lake and, if ``dest`` is local, its absolute path."""
    path = dest[len('file://') :] if dest.startswith('file://') else dest
    if re.match(r'[A-Za-z][A-Za-z0-9+.-]*://', path):
        url, folder = path, None
    else:
        folder = Path(path).expanduser().resolve()
        url = str(folder)
    if not path or '@' in (url if folder is None else folder.name):
        raise ValueError(
            "DEST must be a path, without '@', which Deep Lake reads as the start of a "
            f'branch or tag, got {dest!r}'
        )
    return address_of(url), folder


class _NewLake:
    """A lake that is being written.

    When a handle of Deep Lake is destroyed it writes its uncommitted data, and recreates
    the folder if that was deleted meanwhile. So the handle must be destroyed before the
    lake is renamed or deleted: only this object refers to it, and no local variables,
    which the traceback of an exception would keep alive.
    """

    def __init__(self, url: str, arguments: dict[str, Any]) -> None:
        with _storage_errors(f'cannot create a lake at {url}'):
            self._dataset = deeplake.create(url, **arguments)

    def close(self) -> None:
        """Destroy the handle."""
        del self._dataset

    def fill(self, layout: LakeLayout, rows: Iterable[Row], message: str) -> None:
        """Write columns, metadata and rows, and commit."""
        columns = _column_types(layout)
        signature = f'mmdet_deeplake_plugin.tools.{layout.converter} {__version__}'
        # The style is not in the lake's own metadata, which has no versions.
        own: dict[str, dict[str, Any]] = {
            names.BOXES: {names.ANNOTATION_STYLE: layout.annotation_style},
            names.CATEGORIES: {names.CLASS_NAMES: list(layout.class_names)},
        }
        with _storage_errors('cannot create the columns'):
            for name, column_type in columns.items():
                self._dataset.add_column(name, column_type)
            self._dataset.metadata[names.CONVERTER] = signature
            for column, values in (*own.items(), *layout.metadata.items()):
                for key, value in values.items():
                    self._dataset[column].metadata[key] = value
        done = 0
        for batch in _batches(rows):
            with _storage_errors(f'cannot write rows {done} to {done + len(batch)}'):
                self._dataset.append(
                    {name: [row[name] for row in batch] for name in columns}
                )
            done += len(batch)
        with _storage_errors('cannot commit'):
            self._dataset.commit(f'{message} ({signature})')


def _column_types(layout: LakeLayout) -> dict[str, Any]:
    lists = {**layout.per_box, **layout.per_image}
    arrays = {name: types.Array(dtype, 1) for name, dtype in lists.items()}
    # Doubles, because float32 corners differ from CocoDataset's in the last bit.
    boxes = types.BoundingBox(
        dtype='float64', format=layout.box_format, bbox_type='pixel'
    )
    # Any PNG is stored verbatim, also with 16 bits, a palette or colours.
    maps = {names.SEG_MAP: types.SegmentMask(sample_compression='png')}
    return {
        names.IMAGES: types.Image(
            dtype='uint8', sample_compression=layout.image_compression
        ),
        names.BOXES: boxes,
        names.CATEGORIES: types.ClassLabel(types.Array('int32', 1)),
        **arrays,
        **dict.fromkeys(layout.extra_boxes, boxes),
        **{name: types.Text() for name in layout.texts},
        **(maps if layout.has_maps else {}),
        **{name: types.Int64() for name in layout.integers},
        names.IMAGE_ID: types.Text() if layout.text_ids else types.Int64(),
        names.FILE_NAME: types.Text(),
        names.WIDTH: types.Int32(),
        names.HEIGHT: types.Int32(),
    }


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row[names.IMAGES]) + len(row.get(names.SEG_MAP, b''))
        if len(batch) >= MAX_BATCH_ROWS or size >= MAX_BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _delete(dest: str, arguments: dict[str, Any]) -> None:
    with _storage_errors(f'cannot delete the lake at {dest}'):
        deeplake.delete(dest, **arguments)


def _contains_lake(dest: str, arguments: dict[str, Any]) -> bool:
    with _storage_errors(f'cannot check whether {dest} contains a lake'):
        return bool(deeplake.exists(dest, **arguments))


@contextmanager
def _storage_errors(what: str) -> Iterator[None]:
    """Turn Deep Lake's errors, which do not share a base class, into ``OSError``."""
    try:
        yield
    except Exception as error:
        # Deep Lake's messages may hold signed URLs, so its errors are not chained.
        raise OSError(f'{what}: {redact(str(error), resolved_secrets())}') from None
