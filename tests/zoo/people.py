"""Writes an annotation file in CrowdHuman's format, of the persons of the test data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmdet_deeplake_plugin.tools.from_crowdhuman import from_crowdhuman
from zoo.source import Source, stem


def make_crowdhuman(
    folder: Path, source: Source, classes: tuple[str, ...]
) -> tuple[dict[str, Any], str]:
    """An odgt file: all instances as persons; crowds and every seventh are ignored."""
    content = source.coco(classes)
    lines = []
    for info in content['images']:
        found = [ann for ann in content['annotations'] if ann['image_id'] == info['id']]
        if found:  # CrowdHumanMetric takes no image without
            boxes = [_gtbox(ann, number) for number, ann in enumerate(found)]
            lines.append(json.dumps({'ID': stem(info), 'gtboxes': boxes}))
    ann_file = folder / 'annotation_val.odgt'
    ann_file.write_text('\n'.join(lines))
    lake = folder / 'lake'
    from_crowdhuman(ann_file, source.images, lake)
    prefix = dict(img=str(source.images))
    files = dict(data_root=str(folder), ann_file=str(ann_file), data_prefix=prefix)
    return files, str(lake)


def _gtbox(ann: dict[str, Any], number: int) -> dict[str, Any]:
    x, y, w, h = ann['bbox']
    box: dict[str, Any] = {
        'tag': 'mask' if ann['iscrowd'] else 'person',
        'fbox': [round(x) - 2, round(y) - 2, round(w) + 4, round(h) + 4],
        'vbox': [round(x), round(y), round(w), round(h)],
        'hbox': [x + w / 3, y, w / 3, h / 5],
        'head_attr': {'ignore': number % 5 % 2, 'occ': 0},
        'extra': {'box_id': number, 'occ': 1},
    }
    if ann['iscrowd'] or number % 7 == 6:
        box['extra']['ignore'] = 1
    return box
