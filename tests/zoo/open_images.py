"""Writes the files of OpenImages, and of its challenge, of the test data."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.fileio import dump

from mmdet_deeplake_plugin.tools.formats.openimages import FLAGS
from mmdet_deeplake_plugin.tools.from_openimages import from_openimages
from zoo.source import Source, stem

Files = dict[str, Any]
Classes = tuple[str, ...]


def make_openimages(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """CSV files; class 0 includes 1 to 9, and 1 includes 2 and 3."""
    rows, metas, labels = [], [], []
    for info, found in _annotated(source, classes):
        metas.append(_meta(source, info))
        for number, (label, corners) in enumerate(found):
            x1, y1, x2, y2 = corners
            flags = [number % 2, -1, int(number % 3 == 2), 0, number % 5 % 2]
            rows.append([stem(info), 'xclick', _id(label), 1, x1, x2, y1, y2, *flags])
        labels += [[stem(info), 'verification', _id(i), i % 2] for i in (0, 3, 20)]
    box_names = ['ImageID', 'Source', 'LabelName', 'Confidence', 'XMin', 'XMax', 'YMin', 'YMax']
    _csv(folder / 'boxes.csv', [[*box_names, *FLAGS.values()], *rows])
    _csv(folder / 'labels.csv', [['ImageID', 'Source', 'LabelName', 'Confidence'], *labels])
    _csv(folder / 'classes.csv', [[_id(i), name] for i, name in enumerate(classes)])
    leaves = [{'LabelName': _id(i)} for i in range(2, 10)]
    middle = {'LabelName': _id(1), 'Subcategory': leaves[:2]}
    top = {'LabelName': _id(0), 'Subcategory': [middle, *leaves[2:]]}
    tree = {'LabelName': '/m/entity', 'Subcategory': [top]}
    (folder / 'hierarchy.json').write_text(json.dumps(tree))
    return _finish(folder, source, metas, 'boxes.csv', 'hierarchy.json')


def make_challenge(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """Text and CSV files, with the array of the hierarchy."""
    lines, metas, labels = [], [], []
    for info, found in _annotated(source, classes):
        metas.append(_meta(source, info))
        lines += [f'{stem(info)}.jpg', '#', str(len(found))]
        for number, (label, corners) in enumerate(found):
            shown = ' '.join(map(repr, corners))
            lines.append(f'{label + 1} {shown} {int(number % 3 == 2)}')
        labels += [[stem(info), _id(i), i % 2] for i in (0, 3, 20)]
    (folder / 'boxes.txt').write_text('\n'.join(lines) + '\n')
    _csv(folder / 'labels.csv', [['ImageID', 'LabelName', 'Confidence'], *labels])
    described = [[_id(i), name, i + 1] for i, name in enumerate(classes)]
    _csv(folder / 'classes.csv', described[::-1])  # labels go by the number
    tree = np.eye(len(classes) + 1)
    tree[2:11, 1] = 1
    with (folder / 'tree.np').open('wb') as file:
        np.save(file, tree)
    return _finish(folder, source, metas, 'boxes.txt', 'tree.np')


def _annotated(source: Source, classes: Classes) -> list[tuple[dict, list]]:
    """Images with boxes: label, and corners as fractions of the image."""
    content = source.coco(classes)
    label_of = {c['id']: label for label, c in enumerate(content['categories'])}
    images = []
    for info in content['images']:
        size = np.array([info['width'], info['height']] * 2)
        found = []
        for ann in content['annotations']:
            if ann['image_id'] == info['id']:
                x, y, w, h = ann['bbox']
                corners = np.clip(np.array([x, y, x + w, y + h]) / size, 0, 1)
                found.append((label_of[ann['category_id']], corners.round(6).tolist()))
        if found:
            images.append((info, found))
    return images


def _meta(source: Source, info: dict[str, Any]) -> dict[str, Any]:
    shape = info['height'], info['width'], 3
    return {'filename': f'{source.images}/{stem(info)}.jpg', 'ori_shape': shape}


def _finish(
    folder: Path, source: Source, metas: list[Any], boxes: str, hierarchy: str
) -> tuple[Files, str]:
    dump(metas, str(folder / 'metas.pkl'))
    files = dict(
        data_root=str(folder),
        ann_file=str(folder / boxes),
        data_prefix=dict(img=str(source.images)),
        label_file=str(folder / 'classes.csv'),
        hierarchy_file=str(folder / hierarchy),
        meta_file=str(folder / 'metas.pkl'),
        image_level_ann_file=str(folder / 'labels.csv'),
    )
    from_openimages(
        files['ann_file'],
        source.images,
        folder / 'lake',
        files['label_file'],
        files['hierarchy_file'],
        files['image_level_ann_file'],
    )
    return files, str(folder / 'lake')


def _id(label: int) -> str:
    return f'/m/{label:04d}'


def _csv(path: Path, rows: list[list[Any]]) -> None:
    with path.open('w', newline='') as file:
        csv.writer(file).writerows(rows)
