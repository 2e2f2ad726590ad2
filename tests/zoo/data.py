"""Test data in the shapes that stock configs read, as files and as lakes.

All are made of the images of ``coco_cc`` with their 421 instances. A shape is a kind of
dataset and its class names: instance ``i`` of category ``c`` of COCO's 80 gets class
``c`` modulo their number, so for COCO's own classes nothing changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mmdet_deeplake_plugin.tools.from_coco import from_coco
from mmdet_deeplake_plugin.tools.from_voc import from_voc

Files = dict[str, Any]


class ZooData:
    """Makes files and lakes on demand, each once.

    Args:
        folder: Where to write.
        source: Folder of ``coco_cc``.
    """

    def __init__(self, folder: Path, source: Path) -> None:
        self._folder = folder
        self._images = source / 'images'
        self._coco = json.loads((source / 'instances.json').read_text())
        self._makers: dict[str, Callable[[Path, tuple[str, ...]], tuple[Files, str]]] = {
            'coco': self._make_coco,
            'voc': self._make_voc,
        }
        self._made: dict[tuple[str, tuple[str, ...]], Files] = {}
        self.lakes: dict[str, str] = {}

    def files(self, kind: str, classes: Sequence[str]) -> Files:
        """The keys by which a stock dataset finds its files.

        The lake of the same data stands in ``lakes`` under the ``ann_file``.

        Args:
            kind: ``'coco'`` or ``'voc'``.
            classes: Class names.
        """
        shape = (kind, tuple(classes))
        if shape not in self._made:
            digest = hashlib.sha256(repr(shape).encode()).hexdigest()[:12]
            folder = self._folder / f'{kind}_{digest}'
            folder.mkdir()
            files, lake = self._makers[kind](folder, shape[1])
            self._made[shape] = files
            self.lakes[files['ann_file']] = lake
        return self._made[shape]

    def _make_coco(self, folder: Path, classes: tuple[str, ...]) -> tuple[Files, str]:
        ann_file = folder / 'instances.json'
        ann_file.write_text(json.dumps(self._renamed(classes)))
        # Where V3DetDataset looks for the names of its classes.
        (folder / 'annotations').mkdir()
        labels = folder / 'annotations' / 'category_name_13204_v3det_2023_v1.txt'
        labels.write_text('\n'.join(classes))
        lake = str(folder / 'lake')
        from_coco(ann_file, self._images, lake)
        prefix = dict(img=str(self._images))
        return dict(
            data_root=str(folder), ann_file=str(ann_file), data_prefix=prefix
        ), lake

    def _make_voc(self, folder: Path, classes: tuple[str, ...]) -> tuple[Files, str]:
        (folder / 'Annotations').mkdir()
        (folder / 'JPEGImages').symlink_to(self._images)
        split = folder / 'ImageSets' / 'Main' / 'all.txt'
        split.parent.mkdir(parents=True)
        coco = self._renamed(classes)
        names = []
        for image in coco['images']:
            names.append(Path(image['file_name']).stem)
            objects = [
                ann for ann in coco['annotations'] if ann['image_id'] == image['id']
            ]
            xml = _voc_xml(image, objects, classes)
            xml.write(folder / 'Annotations' / f'{names[-1]}.xml')
        split.write_text('\n'.join(names))
        lake = str(folder / 'lake')
        from_voc(folder, 'all', lake, classes=list(classes))
        prefix = dict(sub_data_root=str(folder))
        return dict(data_root='', ann_file=str(split), data_prefix=prefix), lake

    def _renamed(self, classes: tuple[str, ...]) -> dict[str, Any]:
        position = {c['id']: i for i, c in enumerate(self._coco['categories'])}
        same = classes == tuple(c['name'] for c in self._coco['categories'])
        if same:
            return self._coco
        annotations = [
            {**ann, 'category_id': 1 + position[ann['category_id']] % len(classes)}
            for ann in self._coco['annotations']
        ]
        categories = [{'id': 1 + i, 'name': name} for i, name in enumerate(classes)]
        return {**self._coco, 'annotations': annotations, 'categories': categories}


def _voc_xml(
    image: dict[str, Any], objects: list[dict[str, Any]], classes: tuple[str, ...]
) -> ElementTree.ElementTree:
    root = ElementTree.Element('annotation')
    size = ElementTree.SubElement(root, 'size')
    for key in ('width', 'height'):
        ElementTree.SubElement(size, key).text = str(image[key])
    for ann in objects:
        thing = ElementTree.SubElement(root, 'object')
        name = classes[(ann['category_id'] - 1) % len(classes)]
        ElementTree.SubElement(thing, 'name').text = name
        ElementTree.SubElement(thing, 'difficult').text = str(ann['iscrowd'])
        box = ElementTree.SubElement(thing, 'bndbox')
        x, y, w, h = ann['bbox']
        corners = dict(xmin=x + 1, ymin=y + 1, xmax=x + w + 1, ymax=y + h + 1)
        for key, value in corners.items():
            ElementTree.SubElement(box, key).text = str(int(value))
    return ElementTree.ElementTree(root)
