"""Writes test data in the shapes that stock datasets read, as files and as a lake.

Each maker returns the keys by which a stock dataset finds its files, and the lake's path.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from helpers.lakes import TYPES, add_columns, box_type
from mmengine.fileio import dump
from mmengine.structures import InstanceData

from mmdet_deeplake_plugin.tools.from_coco import from_coco
from mmdet_deeplake_plugin.tools.from_voc import from_voc
from zoo.maps import things_of, write_instance_ids, write_panoptic, write_stuff
from zoo.moving import make_clips, make_persons, make_tracks
from zoo.open_images import make_challenge, make_openimages
from zoo.people import make_crowdhuman
from zoo.source import Source, stem
from zoo.texts import (
    make_any_number,
    make_captions,
    make_descriptions,
    make_detections,
    make_expressions,
    make_phrases,
)

Files = dict[str, Any]
Classes = tuple[str, ...]

# The COCO file beside a panoptic one.
THINGS = 'things.json'


def make_coco(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """A COCO file; with the list of its classes where ``V3DetDataset`` looks for it."""
    files = _write_json(folder, source.coco(classes), source)
    labels = folder / 'annotations' / 'category_name_13204_v3det_2023_v1.txt'
    labels.parent.mkdir()
    labels.write_text('\n'.join(classes))
    from_coco(files['ann_file'], source.images, folder / 'lake')
    return files, str(folder / 'lake')


def make_cityscapes(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """A COCO file whose images are called as those of Cityscapes, and maps of instances."""
    content = source.coco(classes)
    images = folder / 'leftImg8bit' / 'val'
    maps = folder / 'gtFine' / 'val'
    images.mkdir(parents=True)
    infos = []
    for info in content['images']:
        name = f'{stem(info)}_leftImg8bit.png'
        (images / name).symlink_to(source.images / info['file_name'])
        infos.append({**info, 'file_name': name})
    names = {each['id']: each['name'] for each in content['categories']}
    write_instance_ids(maps, source, content['annotations'], names)
    files = _write_json(folder, {**content, 'images': infos}, source)
    files['data_prefix'] = dict(img=str(images))
    from_coco(files['ann_file'], images, folder / 'lake', seg_dir=maps)
    return files, str(folder / 'lake')


def make_stuff(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """A COCO file with a PNG map of stuff for each image."""
    files = _write_json(folder, source.coco(classes), source)
    names = write_stuff(folder / 'maps', source)
    files['data_prefix']['seg'] = str(folder / 'maps')
    lake = folder / 'lake'
    from_coco(
        files['ann_file'],
        source.images,
        lake,
        seg_dir=folder / 'maps',
        seg_classes=names,
    )
    return files, str(lake)


def make_proposals(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """A COCO file with a file of random proposals."""
    files, lake = make_coco(folder, source, classes)
    random = np.random.default_rng(0)
    proposals: dict[str, InstanceData] = {}
    for info in source.image_infos:
        corners = random.uniform(0, 0.5, (50, 2)) * (info['width'], info['height'])
        boxes = np.hstack([corners, corners + random.uniform(2, 200, (50, 2))])
        scores = np.sort(random.random(50).astype(np.float32))[::-1].copy()
        found = InstanceData(bboxes=boxes.astype(np.float32), scores=scores)
        proposals[f'{source.images.name}/{info["file_name"]}'] = found
    dump(proposals, str(folder / 'proposals.pkl'))
    columns = {
        'proposals': (box_type('ltrb', 'pixel', 'float32'), 'bboxes'),
        'proposal_scores': (TYPES['float32s'], 'scores'),
    }
    add_columns(
        lake,
        {
            name: (dtype, [each[key] for each in proposals.values()])
            for name, (dtype, key) in columns.items()
        },
    )
    return {**files, 'proposal_file': str(folder / 'proposals.pkl')}, lake


def make_voc(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """A folder in the layout of Pascal VOC."""
    (folder / 'Annotations').mkdir()
    (folder / 'JPEGImages').symlink_to(source.images)
    split = folder / 'ImageSets' / 'Main' / 'all.txt'
    split.parent.mkdir(parents=True)
    coco = source.coco(classes)
    label = {c['id']: c['name'] for c in coco['categories']}
    for info in coco['images']:
        objects = [ann for ann in coco['annotations'] if ann['image_id'] == info['id']]
        xml = _voc_xml(info, objects, label)
        xml.write(folder / 'Annotations' / f'{stem(info)}.xml')
    split.write_text('\n'.join(map(stem, coco['images'])))
    lake = str(folder / 'lake')
    from_voc(folder, 'all', lake, classes=list(classes))
    prefix = dict(sub_data_root=str(folder))
    return dict(data_root='', ann_file=str(split), data_prefix=prefix), lake


def make_wider(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """A folder in the layout of WIDER Face: corners from 0, images in named folders."""
    files, _ = make_voc(folder, source, classes)
    (folder / 'lake').rename(folder / 'voc_lake')
    (folder / 'event').symlink_to(source.images)
    for path in (folder / 'Annotations').glob('*.xml'):
        tree = ElementTree.parse(path)
        ElementTree.SubElement(tree.getroot(), 'folder').text = 'event'
        tree.write(path)
    lake = str(folder / 'lake')
    from_voc(
        folder,
        files['ann_file'],
        lake,
        classes=list(classes),
        img_subdir='.',
        image_folders=True,
        minus_one=False,
    )
    return {**files, 'data_prefix': dict(img=str(folder))}, lake


def make_lvis(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """An LVIS file: addresses of images, and what is known of classes that are absent."""
    content = source.coco(classes)
    (folder / 'val2017').symlink_to(source.images)
    annotations = [
        {key: value for key, value in ann.items() if key != 'iscrowd'}
        for ann in content['annotations']
        if not ann['iscrowd']
    ]
    ids = [category['id'] for category in content['categories']]
    random = np.random.default_rng(0)
    images = []
    for info in content['images']:
        there = {a['category_id'] for a in annotations if a['image_id'] == info['id']}
        absent = [number for number in ids if number not in there]
        extra = {
            'neg_category_ids': random.choice(absent, 30, replace=False).tolist(),
            'not_exhaustive_category_ids': sorted(there)[:1],
            'file_name': f'val2017/{info["file_name"]}',
            'coco_url': f'http://images.cocodataset.org/val2017/{info["file_name"]}',
        }
        images.append({**info, **extra})
    categories = [
        {**category, 'frequency': 'rcf'[number % 3], 'synset': f's.{number}'}
        for number, category in enumerate(content['categories'])
    ]
    lvis = dict(images=images, annotations=annotations, categories=categories)
    files = _write_json(folder, lvis, source)
    from_coco(files['ann_file'], folder, folder / 'lake')
    return {**files, 'data_prefix': dict(img=str(folder))}, str(folder / 'lake')


def make_panoptic(folder: Path, source: Source, classes: Classes) -> tuple[Files, str]:
    """A panoptic file with its PNG maps, and a COCO file of its things."""
    content = write_panoptic(folder / 'maps', source, classes)
    (folder / THINGS).write_text(json.dumps(things_of(folder / 'maps', content)))
    files = _write_json(folder, content, source)
    files['data_prefix']['seg'] = str(folder / 'maps')
    lake = folder / 'lake'
    from_coco(files['ann_file'], source.images, lake, panoptic_dir=folder / 'maps')
    return files, str(lake)


MAKERS = {
    'any number': make_any_number,
    'captions': make_captions,
    'clips': make_clips,
    'cityscapes': make_cityscapes,
    'coco': make_coco,
    'crowdhuman': make_crowdhuman,
    'descriptions': make_descriptions,
    'detections': make_detections,
    'expressions': make_expressions,
    'lvis': make_lvis,
    'openimages': make_openimages,
    'openimages challenge': make_challenge,
    'panoptic': make_panoptic,
    'persons': make_persons,
    'phrases': make_phrases,
    'proposals': make_proposals,
    'stuff': make_stuff,
    'tracks': make_tracks,
    'voc': make_voc,
    'wider': make_wider,
}


def _write_json(folder: Path, content: dict[str, Any], source: Source) -> Files:
    ann_file = folder / 'annotations.json'
    ann_file.write_text(json.dumps(content))
    prefix = dict(img=str(source.images))
    return dict(data_root=str(folder), ann_file=str(ann_file), data_prefix=prefix)


def _voc_xml(
    info: dict[str, Any], objects: list[dict[str, Any]], label: dict[int, str]
) -> ElementTree.ElementTree:
    root = ElementTree.Element('annotation')
    size = ElementTree.SubElement(root, 'size')
    for key in ('width', 'height'):
        ElementTree.SubElement(size, key).text = str(info[key])
    for ann in objects:
        thing = ElementTree.SubElement(root, 'object')
        ElementTree.SubElement(thing, 'name').text = label[ann['category_id']]
        ElementTree.SubElement(thing, 'difficult').text = str(ann['iscrowd'])
        box = ElementTree.SubElement(thing, 'bndbox')
        x, y, w, h = ann['bbox']
        corners = dict(xmin=x + 1, ymin=y + 1, xmax=x + w + 1, ymax=y + h + 1)
        for key, value in corners.items():
            ElementTree.SubElement(box, key).text = str(int(value))
    return ElementTree.ElementTree(root)
