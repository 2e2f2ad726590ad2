"""Read folders of MOTChallenge (MOT15 to MOT20, DanceTrack) as CocoVID.

Each folder in it is a sequence: ``seqinfo.ini``, a folder of frames, and ``gt/gt.txt``
(which test sets lack) with a box per line::

    frame, object, left, top, width, height, confidence, class, visible fraction

where frames count from 1. MOT15 has ten values, the last three of which are a position in
space: its boxes are visible pedestrians. Numbers and ids are those that MMDetection's
``mot2coco.py`` gives to sequences in alphabetical order.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from configparser import ConfigParser, Error
from pathlib import Path
from typing import Any

from ....utils.messages import comma_joined, did_you_mean
from ..checks import read_text

CLASSES = (
    *('pedestrian', 'person_on_vehicle', 'car', 'bicycle', 'motorbike'),
    *('non_mot_vehicle', 'static_person', 'distractor', 'occluder'),
    *('occluder_on_ground', 'occluder_full', 'reflection', 'crowd'),
)
HALVES = ('train', 'val')
_SIZES = ('frameRate', 'seqLength', 'imWidth', 'imHeight')

Lines = dict[int, list[dict[str, Any]]]


def read_mot(
    folder: Path, sequences: Sequence[str] = (), half: str | None = None
) -> dict[str, Any]:
    """Read the sequences of a folder.

    Args:
        folder: Folder such as ``MOT17/train``.
        sequences: Names of the sequences to read. Defaults to all.
        half: ``'train'`` for the first half of each sequence, ``'val'`` for the second.
            Defaults to None: whole sequences.

    Returns:
        The content of a CocoVID file.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    videos: list[dict[str, Any]] = []
    num_objects = 0
    for video_id, name in enumerate(_sequence_names(folder, sequences), start=1):
        info, files = _read_info(folder / name)
        path = folder / name / 'gt' / 'gt.txt'
        lines = _read_lines(path, info['seqLength'])
        for number in sorted(lines.keys() - set(map(_number_of, files)))[:1]:
            raise ValueError(
                f'{path}: boxes must be of frames that exist, but no file in '
                f'{Path(folder, files[0]).parent} has the number of frame {number}; '
                'frames count from 1'
            )
        size = dict(width=info['imWidth'], height=info['imHeight'])
        videos.append(dict(id=video_id, name=name, fps=info['frameRate'], **size))
        middle = len(files) // 2 + 1
        part = {None: files, 'train': files[:middle], 'val': files[middle:]}[half]
        ids: dict[int, int] = {}
        for frame_id, file in enumerate(part):
            number = _number_of(file)
            image = dict(id=len(images) + 1, video_id=video_id, frame_id=frame_id)
            images.append({**image, 'file_name': file, **size, 'mot_frame_id': number})
            for line in lines[number]:
                own = line['mot_instance_id']
                line['instance_id'] = ids.setdefault(own, num_objects + len(ids))
                line.update(id=len(annotations) + 1, image_id=image['id'])
                annotations.append(line)
        num_objects += len(ids)
    categories = [dict(id=number, name=name) for number, name in enumerate(CLASSES, 1)]
    return dict(
        categories=categories,
        images=images,
        annotations=annotations,
        videos=videos,
        num_instances=num_objects,
    )


def _sequence_names(folder: Path, sequences: Sequence[str]) -> list[str]:
    if not folder.is_dir():
        raise FileNotFoundError(
            f'folder {folder} does not exist; write a folder of sequences, such as '
            'MOT17/train'
        )
    found = sorted(path.parent.name for path in folder.glob('*/seqinfo.ini'))
    if not found:
        raise FileNotFoundError(
            f'{folder} must hold sequences, folders with a file seqinfo.ini, but holds '
            'none; write a folder such as MOT17/train'
        )
    for name in sequences:
        if name not in found:
            raise ValueError(
                f'{folder} has no sequence {name!r}{did_you_mean(name, found)}; its '
                f'sequences are {comma_joined(found)}'
            )
    return [name for name in found if not sequences or name in sequences]


