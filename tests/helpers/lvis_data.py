"""A small data set in LVIS's form, and what the stock metric needs to run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_deeplake_plugin.tools.from_coco import from_coco


class OldNumpy:
    """numpy as the stock metric needs it: with ``np.float``, and ragged arrays."""

    float = float

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def array(self, values: Any, *args: Any, **kwargs: Any) -> np.ndarray:
        if isinstance(values, list) and values and isinstance(values[0], np.ndarray):
            ragged = np.empty(len(values), dtype=object)
            ragged[:] = values
            return ragged
        return np.array(values, *args, **kwargs)


def make_lvis(shared_data: Path, root: Path) -> None:
    """Write photographs, ``lvis.json`` and a ``lake`` of both into a folder."""
    (root / 'val2017').symlink_to(shared_data / 'coco_cc' / 'images')
    coco = json.loads((shared_data / 'coco_cc' / 'instances.json').read_text())
    rng = np.random.default_rng(0)
    ids = [category['id'] for category in coco['categories']]
    chosen = coco['images'][:12]
    annotations = [
        ann
        for ann in coco['annotations']
        if not ann['iscrowd'] and ann['image_id'] in {image['id'] for image in chosen}
    ]
    images = []
    for image in chosen:
        there = {a['category_id'] for a in annotations if a['image_id'] == image['id']}
        absent = [i for i in ids if i not in there]
        images.append(
            {
                'id': image['id'],
                'width': image['width'],
                'height': image['height'],
                'coco_url': f'http://images.cocodataset.org/val2017/{image["file_name"]}',
                'license': 3,
                'neg_category_ids': rng.choice(absent, 30, replace=False).tolist(),
                'not_exhaustive_category_ids': rng.permutation(sorted(there))[
                    :1
                ].tolist(),
            }
        )
    content = {
        'info': {'version': '1.0'},
        'images': images,
        'annotations': [
            {key: value for key, value in ann.items() if key != 'iscrowd'}
            for ann in annotations
        ],
        'categories': [
            {**category, 'frequency': 'rcf'[number % 3], 'synset': f's.{number}'}
            for number, category in enumerate(coco['categories'])
        ],
    }
    (root / 'lvis.json').write_text(json.dumps(content))
    from_coco(root / 'lvis.json', root, root / 'lake')
