"""Read YouTube-VIS files (2019, 2021 and OVIS) as CocoVID.

A file has ``videos`` with their ``file_names``, and an annotation for each object of a
video, with a list of ``bboxes``, ``segmentations`` and ``areas``: one for each frame,
``null`` where the object is not visible. Test sets have no annotations. Ids are those
that MMDetection's ``youtubevis2coco.py`` gives.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ....utils.values import is_int, is_list, shown
from ..checks import are_dicts, read_json

_PER_FRAME = {'bboxes': 'bbox', 'segmentations': 'segmentation', 'areas': 'area'}


def read_youtube_vis(path: Path) -> dict[str, Any]:
    """Read an annotation file as the content of a CocoVID file."""
    content = _load(path)
    objects = _objects(path, content['videos'], content.get('annotations') or [])
    videos: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    num_objects = 0
    for video in content['videos']:
        size = dict(width=video['width'], height=video['height'])
        name = Path(video['file_names'][0]).parts[0]
        videos.append(dict(id=video['id'], name=name, **size))
        ids: dict[int, int] = {}
        for frame_id, file in enumerate(video['file_names']):
            image = dict(id=len(images) + 1, frame_id=frame_id, video_id=video['id'])
            images.append({**image, 'file_name': file, **size})
            for number, found in objects[video['id']]:
                own = {key: found[many][frame_id] for many, key in _PER_FRAME.items()}
                if own['bbox'] is None:
                    continue
                if None in own.values():
                    raise ValueError(
                        f'{path}: annotations[{number}] must have a segmentation and an '
                        f'area in each frame with a box, got {shown(own)} in frame '
                        f'{frame_id}; write all three, or null for all'
                    )
                new_id = num_objects + len(ids) + 1
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        video_id=video['id'],
                        image_id=image['id'],
                        category_id=found.get('category_id'),
                        instance_id=ids.setdefault(found['id'], new_id),
                        iscrowd=found.get('iscrowd', 0),
                        **own,
                    )
                )
        num_objects += len(ids)
    return dict(
        categories=content['categories'],
        videos=videos,
        images=images,
        annotations=annotations,
    )


def _load(path: Path) -> dict[str, Any]:
    content = read_json(path)
    keys = list(content) if isinstance(content, dict) else []
    for key in ('videos', 'categories'):
        if key not in keys:
            raise ValueError(
                f"{path} is not a YouTube-VIS file: it must have the keys 'videos', "
                f"'categories' and 'annotations', got {keys} without {key!r}"
            )
    for key in ('videos', 'categories', 'annotations'):
        values = content.get(key) or []
        if not are_dicts(values):
            raise ValueError(f'{path}: {key!r} must be a list of objects')
    if not content['videos']:
        raise ValueError(f"{path}: 'videos' must not be empty")
    return content


def _objects(
    path: Path, videos: list[dict[str, Any]], annotations: list[dict[str, Any]]
) -> dict[int, list[tuple[int, dict[str, Any]]]]:
    """Check videos and annotations, and return these by video with their position."""
    lengths: dict[Any, int] = {}
    for number, video in enumerate(videos):
        where = f'{path}: videos[{number}]'
        _check_id(where, video, lengths)
        files = video.get('file_names') or []
        paths = files if is_list(files) else []
        if not paths or not all(isinstance(each, str) and each for each in paths):
            raise ValueError(
                f"{where} must have 'file_names', a list of paths, got {shown(files)}"
            )
        for key in ('width', 'height'):
            if not is_int(video.get(key)):
                raise ValueError(
                    f'{where} must have an integer {key!r}, got {shown(video.get(key))}'
                )
        lengths[video['id']] = len(files)
    objects: dict[int, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    known: set[Any] = set()
    for number, found in enumerate(annotations):
        where = f'{path}: annotations[{number}]'
        _check_id(where, found, known)
        known.add(found['id'])
        video_id = found.get('video_id')
        if not is_int(video_id) or video_id not in lengths:
            raise ValueError(
                f"{where} must have the 'video_id' of one of 'videos', got "
                f'{shown(video_id)}'
            )
        for key in _PER_FRAME:
            values: Any = found.get(key)
            if not is_list(values) or len(values) != lengths[video_id]:
                size = len(values) if is_list(values) else shown(values)
                raise ValueError(
                    f'{where} must have {key!r} with a value for each of the '
                    f'{lengths[video_id]} frames of its video, got {size}; write null '
                    'where the object is not visible'
                )
        objects[found['video_id']].append((number, found))
    return objects


def _check_id(where: str, entry: dict[str, Any], known: Collection[Any]) -> None:
    if not is_int(entry.get('id')) or entry['id'] in known:
        raise ValueError(
            f"{where} must have an integer 'id' that no other has, got "
            f'{shown(entry.get("id"))}'
        )