def _read_info(folder: Path) -> tuple[dict[str, int], list[str]]:
    """Return the sizes of a sequence, and its frames relative to the folder above."""
    path, parser = folder / 'seqinfo.ini', ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding='utf-8-sig'), str(path))
        section = parser['Sequence']
    except (Error, UnicodeDecodeError, KeyError) as error:
        raise ValueError(
            f'{path} must be a file with a section [Sequence]: {error}'
        ) from error
    if section.get('name', folder.name) != folder.name:
        raise ValueError(
            f'{path}: name must be that of the folder, {folder.name!r}, got '
            f'{section["name"]!r}; rename the folder, or correct the file'
        )
    info = {}
    for key in _SIZES:
        text = section.get(key, '')
        if not text.isdecimal() or not int(text):
            raise ValueError(f'{path}: {key} must be a positive integer, got {text!r}')
        info[key] = int(text)
    frames = folder / section.get('imDir', 'img1')
    if not frames.is_dir():
        raise FileNotFoundError(f'folder of frames {frames} (imDir) does not exist')
    listed = (file.name for file in frames.iterdir())
    files = [name for name in listed if not name.startswith('.')]  # .DS_Store
    if len(files) != info['seqLength']:
        raise ValueError(
            f'{path}: seqLength must be the number of frames, but is '
            f'{info["seqLength"]} and {frames} holds {len(files)}; add the missing ones, '
            'or correct the file'
        )
    for file in files:
        if not Path(file).stem.isdecimal():
            raise ValueError(
                f'{frames}: a frame must be named by its number, such as 000001.jpg, got '
                f'{file!r}; rename or remove it'
            )
    files.sort(key=_number_of)
    return info, [str(Path(folder.name, frames.name, file)) for file in files]


def _number_of(file: str) -> int:
    return int(Path(file).stem)


def _read_lines(path: Path, length: int) -> Lines:
    """Return the boxes of each frame; there are none in a test set."""
    lines: Lines = defaultdict(list)
    known: set[tuple[int, int]] = set()
    texts = read_text(path).splitlines() if path.exists() else []
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        frame, line = _parse(text, f'{path}, line {number}', length)
        key = frame, line['mot_instance_id']
        if key in known:
            raise ValueError(
                f'{path}: an object must have one box in a frame, but object {key[1]} '
                f'has two in frame {frame}; remove one of the lines'
            )
        known.add(key)
        lines[frame].append(line)
    return lines


def _parse(text: str, where: str, length: int) -> tuple[int, dict[str, Any]]:
    """Return the frame of a line, and the annotation."""
    values = text.strip().split(',')
    if len(values) not in (9, 10):
        raise ValueError(
            f'{where} must have 9 values (10 in MOT15): frame, object, left, top, '
            'width, height, confidence, class and visible fraction, got '
            f'{len(values)} in {text!r:.80}'
        )
    try:
        frame, own_id = int(values[0]), int(values[1])
        box = [float(value) for value in values[2:6]]
        rest = values[6:] if len(values) == 9 else ['1', '1', '1']
        confidence, label, visible = float(rest[0]), int(rest[1]), float(rest[2])
    except ValueError as error:
        raise ValueError(f'{where} must hold numbers: {error}') from error
    if not all(map(math.isfinite, [*box, confidence, visible])):
        raise ValueError(f'{where} must hold finite numbers, got {text!r:.80}')
    if not 1 <= frame <= length:
        raise ValueError(
            f'{where}: the frame must be 1 to {length} (seqLength), got {frame}'
        )
    if not 1 <= label <= len(CLASSES):
        raise ValueError(f'{where}: the class must be 1 to {len(CLASSES)}, got {label}')
    line = dict(category_id=label, bbox=box, area=box[2] * box[3], iscrowd=False)
    own = dict(mot_instance_id=own_id, mot_conf=confidence, visibility=visible)
    return frame, {**line, **own}
