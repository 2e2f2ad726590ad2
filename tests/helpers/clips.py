"""Small made-up videos: a folder of MOTChallenge, a YouTube-VIS file, and stock's files of both.

Rectangles move over a background that differs from frame to frame. In the first video a
frame has no object of YouTube-VIS, and everywhere objects come and go.
"""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import mmdet
import numpy as np

STOCK = Path(mmdet.__file__).parent / '.mim' / 'tools' / 'dataset_converters'
# Name -> width, height and number of frames.
VIDEOS = {
    'MOT17-02-FRCNN': (64, 48, 6),
    'MOT17-04-FRCNN': (40, 64, 5),
    'MOT17-05-FRCNN': (72, 56, 7),
}
# Class and confidence of the objects of each video in MOT's files.
MOT_OBJECTS = ((1, 1), (1, 1), (7, 0), (1, 0), (8, 1))
VIS_CLASSES = ('person', 'dog', 'cat')
IMAGES = 'train/JPEGImages'


def box_at(video: int, number: int, frame: int, size: tuple[int, int]) -> tuple[int, ...]:
    """Left, top, width and height of an object in a frame; whole pixels."""
    width, height = 14 + 3 * number, 18 + video
    x = (5 * number + (2 + number) * frame + 3 * video) % (size[0] - width)
    y = (7 * number + 2 * frame + video) % (size[1] - height)
    return x, y, width, height


def draw(path: Path, video: int, frame: int, size: tuple[int, int]) -> None:
    """A frame as JPEG."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    planes = (rows * 3 + frame * 9, columns * 2 + video * 40, (rows + columns) % 64)
    image = np.stack(planes, axis=-1).astype(np.uint8)
    for number in range(len(MOT_OBJECTS)):
        x, y, w, h = box_at(video, number, frame, size)
        colour = (40 * number + 30, 255 - 45 * number, 60 * video + 20)
        cv2.rectangle(image, (x, y), (x + w - 1, y + h - 1), colour, -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 95])


def write_mot(root: Path, split: str = 'train') -> Path:
    """Writes sequences in MOT17's layout and returns their folder, ``root/split``.

    Boxes have fractions of pixels, and some reach out of the image. Objects are numbered
    from 1 in each sequence; the last one leaves in every third frame.
    """
    for video, (name, (width, height, count)) in enumerate(VIDEOS.items()):
        folder = root / split / name
        lines = []
        for frame in range(count):
            draw(folder / 'img1' / f'{frame + 1:06d}.jpg', video, frame, (width, height))
            for number, (label, confidence) in enumerate(MOT_OBJECTS):
                x, y, w, h = box_at(video, number, frame, (width, height))
                visible = round(1 - 0.25 * ((number + frame) % 4), 3) if number else 1
                if number < 4 or frame % 3 != 2:
                    box = f'{x + 0.3},{y - 0.6 * number},{w + 0.1},{h}'
                    lines.append(f'{frame + 1},{number + 1},{box},{confidence},{label},{visible}')
        info = {
            'name': name,
            'imDir': 'img1',
            'frameRate': 30,
            'seqLength': count,
            'imWidth': width,
            'imHeight': height,
            'imExt': '.jpg',
        }
        text = '\n'.join(f'{key}={value}' for key, value in info.items())
        (folder / 'seqinfo.ini').write_text(f'[Sequence]\n{text}\n')
        if split != 'test':
            (folder / 'gt').mkdir(exist_ok=True)
            # As in MOT's files, object by object.
            lines.sort(key=lambda line: int(line.split(',')[1]))
            (folder / 'gt' / 'gt.txt').write_text('\n'.join(lines) + '\n')
    return root / split


def write_youtube_vis(root: Path, with_annotations: bool = True) -> Path:
    """Writes ``root/train.json`` and its frames below ``IMAGES``; returns the file.

    Objects with an even number have masks as run lengths, the others polygons.
    """
    videos, annotations = [], []
    for video, (name, (width, height, count)) in enumerate(VIDEOS.items()):
        files = [f'{name}/{frame:05d}.jpg' for frame in range(count)]
        videos.append(dict(id=video + 1, width=width, height=height, length=count, file_names=files))
        for frame, file in enumerate(files):
            draw(root / IMAGES / file, video, frame, (width, height))
        for number in range(4):
            values: dict[str, list[Any]] = {'bboxes': [], 'segmentations': [], 'areas': []}
            for frame in range(count):
                x, y, w, h = box_at(video, number, frame, (width, height))
                gone = (frame + number) % 5 == 4 or (video, frame) == (0, 1)
                mask = _run_lengths(x, y, w, h, width, height)
                if number % 2:
                    mask = [[x, y, x + w, y, x + w, y + h, x, y + h]]
                for key, value in zip(values, ([x, y, w, h], mask, w * h)):
                    values[key].append(None if gone else value)
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    video_id=video + 1,
                    category_id=number % 3 + 1,
                    iscrowd=0,
                    width=width,
                    height=height,
                    **values,
                )
            )
    categories = [dict(id=i, name=name) for i, name in enumerate(VIS_CLASSES, 1)]
    content = dict(videos=videos, categories=categories)
    if with_annotations:
        content['annotations'] = annotations
    (root / 'train.json').write_text(json.dumps(content))
    return root / 'train.json'


def _run_lengths(x: int, y: int, w: int, h: int, width: int, height: int) -> dict[str, Any]:
    mask = np.zeros((height, width), np.uint8)
    mask[y : y + h, x : x + w] = 1
    flat = np.concatenate([[0], mask.ravel(order='F'), [2]])
    ends = np.flatnonzero(np.diff(flat))
    return dict(size=[height, width], counts=np.diff([0, *ends]).tolist())


def stock_mot_files(root: Path) -> Path:
    """Runs stock's ``mot2coco.py --split-train`` on ``write_mot(root)``.

    Returns:
        Folder of ``train_cocoformat.json``, ``half-train_…`` and ``half-val_…``. Sequences
        are taken in alphabetical order, which is not that of every disk.
    """
    (root / 'test').mkdir(exist_ok=True)
    folder = root / 'annotations'
    argv = ['mot2coco.py', '-i', str(root), '-o', str(folder), '--split-train']
    listed = os.listdir
    with patch.object(sys, 'argv', argv), patch('os.listdir', lambda path: sorted(listed(path))):
        runpy.run_path(str(STOCK / 'mot2coco.py'), run_name='__main__')
    return folder


def stock_vis_file(root: Path, mode: str = 'train') -> Path:
    """Runs stock's ``youtubevis2coco.py`` on ``root/train.json``; returns its file."""
    spec = importlib.util.spec_from_file_location('youtubevis2coco', STOCK / 'youtubevis2coco.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.convert_vis(str(root), str(root / 'annotations'), '2019', mode)
    return root / 'annotations' / f'youtube_vis_2019_{mode}.json'


def write_persons(root: Path) -> Path:
    """Writes ``root/train.txt`` and ``root/imgs``: 5 images of each of 4 persons."""
    lines = []
    for number in range(20):
        name = f'{number // 5}/{number % 5:06d}.jpg'
        draw(root / 'imgs' / name, number // 5, number % 5, (32, 64))
        lines.append(f'{name} {number // 5}\n')
    (root / 'train.txt').write_text(''.join(lines))
    return root / 'train.txt'
